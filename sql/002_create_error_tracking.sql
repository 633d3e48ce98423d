-- Errors: `error_tracking`, append-only, a partition for each UTC day.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE SEQUENCE IF NOT EXISTS error_tracking_id_seq;

CREATE TABLE IF NOT EXISTS error_tracking (
    id            bigint      NOT NULL DEFAULT nextval('error_tracking_id_seq'),
    fact_id       uuid        NOT NULL,
    occurred_at   timestamptz NOT NULL,
    task_id       text,
    component     text        NOT NULL,
    error_type    text        NOT NULL,
    severity      text        NOT NULL,
    error_message text        NOT NULL,
    stack_trace   text,
    context       jsonb,
    CONSTRAINT severity_is_known CHECK (severity IN ('low', 'medium', 'high', 'critical'))
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE error_tracking IS 'Errors as they were recorded; task_id is empty for an error outside of any task.';
COMMENT ON COLUMN error_tracking.fact_id IS 'Tells a fact from its replay. Random for a new fact, derived from the content when the moment was given.';

-- The moment comes first: new rows go to the right edge, where a random id would touch a page each.
CREATE UNIQUE INDEX IF NOT EXISTS one_row_per_error ON error_tracking (occurred_at, fact_id);
CREATE INDEX IF NOT EXISTS error_tracking_component ON error_tracking (component, occurred_at);
CREATE INDEX IF NOT EXISTS error_tracking_task_id ON error_tracking (task_id) WHERE task_id IS NOT NULL;
ALTER TABLE error_tracking ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION fact_identity(p_at timestamptz, VARIADIC p_content text[]) RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN CASE WHEN p_at IS NULL THEN gen_random_uuid() ELSE md5(array_to_json(p_content)::text)::uuid END;
END
$body$;
COMMENT ON FUNCTION fact_identity(timestamptz, text[]) IS
    'The identity of a fact: random when it happens now, derived from its content when its moment was given, so that a replay meets itself.';

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
    INSERT INTO public.error_tracking (fact_id, occurred_at, task_id, component, error_type, severity, error_message, stack_trace, context)
    VALUES (public.fact_identity(p_at, p_task_id, v_component, p_error_type, p_severity, p_error_message),
            v_at, p_task_id, v_component, p_error_type, p_severity, COALESCE(p_error_message, ''), p_stack_trace, p_context)
    ON CONFLICT (occurred_at, fact_id) DO NOTHING;
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION record_error(text, text, text, text, text, text, jsonb, timestamptz) IS
    'Records an error of a component (''unknown'' when none is named); the task may be NULL. True when stored, false when this very error of that moment is known. Raises AM001, AM003, AM005.';

CREATE OR REPLACE FUNCTION error_signature(p_message text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT regexp_replace(regexp_replace(left(split_part(p_message, E'\n', 1), 200),
        '[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+', '#', 'g'), '[0-9]+', '#', 'g');
END;
COMMENT ON FUNCTION error_signature(text) IS 'An error message without what changes from one occurrence to the next (numbers, ids): the first line, 200 characters, with # for each.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
