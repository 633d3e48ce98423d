-- Health: components and hosts.
--
-- `system_health` holds one row for each interval in which a component stayed in one state, so that it is known when
-- a component recovered and how long it was up, at the cost of its changes and not of its reports.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE TABLE IF NOT EXISTS monitoring_settings (
    name       text             PRIMARY KEY,
    value      double precision NOT NULL,
    origin     text             NOT NULL DEFAULT 'shipped',
    updated_at timestamptz      NOT NULL DEFAULT now(),
    CONSTRAINT origin_is_known CHECK (origin IN ('shipped', 'config', 'sql')),
    CONSTRAINT value_is_finite CHECK (value NOT IN ('NaN', 'Infinity', '-Infinity') AND value >= 0)
);
COMMENT ON TABLE monitoring_settings IS 'Numbers that the functions work with; the unit is the last word of the name. The service writes here what the config says.';
ALTER TABLE monitoring_settings ENABLE ROW LEVEL SECURITY;

INSERT INTO monitoring_settings (name, value) VALUES
    ('failure_rate.min_tasks', 5),
    ('health.known_for_seconds', 600),
    ('schedule.alert_checks_seconds', 300),
    ('schedule.self_check_seconds', 60),
    ('alerts.resolve_after_seconds', 300),
    ('alerts.remind_after_seconds', 3600),
    ('alerts.blind_after_seconds', 120),
    ('delivery.messages_per_cause', 3),
    ('delivery.messages_at_once', 5),
    ('delivery.window_seconds', 20),
    ('delivery.keep_trying_seconds', 86400),
    ('retention.processing_days', 30),
    ('retention.errors_low_days', 30),
    ('retention.errors_medium_days', 30),
    ('retention.errors_high_days', 60),
    ('retention.errors_critical_days', 90),
    ('retention.performance_days', 7),
    ('retention.queue_days', 7),
    ('retention.host_days', 7),
    ('retention.health_days', 90),
    ('retention.resolved_alerts_days', 7),
    ('retention.job_runs_days', 30)
ON CONFLICT (name) DO NOTHING;

CREATE OR REPLACE FUNCTION setting(p_name text) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (SELECT s.value FROM public.monitoring_settings s WHERE s.name = p_name);
END
$body$;
COMMENT ON FUNCTION setting(text) IS 'The value in force of a setting; NULL for an unknown name.';

CREATE SEQUENCE IF NOT EXISTS system_health_id_seq;

CREATE TABLE IF NOT EXISTS system_health (
    id               bigint           PRIMARY KEY DEFAULT nextval('system_health_id_seq'),
    component_type   text             NOT NULL,
    component_name   text             NOT NULL,
    status           text             NOT NULL,
    started_at       timestamptz      NOT NULL,
    ended_at         timestamptz,
    last_reported_at timestamptz      NOT NULL,
    report_count     bigint           NOT NULL DEFAULT 1,
    response_time_ms double precision,
    failure_reason   text,
    details          jsonb,
    CONSTRAINT status_is_known CHECK (status IN ('healthy', 'degraded', 'unhealthy')),
    CONSTRAINT reported_within_the_interval CHECK (last_reported_at >= started_at AND ended_at >= last_reported_at),
    CONSTRAINT response_time_is_not_negative CHECK (response_time_ms >= 0)
) WITH (fillfactor = 70);
COMMENT ON TABLE system_health IS 'State intervals of components: one row for as long as a component stayed in one state. The open interval has no ended_at. response_time_ms is the last that was reported.';

CREATE UNIQUE INDEX IF NOT EXISTS one_current_state_per_component ON system_health (component_type, component_name) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS system_health_component ON system_health (component_type, component_name, started_at);
ALTER TABLE system_health ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION extend_health_interval(p_report system_health) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_current public.system_health;
    v_gap_end timestamptz;
BEGIN
    SELECT h.* INTO v_current FROM public.system_health h
    WHERE h.component_type = p_report.component_type AND h.component_name = p_report.component_name AND h.ended_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF p_report.last_reported_at <= v_current.last_reported_at THEN
        RETURN false;
    END IF;
    -- What was last heard holds for a while only; a longer silence is neither up nor down.
    v_gap_end := LEAST(p_report.started_at, v_current.last_reported_at + make_interval(secs => public.setting('health.known_for_seconds')));
    IF v_current.status = p_report.status AND v_gap_end = p_report.started_at THEN
        UPDATE public.system_health h
        SET last_reported_at = p_report.last_reported_at, report_count = h.report_count + 1,
            response_time_ms = p_report.response_time_ms, failure_reason = p_report.failure_reason, details = p_report.details
        WHERE h.id = v_current.id;
    ELSE
        UPDATE public.system_health h SET ended_at = v_gap_end WHERE h.id = v_current.id;
        INSERT INTO public.system_health (component_type, component_name, status, started_at, last_reported_at, response_time_ms, failure_reason, details)
        VALUES (p_report.component_type, p_report.component_name, p_report.status, p_report.started_at, p_report.started_at,
                p_report.response_time_ms, p_report.failure_reason, p_report.details);
    END IF;
    RETURN true;
END
$body$;
COMMENT ON FUNCTION extend_health_interval(system_health) IS
    'Prolongs a component''s open interval by a report, or closes it and opens the next. False for a report older than what is known; NULL when the component has no interval yet.';

CREATE OR REPLACE FUNCTION update_system_health(
    p_component_type text, p_component_name text, p_status text, p_response_time_ms double precision DEFAULT NULL,
    p_failure_reason text DEFAULT NULL, p_details jsonb DEFAULT NULL, p_at timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_report public.system_health;
    v_stored boolean;
BEGIN
    IF NOT public.is_name(p_component_type) THEN PERFORM public.refuse_name('component_type', p_component_type); END IF;
    IF NOT public.is_name(p_component_name) THEN PERFORM public.refuse_name('component_name', p_component_name); END IF;
    IF p_status IS NULL OR p_status NOT IN ('healthy', 'degraded', 'unhealthy') THEN
        PERFORM public.refuse('AM002', format('invalid_status: %L is not a state of health', p_status), 'Use healthy, degraded or unhealthy.');
    END IF;
    IF p_response_time_ms < 0 OR p_response_time_ms IN ('NaN', 'Infinity') THEN PERFORM public.refuse_negative('response_time_ms', p_response_time_ms); END IF;
    v_report.component_type := p_component_type;
    v_report.component_name := p_component_name;
    v_report.status := p_status;
    v_report.started_at := public.fact_moment(p_at);
    v_report.last_reported_at := v_report.started_at;
    v_report.response_time_ms := p_response_time_ms;
    v_report.failure_reason := p_failure_reason;
    v_report.details := p_details;
    LOOP
        v_stored := public.extend_health_interval(v_report);
        IF v_stored IS NOT NULL THEN
            RETURN v_stored;
        END IF;
        -- The component's first report. When two sessions bring it at once, the second goes round and extends.
        INSERT INTO public.system_health (component_type, component_name, status, started_at, last_reported_at, response_time_ms, failure_reason, details)
        VALUES (p_component_type, p_component_name, p_status, v_report.started_at, v_report.started_at, p_response_time_ms, p_failure_reason, p_details)
        ON CONFLICT (component_type, component_name) WHERE ended_at IS NULL DO NOTHING;
        IF FOUND THEN
            RETURN true;
        END IF;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION update_system_health(text, text, text, double precision, text, jsonb, timestamptz) IS
    'Records how a component is. True when stored, false when a later report is known. Response time in milliseconds. Raises AM001, AM002, AM004, AM005.';

CREATE OR REPLACE FUNCTION get_component_uptime(
    p_component_type text, p_component_name text, p_window interval DEFAULT '24 hours', p_now timestamptz DEFAULT now()
) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_known interval := make_interval(secs => public.setting('health.known_for_seconds'));
BEGIN
    RETURN (
        SELECT round((100 * COALESCE(sum(k.seconds) FILTER (WHERE k.status <> 'unhealthy'), 0) / NULLIF(sum(k.seconds), 0))::numeric, 3)
        FROM (
            SELECT h.status, GREATEST(0, extract(epoch FROM LEAST(COALESCE(h.ended_at, p_now), h.last_reported_at + v_known, p_now) - GREATEST(h.started_at, p_now - p_window))) AS seconds
            FROM public.system_health h
            WHERE h.component_type = p_component_type AND h.component_name = p_component_name
              AND h.started_at <= p_now AND (h.ended_at IS NULL OR h.ended_at > p_now - p_window)
        ) AS k);
END
$body$;
COMMENT ON FUNCTION get_component_uptime(text, text, interval, timestamptz) IS
    'Percent of the known time within the window in which a component was not unhealthy; NULL when nothing is known. Silence counts neither way.';

-- ---------------------------------------------------------------------------------------------------------------
-- Hosts.

CREATE TABLE IF NOT EXISTS monitored_sources (
    kind              text        NOT NULL,
    name              text        NOT NULL,
    first_reported_at timestamptz NOT NULL,
    PRIMARY KEY (kind, name),
    CONSTRAINT kind_is_known CHECK (kind IN ('queue', 'host'))
);
COMMENT ON TABLE monitored_sources IS 'The queues and hosts that have reported, so that a silent one is missed without a search through history.';
ALTER TABLE monitored_sources ENABLE ROW LEVEL SECURITY;

CREATE TABLE IF NOT EXISTS host_metrics (
    host           text             NOT NULL,
    sampled_at     timestamptz      NOT NULL,
    cpu_percent    double precision,
    memory_percent double precision,
    swap_percent   double precision,
    disk_percent   double precision,
    load_per_core  double precision,
    sample         jsonb            NOT NULL
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE host_metrics IS 'One row for each look at a host. disk_percent is that of the fullest disk; sample holds everything that was seen.';
CREATE UNIQUE INDEX IF NOT EXISTS one_sample_per_host_and_moment ON host_metrics (host, sampled_at);
ALTER TABLE host_metrics ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION record_host_sample(p_host text, p_sample jsonb, p_at timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at timestamptz := public.fact_moment(p_at);
BEGIN
    IF NOT public.is_name(p_host) THEN PERFORM public.refuse_name('host', p_host); END IF;
    INSERT INTO public.monitored_sources (kind, name, first_reported_at) VALUES ('host', p_host, v_at) ON CONFLICT (kind, name) DO NOTHING;
    IF to_regclass('public.' || public.day_partition_name('host_metrics', v_at)) IS NULL THEN
        PERFORM public.ensure_day_partition('host_metrics', v_at);
    END IF;
    INSERT INTO public.host_metrics (host, sampled_at, cpu_percent, memory_percent, swap_percent, disk_percent, load_per_core, sample)
    VALUES (p_host, v_at, (p_sample->>'cpu_percent')::double precision, (p_sample->>'memory_percent')::double precision,
            (p_sample->>'swap_percent')::double precision,
            (SELECT max((d->>'percent')::double precision) FROM jsonb_array_elements(COALESCE(p_sample->'disks', '[]')) AS d),
            (p_sample->>'load_per_core')::double precision, COALESCE(p_sample, '{}'))
    ON CONFLICT (host, sampled_at) DO NOTHING;
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION record_host_sample(text, jsonb, timestamptz) IS
    'Records a look at a host: {"cpu_percent", "memory_percent", "swap_percent", "load_per_core", "disks": [{"mount", "percent", …}], …}. True when stored, false when that moment is known. Raises AM001, AM005.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
