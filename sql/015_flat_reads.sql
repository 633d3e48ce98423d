-- What views, summaries and checks read: rollups and the newest facts, whatever the age of the installation. Evidence
-- looks at the newest facts of one source, a limited number of them.
SET check_function_bodies = off;
SET client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------
-- Tasks.

CREATE OR REPLACE FUNCTION get_task_statistics(p_task_type text DEFAULT NULL, p_window interval DEFAULT '24 hours', p_now timestamptz DEFAULT now())
RETURNS TABLE (task_type text, tasks bigint, completed bigint, failed bigint, cancelled bigint, failure_rate_percent double precision,
    avg_seconds double precision, p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, max_seconds double precision,
    total_input_size numeric, total_output_size numeric, workers bigint, first_ended_at timestamptz, last_ended_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.task_type, s.tasks, s.completed, s.failed, s.cancelled, 100.0::double precision * s.failed / NULLIF(s.completed + s.failed, 0),
        s.seconds / s.tasks, p.seconds[1], p.seconds[2], p.seconds[3],
        s.max_seconds, s.input_size, s.output_size, public.count_sketched(s.workers), s.first_end, s.last_end
    FROM (
        SELECT t.task_type, sum(t.tasks)::bigint AS tasks, COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'completed'), 0)::bigint AS completed,
            COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'failed'), 0)::bigint AS failed, COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'cancelled'), 0)::bigint AS cancelled,
            sum(t.seconds) AS seconds, max(t.max_seconds) AS max_seconds, sum(t.input_size) AS input_size, sum(t.output_size) AS output_size, bit_or(t.workers) AS workers,
            min(t.first_end) AS first_end, max(t.last_end) AS last_end, array_agg(t.tasks ORDER BY t.bucket) AS counts, array_agg(t.seconds / t.tasks ORDER BY t.bucket) AS means
        FROM public.tasks_between(p_now - p_window, p_now, p_task_type) AS t GROUP BY t.task_type
    ) AS s CROSS JOIN LATERAL (SELECT public.percentiles_of(s.counts, s.means, '{0.5,0.95,0.99}') AS seconds) AS p ORDER BY s.tasks DESC;
END
$body$;
COMMENT ON FUNCTION get_task_statistics(text, interval, timestamptz) IS
    'How the tasks of each type (or of one) that ended within the window went: counts, failure rate in percent, durations in seconds (percentiles to about 2.5 percent), sizes, about how many workers.';

CREATE OR REPLACE FUNCTION newest_tasks(p_task_type text, p_now timestamptz, p_of text) RETURNS SETOF processing_metrics
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT h.* FROM public.processing_metrics_history h
    WHERE h.end_time > p_now - interval '1 hour' AND h.end_time <= p_now AND h.task_type = p_task_type AND CASE p_of WHEN 'failures' THEN h.status = 'failed' ELSE h.status <> 'cancelled' END
    ORDER BY h.end_time DESC LIMIT 1000;
END
$body$;
COMMENT ON FUNCTION newest_tasks(text, timestamptz, text) IS 'The newest 1,000 tasks of a type of the last hour, for their failures or for their durations.';

CREATE OR REPLACE FUNCTION finished_tasks_evidence(p_task_type text, p_now timestamptz, p_of text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.hour_window(p_now) || (
        SELECT jsonb_build_object(
            'measured', CASE p_of WHEN 'failures' THEN format('%s of %s failed', COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'failed'), 0), public.counted(COALESCE(sum(t.tasks), 0)::double precision, 'task'))
                ELSE format('%s, the slowest took %s', public.counted(COALESCE(sum(t.tasks), 0)::double precision, 'task'), public.in_words(max(t.max_seconds), 's')) END,
            'totals', jsonb_build_object('tasks', COALESCE(sum(t.tasks), 0), 'failed', COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'failed'), 0),
                'workers', COALESCE(public.count_sketched(bit_or(t.workers)), 0), 'slowest_seconds', max(t.max_seconds)))
        FROM public.tasks_between(p_now - interval '1 hour', p_now, p_task_type) AS t WHERE t.status <> 'cancelled'
    ) || public.trend(CASE p_of WHEN 'failures' THEN 'failed tasks' ELSE 'slowest, seconds' END, '30 minutes', (
        SELECT array_agg(s.value ORDER BY s.step DESC) FROM (
            SELECT b.step, CASE p_of WHEN 'failures' THEN COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'failed'), 0) ELSE COALESCE(max(t.max_seconds), 0) END::double precision AS value
            FROM generate_series(0, 11) AS b (step)
            LEFT JOIN public.tasks_between(p_now - interval '6 hours', p_now, p_task_type, interval '30 minutes') AS t ON t.step = b.step AND t.status <> 'cancelled'
            GROUP BY b.step) AS s)
    ) || jsonb_build_object('top', COALESCE((
        SELECT jsonb_agg(to_jsonb(g) ORDER BY g.count DESC, g.first_at) FROM (
            SELECT count(*) AS count, CASE p_of WHEN 'failures' THEN 'failed' ELSE 'took up to ' || public.in_words(max(h.duration_seconds), 's') END AS what,
                COALESCE(min(h.error_message), '') AS message,
                h.worker_id AS "where", min(h.end_time) AS first_at, max(h.end_time) AS last_at,
                (array_agg(h.task_id ORDER BY h.duration_seconds DESC))[1] AS sample
            FROM public.newest_tasks(p_task_type, p_now, p_of) AS h
            GROUP BY h.worker_id, public.error_signature(h.error_message)
            ORDER BY CASE p_of WHEN 'failures' THEN count(*) ELSE max(h.duration_seconds) END DESC LIMIT 5) AS g), '[]'));
END
$body$;
COMMENT ON FUNCTION finished_tasks_evidence(text, timestamptz, text) IS
    'What the last hour''s tasks of a type were, seen for their failures or for their durations: counts, the trend of six hours, and of the newest thousand the workers, messages, first and last time.';

CREATE OR REPLACE FUNCTION evaluate_failure_rate(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY
    SELECT 'failure_rate', t.task_type, g.severity, t.percent, g.threshold, '%',
        format('%s of tasks fail (limit %s)', public.in_words(t.percent, '%'), public.in_words(g.threshold, '%')),
        CASE WHEN g.severity IS NOT NULL THEN public.finished_tasks_evidence(t.task_type, p_now, 'failures') END
    FROM (
        SELECT b.task_type, 100.0::double precision * COALESCE(sum(b.tasks) FILTER (WHERE b.status = 'failed'), 0)::double precision / sum(b.tasks)::double precision AS percent
        FROM public.tasks_between(p_now - interval '1 hour', p_now) AS b
        WHERE b.status <> 'cancelled' GROUP BY b.task_type HAVING sum(b.tasks) >= public.setting('failure_rate.min_tasks')
    ) AS t
    CROSS JOIN LATERAL public.grade(v_thresholds, 'failure_rate', t.task_type, t.percent) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_failure_rate(timestamptz, monitoring_thresholds[]) IS 'failure_rate: percent of the tasks of each type that failed, of those that ended within the hour before the moment (not the cancelled ones).';

CREATE OR REPLACE FUNCTION evaluate_processing_time(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY
    SELECT 'processing_time', t.task_type, g.severity, t.seconds, g.threshold, 's',
        format('tasks take %s (limit %s)', public.in_words(t.seconds, 's'), public.in_words(g.threshold, 's')),
        CASE WHEN g.severity IS NOT NULL THEN public.finished_tasks_evidence(t.task_type, p_now, 'durations') END
    FROM (
        SELECT b.task_type, (public.percentiles_of(array_agg(b.tasks ORDER BY b.bucket), array_agg(b.seconds / b.tasks ORDER BY b.bucket), '{0.95}'))[1] AS seconds
        FROM public.tasks_between(p_now - interval '1 hour', p_now) AS b WHERE b.status <> 'cancelled' GROUP BY b.task_type
    ) AS t
    CROSS JOIN LATERAL public.grade(v_thresholds, 'processing_time', t.task_type, t.seconds) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_processing_time(timestamptz, monitoring_thresholds[]) IS
    'processing_time: seconds that the tasks of each type took, 95th percentile (to about 2.5 percent) of those that ended within the hour before the moment.';

CREATE OR REPLACE FUNCTION ended_last_hour(p_now timestamptz)
RETURNS TABLE (task_type text, completed bigint, failed bigint, cancelled bigint, avg_seconds double precision, percentiles double precision[],
    last_start timestamptz, last_end timestamptz, last_failed_at timestamptz, last_error text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.task_type, s.completed, s.failed, s.cancelled, s.avg_seconds,
        public.percentiles_of(s.counts, s.means, '{0.5,0.95,0.99}'),
        s.last_start, s.last_end, s.last_failed_at,
        (SELECT h.error_message FROM public.processing_metrics_history h WHERE h.end_time = s.last_failed_at AND h.task_type = s.task_type AND h.status = 'failed' LIMIT 1)
    FROM (
        SELECT t.task_type, COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'completed'), 0)::bigint AS completed, COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'failed'), 0)::bigint AS failed,
            COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'cancelled'), 0)::bigint AS cancelled, sum(t.seconds) / sum(t.tasks)::double precision AS avg_seconds,
            array_agg(t.tasks ORDER BY t.bucket) AS counts, array_agg(t.seconds / t.tasks ORDER BY t.bucket) AS means,
            max(t.last_start) AS last_start, max(t.last_end) AS last_end, max(t.last_end) FILTER (WHERE t.status = 'failed') AS last_failed_at
        FROM public.tasks_between(p_now - interval '1 hour', p_now) AS t GROUP BY t.task_type
    ) AS s;
END
$body$;
COMMENT ON FUNCTION ended_last_hour(timestamptz) IS 'The tasks of each type that ended within an hour: counts, mean and 50th, 95th and 99th percentile of their seconds, last start, end, failure and its message.';

CREATE OR REPLACE VIEW v_realtime_processing_status AS
WITH running AS (
    SELECT r.task_type, count(*) AS running, count(DISTINCT r.worker_id) AS workers, min(r.start_time) AS oldest_start,
        (array_agg(r.task_id ORDER BY r.start_time))[1] AS oldest_task_id, max(r.heartbeat_at) AS last_heartbeat_at, max(r.start_time) AS last_start
    FROM processing_metrics_running r GROUP BY r.task_type
)
SELECT COALESCE(r.task_type, e.task_type) AS task_type,
    COALESCE(r.running, 0) AS running, COALESCE(r.workers, 0) AS busy_workers,
    extract(epoch FROM now() - r.oldest_start)::double precision AS oldest_running_seconds, r.oldest_task_id AS oldest_running_task_id,
    extract(epoch FROM now() - r.last_heartbeat_at)::double precision AS last_heartbeat_age_seconds,
    COALESCE(e.completed, 0) AS completed_last_hour, COALESCE(e.failed, 0) AS failed_last_hour, COALESCE(e.cancelled, 0) AS cancelled_last_hour,
    round(100.0 * e.failed / NULLIF(e.completed + e.failed, 0), 2) AS failure_rate_percent,
    round((COALESCE(e.completed, 0) + COALESCE(e.failed, 0) + COALESCE(e.cancelled, 0)) / 60.0, 2) AS ended_per_minute,
    e.avg_seconds, e.percentiles[1] AS p50_seconds, e.percentiles[2] AS p95_seconds, e.percentiles[3] AS p99_seconds,
    GREATEST(r.last_start, e.last_start) AS last_started_at, e.last_end AS last_ended_at, e.last_failed_at, e.last_error
FROM running r FULL JOIN ended_last_hour(now()) AS e ON e.task_type = r.task_type
ORDER BY COALESCE(e.failed, 0) DESC, 1;
COMMENT ON VIEW v_realtime_processing_status IS
    'Each task type now and over the last hour: what runs and for how long, what ended how, durations in seconds (percentiles to about 2.5 percent), the last error.';

-- ---------------------------------------------------------------------------------------------------------------
-- Errors.

CREATE OR REPLACE FUNCTION affected_tasks(p_component text, p_severities text[], p_from timestamptz, p_to timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_few    constant bigint := 1000;
    v_errors bigint;
    v_tasks  bit(512);
BEGIN
    SELECT sum(b.errors), bit_or(b.tasks) INTO v_errors, v_tasks FROM public.errors_between(p_from, p_to, p_component) AS b WHERE b.severity = ANY (p_severities);
    IF v_errors > c_few THEN
        RETURN public.count_sketched(v_tasks);
    END IF;
    RETURN (SELECT count(DISTINCT e.task_id) FROM public.error_tracking e
            WHERE e.component = p_component AND e.severity = ANY (p_severities) AND e.occurred_at > p_from AND e.occurred_at <= p_to);
END
$body$;
COMMENT ON FUNCTION affected_tasks(text, text[], timestamptz, timestamptz) IS 'How many different tasks the errors of a component were about; of more than a thousand errors about how many.';

CREATE OR REPLACE FUNCTION evidence_of_errors(p_component text, p_severities text[], p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_hour  constant interval := interval '1 hour';
    v_tasks bigint := public.affected_tasks(p_component, p_severities, p_now - c_hour, p_now);
BEGIN
    RETURN public.hour_window(p_now) || (
        SELECT jsonb_build_object(
            'measured', concat_ws(', ', public.counted(COALESCE(sum(b.errors), 0)::double precision, 'error'), CASE WHEN v_tasks > 0 THEN public.counted(v_tasks, 'task') || ' affected' END),
            'totals', jsonb_build_object('errors', COALESCE(sum(b.errors), 0), 'tasks', v_tasks,
                'critical', COALESCE(sum(b.errors) FILTER (WHERE b.severity = 'critical'), 0), 'high', COALESCE(sum(b.errors) FILTER (WHERE b.severity = 'high'), 0)))
        FROM public.errors_between(p_now - c_hour, p_now, p_component) AS b WHERE b.severity = ANY (p_severities)
    ) || public.trend('errors', '30 minutes', (
        SELECT array_agg(s.errors ORDER BY s.step DESC) FROM (
            SELECT b.step, COALESCE(sum(e.errors), 0)::double precision AS errors FROM generate_series(0, 11) AS b (step)
            LEFT JOIN public.errors_between(p_now - interval '6 hours', p_now, p_component, interval '30 minutes') AS e ON e.step = b.step AND e.severity = ANY (p_severities) GROUP BY b.step) AS s)
    ) || jsonb_build_object('top', COALESCE((
        SELECT jsonb_agg(to_jsonb(g) ORDER BY g.count DESC, g.first_at) FROM (
            SELECT count(*) AS count, n.error_type AS what, min(n.error_message) AS message, NULL::text AS "where",
                min(n.occurred_at) AS first_at, max(n.occurred_at) AS last_at, max(n.task_id) AS sample
            FROM (
                SELECT e.* FROM public.error_tracking e
                WHERE e.component = p_component AND e.severity = ANY (p_severities) AND e.occurred_at > p_now - c_hour AND e.occurred_at <= p_now ORDER BY e.occurred_at DESC LIMIT 1000) AS n
            GROUP BY n.error_type, public.error_signature(n.error_message)
            ORDER BY 1 DESC LIMIT 5) AS g), '[]'));
END
$body$;
COMMENT ON FUNCTION evidence_of_errors(text, text[], timestamptz) IS
    'What the last hour''s errors of a component and some severities were: how many, of how many tasks, the trend of six hours, and of the newest thousand the kinds, messages, first and last time.';

CREATE OR REPLACE FUNCTION error_evidence(p_component text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.evidence_of_errors(p_component, '{low,medium,high,critical}', p_now);
END
$body$;
COMMENT ON FUNCTION error_evidence(text, timestamptz) IS 'What the last hour''s errors of a component were, whatever their severity.';

CREATE OR REPLACE FUNCTION evaluate_error_rate(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY
    SELECT 'error_rate', c.component, g.severity, c.errors, g.threshold, 'errors/h',
        format('%s in the last hour (limit %s)', public.counted(c.errors, 'error'), public.in_words(g.threshold)),
        CASE WHEN g.severity IS NOT NULL THEN public.error_evidence(c.component, p_now) END
    FROM (SELECT e.component, sum(e.errors)::double precision AS errors FROM public.errors_between(p_now - interval '1 hour', p_now) AS e GROUP BY e.component) AS c
    CROSS JOIN LATERAL public.grade(v_thresholds, 'error_rate', c.component, c.errors) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_error_rate(timestamptz, monitoring_thresholds[]) IS 'error_rate: errors of each component within the hour before the moment.';

CREATE OR REPLACE FUNCTION errors_last_day(p_now timestamptz)
RETURNS TABLE (component text, error_type text, errors_24h bigint, errors_last_hour bigint, low bigint, medium bigint, high bigint, critical bigint, affected_tasks bigint,
    first_seen_at timestamptz, last_seen_at timestamptz, last_message text, last_task_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    WITH part AS (
        SELECT e.*, false AS is_last_hour FROM public.errors_between(p_now - interval '24 hours', p_now - interval '1 hour') AS e
        UNION ALL SELECT e.*, true FROM public.errors_between(p_now - interval '1 hour', p_now) AS e
    )
    SELECT s.component, s.error_type, s.errors, s.last_hour, s.low, s.medium, s.high, s.critical, public.count_sketched(s.tasks), s.first_at, s.last_at, n.error_message, n.task_id
    FROM (
        SELECT p.component, p.error_type, sum(p.errors)::bigint AS errors, COALESCE(sum(p.errors) FILTER (WHERE p.is_last_hour), 0)::bigint AS last_hour,
            COALESCE(sum(p.errors) FILTER (WHERE p.severity = 'low'), 0)::bigint AS low, COALESCE(sum(p.errors) FILTER (WHERE p.severity = 'medium'), 0)::bigint AS medium,
            COALESCE(sum(p.errors) FILTER (WHERE p.severity = 'high'), 0)::bigint AS high, COALESCE(sum(p.errors) FILTER (WHERE p.severity = 'critical'), 0)::bigint AS critical,
            bit_or(p.tasks) AS tasks, min(p.first_at) AS first_at, max(p.last_at) AS last_at
        FROM part p GROUP BY p.component, p.error_type
    ) AS s
    LEFT JOIN LATERAL (
        SELECT e.error_message, e.task_id FROM public.error_tracking e WHERE e.component = s.component AND e.occurred_at = s.last_at AND e.error_type = s.error_type LIMIT 1) AS n ON true;
END
$body$;
COMMENT ON FUNCTION errors_last_day(timestamptz) IS 'The errors of 24 hours by component and type: counts, also of the last hour and by severity, about how many tasks, first, last and newest message.';

CREATE OR REPLACE VIEW v_error_summary AS
SELECT d.component, d.error_type, d.errors_24h, d.errors_last_hour, d.low, d.medium, d.high, d.critical, d.affected_tasks, d.first_seen_at, d.last_seen_at,
    extract(epoch FROM now() - d.last_seen_at)::double precision AS last_seen_age_seconds, d.last_message, d.last_task_id
FROM errors_last_day(now()) AS d ORDER BY d.errors_24h DESC;
COMMENT ON VIEW v_error_summary IS 'The errors of the last 24 hours by component and type: counts by severity, about how many tasks are affected, first, last and newest message.';

-- ---------------------------------------------------------------------------------------------------------------
-- Measurements.

CREATE OR REPLACE FUNCTION metrics_last_day(p_now timestamptz)
RETURNS TABLE (metric_name text, metric_type text, component text, unit text, hour timestamptz, measurements bigint, avg_value double precision, min_value double precision,
    max_value double precision, percentiles double precision[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT m.metric_name, m.metric_type, m.component, m.unit, m.hour, m.measurements, m.total / m.measurements, m.min_value, m.max_value, public.percentiles_of(m.counts, m.means, '{0.5,0.95,0.99}')
    FROM public.metrics_since(date_bin('1 hour', p_now - interval '23 hours', '0001-01-01 00:00:00+00')) AS m;
END
$body$;
COMMENT ON FUNCTION metrics_last_day(timestamptz) IS 'Each measurement by UTC hour, of this hour and the 23 before: mean, extremes, and 50th, 95th and 99th percentile (to about 2.5 percent).';

CREATE OR REPLACE VIEW v_performance_trends AS
SELECT h.metric_name, h.metric_type, h.component, h.unit, h.hour, h.measurements, h.avg_value, h.min_value, h.max_value,
    h.percentiles[1] AS p50, h.percentiles[2] AS p95, h.percentiles[3] AS p99,
    lag(h.avg_value) OVER earlier AS previous_avg_value,
    round((100 * (h.avg_value / NULLIF(lag(h.avg_value) OVER earlier, 0) - 1))::numeric, 1) AS change_percent
FROM metrics_last_day(now()) AS h
WINDOW earlier AS (PARTITION BY h.metric_name, h.metric_type, h.component, h.unit ORDER BY h.hour)
ORDER BY h.metric_name, h.component, h.hour DESC;
COMMENT ON VIEW v_performance_trends IS 'Each measurement by UTC hour over 24 hours: mean, extremes, percentiles (to about 2.5 percent), and the change against the hour before.';

-- ---------------------------------------------------------------------------------------------------------------
-- Summaries.

CREATE OR REPLACE FUNCTION error_summary(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (SELECT jsonb_build_object('last_hour', COALESCE(sum(d.errors_last_hour), 0), 'last_24h', COALESCE(sum(d.errors_24h), 0), 'critical_24h', COALESCE(sum(d.critical), 0), 'last_at', max(d.last_seen_at))
            FROM public.errors_last_day(p_now) AS d);
END
$body$;
COMMENT ON FUNCTION error_summary(timestamptz) IS 'The part "errors" of the dashboard summary.';

CREATE OR REPLACE FUNCTION get_dashboard_summary(p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN jsonb_build_object(
        'generated_at', p_now,
        'tasks', public.task_summary(p_now),
        'errors', public.error_summary(p_now),
        'components', (SELECT jsonb_build_object('healthy', count(*) FILTER (WHERE s.status = 'healthy'), 'degraded', count(*) FILTER (WHERE s.status = 'degraded'),
                'unhealthy', count(*) FILTER (WHERE s.status = 'unhealthy')) FROM public.component_states_at(p_now) AS s),
        'queues', (SELECT COALESCE(jsonb_agg(jsonb_build_object('name', q.queue_name, 'pending', q.pending, 'processing', q.processing, 'oldest_pending_seconds', q.oldest_pending_seconds,
                'reported_at', q.reported_at) ORDER BY q.pending DESC), '[]') FROM public.queue_reports_at(p_now) AS q),
        'hosts', (SELECT COALESCE(jsonb_agg(jsonb_build_object('name', h.host, 'cpu_percent', h.cpu_percent, 'memory_percent', h.memory_percent,
                'disk_percent', (SELECT max((d->>'percent')::double precision) FROM jsonb_array_elements(COALESCE(h.sample->'disks', '[]')) AS d), 'sampled_at', h.sampled_at) ORDER BY h.host), '[]')
            FROM public.host_samples_at(p_now) AS h),
        'alerts', (SELECT jsonb_build_object('open', count(*), 'critical', count(*) FILTER (WHERE a.severity = 'critical'), 'high', count(*) FILTER (WHERE a.severity = 'high'),
                'medium', count(*) FILTER (WHERE a.severity = 'medium'), 'low', count(*) FILTER (WHERE a.severity = 'low'), 'acknowledged', count(*) FILTER (WHERE a.acknowledged_at IS NOT NULL),
                'opened_24h', (SELECT count(*) FROM public.alerts o WHERE o.opened_at > p_now - interval '24 hours'))
            FROM public.alerts a WHERE a.resolved_at IS NULL),
        'automon', public.automon_summary(p_now));
END
$body$;
COMMENT ON FUNCTION get_dashboard_summary(timestamptz) IS 'Everything at a glance, as JSON: tasks, errors, components, queues, hosts, alerts, and automon itself.';

-- ---------------------------------------------------------------------------------------------------------------
-- What an alert's end leaves, and what was missed.

CREATE OR REPLACE FUNCTION left_unrepaired(p_alert alerts) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_count bigint;
BEGIN
    CASE p_alert.alert_type
        WHEN 'failure_rate' THEN
            SELECT COALESCE(sum(t.tasks), 0) INTO v_count FROM public.tasks_between(p_alert.opened_at - interval '1 hour', p_alert.resolved_at, p_alert.source) AS t WHERE t.status = 'failed';
            RETURN CASE WHEN v_count > 0 THEN jsonb_build_object('left', public.counted(v_count, 'failed task') || CASE v_count WHEN 1 THEN ' was' ELSE ' were' END || ' not repeated') ELSE '{}'::jsonb END;
        WHEN 'error_rate', 'critical_errors' THEN
            v_count := public.affected_tasks(p_alert.source, CASE p_alert.alert_type WHEN 'critical_errors' THEN '{critical}' ELSE '{low,medium,high,critical}' END::text[],
                p_alert.opened_at - interval '1 hour', p_alert.resolved_at);
            RETURN CASE WHEN v_count > 0 THEN jsonb_build_object('left', public.counted(v_count, 'task') || ' with errors' || CASE v_count WHEN 1 THEN ' was' ELSE ' were' END || ' not repeated') ELSE '{}'::jsonb END;
        WHEN 'queue_backlog' THEN
            RETURN CASE WHEN p_alert.value > 0 THEN jsonb_build_object('left', public.counted(p_alert.value, 'task') || CASE p_alert.value WHEN 1 THEN ' still waits' ELSE ' still wait' END) ELSE '{}'::jsonb END;
        ELSE
            RETURN '{}'::jsonb;
    END CASE;
END
$body$;
COMMENT ON FUNCTION left_unrepaired(alerts) IS 'What the end of an alert did not repair, as the part "left" of an evidence; empty when nothing is left.';

CREATE OR REPLACE FUNCTION judge_blind_periods(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_remembered constant interval := interval '1 day';
    v_period  public.blind_periods;
    v_known   bigint;
    v_finding public.monitoring_finding;
    v_opened  integer := 0;
BEGIN
    FOR v_period IN SELECT b.* FROM public.blind_periods b WHERE b.ended_at > p_now - c_remembered AND b.ended_at <= p_now ORDER BY b.id LOOP
        v_known := COALESCE((SELECT sum(e.errors) FROM public.errors_between(v_period.began_at, v_period.ended_at) AS e), 0)
                 + COALESCE((SELECT sum(t.tasks) FROM public.tasks_between(v_period.began_at, v_period.ended_at) AS t), 0);
        CONTINUE WHEN v_known <= v_period.judged;
        UPDATE public.blind_periods b SET judged = v_known WHERE b.id = v_period.id;
        FOR v_finding IN SELECT f.* FROM public.late_findings(v_period.began_at, v_period.ended_at) AS f LOOP
            PERFORM public.open_alert(v_finding, p_now);
            v_opened := v_opened + 1;
        END LOOP;
    END LOOP;
    IF v_opened > 0 THEN
        PERFORM public.hand_on_deliveries();
    END IF;
    RETURN v_opened;
END
$body$;
COMMENT ON FUNCTION judge_blind_periods(timestamptz) IS
    'Judges what is known of the blind periods of the last day, whenever more of it has been recorded since; answers how many alerts it opened. The caller holds lock_alerts.';

CREATE OR REPLACE FUNCTION blind_evidence(p_began timestamptz, p_ended timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_reports double precision; v_sources bigint; v_parts text;
    v_tasks   bigint := COALESCE((SELECT sum(t.tasks) FROM public.tasks_between(p_began - interval '24 hours', p_began) AS t), 0);
    v_usual   double precision := v_tasks * extract(epoch FROM p_ended - p_began) / 86400;
BEGIN
    SELECT COALESCE(sum(m.reports), 0), COALESCE(sum(m.sources), 0), string_agg(public.in_words(m.reports) || ' of ' || public.counted(m.sources, m.kind), ', ' ORDER BY m.kind)
    INTO v_reports, v_sources, v_parts FROM public.missed_reports(p_began, p_ended) AS m;
    RETURN jsonb_build_object('window_from', p_began, 'window_to', p_ended,
        'totals', jsonb_build_object('reports', v_reports, 'sources', v_sources, 'usual_tasks', floor(v_usual)),
        'measured', concat_ws('; ',
            CASE WHEN v_reports > 0 THEN format('about %s cannot be known (%s)', public.counted(v_reports, 'expected report'), v_parts) ELSE 'no report that was expected is missing' END,
            CASE WHEN v_usual >= 1 THEN format('%s usually end in such a time', public.counted(floor(v_usual), 'task')) END),
        'left', 'what is recorded late is judged late');
END
$body$;
COMMENT ON FUNCTION blind_evidence(timestamptz, timestamptz) IS 'What automon cannot know of a blind period: reports that were to be expected, and how many tasks usually end in such a time.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
