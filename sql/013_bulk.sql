-- Bulk forms of the record functions, for clients that catch up: one JSON document, a thousand facts a call.
--
-- A document is read into an array of facts, each with its mistake if it has one; what has none is stored by one
-- statement. The words about a mistake are the same as in the single forms, which are built on them from here on.
SET check_function_bodies = off;
SET client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------
-- Mistakes, as values: {"code", "message", "hint"}. A code of its own, AM014 invalid_document, is for what only a
-- document can get wrong. These are called for mistakes only, so they may take their time.

CREATE OR REPLACE FUNCTION mistake(p_code text, p_message text, p_hint text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT jsonb_build_object('code', p_code, 'message', p_message, 'hint', p_hint);
END;
COMMENT ON FUNCTION mistake(text, text, text) IS 'What is wrong with a fact, as JSON: {"code", "message", "hint"}.';

CREATE OR REPLACE FUNCTION refuse_mistake(p_mistake jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse(p_mistake->>'code', p_mistake->>'message', p_mistake->>'hint');
END
$body$;
COMMENT ON FUNCTION refuse_mistake(jsonb) IS 'Raises a mistake as an error.';

CREATE OR REPLACE FUNCTION name_mistake(p_what text, p_value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM001', format('invalid_name: %s is %s', p_what,
        CASE WHEN p_value IS NULL THEN 'missing' WHEN p_value = '' THEN 'empty' ELSE octet_length(p_value) || ' bytes long' END),
        format('Give %s as a text of 1 to 512 bytes.', p_what));
END
$body$;
COMMENT ON FUNCTION name_mistake(text, text) IS 'AM001 invalid_name, as a value.';

CREATE OR REPLACE FUNCTION refuse_name(p_what text, p_value text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse_mistake(public.name_mistake(p_what, p_value));
END
$body$;

CREATE OR REPLACE FUNCTION end_status_mistake(p_value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM002', format('invalid_status: %L is not how a task ends', p_value), 'Use completed, failed or cancelled.');
END
$body$;
COMMENT ON FUNCTION end_status_mistake(text) IS 'AM002 invalid_status of a task, as a value.';

CREATE OR REPLACE FUNCTION severity_mistake(p_value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM003', format('invalid_severity: %L is not a severity', p_value), 'Use low, medium, high or critical.');
END
$body$;
COMMENT ON FUNCTION severity_mistake(text) IS 'AM003 invalid_severity, as a value.';

CREATE OR REPLACE FUNCTION refuse_severity(p_value text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse_mistake(public.severity_mistake(p_value));
END
$body$;

CREATE OR REPLACE FUNCTION negative_mistake(p_what text, p_value double precision) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM004', format('invalid_number: %s is %s', p_what, COALESCE(p_value::text, 'missing')), format('Give %s as a number that is not negative, or leave it out.', p_what));
END
$body$;
COMMENT ON FUNCTION negative_mistake(text, double precision) IS 'AM004 invalid_number of what cannot be negative, as a value.';

CREATE OR REPLACE FUNCTION refuse_negative(p_what text, p_value double precision) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse_mistake(public.negative_mistake(p_what, p_value));
END
$body$;

CREATE OR REPLACE FUNCTION shown(p_value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN length(p_value) > 60 THEN left(p_value, 60) || '...' ELSE p_value END;
END;
COMMENT ON FUNCTION shown(text) IS 'A wrong value as a message shows it: not more than its beginning.';

CREATE OR REPLACE FUNCTION count_mistake(p_what text, p_value jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF public.is_double(p_value) AND p_value::double precision < 0 THEN
        RETURN public.negative_mistake(p_what, p_value::double precision);
    END IF;
    RETURN public.mistake('AM004', format('invalid_number: %s is %s', p_what, public.shown(p_value::text)), format('Give %s as a whole number below 2^63 that is not negative, or leave it out.', p_what));
END
$body$;
COMMENT ON FUNCTION count_mistake(text, jsonb) IS 'AM004 invalid_number of what is counted, as a value.';

CREATE OR REPLACE FUNCTION value_mistake(p_metric_name text, p_value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM004', format('invalid_number: the value of %L is %s', p_metric_name, COALESCE(public.shown(p_value), 'missing')), 'Give a finite number.');
END
$body$;
COMMENT ON FUNCTION value_mistake(text, text) IS 'AM004 invalid_number of a measurement, as a value.';

CREATE OR REPLACE FUNCTION time_mistake(p_at timestamptz, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF p_at > p_now THEN
        RETURN public.mistake('AM005', format('invalid_time: %s lies in the future of the database, where it is %s', p_at, p_now),
            'Record what has happened; if the clocks differ, set the clock of the reporting machine (NTP).');
    END IF;
    RETURN public.mistake('AM005', format('invalid_time: %s is before the year 2000', p_at), 'Check the unit: seconds, not milliseconds, since 1970?');
END
$body$;
COMMENT ON FUNCTION time_mistake(timestamptz, timestamptz) IS 'AM005 invalid_time of a moment that no fact can have, as a value.';

CREATE OR REPLACE FUNCTION can_have_happened(p_at timestamptz, p_now timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- One minute is what clocks of a well-kept fleet differ by at the most.
    SELECT p_at BETWEEN timestamptz '2000-01-01 00:00:00+00' AND p_now + interval '1 minute';
END;
COMMENT ON FUNCTION can_have_happened(timestamptz, timestamptz) IS 'Whether a fact may have that moment: not before the year 2000, not more than a minute ahead of now.';

CREATE OR REPLACE FUNCTION refuse_moment(p_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse_mistake(public.time_mistake(p_at, clock_timestamp()));
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION refuse_moment(timestamptz) IS 'Raises AM005 invalid_time.';

CREATE OR REPLACE FUNCTION fact_moment(p_at timestamptz) RETURNS timestamptz
LANGUAGE sql VOLATILE
BEGIN ATOMIC
    -- Becomes a part of the expression that calls it: every record function begins with it.
    SELECT CASE WHEN p_at IS NULL THEN clock_timestamp() WHEN can_have_happened(p_at, clock_timestamp()) THEN p_at ELSE refuse_moment(p_at) END;
END;

CREATE OR REPLACE FUNCTION naive_mistake() RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM006', 'naive_time: the moment was given without a time zone', 'Give a timestamp with time zone: an aware datetime in Python, ''2026-01-31 14:02:00+01'' in SQL.');
END
$body$;
COMMENT ON FUNCTION naive_mistake() IS 'AM006 naive_time, as a value.';

CREATE OR REPLACE FUNCTION refuse_naive_time() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse_mistake(public.naive_mistake());
    RETURN false;
END
$body$;

CREATE OR REPLACE FUNCTION moment_mistake(p_what text, p_value text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- With a zone, and with a time of day in case it is a date alone, it would be one.
    IF public.moment_of(p_value || 'Z', false) IS NOT NULL OR public.moment_of(p_value || 'T00:00Z', false) IS NOT NULL THEN
        RETURN public.naive_mistake();
    END IF;
    RETURN public.mistake('AM005', format('invalid_time: %s is %s', p_what, COALESCE(quote_literal(public.shown(p_value)), 'missing')),
        format('Give %s as ISO 8601 with its time zone, such as 2026-01-31T14:02:00+01:00.', p_what));
END
$body$;
COMMENT ON FUNCTION moment_mistake(text, text) IS 'AM005 invalid_time or AM006 naive_time of a text that is no moment, as a value.';

CREATE OR REPLACE FUNCTION early_end_mistake(p_task_id text, p_start timestamptz, p_end timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM008', format('ends_before_start: task %L started %s and cannot end %s', p_task_id, p_start, p_end), 'Give the moment of the end, with its time zone.');
END
$body$;
COMMENT ON FUNCTION early_end_mistake(text, timestamptz, timestamptz) IS 'AM008 ends_before_start, as a value.';

CREATE OR REPLACE FUNCTION refuse_early_end(p_task_id text, p_at timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_start timestamptz := (SELECT r.start_time FROM public.processing_metrics_running r WHERE r.task_id = p_task_id);
BEGIN
    -- The end of an earlier run of the same task that is replayed is no mistake.
    IF p_at < v_start AND NOT EXISTS (SELECT FROM public.processing_metrics_history h WHERE h.task_id = p_task_id AND h.end_time = p_at) THEN
        PERFORM public.refuse_mistake(public.early_end_mistake(p_task_id, v_start, p_at));
    END IF;
END
$body$;

CREATE OR REPLACE FUNCTION id_mistake(p_value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM014', format('invalid_document: the id %L is not a UUID', public.shown(p_value)), 'Give a UUID of the fact''s own, or leave it out: then the content tells it from others.');
END
$body$;
COMMENT ON FUNCTION id_mistake(text) IS 'AM014 invalid_document of an id that is no UUID, as a value.';

CREATE OR REPLACE FUNCTION key_mistake(p_fact jsonb, p_keys text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_hint constant text := format('Use the keys %s.', array_to_string(p_keys, ', '));
BEGIN
    IF jsonb_typeof(p_fact) <> 'object' THEN
        RETURN public.mistake('AM014', format('invalid_document: a fact is an object, not %s', CASE jsonb_typeof(p_fact) WHEN 'array' THEN 'an array' WHEN 'null' THEN 'null' ELSE 'a ' || jsonb_typeof(p_fact) END), c_hint);
    END IF;
    RETURN public.mistake('AM014', format('invalid_document: unknown key %L', (SELECT public.shown(min(k.key)) FROM jsonb_object_keys(p_fact - p_keys) AS k (key))), c_hint);
END
$body$;
COMMENT ON FUNCTION key_mistake(jsonb, text[]) IS 'AM014 invalid_document of a fact that is no object or has a key that is not among those, as a value.';

CREATE OR REPLACE FUNCTION refuse_no_array(p_document jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse('AM014', format('invalid_document: the facts are %s, not an array', COALESCE(CASE jsonb_typeof(p_document) WHEN 'object' THEN 'an object' WHEN 'null' THEN 'null' ELSE 'a ' || jsonb_typeof(p_document) END, 'missing')),
        'Give a JSON array of objects, [] for none.');
END
$body$;
COMMENT ON FUNCTION refuse_no_array(jsonb) IS 'Raises AM014 invalid_document.';

-- ---------------------------------------------------------------------------------------------------------------
-- Questions about values in a document. They become a part of the query that asks, and none of them ever raises.

CREATE OR REPLACE FUNCTION is_fact(p_fact jsonb, p_keys text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN jsonb_typeof(p_fact) = 'object' THEN p_fact - p_keys = '{}' ELSE false END;
END;
COMMENT ON FUNCTION is_fact(jsonb, text[]) IS 'Whether a part of a document is an object with no other keys than those.';

CREATE OR REPLACE FUNCTION moment_pattern() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT '[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.][0-9]{1,9})?)?(?:Z|[+-](?:0[0-9]|1[0-5])(?:[0-5][0-9]|:[0-5][0-9](?::[0-5][0-9])?)?)';
END;
COMMENT ON FUNCTION moment_pattern() IS 'The regular expression of a moment in ISO 8601 with its time zone; it lets February have 31 days.';

CREATE OR REPLACE FUNCTION are_moments(p_values jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p_values::text ~ ('^[[](?:"' || moment_pattern() || '"(?:, )?)*[]]$');
END;
COMMENT ON FUNCTION are_moments(jsonb) IS 'Whether all values of an array look like moments. To match a thousand at once costs a tenth of matching one a thousand times.';

CREATE OR REPLACE FUNCTION moment_of(p_value text, p_looks_like_one boolean) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN (p_looks_like_one OR p_value ~ ('^' || moment_pattern() || '$')) IS NOT TRUE THEN NULL
        WHEN substr(p_value, 9, 2) <= '28' THEN p_value::timestamptz
        WHEN substr(p_value, 9, 2)::integer <= extract(day FROM make_date(left(p_value, 4)::integer, substr(p_value, 6, 2)::integer, 1) + interval '1 month -1 day') THEN p_value::timestamptz
    END;
END;
COMMENT ON FUNCTION moment_of(text, boolean) IS 'The moment that a text means; NULL when it is none, has no time zone, or names a day that there is not.';

CREATE OR REPLACE FUNCTION is_count(p_value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE jsonb_typeof(p_value) WHEN 'number' THEN p_value::numeric BETWEEN 0 AND 9223372036854775807 AND p_value::numeric % 1 = 0 ELSE p_value IS NULL END;
END;
COMMENT ON FUNCTION is_count(jsonb) IS 'Whether a value is a whole number that is not negative, or left out.';

CREATE OR REPLACE FUNCTION is_double(p_value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE jsonb_typeof(p_value) WHEN 'number' THEN
        p_value::numeric = 0 OR abs(p_value::numeric) BETWEEN 4.940656458412465e-324 AND 1.7976931348623157e308 ELSE false END;
END;
COMMENT ON FUNCTION is_double(jsonb) IS 'Whether a value is a number that a double precision holds.';

CREATE OR REPLACE FUNCTION is_uuid(p_value text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p_value ~ '^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$';
END;
COMMENT ON FUNCTION is_uuid(text) IS 'Whether a text is a UUID.';

CREATE OR REPLACE FUNCTION fact_identity(p_at timestamptz, VARIADIC p_content text[]) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_at IS NULL THEN gen_random_uuid() ELSE md5(array_to_json(p_content)::text)::uuid END;
END;

-- ---------------------------------------------------------------------------------------------------------------
-- What the three forms share.

CREATE OR REPLACE FUNCTION ensure_days_of_facts(p_table text, p_moments timestamptz[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_lock constant bigint := hashtextextended('automon partitions', 0);     -- that of ensure_day_partition
BEGIN
    PERFORM public.ensure_day_partition(p_table, d.day AT TIME ZONE 'UTC')
    FROM (SELECT DISTINCT date_trunc('day', m.at AT TIME ZONE 'UTC') AS day FROM unnest(p_moments) AS m (at) ORDER BY 1) AS d;
    -- A day that another session is attaching stands in the catalogue a moment before this one routes rows to it.
    PERFORM pg_advisory_lock_shared(c_lock);
    PERFORM pg_advisory_unlock_shared(c_lock);
END
$body$;
COMMENT ON FUNCTION ensure_days_of_facts(text, timestamptz[]) IS
    'Makes the partitions that are missing for the UTC days of those moments, once each, and waits for sessions that are making some.';

CREATE OR REPLACE FUNCTION bulk_answer(p_facts bigint, p_stored bigint, p_refused jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT jsonb_build_object('stored', p_stored, 'known', p_facts - p_stored - cardinality(p_refused), 'refused', to_jsonb(p_refused));
END;
COMMENT ON FUNCTION bulk_answer(bigint, bigint, jsonb[]) IS 'What a bulk form answers: {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}.';

-- ---------------------------------------------------------------------------------------------------------------
-- Tasks that have ended.

DO $do$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_type t WHERE t.typname = 'task_fact' AND t.typnamespace = quote_ident(current_schema())::regnamespace) THEN
        CREATE TYPE task_fact AS (
            index bigint, mistake jsonb, task_id text, task_type text, worker_id text, status text, start_time timestamptz, end_time timestamptz,
            input_size bigint, output_size bigint, step_timings jsonb, error_message text, parent_task_id text
        );
    END IF;
END $do$;
COMMENT ON TYPE task_fact IS 'A task in a document: what is wrong with it, or what is to be stored of it.';

CREATE OR REPLACE FUNCTION task_keys() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ARRAY['task_id', 'task_type', 'started_at', 'ended_at', 'status', 'input_size', 'output_size', 'worker_id', 'step_timings', 'error_message', 'parent_task_id'];
END;
COMMENT ON FUNCTION task_keys() IS 'The keys that a task in a document may have.';

CREATE OR REPLACE FUNCTION read_tasks(p_tasks jsonb) RETURNS task_fact[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_now  constant timestamptz := clock_timestamp();
    c_fine constant boolean := public.are_moments(jsonb_path_query_array(p_tasks, '$[*].started_at') || jsonb_path_query_array(p_tasks, '$[*].ended_at'));
BEGIN
    RETURN ARRAY(
        SELECT ROW(j.index, j.mistake, j.task_id, j.task_type, j.fact->>'worker_id', j.status, j.started_at, j.ended_at,
                   CASE WHEN j.mistake IS NULL THEN j.input_size::bigint END, CASE WHEN j.mistake IS NULL THEN j.output_size::bigint END,
                   NULLIF(j.fact->'step_timings', 'null'), j.fact->>'error_message', j.parent_task_id)::public.task_fact
        FROM (
            SELECT r.*, CASE
                WHEN NOT public.is_fact(r.fact, public.task_keys()) THEN public.key_mistake(r.fact, public.task_keys())
                WHEN r.started_at IS NULL THEN public.moment_mistake('started_at', r.start_text)
                WHEN NOT public.can_have_happened(r.started_at, c_now) THEN public.time_mistake(r.started_at, c_now)
                WHEN NOT public.is_name(r.task_id) THEN public.name_mistake('task_id', r.task_id)
                WHEN NOT public.is_name(r.task_type) THEN public.name_mistake('task_type', r.task_type)
                WHEN r.parent_task_id IS NOT NULL AND NOT public.is_name(r.parent_task_id) THEN public.name_mistake('parent_task_id', r.parent_task_id)
                WHEN NOT public.is_count(r.input_size) THEN public.count_mistake('input_size', r.input_size)
                WHEN r.ended_at IS NULL THEN public.moment_mistake('ended_at', r.end_text)
                WHEN NOT public.can_have_happened(r.ended_at, c_now) THEN public.time_mistake(r.ended_at, c_now)
                WHEN r.status IS NULL OR r.status NOT IN ('completed', 'failed', 'cancelled') THEN public.end_status_mistake(r.status)
                WHEN NOT public.is_count(r.output_size) THEN public.count_mistake('output_size', r.output_size)
                WHEN r.ended_at < r.started_at THEN public.early_end_mistake(r.task_id, r.started_at, r.ended_at)
                END AS mistake
            FROM (
                SELECT t.*, public.moment_of(t.start_text, c_fine) AS started_at, public.moment_of(t.end_text, c_fine) AS ended_at
                FROM (
                    SELECT e.n - 1 AS index, e.fact, e.fact->>'started_at' AS start_text, e.fact->>'ended_at' AS end_text, e.fact->>'task_id' AS task_id, e.fact->>'task_type' AS task_type,
                        e.fact->>'parent_task_id' AS parent_task_id,
                        CASE WHEN e.fact ? 'status' THEN e.fact->>'status' ELSE 'completed' END AS status,
                        NULLIF(e.fact->'input_size', 'null') AS input_size, NULLIF(e.fact->'output_size', 'null') AS output_size
                    FROM jsonb_array_elements(p_tasks) WITH ORDINALITY AS e (fact, n)
                    OFFSET 0        -- so that each value is read once, and not wherever it is named
                ) AS t
                OFFSET 0
            ) AS r
            OFFSET 0
        ) AS j);
END
$body$;
COMMENT ON FUNCTION read_tasks(jsonb) IS 'Reads a document of tasks that have ended; what is wrong with one stands beside it.';

CREATE OR REPLACE FUNCTION record_tasks(p_tasks jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_facts  public.task_fact[];
    v_until  timestamptz;
    v_ended  bigint;
    v_added  bigint;
BEGIN
    IF jsonb_typeof(p_tasks) IS DISTINCT FROM 'array' THEN PERFORM public.refuse_no_array(p_tasks); END IF;
    v_facts := public.read_tasks(p_tasks);
    PERFORM public.ensure_days_of_facts('processing_metrics_history', ARRAY(SELECT f.end_time FROM unnest(v_facts) AS f WHERE f.mistake IS NULL));
    -- Nothing in the history is unique, so of two documents with the same tasks one has to wait for the other.
    PERFORM pg_advisory_xact_lock(hashtextextended('automon bulk tasks', 0));
    v_until := clock_timestamp() + interval '1 minute';

    -- What the start said stands, as when a single call completes the task.
    WITH ended AS (
        DELETE FROM public.processing_metrics_running r
        USING (SELECT DISTINCT ON (f.start_time, f.task_id) f.* FROM unnest(v_facts) AS f WHERE f.mistake IS NULL ORDER BY f.start_time, f.task_id, f.index) AS f
        WHERE r.task_id = f.task_id AND r.start_time = f.start_time
        RETURNING r.id, r.task_id, r.task_type, r.worker_id, f.status, r.start_time, f.end_time, r.input_size, f.output_size,
            r.heartbeat_at, r.progress, r.current_step, f.step_timings, f.error_message, r.parent_task_id)
    INSERT INTO public.processing_metrics_history (
        id, task_id, task_type, worker_id, status, start_time, end_time, duration_seconds, input_size, output_size,
        heartbeat_at, progress, current_step, step_timings, error_message, parent_task_id)
    SELECT e.id, e.task_id, e.task_type, e.worker_id, e.status, e.start_time, e.end_time, extract(epoch FROM e.end_time - e.start_time), e.input_size, e.output_size,
        e.heartbeat_at, e.progress, e.current_step, e.step_timings, e.error_message, e.parent_task_id
    FROM ended AS e;
    GET DIAGNOSTICS v_ended = ROW_COUNT;

    INSERT INTO public.processing_metrics_history (
        task_id, task_type, worker_id, status, start_time, end_time, duration_seconds, input_size, output_size, step_timings, error_message, parent_task_id)
    SELECT DISTINCT ON (f.start_time, f.task_id)
        f.task_id, f.task_type, f.worker_id, f.status, f.start_time, f.end_time, extract(epoch FROM f.end_time - f.start_time), f.input_size, f.output_size, f.step_timings, f.error_message,
        f.parent_task_id
    FROM unnest(v_facts) AS f
    WHERE f.mistake IS NULL AND NOT EXISTS (
        SELECT FROM public.processing_metrics_history h
        WHERE h.task_id = f.task_id AND h.start_time = f.start_time AND h.end_time >= f.start_time AND h.end_time <= v_until
        OFFSET 0)       -- an index probe for each task, never a join that reads the days
    ORDER BY f.start_time, f.task_id, f.index;
    GET DIAGNOSTICS v_added = ROW_COUNT;

    RETURN public.bulk_answer(cardinality(v_facts), v_ended + v_added, ARRAY(SELECT jsonb_build_object('index', f.index) || f.mistake FROM unnest(v_facts) AS f WHERE f.mistake IS NOT NULL ORDER BY f.index));
END
$body$;
COMMENT ON FUNCTION record_tasks(jsonb) IS
    'Records tasks that have ended: an array of {"task_id", "task_type", "started_at", "ended_at", "status", "input_size", "output_size", "worker_id", "step_timings", "error_message", "parent_task_id"}, at best a thousand. '
    'Task and start tell a run from others: one that runs is completed, one that has ended is known. Answers {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}, the index counted from 0; '
    'a task is refused with AM001, AM002, AM004, AM005, AM006, AM008 or AM014. Raises AM014 for what is no array. Calls wait for each other until the end of their transactions: one call a transaction.';

-- ---------------------------------------------------------------------------------------------------------------
-- Errors.

DO $do$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_type t WHERE t.typname = 'error_fact' AND t.typnamespace = quote_ident(current_schema())::regnamespace) THEN
        CREATE TYPE error_fact AS (
            index bigint, mistake jsonb, fact_id uuid, occurred_at timestamptz, task_id text, component text, error_type text, severity text,
            error_message text, stack_trace text, context jsonb
        );
    END IF;
END $do$;
COMMENT ON TYPE error_fact IS 'An error in a document: what is wrong with it, or what is to be stored of it.';

CREATE OR REPLACE FUNCTION error_keys() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ARRAY['error_type', 'severity', 'error_message', 'at', 'component', 'task_id', 'stack_trace', 'context', 'id'];
END;
COMMENT ON FUNCTION error_keys() IS 'The keys that an error in a document may have.';

CREATE OR REPLACE FUNCTION read_errors(p_errors jsonb) RETURNS error_fact[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_now  constant timestamptz := clock_timestamp();
    c_fine constant boolean := public.are_moments(jsonb_path_query_array(p_errors, '$[*].at'));
BEGIN
    RETURN ARRAY(
        SELECT ROW(j.index, j.mistake,
                   CASE WHEN j.mistake IS NULL THEN COALESCE(j.id::uuid, public.fact_identity(j.at, j.task_id, j.component, j.error_type, j.severity, j.error_message)) END,
                   j.at, j.task_id, j.component, j.error_type, j.severity, COALESCE(j.error_message, ''), j.fact->>'stack_trace', NULLIF(j.fact->'context', 'null'))::public.error_fact
        FROM (
            SELECT r.*, CASE
                WHEN NOT public.is_fact(r.fact, public.error_keys()) THEN public.key_mistake(r.fact, public.error_keys())
                WHEN r.at IS NULL THEN public.moment_mistake('at', r.at_text)
                WHEN NOT public.can_have_happened(r.at, c_now) THEN public.time_mistake(r.at, c_now)
                WHEN r.task_id IS NOT NULL AND NOT public.is_name(r.task_id) THEN public.name_mistake('task_id', r.task_id)
                WHEN NOT public.is_name(r.error_type) THEN public.name_mistake('error_type', r.error_type)
                WHEN NOT public.is_name(r.component) THEN public.name_mistake('component', r.component)
                WHEN public.severity_rank(r.severity) IS NULL THEN public.severity_mistake(r.severity)
                WHEN NOT public.is_uuid(r.id) THEN public.id_mistake(r.id)
                END AS mistake
            FROM (
                SELECT t.*, public.moment_of(t.at_text, c_fine) AS at
                FROM (
                    SELECT e.n - 1 AS index, e.fact, e.fact->>'at' AS at_text, e.fact->>'task_id' AS task_id, COALESCE(NULLIF(e.fact->>'component', ''), 'unknown') AS component,
                        e.fact->>'error_type' AS error_type, e.fact->>'severity' AS severity, e.fact->>'error_message' AS error_message, e.fact->>'id' AS id
                    FROM jsonb_array_elements(p_errors) WITH ORDINALITY AS e (fact, n)
                    OFFSET 0
                ) AS t
                OFFSET 0
            ) AS r
            OFFSET 0
        ) AS j);
END
$body$;
COMMENT ON FUNCTION read_errors(jsonb) IS 'Reads a document of errors; what is wrong with one stands beside it.';

CREATE OR REPLACE FUNCTION record_errors(p_errors jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_facts  public.error_fact[];
    v_stored bigint;
BEGIN
    IF jsonb_typeof(p_errors) IS DISTINCT FROM 'array' THEN PERFORM public.refuse_no_array(p_errors); END IF;
    v_facts := public.read_errors(p_errors);
    PERFORM public.ensure_days_of_facts('error_tracking', ARRAY(SELECT f.occurred_at FROM unnest(v_facts) AS f WHERE f.mistake IS NULL));
    -- In the order of the key, so that two documents with the same facts wait for each other and never in a circle.
    INSERT INTO public.error_tracking (fact_id, occurred_at, task_id, component, error_type, severity, error_message, stack_trace, context)
    SELECT f.fact_id, f.occurred_at, f.task_id, f.component, f.error_type, f.severity, f.error_message, f.stack_trace, f.context
    FROM unnest(v_facts) AS f WHERE f.mistake IS NULL ORDER BY f.occurred_at, f.fact_id, f.index
    ON CONFLICT (occurred_at, fact_id) DO NOTHING;
    GET DIAGNOSTICS v_stored = ROW_COUNT;
    RETURN public.bulk_answer(cardinality(v_facts), v_stored, ARRAY(SELECT jsonb_build_object('index', f.index) || f.mistake FROM unnest(v_facts) AS f WHERE f.mistake IS NOT NULL ORDER BY f.index));
END
$body$;
COMMENT ON FUNCTION record_errors(jsonb) IS
    'Records errors: an array of {"error_type", "severity", "error_message", "at", "component", "task_id", "stack_trace", "context", "id"}, at best a thousand. '
    'The moment and the id (a UUID), or without one the content, tell an error from others. Answers {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}, the index counted from 0; '
    'an error is refused with AM001, AM003, AM005, AM006 or AM014. Raises AM014 for what is no array.';

-- ---------------------------------------------------------------------------------------------------------------
-- Measurements.

DO $do$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_type t WHERE t.typname = 'metric_fact' AND t.typnamespace = quote_ident(current_schema())::regnamespace) THEN
        CREATE TYPE metric_fact AS (
            index bigint, mistake jsonb, fact_id uuid, recorded_at timestamptz, component text, metric_name text, metric_type text, value double precision, unit text, tags jsonb
        );
    END IF;
END $do$;
COMMENT ON TYPE metric_fact IS 'A measurement in a document: what is wrong with it, or what is to be stored of it.';

CREATE OR REPLACE FUNCTION metric_keys() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ARRAY['metric_name', 'value', 'at', 'metric_type', 'unit', 'component', 'tags', 'id'];
END;
COMMENT ON FUNCTION metric_keys() IS 'The keys that a measurement in a document may have.';

CREATE OR REPLACE FUNCTION read_performance_metrics(p_metrics jsonb) RETURNS metric_fact[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_now  constant timestamptz := clock_timestamp();
    c_fine constant boolean := public.are_moments(jsonb_path_query_array(p_metrics, '$[*].at'));
BEGIN
    RETURN ARRAY(
        SELECT ROW(v.index, v.mistake, COALESCE(v.id, public.fact_identity(v.at, v.component, v.metric_name, v.metric_type, v.value::text, v.tags::text)),
                   v.at, v.component, v.metric_name, v.metric_type, v.value, v.unit, v.tags)::public.metric_fact
        FROM (
            SELECT j.index, j.mistake, CASE WHEN j.mistake IS NULL THEN j.id::uuid END AS id, j.at, j.component, j.metric_name, j.metric_type,
                CASE WHEN j.mistake IS NULL THEN j.value::double precision END AS value, COALESCE(j.fact->>'unit', '') AS unit, NULLIF(j.fact->'tags', 'null') AS tags
            FROM (
                SELECT r.*, CASE
                    WHEN NOT public.is_fact(r.fact, public.metric_keys()) THEN public.key_mistake(r.fact, public.metric_keys())
                    WHEN r.at IS NULL THEN public.moment_mistake('at', r.at_text)
                    WHEN NOT public.can_have_happened(r.at, c_now) THEN public.time_mistake(r.at, c_now)
                    WHEN NOT public.is_name(r.metric_name) THEN public.name_mistake('metric_name', r.metric_name)
                    WHEN NOT public.is_name(r.component) THEN public.name_mistake('component', r.component)
                    WHEN public.is_double(r.value) IS NOT TRUE THEN public.value_mistake(r.metric_name, r.fact->>'value')
                    WHEN NOT public.is_uuid(r.id) THEN public.id_mistake(r.id)
                    END AS mistake
                FROM (
                    SELECT t.*, public.moment_of(t.at_text, c_fine) AS at
                    FROM (
                        SELECT e.n - 1 AS index, e.fact, e.fact->>'at' AS at_text, e.fact->>'metric_name' AS metric_name, COALESCE(NULLIF(e.fact->>'metric_type', ''), 'gauge') AS metric_type,
                            COALESCE(NULLIF(e.fact->>'component', ''), 'unknown') AS component, e.fact->'value' AS value, e.fact->>'id' AS id
                        FROM jsonb_array_elements(p_metrics) WITH ORDINALITY AS e (fact, n)
                        OFFSET 0
                    ) AS t
                    OFFSET 0
                ) AS r
                OFFSET 0
            ) AS j
            OFFSET 0
        ) AS v);
END
$body$;
COMMENT ON FUNCTION read_performance_metrics(jsonb) IS 'Reads a document of measurements; what is wrong with one stands beside it.';

CREATE OR REPLACE FUNCTION record_performance_metrics(p_metrics jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_facts  public.metric_fact[];
    v_stored bigint;
BEGIN
    IF jsonb_typeof(p_metrics) IS DISTINCT FROM 'array' THEN PERFORM public.refuse_no_array(p_metrics); END IF;
    v_facts := public.read_performance_metrics(p_metrics);
    PERFORM public.ensure_days_of_facts('performance_monitoring', ARRAY(SELECT f.recorded_at FROM unnest(v_facts) AS f WHERE f.mistake IS NULL));
    -- In the order of the key, as errors.
    INSERT INTO public.performance_monitoring (fact_id, recorded_at, component, metric_name, metric_type, value, unit, tags)
    SELECT f.fact_id, f.recorded_at, f.component, f.metric_name, f.metric_type, f.value, f.unit, f.tags
    FROM unnest(v_facts) AS f WHERE f.mistake IS NULL ORDER BY f.recorded_at, f.fact_id, f.index
    ON CONFLICT (recorded_at, fact_id) DO NOTHING;
    GET DIAGNOSTICS v_stored = ROW_COUNT;
    RETURN public.bulk_answer(cardinality(v_facts), v_stored, ARRAY(SELECT jsonb_build_object('index', f.index) || f.mistake FROM unnest(v_facts) AS f WHERE f.mistake IS NOT NULL ORDER BY f.index));
END
$body$;
COMMENT ON FUNCTION record_performance_metrics(jsonb) IS
    'Records measurements: an array of {"metric_name", "metric_type", "value", "unit", "component", "tags", "at", "id"}, at best a thousand. '
    'The moment and the id (a UUID), or without one the content, tell a measurement from others. Answers {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}, the index counted from 0; '
    'a measurement is refused with AM001, AM004, AM005, AM006 or AM014. Raises AM014 for what is no array.';

-- ---------------------------------------------------------------------------------------------------------------
-- The single forms of errors and measurements. What happens now meets nothing that is known, so it is spared the look
-- for its like, which takes a third of the time that such a call takes.

CREATE OR REPLACE FUNCTION record_error(
    p_task_id text, p_error_type text, p_severity text, p_error_message text, p_component text DEFAULT NULL,
    p_stack_trace text DEFAULT NULL, p_context jsonb DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at        timestamptz := public.fact_moment(p_at);
    v_component text := COALESCE(NULLIF(p_component, ''), 'unknown');
BEGIN
    IF p_task_id IS NOT NULL AND NOT public.is_name(p_task_id) THEN PERFORM public.refuse_name('task_id', p_task_id); END IF;
    IF NOT public.is_name(p_error_type) THEN PERFORM public.refuse_name('error_type', p_error_type); END IF;
    IF NOT public.is_name(v_component) THEN PERFORM public.refuse_name('component', v_component); END IF;
    IF public.severity_rank(p_severity) IS NULL THEN PERFORM public.refuse_severity(p_severity); END IF;
    IF to_regclass('public.' || public.day_partition_name('error_tracking', v_at)) IS NULL THEN
        PERFORM public.ensure_day_partition('error_tracking', v_at);
    END IF;
    IF p_at IS NULL THEN
        INSERT INTO public.error_tracking (fact_id, occurred_at, task_id, component, error_type, severity, error_message, stack_trace, context)
        VALUES (gen_random_uuid(), v_at, p_task_id, v_component, p_error_type, p_severity, COALESCE(p_error_message, ''), p_stack_trace, p_context);
        RETURN true;
    END IF;
    INSERT INTO public.error_tracking (fact_id, occurred_at, task_id, component, error_type, severity, error_message, stack_trace, context)
    VALUES (public.fact_identity(p_at, p_task_id, v_component, p_error_type, p_severity, p_error_message),
            v_at, p_task_id, v_component, p_error_type, p_severity, COALESCE(p_error_message, ''), p_stack_trace, p_context)
    ON CONFLICT (occurred_at, fact_id) DO NOTHING;
    RETURN FOUND;
END
$body$;

CREATE OR REPLACE FUNCTION record_performance_metric(
    p_metric_name text, p_metric_type text, p_value double precision, p_unit text DEFAULT NULL, p_component text DEFAULT NULL,
    p_tags jsonb DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at        timestamptz := public.fact_moment(p_at);
    v_component text := COALESCE(NULLIF(p_component, ''), 'unknown');
    v_type      text := COALESCE(NULLIF(p_metric_type, ''), 'gauge');
BEGIN
    IF NOT public.is_name(p_metric_name) THEN PERFORM public.refuse_name('metric_name', p_metric_name); END IF;
    IF NOT public.is_name(v_component) THEN PERFORM public.refuse_name('component', v_component); END IF;
    IF p_value IS NULL OR p_value IN ('NaN', 'Infinity', '-Infinity') THEN
        PERFORM public.refuse_mistake(public.value_mistake(p_metric_name, p_value::text));
    END IF;
    IF to_regclass('public.' || public.day_partition_name('performance_monitoring', v_at)) IS NULL THEN
        PERFORM public.ensure_day_partition('performance_monitoring', v_at);
    END IF;
    IF p_at IS NULL THEN
        INSERT INTO public.performance_monitoring (fact_id, recorded_at, component, metric_name, metric_type, value, unit, tags)
        VALUES (gen_random_uuid(), v_at, v_component, p_metric_name, v_type, p_value, COALESCE(p_unit, ''), p_tags);
        RETURN true;
    END IF;
    INSERT INTO public.performance_monitoring (fact_id, recorded_at, component, metric_name, metric_type, value, unit, tags)
    VALUES (public.fact_identity(p_at, v_component, p_metric_name, v_type, p_value::text, p_tags::text),
            v_at, v_component, p_metric_name, v_type, p_value, COALESCE(p_unit, ''), p_tags)
    ON CONFLICT (recorded_at, fact_id) DO NOTHING;
    RETURN FOUND;
END
$body$;

-- ---------------------------------------------------------------------------------------------------------------
-- The single form of an end, which takes what the start said into the history.

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
        PERFORM public.refuse_mistake(public.end_status_mistake(p_status));
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
        heartbeat_at, progress, current_step, step_timings, error_message, parent_task_id)
    VALUES (
        v_task.id, p_task_id, v_task.task_type, v_task.worker_id, p_status, v_task.start_time, v_at,
        extract(epoch FROM v_at - v_task.start_time), v_task.input_size, p_output_size,
        v_task.heartbeat_at, v_task.progress, v_task.current_step, p_step_timings, p_error_message, v_task.parent_task_id);
    RETURN true;
END
$body$;

-- ---------------------------------------------------------------------------------------------------------------
-- What has no form of its own: a document of any kind of fact, in the order in which they happened.

DO $do$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_type t WHERE t.typname = 'mixed_fact' AND t.typnamespace = quote_ident(current_schema())::regnamespace) THEN
        CREATE TYPE mixed_fact AS (index bigint, mistake jsonb, kind text, at timestamptz, said jsonb);
    END IF;
END $do$;
COMMENT ON TYPE mixed_fact IS 'A fact of any kind in a document: what is wrong with it, or what kind of fact it is, its moment and all that it says.';

CREATE OR REPLACE FUNCTION fact_keys(p_kind text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE p_kind
        WHEN 'start' THEN ARRAY['fact', 'task_id', 'task_type', 'at', 'input_size', 'worker_id', 'parent_task_id']
        WHEN 'heartbeat' THEN ARRAY['fact', 'task_id', 'at', 'progress', 'step']
        WHEN 'end' THEN ARRAY['fact', 'task_id', 'at', 'status', 'output_size', 'step_timings', 'error_message']
        WHEN 'health' THEN ARRAY['fact', 'component_type', 'component_name', 'status', 'at', 'response_time_ms', 'failure_reason', 'details']
        WHEN 'queue' THEN ARRAY['fact', 'queue_name', 'pending', 'at', 'processing', 'completed', 'failed', 'oldest_pending_seconds']
        WHEN 'host' THEN ARRAY['fact', 'host', 'sample', 'at'] END;
END;
COMMENT ON FUNCTION fact_keys(text) IS 'The keys that a fact of that kind may have in a document of any kind; NULL for an unknown kind.';

CREATE OR REPLACE FUNCTION kind_mistake(p_fact jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF jsonb_typeof(p_fact) <> 'object' THEN
        RETURN public.key_mistake(p_fact, ARRAY['fact', 'at']);
    END IF;
    RETURN public.mistake('AM014', 'invalid_document: ' || COALESCE('unknown fact ' || quote_literal(public.shown(p_fact->>'fact')), 'fact is missing'),
        'Use start, heartbeat, end, health, queue or host.');
END
$body$;
COMMENT ON FUNCTION kind_mistake(jsonb) IS 'AM014 invalid_document of what is no known kind of fact, as a value.';

CREATE OR REPLACE FUNCTION sample_mistake(p_value jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.mistake('AM014', format('invalid_document: sample is %s', COALESCE(public.shown(p_value::text), 'missing')), 'Give sample as an object, such as {"cpu_percent": 12.5}.');
END
$body$;
COMMENT ON FUNCTION sample_mistake(jsonb) IS 'AM014 invalid_document of a look at a host that is no object, as a value.';

CREATE OR REPLACE FUNCTION stated(p_fact jsonb, p_key text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT NULLIF(p_fact->p_key, 'null');
END;
COMMENT ON FUNCTION stated(jsonb, text) IS 'What a fact says under a key; NULL when it says null or nothing.';

CREATE OR REPLACE FUNCTION numbers_mistake(p_fact jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_key text;
BEGIN
    FOREACH v_key IN ARRAY ARRAY['input_size', 'output_size', 'pending', 'processing', 'completed', 'failed'] LOOP
        IF NOT public.is_count(public.stated(p_fact, v_key)) THEN RETURN public.count_mistake(v_key, p_fact->v_key); END IF;
    END LOOP;
    FOREACH v_key IN ARRAY ARRAY['progress', 'response_time_ms', 'oldest_pending_seconds'] LOOP
        IF public.stated(p_fact, v_key) IS NOT NULL AND NOT public.is_double(p_fact->v_key) THEN
            RETURN public.mistake('AM004', format('invalid_number: %s is %s', v_key, public.shown((p_fact->v_key)::text)), format('Give %s as a number, or leave it out.', v_key));
        END IF;
    END LOOP;
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION numbers_mistake(jsonb) IS 'AM004 invalid_number of the first key of a fact that should be a number and is none, as a value; NULL when there is none.';

CREATE OR REPLACE FUNCTION has_numbers(p_fact jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p_fact ?| ARRAY['input_size', 'output_size', 'pending', 'processing', 'completed', 'failed', 'progress', 'response_time_ms', 'oldest_pending_seconds'];
END;
COMMENT ON FUNCTION has_numbers(jsonb) IS 'Whether a fact has a key that should be a number.';

CREATE OR REPLACE FUNCTION read_facts(p_facts jsonb) RETURNS mixed_fact[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_now  constant timestamptz := clock_timestamp();
    c_fine constant boolean := public.are_moments(jsonb_path_query_array(p_facts, '$[*].at'));
BEGIN
    RETURN ARRAY(
        SELECT ROW(r.index, CASE
                WHEN r.keys IS NULL THEN public.kind_mistake(r.fact)
                WHEN NOT public.is_fact(r.fact, r.keys) THEN public.key_mistake(r.fact, r.keys)
                WHEN r.at IS NULL THEN public.moment_mistake('at', r.at_text)
                WHEN NOT public.can_have_happened(r.at, c_now) THEN public.time_mistake(r.at, c_now)
                WHEN r.fact->>'parent_task_id' IS NOT NULL AND NOT public.is_name(r.fact->>'parent_task_id') THEN public.name_mistake('parent_task_id', r.fact->>'parent_task_id')
                WHEN r.kind = 'host' AND jsonb_typeof(r.fact->'sample') IS DISTINCT FROM 'object' THEN public.sample_mistake(r.fact->'sample')
                WHEN public.has_numbers(r.fact) THEN public.numbers_mistake(r.fact)
                END, r.kind, r.at, r.fact)::public.mixed_fact
        FROM (
            SELECT t.*, public.fact_keys(t.kind) AS keys, public.moment_of(t.at_text, c_fine) AS at
            FROM (
                SELECT e.n - 1 AS index, e.fact, e.fact->>'fact' AS kind, e.fact->>'at' AS at_text
                FROM jsonb_array_elements(p_facts) WITH ORDINALITY AS e (fact, n)
                OFFSET 0
            ) AS t
            OFFSET 0
        ) AS r
        ORDER BY r.index);
END
$body$;
COMMENT ON FUNCTION read_facts(jsonb) IS 'Reads a document of any kind of fact, in its order; what can be seen to be wrong with one stands beside it.';

CREATE OR REPLACE FUNCTION apply_fact(p_kind text, p_at timestamptz, p_said jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_stored boolean;
BEGIN
    CASE p_kind
        WHEN 'start' THEN
            v_stored := public.start_task_tracking(p_said->>'task_id', p_said->>'task_type', public.stated(p_said, 'input_size')::bigint, p_said->>'worker_id', p_at);
            -- The arguments of the single form are what users have written into their programs: the parent is none of them.
            IF v_stored AND p_said->>'parent_task_id' IS NOT NULL THEN
                UPDATE public.processing_metrics_running r SET parent_task_id = p_said->>'parent_task_id' WHERE r.task_id = p_said->>'task_id';
            END IF;
            RETURN v_stored;
        WHEN 'heartbeat' THEN
            RETURN public.record_task_heartbeat(p_said->>'task_id', public.stated(p_said, 'progress')::double precision, p_said->>'step', p_at);
        WHEN 'end' THEN
            RETURN public.complete_task_tracking(p_said->>'task_id', CASE WHEN p_said ? 'status' THEN p_said->>'status' ELSE 'completed' END,
                public.stated(p_said, 'output_size')::bigint, public.stated(p_said, 'step_timings'), p_said->>'error_message', p_at);
        WHEN 'health' THEN
            RETURN public.update_system_health(p_said->>'component_type', p_said->>'component_name', p_said->>'status',
                public.stated(p_said, 'response_time_ms')::double precision, p_said->>'failure_reason', public.stated(p_said, 'details'), p_at);
        WHEN 'queue' THEN
            RETURN public.update_queue_metrics(p_said->>'queue_name', public.stated(p_said, 'pending')::bigint, public.stated(p_said, 'processing')::bigint,
                public.stated(p_said, 'completed')::bigint, public.stated(p_said, 'failed')::bigint, public.stated(p_said, 'oldest_pending_seconds')::double precision, p_at);
        WHEN 'host' THEN
            RETURN public.record_host_sample(p_said->>'host', p_said->'sample', p_at);
    END CASE;
END
$body$;
COMMENT ON FUNCTION apply_fact(text, timestamptz, jsonb) IS 'Records a fact of a document by the function for its kind, and answers and raises what that does.';

CREATE OR REPLACE FUNCTION prepare_for_facts(p_facts mixed_fact[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- Many sessions report the same components, queues and hosts, each in an order of its own: one has to wait for the
    -- other before it has touched anything, or they would wait in a circle.
    IF EXISTS (SELECT FROM unnest(p_facts) AS f WHERE f.kind IN ('health', 'queue', 'host')) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('automon bulk sources', 0));
    END IF;
    -- Before the tables are touched, for a session does not hear of a new partition of a table that it has in use.
    PERFORM public.ensure_days_of_facts(d.table_name, d.moments)
    FROM (SELECT CASE f.kind WHEN 'end' THEN 'processing_metrics_history' WHEN 'queue' THEN 'queue_monitoring' ELSE 'host_metrics' END AS table_name, array_agg(f.at) AS moments
          FROM unnest(p_facts) AS f WHERE f.kind IN ('end', 'queue', 'host') GROUP BY 1 ORDER BY 1) AS d;
END
$body$;
COMMENT ON FUNCTION prepare_for_facts(mixed_fact[]) IS 'Takes the lock and makes the partitions that these facts need.';

CREATE OR REPLACE FUNCTION record_facts(p_facts jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_facts   public.mixed_fact[];
    v_sound   public.mixed_fact[];
    v_refused jsonb[];
    v_first   bigint := 1;
    v_last    bigint;
    v_here    bigint;
    v_new     bigint;
    v_stored  bigint := 0;
    v_code    text;
    v_message text;
    v_hint    text;
BEGIN
    IF jsonb_typeof(p_facts) IS DISTINCT FROM 'array' THEN PERFORM public.refuse_no_array(p_facts); END IF;
    v_facts := public.read_facts(p_facts);
    v_refused := ARRAY(SELECT jsonb_build_object('index', f.index) || f.mistake FROM unnest(v_facts) AS f WHERE f.mistake IS NOT NULL);
    v_sound := ARRAY(SELECT f::public.mixed_fact FROM unnest(v_facts) AS f WHERE f.mistake IS NULL ORDER BY f.index);
    PERFORM public.prepare_for_facts(v_sound);
    -- All in one block. Where one raises, those before it are stored again without it, and it is tried alone before the
    -- rest: so many subtransactions as there are refusals, three times over, and none for each fact that is stored.
    v_last := cardinality(v_sound);
    WHILE v_first <= cardinality(v_sound) LOOP
        BEGIN
            v_new := 0;
            v_here := v_first;
            WHILE v_here <= v_last LOOP
                IF public.apply_fact(v_sound[v_here].kind, v_sound[v_here].at, v_sound[v_here].said) THEN v_new := v_new + 1; END IF;
                v_here := v_here + 1;
            END LOOP;
            v_stored := v_stored + v_new;
            v_first := v_here;
            v_last := cardinality(v_sound);
        EXCEPTION WHEN SQLSTATE 'AM000' OR data_exception OR integrity_constraint_violation THEN     -- three zeros stand for the whole class
            IF v_here > v_first THEN
                v_last := v_here - 1;
            ELSE
                GET STACKED DIAGNOSTICS v_code = RETURNED_SQLSTATE, v_message = MESSAGE_TEXT, v_hint = PG_EXCEPTION_HINT;
                v_refused := v_refused || (jsonb_build_object('index', v_sound[v_here].index)
                    || public.mistake(v_code, v_message, COALESCE(NULLIF(v_hint, ''), 'Give values that the columns of the table can hold.')));
                v_first := v_here + 1;
                v_last := cardinality(v_sound);
            END IF;
        END;
    END LOOP;
    RETURN public.bulk_answer(cardinality(v_facts), v_stored, ARRAY(SELECT r.refused FROM unnest(v_refused) AS r (refused) ORDER BY (r.refused->'index')::bigint));
END
$body$;
COMMENT ON FUNCTION record_facts(jsonb) IS
    'Records what has no bulk form of its own, in the order of the array: objects {"fact", "at", ...}, at best a thousand, where fact is start, heartbeat, end, health, queue or host and the other keys are the arguments, without p_, '
    'of start_task_tracking, record_task_heartbeat, complete_task_tracking, update_system_health, update_queue_metrics and record_host_sample, and of a start parent_task_id. What these call false is known, what they raise is refused. '
    'Answers {"stored", "known", "refused": [{"index", "code", "message", "hint"}]}, the index counted from 0. Raises AM014 for what is no array. '
    'Calls that report health, queues or hosts wait for each other until the end of their transactions: one call a transaction.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
