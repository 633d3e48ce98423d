-- squawk-ignore-file ban-drop-constraint
-- What changes tables that are there. It comes last: from its first statement to the end of the upgrade, whoever records
-- waits. So nothing here looks at rows.
SET check_function_bodies = off;
SET client_min_messages = warning;

-- 0 and NULL for what is there, which cost no rewriting.
ALTER TABLE processing_metrics ADD COLUMN IF NOT EXISTS recorded_in bigint NOT NULL DEFAULT 0, ADD COLUMN IF NOT EXISTS parent_task_id text;
ALTER TABLE processing_metrics ALTER COLUMN recorded_in SET DEFAULT recording_transaction();
ALTER TABLE processing_metrics_running ALTER COLUMN recorded_in SET DEFAULT 0;      -- only ends are rolled up
ALTER TABLE error_tracking ADD COLUMN IF NOT EXISTS recorded_in bigint NOT NULL DEFAULT 0;
ALTER TABLE error_tracking ALTER COLUMN recorded_in SET DEFAULT recording_transaction();
ALTER TABLE performance_monitoring ADD COLUMN IF NOT EXISTS recorded_in bigint NOT NULL DEFAULT 0;
ALTER TABLE performance_monitoring ALTER COLUMN recorded_in SET DEFAULT recording_transaction();
COMMENT ON COLUMN processing_metrics.parent_task_id IS 'The task within which this one was started, as the start said; it may be unknown here.';
COMMENT ON COLUMN processing_metrics_history.recorded_in IS 'The transaction that recorded the end; 0 for what was recorded before there were rollups.';
COMMENT ON COLUMN error_tracking.recorded_in IS 'The transaction that recorded the error; 0 for what was recorded before there were rollups.';
COMMENT ON COLUMN performance_monitoring.recorded_in IS 'The transaction that recorded the measurement; 0 for what was recorded before there were rollups.';

-- One check instead of six: each statement that writes a task reads its checks anew.
CREATE OR REPLACE FUNCTION is_task(
    p_status text, p_start_time timestamptz, p_end_time timestamptz, p_duration_seconds double precision, p_input_size bigint, p_output_size bigint, p_progress double precision
) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN p_status IN ('running', 'completed', 'failed', 'cancelled') AND (p_end_time IS NULL) = (p_status = 'running') AND (p_end_time IS NULL) = (p_duration_seconds IS NULL)
        AND (p_end_time >= p_start_time) IS NOT FALSE AND (p_input_size >= 0) IS NOT FALSE AND (p_output_size >= 0) IS NOT FALSE AND (p_progress BETWEEN 0 AND 100) IS NOT FALSE;
END
$body$;
COMMENT ON FUNCTION is_task(text, timestamptz, timestamptz, double precision, bigint, bigint, double precision) IS
    'Whether a row can be a task: a known status, an end and a duration if and only if it does not run, no end before its start, no negative size, progress in percent.';
-- What they guaranteed, the one guarantees.
ALTER TABLE processing_metrics DROP CONSTRAINT IF EXISTS status_is_known, DROP CONSTRAINT IF EXISTS running_iff_not_ended, DROP CONSTRAINT IF EXISTS duration_set_iff_ended,
    DROP CONSTRAINT IF EXISTS ends_after_start, DROP CONSTRAINT IF EXISTS sizes_are_not_negative, DROP CONSTRAINT IF EXISTS progress_is_a_percentage,
    DROP CONSTRAINT IF EXISTS is_a_task;
ALTER TABLE processing_metrics ADD CONSTRAINT is_a_task CHECK (is_task(status, start_time, end_time, duration_seconds, input_size, output_size, progress)) NOT VALID;

CREATE OR REPLACE VIEW task_facts AS
SELECT h.end_time, h.recorded_in, h.task_type, h.status, log_bucket(h.duration_seconds) AS bucket, h.duration_seconds AS seconds,
    h.input_size, h.output_size, h.start_time, h.worker_id
FROM processing_metrics_history h;
COMMENT ON VIEW task_facts IS 'Ended tasks as rollups see them.';

CREATE OR REPLACE VIEW error_facts AS
SELECT e.occurred_at, e.recorded_in, e.component, e.error_type, e.severity, e.task_id FROM error_tracking e;
COMMENT ON VIEW error_facts IS 'Errors as rollups see them.';

CREATE OR REPLACE VIEW metric_facts AS
SELECT p.recorded_at, p.recorded_in, date_bin('1 hour', p.recorded_at, '0001-01-01 00:00:00+00') AS hour,
    -- As long as an index can hold, and as large as can be added up: one odd fact must not stop the others.
    p.metric_name, left(p.metric_type, 100) AS metric_type, p.component, left(p.unit, 100) AS unit, log_bucket(v.value) AS bucket, v.value
FROM performance_monitoring p CROSS JOIN LATERAL (SELECT GREATEST(LEAST(p.value, 1e290), -1e290) AS value) AS v;
COMMENT ON VIEW metric_facts IS 'Measurements as rollups see them.';

DROP TRIGGER IF EXISTS tell_of_critical_errors ON error_tracking;
CREATE TRIGGER tell_of_critical_errors AFTER INSERT ON error_tracking FOR EACH ROW WHEN (NEW.severity = 'critical') EXECUTE FUNCTION tell_of_trouble();
DROP TRIGGER IF EXISTS tell_of_unhealthy_components ON system_health;
CREATE TRIGGER tell_of_unhealthy_components AFTER INSERT ON system_health FOR EACH ROW WHEN (NEW.status <> 'healthy') EXECUTE FUNCTION tell_of_trouble();

-- Finds what expires by severity, and the oldest of each, without a look at what stays; on the days that hold errors
-- already it is made by and by.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS error_tracking_severity ON ONLY error_tracking (severity, occurred_at);
DO $do$ BEGIN PERFORM index_empty_days('error_tracking_severity', 'error_tracking'); END $do$;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS system_health_ended_at ON system_health (ended_at) WHERE ended_at IS NOT NULL;

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS processing_metrics_history_recorded_in ON ONLY processing_metrics_history (recorded_in);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS error_tracking_recorded_in ON ONLY error_tracking (recorded_in);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS performance_monitoring_recorded_in ON ONLY performance_monitoring (recorded_in);

-- A new database rolls up from the beginning, one that holds facts from its first empty day on.
INSERT INTO rollup_state (next_transaction, open_transactions, rolled_at, minutes_since, hours_since, server)
SELECT 1, '{}', clock_timestamp(), s.since, s.since, server_identity()
FROM (SELECT GREATEST(index_empty_days('processing_metrics_history_recorded_in', 'processing_metrics_history'), index_empty_days('error_tracking_recorded_in', 'error_tracking'),
    index_empty_days('performance_monitoring_recorded_in', 'performance_monitoring')) AS since) AS s
ON CONFLICT (only_row) DO NOTHING;

ALTER TABLE alert_silences ADD COLUMN IF NOT EXISTS ended_by text;
COMMENT ON COLUMN alert_silences.ended_by IS 'Who ended it before its time; empty for one that has run its course.';
-- As before, and one more.
ALTER TABLE alert_transitions DROP CONSTRAINT IF EXISTS kind_is_known;
ALTER TABLE alert_transitions ADD CONSTRAINT kind_is_known CHECK (kind IN ('opened', 'escalated', 'eased', 'acknowledged', 'unacknowledged', 'reminded', 'resolved')) NOT VALID;

COMMENT ON FUNCTION record_host_sample(text, jsonb, timestamptz) IS
    'Records a look at a host: {"cpu_percent", "memory_percent", "swap_percent", "load_per_core", "disks": [{"mount", "percent", ...}], ...}. True when stored, false when that moment is known. Raises AM001, AM005.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
