-- Queues: `queue_monitoring`, a row for each report, a partition for each UTC day.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE SEQUENCE IF NOT EXISTS queue_monitoring_id_seq;

CREATE TABLE IF NOT EXISTS queue_monitoring (
    id                     bigint           NOT NULL DEFAULT nextval('queue_monitoring_id_seq'),
    queue_name             text             NOT NULL,
    recorded_at            timestamptz      NOT NULL,
    pending                bigint           NOT NULL,
    processing             bigint,
    completed              bigint,
    failed                 bigint,
    oldest_pending_seconds double precision,
    CONSTRAINT counts_are_not_negative CHECK (pending >= 0 AND processing >= 0 AND completed >= 0 AND failed >= 0 AND oldest_pending_seconds >= 0)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE queue_monitoring IS 'What queues reported. completed and failed count since the report before.';
CREATE UNIQUE INDEX IF NOT EXISTS one_report_per_queue_and_moment ON queue_monitoring (queue_name, recorded_at);
ALTER TABLE queue_monitoring ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION update_queue_metrics(
    p_queue_name text, p_pending bigint, p_processing bigint DEFAULT NULL, p_completed bigint DEFAULT NULL, p_failed bigint DEFAULT NULL,
    p_oldest_pending_seconds double precision DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at timestamptz := public.fact_moment(p_at);
BEGIN
    IF NOT public.is_name(p_queue_name) THEN PERFORM public.refuse_name('queue_name', p_queue_name); END IF;
    IF p_pending IS NULL THEN
        PERFORM public.refuse('AM004', 'invalid_number: pending is missing', 'Give the number of tasks that wait in the queue.');
    END IF;
    IF LEAST(p_pending, p_processing, p_completed, p_failed) < 0 THEN
        PERFORM public.refuse_negative('the lowest of the counts', LEAST(p_pending, p_processing, p_completed, p_failed));
    END IF;
    IF p_oldest_pending_seconds < 0 OR p_oldest_pending_seconds IN ('NaN', 'Infinity') THEN
        PERFORM public.refuse_negative('oldest_pending_seconds', p_oldest_pending_seconds);
    END IF;
    INSERT INTO public.monitored_sources (kind, name, first_reported_at) VALUES ('queue', p_queue_name, v_at) ON CONFLICT (kind, name) DO NOTHING;
    IF to_regclass('public.' || public.day_partition_name('queue_monitoring', v_at)) IS NULL THEN
        PERFORM public.ensure_day_partition('queue_monitoring', v_at);
    END IF;
    INSERT INTO public.queue_monitoring (queue_name, recorded_at, pending, processing, completed, failed, oldest_pending_seconds)
    VALUES (p_queue_name, v_at, p_pending, p_processing, p_completed, p_failed, p_oldest_pending_seconds)
    ON CONFLICT (queue_name, recorded_at) DO NOTHING;
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION update_queue_metrics(text, bigint, bigint, bigint, bigint, double precision, timestamptz) IS
    'Records how long a queue is; completed and failed count since the last report. True when stored, false when that moment is known. Raises AM001, AM004, AM005.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
