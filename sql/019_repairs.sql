-- What a released file says in a way that not every database takes: characters beyond ASCII, and a backslash where
-- backslashes escape.
SET check_function_bodies = off;
SET client_min_messages = warning;

COMMENT ON FUNCTION record_host_sample(text, jsonb, timestamptz) IS
    'Records a look at a host: {"cpu_percent", "memory_percent", "swap_percent", "load_per_core", "disks": [{"mount", "percent", ...}], ...}. True when stored, false when that moment is known. Raises AM001, AM005.';

CREATE OR REPLACE FUNCTION cause_of(p_alert_type text, p_source text, p_evidence jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_top jsonb := p_evidence->'top'->0;
BEGIN
    RETURN CASE
        WHEN p_alert_type IN ('error_rate', 'failure_rate', 'component_health') AND v_top->>'message' <> '' THEN public.error_signature(v_top->>'message')
        WHEN p_alert_type = 'error_rate' AND v_top->>'what' <> '' THEN v_top->>'what'
        WHEN starts_with(p_alert_type, 'host_') THEN 'host ' || split_part(p_source, ' ', 1)
        ELSE replace(p_alert_type, '_', ' ')
    END;
END
$body$;
COMMENT ON FUNCTION cause_of(text, text, jsonb) IS
    'What alerts have in common that are told together, whatever their type: the most frequent error message without its numbers and ids, else the error type, the host, or the alert type.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
