-- Measurements that applications take themselves: `performance_monitoring`, append-only, a partition for each UTC day.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE SEQUENCE IF NOT EXISTS performance_monitoring_id_seq;

CREATE TABLE IF NOT EXISTS performance_monitoring (
    id          bigint           NOT NULL DEFAULT nextval('performance_monitoring_id_seq'),
    fact_id     uuid             NOT NULL,
    recorded_at timestamptz      NOT NULL,
    component   text             NOT NULL,
    metric_name text             NOT NULL,
    metric_type text             NOT NULL,
    value       double precision NOT NULL,
    unit        text             NOT NULL,
    tags        jsonb
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE performance_monitoring IS 'Measurements as they were recorded, in the unit that stands beside each.';

CREATE UNIQUE INDEX IF NOT EXISTS one_row_per_measurement ON performance_monitoring (recorded_at, fact_id);
CREATE INDEX IF NOT EXISTS performance_monitoring_metric ON performance_monitoring (metric_name, recorded_at);
ALTER TABLE performance_monitoring ENABLE ROW LEVEL SECURITY;

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
        PERFORM public.refuse('AM004', format('invalid_number: the value of %L is %s', p_metric_name, COALESCE(p_value::text, 'missing')), 'Give a finite number.');
    END IF;
    IF to_regclass('public.' || public.day_partition_name('performance_monitoring', v_at)) IS NULL THEN
        PERFORM public.ensure_day_partition('performance_monitoring', v_at);
    END IF;
    INSERT INTO public.performance_monitoring (fact_id, recorded_at, component, metric_name, metric_type, value, unit, tags)
    VALUES (public.fact_identity(p_at, v_component, p_metric_name, v_type, p_value::text, p_tags::text),
            v_at, v_component, p_metric_name, v_type, p_value, COALESCE(p_unit, ''), p_tags)
    ON CONFLICT (recorded_at, fact_id) DO NOTHING;
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION record_performance_metric(text, text, double precision, text, text, jsonb, timestamptz) IS
    'Records a measurement. True when stored, false when this very measurement of that moment is known. Raises AM001, AM004, AM005.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
