-- What cannot wait for the five-minute checks: a look at the newest facts every second, and a notice when something is
-- decided. The checks stay: they alone resolve, and find what this look leaves out.
SET check_function_bodies = off;
SET client_min_messages = warning;

INSERT INTO monitoring_settings (name, value) VALUES ('schedule.fast_checks_seconds', 1) ON CONFLICT (name) DO NOTHING;
INSERT INTO monitoring_thresholds (alert_type, critical) VALUES ('critical_errors', 1) ON CONFLICT (alert_type, source) DO NOTHING;   -- critical errors per hour and component

-- ---------------------------------------------------------------------------------------------------------------
-- An error that its reporter calls critical is an alert by itself, however few they are.

CREATE OR REPLACE FUNCTION evaluate_critical_errors(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY
    SELECT 'critical_errors', c.component, g.severity, c.errors, g.threshold, 'errors/h',
        public.counted(c.errors, 'critical error') || ' in the last hour' || COALESCE((
            SELECT ': ' || NULLIF(left(e.error_message, 200), '') FROM public.error_tracking e
            WHERE e.component = c.component AND e.occurred_at = c.last_at AND e.severity = 'critical' LIMIT 1), ''),
        CASE WHEN g.severity IS NOT NULL THEN public.evidence_of_errors(c.component, '{critical}', p_now) END
    FROM (
        SELECT e.component, sum(e.errors)::double precision AS errors, max(e.last_at) AS last_at
        FROM public.errors_between(p_now - interval '1 hour', p_now) AS e WHERE e.severity = 'critical' GROUP BY e.component
    ) AS c
    CROSS JOIN LATERAL public.grade(v_thresholds, 'critical_errors', c.component, c.errors) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_critical_errors(timestamptz, monitoring_thresholds[]) IS 'critical_errors: errors of severity critical of each component within the hour before the moment.';

CREATE OR REPLACE FUNCTION check_critical_error_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.apply_findings(ARRAY['critical_errors'], ARRAY(SELECT f FROM public.evaluate_critical_errors(p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION check_critical_error_alerts(timestamptz) IS 'Checks for critical errors of each component; answers how many alerts it changed.';

CREATE OR REPLACE FUNCTION judged_alert_types() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ARRAY['error_rate', 'critical_errors', 'failure_rate', 'processing_time', 'running_time', 'component_health', 'component_silence', 'response_time',
        'queue_backlog', 'queue_silence', 'host_cpu', 'host_memory', 'host_disk', 'host_silence'];
END;
COMMENT ON FUNCTION judged_alert_types() IS 'The alert types that evaluate_all judges.';

CREATE OR REPLACE FUNCTION evaluate_all(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY SELECT * FROM public.evaluate_error_rate(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_critical_errors(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_failure_rate(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_processing_time(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_running_time(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_component_health(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_queue_backlog(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_hosts(p_now, v_thresholds);
END
$body$;
COMMENT ON FUNCTION evaluate_all(timestamptz, monitoring_thresholds[]) IS 'Every finding of every check at a moment.';

CREATE OR REPLACE FUNCTION evidence_for(p_alert_type text, p_source text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN COALESCE(CASE
        WHEN p_alert_type = 'error_rate' THEN public.error_evidence(p_source, p_now)
        WHEN p_alert_type = 'critical_errors' THEN public.evidence_of_errors(p_source, '{critical}', p_now)
        WHEN p_alert_type = 'failure_rate' THEN public.finished_tasks_evidence(p_source, p_now, 'failures')
        WHEN p_alert_type = 'processing_time' THEN public.finished_tasks_evidence(p_source, p_now, 'durations')
        WHEN p_alert_type IN ('component_health', 'component_silence', 'response_time') THEN public.component_evidence(p_source, p_now)
        WHEN p_alert_type IN ('queue_backlog', 'queue_silence') THEN public.queue_evidence(p_source, p_now)
        WHEN p_alert_type IN ('host_cpu', 'host_silence') THEN public.host_evidence(p_source, 'cpu', p_now)
        WHEN p_alert_type = 'host_memory' THEN public.host_evidence(p_source, 'memory', p_now)
        WHEN p_alert_type = 'host_disk' THEN public.host_evidence(split_part(p_source, ' ', 1), 'disk', p_now)
    END, '{}');
END
$body$;
COMMENT ON FUNCTION evidence_for(text, text, timestamptz) IS 'The evidence about one source at a moment, also when it is within its limits.';

CREATE OR REPLACE FUNCTION quiet_summary(p_alert_type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE p_alert_type
        WHEN 'error_rate' THEN 'no errors in the last hour'
        WHEN 'critical_errors' THEN 'no critical errors in the last hour'
        WHEN 'failure_rate' THEN 'too few tasks in the last hour to judge'
        WHEN 'processing_time' THEN 'no tasks ended in the last hour'
        WHEN 'running_time' THEN 'no task is running'
        WHEN 'response_time' THEN 'no response time is reported'
        WHEN 'automon_job' THEN 'runs as it should'
        WHEN 'automon_channel' THEN 'is no longer in the config'
        WHEN 'automon_config' THEN 'its service runs no more'
        ELSE 'reports no more' END;
END;
COMMENT ON FUNCTION quiet_summary(text) IS 'What is said of a source that a check no longer measures.';

CREATE OR REPLACE FUNCTION cause_of(p_alert_type text, p_source text, p_evidence jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_top jsonb := p_evidence->'top'->0;
BEGIN
    RETURN CASE
        WHEN p_alert_type IN ('error_rate', 'critical_errors', 'failure_rate', 'component_health') AND v_top->>'message' <> '' THEN public.error_signature(v_top->>'message')
        WHEN p_alert_type IN ('error_rate', 'critical_errors') AND v_top->>'what' <> '' THEN v_top->>'what'
        WHEN starts_with(p_alert_type, 'host_') THEN 'host ' || split_part(p_source, ' ', 1)
        ELSE replace(p_alert_type, '_', ' ')
    END;
END
$body$;
COMMENT ON FUNCTION cause_of(text, text, jsonb) IS
    'What alerts have in common that are told together, whatever their type: the most frequent error message without its numbers and ids, else the error type, the host, or the alert type.';

CREATE OR REPLACE FUNCTION late_findings(p_began timestamptz, p_ended timestamptz) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- The windows of these checks are an hour long: half an hour apart, no moment is left out.
    c_step constant interval := GREATEST(interval '30 minutes', (p_ended - p_began) / 48);
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (f.alert_type, f.source) f.alert_type, f.source, f.severity, f.value, f.threshold, f.unit,
        replace(f.summary, 'in the last hour', 'within an hour') || ' while automon was blind', f.evidence
    FROM (SELECT g.at FROM generate_series(p_began + c_step, p_ended, c_step) AS g (at) UNION SELECT p_ended) AS moment
    CROSS JOIN LATERAL (
        SELECT e.* FROM public.evaluate_error_rate(moment.at) AS e
        UNION ALL SELECT e.* FROM public.evaluate_critical_errors(moment.at) AS e
        UNION ALL SELECT e.* FROM public.evaluate_failure_rate(moment.at) AS e
        UNION ALL SELECT e.* FROM public.evaluate_processing_time(moment.at) AS e) AS f
    WHERE f.severity IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.alerts a WHERE a.alert_type = f.alert_type AND a.source = f.source AND (a.resolved_at IS NULL OR a.resolved_at >= p_began))
    ORDER BY f.alert_type, f.source, public.severity_rank(f.severity) DESC, f.value DESC;
END
$body$;
COMMENT ON FUNCTION late_findings(timestamptz, timestamptz) IS 'The worst that was beyond its limits within a blind period, as far as it is recorded by now, and is no alert yet.';

-- ---------------------------------------------------------------------------------------------------------------
-- Decisions that are worth a notice. Facts as such give none: a notice on each write would cut the writers to a third.

CREATE OR REPLACE FUNCTION tell_of_trouble() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM pg_notify('automon_facts', '');
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION tell_of_trouble() IS 'Tells services, once a transaction, that something was recorded that should be judged at once.';

-- ---------------------------------------------------------------------------------------------------------------
-- The look.

CREATE OR REPLACE FUNCTION urgent_errors(p_now timestamptz) RETURNS TABLE (component text, errors double precision, critical double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_hour   constant interval := interval '1 hour';
    c_newest constant integer := 10000;
BEGIN
    IF (SELECT s.minutes_since FROM public.rollup_state s) <= p_now - c_hour THEN
        RETURN QUERY
        SELECT m.component, sum(m.errors)::double precision, COALESCE(sum(m.errors) FILTER (WHERE m.severity = 'critical'), 0)::double precision
        FROM public.error_minutes m WHERE m.until > p_now - c_hour AND m.until <= p_now + interval '2 minutes' GROUP BY m.component;
    ELSE
        -- On the day of an upgrade, or of a restore, there are no minutes yet.
        RETURN QUERY
        SELECT n.component, count(*)::double precision, count(*) FILTER (WHERE n.severity = 'critical')::double precision
        FROM (SELECT e.component, e.severity FROM public.error_tracking e WHERE e.occurred_at > p_now - c_hour AND e.occurred_at <= p_now ORDER BY e.occurred_at DESC LIMIT c_newest) AS n
        GROUP BY n.component;
    END IF;
END
$body$;
COMMENT ON FUNCTION urgent_errors(timestamptz) IS
    'The errors of each component within about the last hour, to the minute and never too few; where there are no minutes, of the newest ten thousand errors.';

CREATE OR REPLACE FUNCTION urgent_measurements(p_now timestamptz) RETURNS TABLE (alert_type text, source text, value double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    WITH error AS MATERIALIZED (SELECT u.* FROM public.urgent_errors(p_now) AS u)
    SELECT 'error_rate', e.component, e.errors FROM error e
    UNION ALL SELECT 'critical_errors', e.component, e.critical FROM error e WHERE e.critical > 0
    UNION ALL SELECT 'component_health', h.component_type || '/' || h.component_name, CASE h.status WHEN 'unhealthy' THEN 2 ELSE 1 END
        FROM public.system_health h WHERE h.ended_at IS NULL AND h.status <> 'healthy'
    UNION ALL SELECT 'running_time', r.task_type, public.seeing_seconds(min(r.start_time), p_now) FROM public.processing_metrics_running r GROUP BY r.task_type
    UNION ALL SELECT 'queue_backlog', s.name, l.pending FROM public.monitored_sources s
        CROSS JOIN LATERAL (SELECT q.pending::double precision AS pending FROM public.queue_monitoring q
            WHERE q.queue_name = s.name AND q.recorded_at > p_now - interval '5 minutes' AND q.recorded_at <= p_now ORDER BY q.recorded_at DESC LIMIT 1) AS l
        WHERE s.kind = 'queue';
END
$body$;
COMMENT ON FUNCTION urgent_measurements(timestamptz) IS
    'What cannot wait, measured cheaply: errors to the minute, reported trouble, the oldest running task of each type, backlogs reported within five minutes.';

CREATE OR REPLACE FUNCTION urgent_alert_types(p_now timestamptz) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := public.thresholds_in_force();
    v_patience   interval := make_interval(secs => public.setting('schedule.alert_checks_seconds'));
BEGIN
    RETURN (
        SELECT array_agg(DISTINCT m.alert_type)
        FROM public.urgent_measurements(p_now) AS m
        CROSS JOIN LATERAL public.grade(v_thresholds, m.alert_type, m.source, m.value) AS g
        LEFT JOIN public.alerts a ON a.alert_type = m.alert_type AND a.source = m.source AND a.resolved_at IS NULL
        WHERE g.severity IS NOT NULL AND public.severity_rank(g.severity) > COALESCE(public.severity_rank(a.severity), 0)
          -- Who resolves an alert by hand is not contradicted within a second.
          AND NOT EXISTS (SELECT FROM public.alerts r WHERE r.resolved_at > p_now - v_patience AND r.resolved_by <> 'automon' AND r.alert_type = m.alert_type AND r.source = m.source));
END
$body$;
COMMENT ON FUNCTION urgent_alert_types(timestamptz) IS 'The alert types of which something seems worse than its open alert says, or has none; NULL when there are none.';

CREATE OR REPLACE FUNCTION urgent_findings(p_alert_types text[], p_now timestamptz) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF 'error_rate' = ANY (p_alert_types) THEN RETURN QUERY SELECT f.* FROM public.evaluate_error_rate(p_now) AS f; END IF;
    IF 'critical_errors' = ANY (p_alert_types) THEN RETURN QUERY SELECT f.* FROM public.evaluate_critical_errors(p_now) AS f; END IF;
    IF 'component_health' = ANY (p_alert_types) THEN RETURN QUERY SELECT f.* FROM public.evaluate_component_health(p_now) AS f WHERE f.alert_type = 'component_health'; END IF;
    IF 'running_time' = ANY (p_alert_types) THEN RETURN QUERY SELECT f.* FROM public.evaluate_running_time(p_now) AS f; END IF;
    IF 'queue_backlog' = ANY (p_alert_types) THEN RETURN QUERY SELECT f.* FROM public.evaluate_queue_backlog(p_now) AS f WHERE f.alert_type = 'queue_backlog'; END IF;
END
$body$;
COMMENT ON FUNCTION urgent_findings(text[], timestamptz) IS 'The exact findings of some of the alert types that cannot wait.';

CREATE OR REPLACE FUNCTION raise_findings(p_findings monitoring_finding[], p_now timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_patience interval := make_interval(secs => public.setting('schedule.alert_checks_seconds'));
    v_finding  public.monitoring_finding;
    v_alert    public.alerts;
    v_changes  integer := 0;
BEGIN
    PERFORM public.lock_alerts();
    FOR v_finding IN
        SELECT f.* FROM unnest(p_findings) AS f
        WHERE f.severity IS NOT NULL AND NOT EXISTS (
            SELECT FROM public.alerts r WHERE r.alert_type = f.alert_type AND r.source = f.source
              AND (r.resolved_at > p_now OR r.resolved_at > p_now - v_patience AND r.resolved_by <> 'automon'))
        ORDER BY public.severity_rank(f.severity) DESC, f.alert_type, f.source
    LOOP
        SELECT a.* INTO v_alert FROM public.alerts a WHERE a.resolved_at IS NULL AND a.alert_type = v_finding.alert_type AND a.source = v_finding.source;
        IF NOT FOUND THEN
            PERFORM public.open_alert(v_finding, p_now);
            v_changes := v_changes + 1;
        ELSIF public.severity_rank(v_finding.severity) > public.severity_rank(v_alert.severity) AND GREATEST(v_alert.last_seen_at, v_alert.clear_since) <= p_now THEN
            PERFORM public.follow_alert(v_alert, v_finding, p_now);
            v_changes := v_changes + 1;
        END IF;
    END LOOP;
    IF v_changes > 0 THEN
        PERFORM public.hand_on_deliveries();
    END IF;
    RETURN v_changes;
END
$body$;
COMMENT ON FUNCTION raise_findings(monitoring_finding[], timestamptz) IS 'Opens and escalates alerts, and does nothing else to them; answers how many. What is better than before is left to apply_findings.';

CREATE OR REPLACE FUNCTION watch_facts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_urgent text[];
BEGIN
    PERFORM public.roll_up(p_now => p_now);
    v_urgent := public.urgent_alert_types(p_now);
    IF v_urgent IS NULL THEN
        RETURN 0;
    END IF;
    RETURN public.raise_findings(ARRAY(SELECT f FROM public.urgent_findings(v_urgent, p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION watch_facts(timestamptz) IS
    'Rolls up the newest facts and raises what cannot wait: a component in trouble, a critical error, an error rate or a backlog over its limit, a task that does not end. Answers how many alerts it changed. What the service does every schedule.fast_checks_seconds.';

CREATE OR REPLACE FUNCTION run_monitoring_checks(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_changes integer;
BEGIN
    PERFORM public.ensure_partitions(8, p_now);
    -- Without a service, five minutes of facts have come together.
    FOR v_round IN 1..20 LOOP
        EXIT WHEN (public.roll_up(p_now => p_now)->>'more')::boolean IS NOT TRUE;
    END LOOP;
    IF NOT EXISTS (SELECT FROM public.service_instances i WHERE public.instance_lives(i, clock_timestamp())) THEN
        -- cron or a person watches instead of a service.
        PERFORM public.note_sight(clock_timestamp(), make_interval(secs => public.setting('schedule.alert_checks_seconds'))) FROM public.watch_state;
    END IF;
    v_changes := public.apply_findings(public.judged_alert_types(), ARRAY(SELECT f FROM public.evaluate_all(p_now) AS f), p_now);
    RETURN v_changes + public.judge_blind_periods(p_now);
END
$body$;
COMMENT ON FUNCTION run_monitoring_checks(timestamptz) IS
    'All checks in one pass, after the rollups, what was recorded late of a blind period, and the partitions of the coming days; answers how many alerts it changed. What the service runs every five minutes.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
