-- What every file shares (argument checks, day partitions), and the tasks: `processing_metrics`.
--
-- A task is one row: in the small leaf `processing_metrics_running` while it runs, and in the day of its end, below
-- `processing_metrics_history`, afterwards. Both are leaves of one table, so users query `processing_metrics`.
SET check_function_bodies = off;
SET client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------
-- Argument checks. Codes: AM001 invalid_name, AM002 invalid_status, AM003 invalid_severity, AM004 invalid_number,
-- AM005 invalid_time, AM006 naive_time, AM007 unknown_task, AM008 ends_before_start, AM009 unknown_alert,
-- AM010 changed_migration, AM011 newer_schema, AM012 invalid_setting.

CREATE OR REPLACE FUNCTION refuse(p_code text, p_message text, p_hint text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION '%', p_message USING ERRCODE = p_code, HINT = p_hint;
END
$body$;
COMMENT ON FUNCTION refuse(text, text, text) IS 'Raises the named error with its hint; whatever the caller wrote is undone.';

CREATE OR REPLACE FUNCTION is_name(p_value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p_value IS NOT NULL AND p_value <> '' AND octet_length(p_value) <= 512;
END;
COMMENT ON FUNCTION is_name(text) IS 'Answers whether a text can name something: not empty, at most 512 bytes (what an index holds).';

CREATE OR REPLACE FUNCTION refuse_name(p_what text, p_value text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse('AM001', format('invalid_name: %s is %s', p_what,
        CASE WHEN p_value IS NULL THEN 'missing' WHEN p_value = '' THEN 'empty' ELSE octet_length(p_value) || ' bytes long' END),
        format('Give %s as a text of 1 to 512 bytes.', p_what));
END
$body$;
COMMENT ON FUNCTION refuse_name(text, text) IS 'Raises AM001 invalid_name.';

CREATE OR REPLACE FUNCTION refuse_negative(p_what text, p_value double precision) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse('AM004', format('invalid_number: %s is %s', p_what, COALESCE(p_value::text, 'missing')), format('Give %s as a number that is not negative, or leave it out.', p_what));
END
$body$;
COMMENT ON FUNCTION refuse_negative(text, double precision) IS 'Raises AM004 invalid_number.';

CREATE OR REPLACE FUNCTION refuse_severity(p_value text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse('AM003', format('invalid_severity: %L is not a severity', p_value), 'Use low, medium, high or critical.');
END
$body$;
COMMENT ON FUNCTION refuse_severity(text) IS 'Raises AM003 invalid_severity.';

CREATE OR REPLACE FUNCTION fact_moment(p_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF p_at IS NULL THEN
        RETURN clock_timestamp();
    END IF;
    -- One minute is what clocks of a well-kept fleet differ by at the most.
    IF p_at > clock_timestamp() + interval '1 minute' THEN
        PERFORM public.refuse('AM005', format('invalid_time: %s lies in the future of the database, where it is %s', p_at, clock_timestamp()),
            'Record what has happened; if the clocks differ, set the clock of the reporting machine (NTP).');
    ELSIF p_at < '2000-01-01 00:00:00+00' THEN
        PERFORM public.refuse('AM005', format('invalid_time: %s is before the year 2000', p_at), 'Check the unit: seconds, not milliseconds, since 1970?');
    END IF;
    RETURN p_at;
END
$body$;
COMMENT ON FUNCTION fact_moment(timestamptz) IS
    'The moment of a fact: the one given, or now. Raises AM005 invalid_time for one more than a minute ahead, or before the year 2000.';

CREATE OR REPLACE FUNCTION severity_rank(p_severity text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE p_severity WHEN 'low' THEN 1 WHEN 'medium' THEN 2 WHEN 'high' THEN 3 WHEN 'critical' THEN 4 END;
END;
COMMENT ON FUNCTION severity_rank(text) IS '1 (low) to 4 (critical); NULL for anything else.';

-- ---------------------------------------------------------------------------------------------------------------
-- Day partitions. Bounds are literal UTC, whatever the session's time zone.

CREATE OR REPLACE FUNCTION day_partition_name(p_table text, p_at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p_table || '_' || to_char(p_at AT TIME ZONE 'UTC', 'YYYYMMDD');
END;
COMMENT ON FUNCTION day_partition_name(text, timestamptz) IS 'The name of the partition that holds the UTC day of a moment.';

CREATE OR REPLACE FUNCTION ensure_day_partition(p_table text, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_name   text := public.day_partition_name(p_table, p_at);
    v_day    date := (p_at AT TIME ZONE 'UTC')::date;
    v_column text;
    v_role   text;
BEGIN
    IF to_regclass('public.' || quote_ident(v_name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('automon partitions', 0));
    -- Not to_regclass: it would repeat from this session's cache that there was no such table before the wait.
    IF EXISTS (SELECT FROM pg_class c JOIN pg_class parent ON parent.relnamespace = c.relnamespace
               WHERE c.relname = v_name AND parent.oid = to_regclass('public.' || quote_ident(p_table))) THEN
        RETURN false;
    END IF;
    -- Made aside and attached: PARTITION OF would lock the parent against every writer.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', v_name, p_table);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', v_name);
    -- Managed services open every new table of "public" to their web roles by default privileges.
    FOR v_role IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.oid = to_regclass('public.' || quote_ident(v_name)) AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM %s', v_name, v_role);
    END LOOP;
    -- Statistics of jsonb columns serve no query here and make ANALYZE of many days take minutes.
    FOR v_column IN
        SELECT a.attname FROM pg_attribute a
        WHERE a.attrelid = to_regclass('public.' || quote_ident(v_name)) AND a.atttypid = 'jsonb'::regtype AND NOT a.attisdropped
    LOOP
        EXECUTE format('ALTER TABLE public.%I ALTER COLUMN %I SET STATISTICS 0', v_name, v_column);
    END LOOP;
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', p_table, v_name,
        to_char(v_day, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(v_day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
    RETURN true;
END
$body$;
COMMENT ON FUNCTION ensure_day_partition(text, timestamptz) IS
    'Makes the partition for the UTC day of a moment and answers whether it was missing. Takes SHARE UPDATE EXCLUSIVE on the table; writers go on.';

CREATE OR REPLACE FUNCTION day_partitioned_tables() RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    VALUES ('processing_metrics_history'), ('error_tracking'), ('performance_monitoring'), ('queue_monitoring'), ('host_metrics');
END;
COMMENT ON FUNCTION day_partitioned_tables() IS 'The tables that are partitioned by UTC day.';

CREATE OR REPLACE FUNCTION ensure_partitions(p_days_ahead integer DEFAULT 8, p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_made integer;
BEGIN
    SELECT count(*) FILTER (WHERE public.ensure_day_partition(t.name, p_now + make_interval(days => d.ahead))) INTO v_made
    FROM public.day_partitioned_tables() AS t (name) CROSS JOIN generate_series(-1, p_days_ahead) AS d (ahead);
    RETURN v_made;
END
$body$;
COMMENT ON FUNCTION ensure_partitions(integer, timestamptz) IS
    'Makes the partitions of yesterday, today and the days ahead of every table of facts; answers how many were missing. Idempotent.';

-- ---------------------------------------------------------------------------------------------------------------
-- Tasks.

CREATE SEQUENCE IF NOT EXISTS processing_metrics_id_seq;

CREATE TABLE IF NOT EXISTS processing_metrics (
    id               bigint           NOT NULL DEFAULT nextval('processing_metrics_id_seq'),
    task_id          text             NOT NULL,
    task_type        text             NOT NULL,
    worker_id        text,
    status           text             NOT NULL DEFAULT 'running',
    start_time       timestamptz      NOT NULL,
    end_time         timestamptz,
    duration_seconds double precision,
    input_size       bigint,
    output_size      bigint,
    heartbeat_at     timestamptz,
    progress         double precision,
    current_step     text,
    step_timings     jsonb,
    error_message    text,
    CONSTRAINT status_is_known CHECK (status IN ('running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT running_iff_not_ended CHECK ((end_time IS NULL) = (status = 'running')),
    CONSTRAINT duration_set_iff_ended CHECK ((end_time IS NULL) = (duration_seconds IS NULL)),
    CONSTRAINT ends_after_start CHECK (end_time >= start_time),
    CONSTRAINT sizes_are_not_negative CHECK (input_size >= 0 AND output_size >= 0),
    CONSTRAINT progress_is_a_percentage CHECK (progress BETWEEN 0 AND 100)
) PARTITION BY LIST ((end_time IS NULL));
COMMENT ON TABLE processing_metrics IS 'Tasks: one row for each execution of the user''s work, running or ended. Sizes in bytes or items, as the user counts; progress in percent.';

CREATE TABLE IF NOT EXISTS processing_metrics_running
    PARTITION OF processing_metrics (CONSTRAINT one_running_row_per_task UNIQUE (task_id)) FOR VALUES IN (true)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200);
COMMENT ON TABLE processing_metrics_running IS 'The tasks that run now; small, whatever the history holds.';

CREATE TABLE IF NOT EXISTS processing_metrics_history
    PARTITION OF processing_metrics FOR VALUES IN (false) PARTITION BY RANGE (end_time);
COMMENT ON TABLE processing_metrics_history IS 'The tasks that have ended, a partition for each UTC day of their end.';
CREATE INDEX IF NOT EXISTS processing_metrics_history_end_time ON processing_metrics_history (end_time);
CREATE INDEX IF NOT EXISTS processing_metrics_history_start_time ON processing_metrics_history (start_time);
CREATE INDEX IF NOT EXISTS processing_metrics_history_task_id ON processing_metrics_history (task_id);

ALTER TABLE processing_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE processing_metrics_running ENABLE ROW LEVEL SECURITY;
ALTER TABLE processing_metrics_history ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION start_task_tracking(
    p_task_id text, p_task_type text, p_input_size bigint DEFAULT NULL, p_worker_id text DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at timestamptz := public.fact_moment(p_at);
BEGIN
    IF NOT public.is_name(p_task_id) THEN PERFORM public.refuse_name('task_id', p_task_id); END IF;
    IF NOT public.is_name(p_task_type) THEN PERFORM public.refuse_name('task_type', p_task_type); END IF;
    IF p_input_size < 0 THEN PERFORM public.refuse_negative('input_size', p_input_size); END IF;
    -- Only a replay gives the moment; it alone pays for a look into the history, and only from that day on.
    IF p_at IS NOT NULL AND EXISTS (
        SELECT FROM public.processing_metrics_history h
        WHERE h.task_id = p_task_id AND h.start_time = v_at AND h.end_time >= v_at AND h.end_time <= clock_timestamp() + interval '1 minute'
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO public.processing_metrics_running (task_id, task_type, input_size, worker_id, start_time)
    VALUES (p_task_id, p_task_type, p_input_size, p_worker_id, v_at)
    ON CONFLICT ON CONSTRAINT one_running_row_per_task DO NOTHING;
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION start_task_tracking(text, text, bigint, text, timestamptz) IS
    'Records that a task starts. True when stored; false when a task of that id runs already (the first start stands) or this start was recorded before. Raises AM001, AM004, AM005.';

CREATE OR REPLACE FUNCTION refuse_unknown_task(p_task_id text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NOT EXISTS (SELECT FROM public.processing_metrics_history h WHERE h.task_id = p_task_id) THEN
        PERFORM public.refuse('AM007', format('unknown_task: no task %L is running or has ended', p_task_id),
            'Call start_task_tracking first, with the same id.');
    END IF;
    RETURN false;
END
$body$;
COMMENT ON FUNCTION refuse_unknown_task(text) IS
    'False for a task that has ended; raises AM007 for one that never started. Looks through every day: not for the hot path.';

CREATE OR REPLACE FUNCTION refuse_early_end(p_task_id text, p_at timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_start timestamptz := (SELECT r.start_time FROM public.processing_metrics_running r WHERE r.task_id = p_task_id);
BEGIN
    -- The end of an earlier run of the same task that is replayed is no mistake.
    IF p_at < v_start AND NOT EXISTS (SELECT FROM public.processing_metrics_history h WHERE h.task_id = p_task_id AND h.end_time = p_at) THEN
        PERFORM public.refuse('AM008', format('ends_before_start: task %L started %s and cannot end %s', p_task_id, v_start, p_at),
            'Give the moment of the end, with its time zone.');
    END IF;
END
$body$;
COMMENT ON FUNCTION refuse_early_end(text, timestamptz) IS
    'Raises AM008 for an end before the start of the task that runs, unless it is the known end of an earlier run. Looks into the history: not for the hot path.';

CREATE OR REPLACE FUNCTION complete_task_tracking(
    p_task_id text, p_status text DEFAULT 'completed', p_output_size bigint DEFAULT NULL, p_step_timings jsonb DEFAULT NULL,
    p_error_message text DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at   timestamptz := public.fact_moment(p_at);
    v_task public.processing_metrics_running;
BEGIN
    IF p_status IS NULL OR p_status NOT IN ('completed', 'failed', 'cancelled') THEN
        PERFORM public.refuse('AM002', format('invalid_status: %L is not how a task ends', p_status), 'Use completed, failed or cancelled.');
    END IF;
    IF p_output_size < 0 THEN PERFORM public.refuse_negative('output_size', p_output_size); END IF;

    -- Not an UPDATE of the partition key: of two sessions that complete one task, the second finds nothing and gets a polite false.
    DELETE FROM public.processing_metrics_running r WHERE r.task_id = p_task_id AND (p_at IS NULL OR r.start_time <= p_at) RETURNING r.* INTO v_task;
    IF NOT FOUND THEN
        PERFORM public.refuse_early_end(p_task_id, p_at);
        RETURN public.refuse_unknown_task(p_task_id);
    END IF;
    v_at := GREATEST(v_at, v_task.start_time);      -- the starter's clock may run ahead of the database's, within the minute that is allowed
    IF to_regclass('public.' || public.day_partition_name('processing_metrics_history', v_at)) IS NULL THEN
        PERFORM public.ensure_day_partition('processing_metrics_history', v_at);
    END IF;
    INSERT INTO public.processing_metrics_history (
        id, task_id, task_type, worker_id, status, start_time, end_time, duration_seconds, input_size, output_size,
        heartbeat_at, progress, current_step, step_timings, error_message)
    VALUES (
        v_task.id, p_task_id, v_task.task_type, v_task.worker_id, p_status, v_task.start_time, v_at,
        extract(epoch FROM v_at - v_task.start_time), v_task.input_size, p_output_size,
        v_task.heartbeat_at, v_task.progress, v_task.current_step, p_step_timings, p_error_message);
    RETURN true;
END
$body$;
COMMENT ON FUNCTION complete_task_tracking(text, text, bigint, jsonb, text, timestamptz) IS
    'Records that a task has ended. True when stored; false when it had ended before (the first end stands). Raises AM002, AM004, AM005, AM007 (never started), AM008.';

CREATE OR REPLACE FUNCTION record_task_heartbeat(
    p_task_id text, p_progress double precision DEFAULT NULL, p_step text DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at timestamptz := public.fact_moment(p_at);
BEGIN
    IF p_progress NOT BETWEEN 0 AND 100 OR p_progress = 'NaN' THEN
        PERFORM public.refuse('AM004', format('invalid_number: progress is %s', p_progress), 'Give progress in percent, 0 to 100.');
    END IF;
    UPDATE public.processing_metrics_running r
    SET heartbeat_at = v_at, progress = COALESCE(p_progress, r.progress), current_step = COALESCE(p_step, r.current_step)
    WHERE r.task_id = p_task_id AND v_at > COALESCE(r.heartbeat_at, r.start_time);
    IF FOUND OR EXISTS (SELECT FROM public.processing_metrics_running r WHERE r.task_id = p_task_id) THEN
        RETURN FOUND;
    END IF;
    RETURN public.refuse_unknown_task(p_task_id);
END
$body$;
COMMENT ON FUNCTION record_task_heartbeat(text, double precision, text, timestamptz) IS
    'Records that a task is alive, its progress in percent and its step. True when stored; false when a later heartbeat is known or the task has ended. Raises AM004, AM005, AM007.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
