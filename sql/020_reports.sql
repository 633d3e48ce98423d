-- What people read: what is wrong and why, the work of a day, queues, hosts, causes of errors, silences; and what they do
-- about alerts beyond the first functions.
--
-- Nothing here looks through history: counts come from rollups, and of the facts only the newest of what is shown are read,
-- a limited number of them. The moment is an argument.
SET check_function_bodies = off;
SET client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------
-- Alerts.

CREATE OR REPLACE FUNCTION worst_open_alerts(p_alert_types text[]) RETURNS TABLE (source text, severity text, alert_id bigint, alert_type text, summary text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (a.source) a.source, a.severity, a.id, a.alert_type, a.summary FROM public.alerts a
    WHERE a.resolved_at IS NULL AND a.alert_type = ANY (p_alert_types) ORDER BY a.source, public.severity_rank(a.severity) DESC, a.opened_at;
END
$body$;
COMMENT ON FUNCTION worst_open_alerts(text[]) IS 'The worst open alert of some types for each source.';

CREATE OR REPLACE FUNCTION get_alerts(
    p_open boolean DEFAULT true, p_source text DEFAULT NULL, p_severity text DEFAULT NULL, p_alert_type text DEFAULT NULL, p_since timestamptz DEFAULT NULL,
    p_unacknowledged boolean DEFAULT false, p_limit integer DEFAULT NULL, p_now timestamptz DEFAULT now()
) RETURNS TABLE (id bigint, alert_type text, source text, severity text, status text, summary text, value double precision, threshold double precision, unit text,
    opened_at timestamptz, age_seconds double precision, last_seen_at timestamptz, clear_since timestamptz, peak_severity text, peak_summary text, peak_at timestamptz,
    acknowledged_at timestamptz, acknowledged_by text, acknowledged_note text, silenced_until timestamptz, last_told_at timestamptz, resolved_at timestamptz, resolved_by text, evidence jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT a.id, a.alert_type, a.source, a.severity,
        CASE WHEN a.resolved_at IS NOT NULL THEN 'resolved' WHEN s.ends_at IS NOT NULL THEN 'silenced' WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END,
        a.summary, a.value, a.threshold, a.unit, a.opened_at, GREATEST(extract(epoch FROM COALESCE(a.resolved_at, p_now) - a.opened_at), 0)::double precision, a.last_seen_at, a.clear_since,
        a.peak_severity, a.peak_summary, a.peak_at, a.acknowledged_at, a.acknowledged_by, a.acknowledged_note,
        CASE WHEN a.resolved_at IS NULL THEN s.ends_at END, a.last_told_at, a.resolved_at, a.resolved_by, a.evidence
    FROM public.alerts a
    LEFT JOIN LATERAL (
        SELECT max(x.ends_at) AS ends_at FROM public.alert_silences x
        WHERE p_now >= x.starts_at AND p_now < x.ends_at AND x.alert_type IN (a.alert_type, '*') AND x.source IN (a.source, '*')
    ) AS s ON true
    WHERE (NOT p_open OR a.resolved_at IS NULL)
      AND (p_source IS NULL OR a.source = p_source) AND (p_alert_type IS NULL OR a.alert_type = p_alert_type)
      AND (p_severity IS NULL OR public.severity_rank(CASE WHEN a.resolved_at IS NULL THEN a.severity ELSE a.peak_severity END) >= public.severity_rank(p_severity))
      AND (p_since IS NULL OR a.opened_at >= p_since OR a.resolved_at >= p_since)
      AND NOT (p_unacknowledged AND a.acknowledged_at IS NOT NULL)
    ORDER BY CASE WHEN p_open THEN -public.severity_rank(a.severity) END, CASE WHEN p_open THEN a.opened_at END, CASE WHEN p_open THEN a.id END, a.opened_at DESC, a.id DESC
    LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION get_alerts(boolean, text, text, text, timestamptz, boolean, integer, timestamptz) IS
    'The open alerts, worst first; or, with p_open false, also those that are resolved and still kept, newest first. Of one source, one type, a severity or worse (a resolved one counts at its worst), open or resolved since a moment, not acknowledged. age_seconds of a resolved one: how long it lasted.';

-- An hour of the rollups is one row for each type, status and bucket; the hour that has not ended is added up anew.
CREATE OR REPLACE FUNCTION hourly_tasks(p_task_type text, p_now timestamptz)
RETURNS TABLE (step integer, runs bigint, failed bigint, p95_seconds double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_hour  constant interval := interval '1 hour';
    v_whole timestamptz := public.end_of(c_hour, p_now) - c_hour;
BEGIN
    RETURN QUERY
    SELECT b.step, COALESCE(sum(t.tasks), 0)::bigint, COALESCE(sum(t.tasks) FILTER (WHERE t.status = 'failed'), 0)::bigint,
        CASE WHEN count(t.tasks) > 0 THEN (public.percentiles_of(array_agg(t.tasks ORDER BY t.bucket), array_agg(t.seconds / t.tasks ORDER BY t.bucket), '{0.95}'))[1] END
    FROM generate_series(0, 11) AS b (step)
    LEFT JOIN (
        SELECT 0 AS step, n.status, n.bucket, n.tasks, n.seconds FROM public.tasks_between(v_whole, p_now, p_task_type) AS n
        UNION ALL
        SELECT 1 + (extract(epoch FROM v_whole - h.until) / 3600)::integer, h.status, h.bucket, h.tasks, h.seconds FROM public.task_hours h
        WHERE h.until > v_whole - 11 * c_hour AND h.until <= v_whole AND h.task_type = p_task_type
    ) AS t ON t.step = b.step AND t.status <> 'cancelled'
    GROUP BY b.step;
END
$body$;
COMMENT ON FUNCTION hourly_tasks(text, timestamptz) IS 'The tasks of a type by clock hour, this one (step 0) and the eleven before: how many, how many failed, 95th percentile of their seconds. Without the cancelled ones.';

CREATE OR REPLACE FUNCTION hourly_errors(p_component text, p_severities text[], p_now timestamptz) RETURNS TABLE (step integer, errors bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_hour  constant interval := interval '1 hour';
    v_whole timestamptz := public.end_of(c_hour, p_now) - c_hour;
BEGIN
    RETURN QUERY
    SELECT b.step, COALESCE(sum(e.errors), 0)::bigint FROM generate_series(0, 11) AS b (step)
    LEFT JOIN (
        SELECT 0 AS step, n.severity, n.errors FROM public.errors_between(v_whole, p_now, p_component) AS n
        UNION ALL
        SELECT 1 + (extract(epoch FROM v_whole - h.until) / 3600)::integer, h.severity, h.errors FROM public.error_hours h
        WHERE h.until > v_whole - 11 * c_hour AND h.until <= v_whole AND h.component = p_component
    ) AS e ON e.step = b.step AND e.severity = ANY (p_severities)
    GROUP BY b.step;
END
$body$;
COMMENT ON FUNCTION hourly_errors(text, text[], timestamptz) IS 'The errors of a component and some severities by clock hour, this one (step 0) and the eleven before.';

CREATE OR REPLACE FUNCTION hourly_host_values(p_host text, p_measure text, p_mount text, p_now timestamptz) RETURNS TABLE (step integer, value double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_hour constant interval := interval '1 hour';
BEGIN
    RETURN QUERY
    SELECT b.step, CASE p_measure WHEN 'cpu' THEN l.cpu_percent WHEN 'memory' THEN l.memory_percent
        ELSE (SELECT (d->>'percent')::double precision FROM jsonb_array_elements(COALESCE(l.sample->'disks', '[]')) AS d WHERE d->>'mount' = p_mount LIMIT 1) END
    FROM generate_series(0, 11) AS b (step)
    LEFT JOIN LATERAL (
        SELECT m.* FROM public.host_metrics m WHERE m.host = p_host AND m.sampled_at > p_now - (b.step + 1) * c_hour AND m.sampled_at <= p_now - b.step * c_hour
        ORDER BY m.sampled_at DESC LIMIT 1) AS l ON true;
END
$body$;
COMMENT ON FUNCTION hourly_host_values(text, text, text, timestamptz) IS 'CPU, memory or one disk of a host in percent, as the last sample of each of the last twelve hours has it; step 0 is the newest.';

CREATE OR REPLACE FUNCTION get_alert_trend(p_alert_type text, p_source text, p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_hour   constant interval := interval '1 hour';
    v_host   text := split_part(p_source, ' ', 1);
    v_of     text;
    v_values double precision[];
BEGIN
    CASE p_alert_type
        WHEN 'error_rate' THEN
            v_of := 'errors';
            SELECT array_agg(h.errors::double precision ORDER BY h.step DESC) INTO v_values FROM public.hourly_errors(p_source, '{low,medium,high,critical}', p_now) AS h;
        WHEN 'critical_errors' THEN
            v_of := 'critical errors';
            SELECT array_agg(h.errors::double precision ORDER BY h.step DESC) INTO v_values FROM public.hourly_errors(p_source, '{critical}', p_now) AS h;
        WHEN 'failure_rate' THEN
            v_of := 'failed, %';
            SELECT array_agg(100.0::double precision * h.failed / NULLIF(h.runs, 0) ORDER BY h.step DESC) INTO v_values FROM public.hourly_tasks(p_source, p_now) AS h;
        WHEN 'processing_time' THEN
            v_of := 'p95, seconds';
            SELECT array_agg(h.p95_seconds ORDER BY h.step DESC) INTO v_values FROM public.hourly_tasks(p_source, p_now) AS h;
        WHEN 'queue_backlog' THEN
            v_of := 'waiting';
            SELECT array_agg(l.pending::double precision ORDER BY b.step DESC) INTO v_values FROM generate_series(0, 11) AS b (step)
            LEFT JOIN LATERAL (
                SELECT q.pending FROM public.queue_monitoring q WHERE q.queue_name = p_source AND q.recorded_at > p_now - (b.step + 1) * c_hour AND q.recorded_at <= p_now - b.step * c_hour
                ORDER BY q.recorded_at DESC LIMIT 1) AS l ON true;
        WHEN 'host_cpu', 'host_memory' THEN
            v_of := substr(p_alert_type, 6) || ', %';
            SELECT array_agg(h.value ORDER BY h.step DESC) INTO v_values FROM public.hourly_host_values(p_source, substr(p_alert_type, 6), NULL, p_now) AS h;
        WHEN 'host_disk' THEN
            v_of := 'full, %';
            SELECT array_agg(h.value ORDER BY h.step DESC) INTO v_values FROM public.hourly_host_values(v_host, 'disk', substr(p_source, length(v_host) + 2), p_now) AS h;
        WHEN 'component_health' THEN
            v_of := '0 healthy, 1 degraded, 2 unhealthy';
            SELECT array_agg(s.worst ORDER BY s.step DESC) INTO v_values FROM (
                SELECT b.step, max(CASE h.status WHEN 'unhealthy' THEN 2.0 WHEN 'degraded' THEN 1.0 WHEN 'healthy' THEN 0.0 END)::double precision AS worst FROM generate_series(0, 11) AS b (step)
                LEFT JOIN public.system_health h ON h.component_type = split_part(p_source, '/', 1) AND h.component_name = substr(p_source, length(split_part(p_source, '/', 1)) + 2)
                    AND h.started_at <= p_now - b.step * c_hour AND (h.ended_at IS NULL OR h.ended_at > p_now - (b.step + 1) * c_hour)
                GROUP BY b.step) AS s;
        ELSE
            RETURN NULL;
    END CASE;
    RETURN public.trend(v_of, c_hour, v_values)->'trend';
END
$body$;
COMMENT ON FUNCTION get_alert_trend(text, text, timestamptz) IS
    'How what an alert is about came to be, over twelve hours: {"of", "step_seconds", "values"}, oldest first, null where nothing was measured. NULL for alert types of which no history is kept (silence, running and response time).';

CREATE OR REPLACE FUNCTION rule_of(p_alert_type text, p_source text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT jsonb_build_object('source', t.source, 'low', t.low, 'medium', t.medium, 'high', t.high, 'critical', t.critical, 'origin', t.origin, 'updated_at', t.updated_at)
        FROM public.monitoring_thresholds t WHERE t.alert_type = p_alert_type AND t.source IN (p_source, '*') ORDER BY t.source = '*' LIMIT 1);
END
$body$;
COMMENT ON FUNCTION rule_of(text, text) IS 'The thresholds that judge a source, as JSON: of the source itself, else of every source (*), and where they come from. NULL for an alert type without any.';

CREATE OR REPLACE FUNCTION changes_near(p_at timestamptz, p_but_alert_id bigint, p_limit integer) RETURNS TABLE (at timestamptz, kind text, what text, alert_id bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_from timestamptz := p_at - interval '30 minutes';
    v_to   timestamptz := p_at + interval '10 minutes';
BEGIN
    RETURN QUERY
    SELECT c.at, c.kind, c.what, c.alert_id FROM (
        (SELECT a.opened_at AS at, 'alert' AS kind, a.source || ': ' || a.peak_summary AS what, a.id AS alert_id FROM public.alerts a
         WHERE a.opened_at BETWEEN v_from AND v_to AND a.id IS DISTINCT FROM p_but_alert_id ORDER BY abs(extract(epoch FROM a.opened_at - p_at)) LIMIT p_limit)
        UNION ALL
        (SELECT n.started_at, 'component', format('%s/%s was %s, is %s', n.component_type, n.component_name, h.status, n.status) || COALESCE(': ' || NULLIF(n.failure_reason, ''), ''), NULL::bigint
         FROM public.system_health n CROSS JOIN LATERAL (
            SELECT x.status FROM public.system_health x
            WHERE x.component_type = n.component_type AND x.component_name = n.component_name AND x.started_at < n.started_at ORDER BY x.started_at DESC LIMIT 1) AS h
         WHERE n.started_at BETWEEN v_from AND v_to AND (n.ended_at IS NULL OR n.ended_at >= v_from) AND n.status <> h.status
         ORDER BY abs(extract(epoch FROM n.started_at - p_at)) LIMIT p_limit)
        UNION ALL
        SELECT i.started_at, 'automon', 'a service started: ' || split_part(i.instance, ':', 1) || ', ' || i.version, NULL::bigint FROM public.service_instances i WHERE i.started_at BETWEEN v_from AND v_to
        UNION ALL
        (SELECT g.at, 'config', CASE g.outcome WHEN 'rejected' THEN 'an edit of the config was rejected'
                ELSE (SELECT string_agg(format('%s: %s -> %s', e.change->>'key', COALESCE(e.change->>'old', 'nothing'), COALESCE(e.change->>'new', 'nothing')), ', ' ORDER BY e.number)
                      FROM jsonb_array_elements(g.changes) WITH ORDINALITY AS e (change, number) WHERE e.number <= 2) END || ', by ' || g.actor, NULL::bigint
         FROM public.config_changes g WHERE g.at BETWEEN v_from AND v_to AND (g.outcome = 'rejected' OR g.changes <> '[]') ORDER BY abs(extract(epoch FROM g.at - p_at)) LIMIT p_limit)
        UNION ALL
        (SELECT b.began_at, 'automon', 'was blind: ' || b.why, b.alert_id FROM public.blind_periods b WHERE b.ended_at >= v_from AND b.began_at <= v_to AND b.is_told AND b.alert_id IS NOT NULL LIMIT p_limit)
    ) AS c ORDER BY abs(extract(epoch FROM c.at - p_at)) LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION changes_near(timestamptz, bigint, integer) IS 'What else changed from half an hour before a moment to ten minutes after it: other alerts, states of components, the configuration, services of automon; the nearest first.';

CREATE OR REPLACE FUNCTION silences_of(p_alert_type text, p_source text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT COALESCE(jsonb_agg(jsonb_build_object('id', s.id, 'alert_type', s.alert_type, 'source', s.source, 'until', s.ends_at, 'by', s.created_by, 'reason', s.reason) ORDER BY s.ends_at DESC), '[]')
        FROM public.alert_silences s WHERE p_now >= s.starts_at AND p_now < s.ends_at AND s.alert_type IN (p_alert_type, '*') AND s.source IN (p_source, '*'));
END
$body$;
COMMENT ON FUNCTION silences_of(text, text, timestamptz) IS 'The silences that cover an alert at a moment, as JSON.';

CREATE OR REPLACE FUNCTION get_alert_context(p_alert_id bigint, p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $body$
DECLARE
    c_most  constant integer := 6;
    v_alert public.alerts;
BEGIN
    SELECT a.* INTO v_alert FROM public.alerts a WHERE a.id = p_alert_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_build_object(
        'rule', public.rule_of(v_alert.alert_type, v_alert.source),
        'resolve_after_seconds', public.setting('alerts.resolve_after_seconds'),
        'remind_after_seconds', public.setting('alerts.remind_after_seconds'),
        'min_tasks', CASE WHEN v_alert.alert_type = 'failure_rate' THEN public.setting('failure_rate.min_tasks') END,
        'trend', public.get_alert_trend(v_alert.alert_type, v_alert.source, COALESCE(v_alert.resolved_at, p_now)),
        'silences', public.silences_of(v_alert.alert_type, v_alert.source, p_now),
        'has_audience', public.has_audience(v_alert, CASE WHEN v_alert.last_told_at IS NULL THEN 'opened' ELSE 'reminded' END),
        'changes', COALESCE((SELECT jsonb_agg(to_jsonb(c) ORDER BY c.at) FROM public.changes_near(v_alert.opened_at, v_alert.id, c_most) AS c), '[]'));
END
$body$;
COMMENT ON FUNCTION get_alert_context(bigint, timestamptz) IS
    'What explains an alert beside its story, as JSON: the thresholds that judge it, when it resolves and reminds, its trend over twelve hours, the silences that cover it, and what else changed near its beginning. NULL for a number that there is not.';

CREATE OR REPLACE FUNCTION kinds_of_source(p_source text, p_now timestamptz) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_window constant interval := interval '24 hours';
BEGIN
    RETURN ARRAY(
        SELECT k.kind FROM (VALUES
            ('task type', EXISTS (SELECT FROM public.processing_metrics_running r WHERE r.task_type = p_source) OR EXISTS (SELECT FROM public.tasks_between(p_now - c_window, p_now, p_source))),
            ('component with errors', EXISTS (SELECT FROM public.errors_between(p_now - c_window, p_now, p_source))),
            ('component', EXISTS (SELECT FROM public.system_health h WHERE h.ended_at IS NULL AND h.component_type || '/' || h.component_name = p_source)),
            ('queue', EXISTS (SELECT FROM public.monitored_sources s WHERE s.kind = 'queue' AND s.name = p_source)),
            ('host', EXISTS (SELECT FROM public.monitored_sources s WHERE s.kind = 'host' AND s.name = p_source))
        ) AS k (kind, is_one) WHERE k.is_one);
END
$body$;
COMMENT ON FUNCTION kinds_of_source(text, timestamptz) IS 'What a name stands for: task type, component with errors (both of the last 24 hours), component (type/name), queue, host; none for a name that nothing has.';

CREATE OR REPLACE FUNCTION get_source_report(p_source text, p_now timestamptz DEFAULT now())
RETURNS TABLE (alert_type text, source text, severity text, value double precision, unit text, summary text, rule jsonb, alert_id bigint, silences jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_kinds text[] := public.kinds_of_source(p_source, p_now);
BEGIN
    RETURN QUERY
    WITH measured AS MATERIALIZED (
        SELECT f.alert_type, f.source, f.severity, f.value, f.unit, f.summary FROM public.evaluate_all(p_now) AS f
        WHERE f.source = p_source OR f.alert_type = 'host_disk' AND starts_with(f.source, p_source || ' ')
    ), judged AS (
        SELECT m.* FROM measured m
        UNION ALL
        -- What is checked of such a source and has nothing to measure now.
        SELECT t.alert_type, p_source, NULL, NULL, NULL, public.quiet_summary(t.alert_type)
        FROM (VALUES ('task type', 'failure_rate'), ('task type', 'processing_time'), ('task type', 'running_time'), ('component with errors', 'error_rate'), ('component with errors', 'critical_errors'))
            AS t (kind, alert_type)
        WHERE t.kind = ANY (v_kinds) AND NOT EXISTS (SELECT FROM measured m WHERE m.alert_type = t.alert_type)
    )
    SELECT j.alert_type, j.source, j.severity, j.value, j.unit, j.summary, public.rule_of(j.alert_type, j.source),
        (SELECT a.id FROM public.alerts a WHERE a.resolved_at IS NULL AND a.alert_type = j.alert_type AND a.source = j.source), public.silences_of(j.alert_type, j.source, p_now)
    FROM judged j ORDER BY public.severity_rank(j.severity) DESC NULLS LAST, array_position(public.judged_alert_types(), j.alert_type), j.source;
END
$body$;
COMMENT ON FUNCTION get_source_report(text, timestamptz) IS
    'Every check of a source at a moment, firing or not: what it measures, the thresholds that judge it, the alert that is open. A value without number was not measured, summary says why. No row for a name that nothing has.';

CREATE OR REPLACE FUNCTION get_sources(p_now timestamptz DEFAULT now()) RETURNS TABLE (kind text, name text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_window constant interval := interval '24 hours';
BEGIN
    RETURN QUERY
    SELECT DISTINCT 'task type', t.task_type FROM public.tasks_between(p_now - c_window, p_now) AS t
    UNION SELECT 'task type', r.task_type FROM public.processing_metrics_running r
    UNION SELECT 'component with errors', e.component FROM public.errors_between(p_now - c_window, p_now) AS e
    UNION SELECT 'component', h.component_type || '/' || h.component_name FROM public.system_health h WHERE h.ended_at IS NULL
    UNION SELECT s.kind, s.name FROM public.monitored_sources s
    ORDER BY 2, 1;
END
$body$;
COMMENT ON FUNCTION get_sources(timestamptz) IS 'The names of what is watched: task types and components with errors of the last 24 hours, components (type/name), queues, hosts.';

-- ---------------------------------------------------------------------------------------------------------------
-- Tasks.

CREATE OR REPLACE FUNCTION get_task_report(p_task_type text DEFAULT NULL, p_window interval DEFAULT '24 hours', p_limit integer DEFAULT NULL, p_now timestamptz DEFAULT now())
RETURNS TABLE (task_type text, severity text, runs bigint, completed bigint, failed bigint, cancelled bigint, failure_rate_percent double precision,
    p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, running bigint, oldest_start timestamptz,
    last_ended_at timestamptz, last_status text, last_failed_at timestamptz, last_error text, alert_id bigint, alert_summary text, task_types bigint, ok_task_types bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH part AS MATERIALIZED (
        SELECT t.task_type, t.status, t.bucket, t.tasks, t.seconds, t.last_end FROM public.tasks_between(p_now - p_window, p_now, p_task_type) AS t
    ), ended AS (
        SELECT p.task_type, sum(p.tasks)::bigint AS runs, COALESCE(sum(p.tasks) FILTER (WHERE p.status = 'completed'), 0)::bigint AS completed,
            COALESCE(sum(p.tasks) FILTER (WHERE p.status = 'failed'), 0)::bigint AS failed, COALESCE(sum(p.tasks) FILTER (WHERE p.status = 'cancelled'), 0)::bigint AS cancelled,
            max(p.last_end) AS last_end, max(p.last_end) FILTER (WHERE p.status = 'failed') AS last_failure,
            CASE max(p.last_end) WHEN max(p.last_end) FILTER (WHERE p.status = 'failed') THEN 'failed' WHEN max(p.last_end) FILTER (WHERE p.status = 'completed') THEN 'completed'
                ELSE 'cancelled' END AS last_status
        FROM part p GROUP BY p.task_type
    ), running AS (
        SELECT r.task_type, count(*) AS running, min(r.start_time) AS oldest FROM public.tasks_running_at(p_now) AS r GROUP BY r.task_type
    ), known AS (
        SELECT COALESCE(e.task_type, r.task_type) AS task_type, e.runs, e.completed, e.failed, e.cancelled, e.last_end, e.last_failure, e.last_status, r.running, r.oldest
        FROM ended e FULL JOIN running r ON r.task_type = e.task_type
    ), judged AS (
        SELECT COALESCE(k.task_type, a.source) AS task_type, a.severity, a.alert_id, a.summary, k.runs, k.completed, k.failed, k.cancelled, k.last_end, k.last_failure, k.last_status,
            k.running, k.oldest
        FROM known k FULL JOIN public.worst_open_alerts('{failure_rate,processing_time,running_time}') AS a ON a.source = k.task_type
    ), shown AS MATERIALIZED (
        SELECT j.*, count(*) OVER () AS types, count(*) FILTER (WHERE j.severity IS NULL AND j.last_status IS DISTINCT FROM 'failed') OVER () AS ok_types
        FROM judged j WHERE p_task_type IS NULL OR j.task_type = p_task_type
        ORDER BY public.severity_rank(j.severity) DESC NULLS LAST, (j.last_status = 'failed') DESC NULLS LAST, j.failed::numeric / NULLIF(j.runs, 0) DESC NULLS LAST, j.runs DESC NULLS LAST, j.task_type
        LIMIT p_limit
    ), histogram AS (
        SELECT p.task_type, public.percentiles_of(array_agg(p.tasks ORDER BY p.bucket), array_agg(p.seconds / p.tasks ORDER BY p.bucket), '{0.5,0.95,0.99}') AS seconds
        FROM part p WHERE p.task_type IN (SELECT s.task_type FROM shown s) GROUP BY p.task_type
    )
    SELECT s.task_type, s.severity, COALESCE(s.runs, 0), COALESCE(s.completed, 0), COALESCE(s.failed, 0), COALESCE(s.cancelled, 0),
        100.0::double precision * s.failed / NULLIF(s.completed + s.failed, 0), p.seconds[1], p.seconds[2], p.seconds[3], COALESCE(s.running, 0), s.oldest,
        s.last_end, s.last_status, s.last_failure,
        (SELECT h.error_message FROM public.processing_metrics_history h WHERE h.end_time = s.last_failure AND h.task_type = s.task_type AND h.status = 'failed' LIMIT 1),
        s.alert_id, s.summary, s.types, s.ok_types
    FROM shown s LEFT JOIN histogram p ON p.task_type = s.task_type
    ORDER BY public.severity_rank(s.severity) DESC NULLS LAST, (s.last_status = 'failed') DESC NULLS LAST, s.failed::numeric / NULLIF(s.runs, 0) DESC NULLS LAST, s.runs DESC NULLS LAST, s.task_type;
END
$body$;
COMMENT ON FUNCTION get_task_report(text, interval, integer, timestamptz) IS
    'The task types of a window, those in trouble first: runs that ended, how many failed, percentiles of their seconds (to about 2.5 percent), what runs now, how the last run ended, the open alert. task_types and ok_task_types count all of them, whatever the limit.';

CREATE OR REPLACE FUNCTION newest_failures(p_task_type text, p_window interval, p_limit integer, p_now timestamptz)
RETURNS TABLE (task_id text, worker_id text, start_time timestamptz, end_time timestamptz, duration_seconds double precision, current_step text, error_message text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    c_hour  constant interval := interval '1 hour';
    v_whole timestamptz := GREATEST(public.end_of(c_hour, p_now) - c_hour, p_now - p_window);
BEGIN
    RETURN QUERY
    -- The rollups tell when the last failure of a minute or an hour was, so that no other task need be looked at.
    WITH moment AS MATERIALIZED (
        SELECT DISTINCT m.last_end FROM (
            SELECT t.last_end FROM public.tasks_between(v_whole, p_now, p_task_type, interval '1 minute') AS t WHERE t.status = 'failed'
            UNION ALL SELECT h.last_end FROM public.task_hours h
            WHERE h.until > p_now - p_window AND h.until <= v_whole AND h.task_type = p_task_type AND h.status = 'failed' AND h.last_end > p_now - p_window
        ) AS m ORDER BY m.last_end DESC LIMIT p_limit
    )
    SELECT f.task_id, f.worker_id, f.start_time, f.end_time, f.duration_seconds, f.current_step, f.error_message
    FROM moment m CROSS JOIN LATERAL (
        SELECT h.* FROM public.processing_metrics_history h WHERE h.end_time = m.last_end AND h.task_type = p_task_type AND h.status = 'failed' ORDER BY h.task_id LIMIT p_limit) AS f
    ORDER BY f.end_time DESC, f.task_id LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION newest_failures(text, interval, integer, timestamptz) IS 'Late failures of a type: the last of each minute of this hour, and the last of each hour and duration before, the newest first.';

CREATE OR REPLACE FUNCTION get_task_details(p_task_type text, p_window interval DEFAULT '24 hours', p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $body$
DECLARE
    c_most constant integer := 5;
BEGIN
    RETURN (
        SELECT to_jsonb(r) - 'task_types' - 'ok_task_types' || jsonb_build_object(
            'hours', (SELECT jsonb_agg(jsonb_build_object('runs', h.runs, 'failed', h.failed, 'p95_seconds', h.p95_seconds) ORDER BY h.step DESC) FROM public.hourly_tasks(r.task_type, p_now) AS h),
            'running_now', (
                SELECT COALESCE(jsonb_agg(jsonb_build_object('task_id', o.task_id, 'worker_id', o.worker_id, 'start_time', o.start_time, 'current_step', o.current_step, 'progress', o.progress,
                    'heartbeat_at', o.heartbeat_at) ORDER BY o.start_time, o.task_id), '[]')
                FROM (SELECT x.* FROM public.tasks_running_at(p_now) AS x WHERE x.task_type = r.task_type ORDER BY x.start_time, x.task_id LIMIT c_most) AS o),
            'failures', (SELECT COALESCE(jsonb_agg(to_jsonb(f) ORDER BY f.end_time DESC, f.task_id), '[]') FROM public.newest_failures(r.task_type, p_window, c_most, p_now) AS f),
            'silences', public.silences_of('failure_rate', r.task_type, p_now))
        FROM public.get_task_report(p_task_type, p_window, 1, p_now) AS r);
END
$body$;
COMMENT ON FUNCTION get_task_details(text, interval, timestamptz) IS
    'One task type, as JSON: what get_task_report says of it, its last twelve clock hours, the five that run longest now, and five late failures. NULL when nothing of it ended within the window or runs.';

-- ---------------------------------------------------------------------------------------------------------------
-- Errors by cause. Rollups count components and types; what was said is read from the newest of each component.

CREATE OR REPLACE FUNCTION get_error_causes(p_component text DEFAULT NULL, p_window interval DEFAULT '24 hours', p_limit integer DEFAULT 50, p_now timestamptz DEFAULT now())
RETURNS TABLE (component text, error_type text, signature text, errors bigint, is_estimate boolean, severity text, tasks bigint, first_at timestamptz, last_at timestamptz,
    sample_message text, sample_task_id text, causes bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    c_looked_at  constant integer := 2000;
    c_components constant integer := 50;
BEGIN
    RETURN QUERY
    WITH kind AS MATERIALIZED (
        SELECT e.component, e.error_type, sum(e.errors)::bigint AS errors, max(public.severity_rank(e.severity)) AS rank, public.count_sketched(bit_or(e.tasks)) AS tasks,
            min(e.first_at) AS first_at, max(e.last_at) AS last_at, sum(sum(e.errors)) OVER (PARTITION BY e.component)::bigint AS of_component
        FROM public.errors_between(p_now - p_window, p_now, p_component) AS e GROUP BY e.component, e.error_type
    ), worst AS (
        SELECT k.component, max(k.of_component) AS errors FROM kind k GROUP BY k.component ORDER BY 2 DESC, 1 LIMIT c_components
    ), said AS MATERIALIZED (
        SELECT n.component, n.error_type, public.error_signature(n.error_message) AS signature, count(*) AS errors, count(DISTINCT n.task_id) AS tasks, max(public.severity_rank(n.severity)) AS rank,
            min(n.occurred_at) AS first_at, max(n.occurred_at) AS last_at, (array_agg(n.error_message ORDER BY n.occurred_at DESC, n.id DESC))[1] AS message,
            (array_agg(n.task_id ORDER BY n.occurred_at DESC, n.id DESC))[1] AS task_id,
            sum(count(*)) OVER (PARTITION BY n.component, n.error_type) AS of_kind, count(*) OVER (PARTITION BY n.component, n.error_type) AS signatures
        FROM worst w CROSS JOIN LATERAL (
            SELECT e.* FROM public.error_tracking e WHERE e.component = w.component AND e.occurred_at > p_now - p_window AND e.occurred_at <= p_now
            ORDER BY e.occurred_at DESC LIMIT c_looked_at) AS n
        GROUP BY n.component, n.error_type, public.error_signature(n.error_message)
    ), cause AS (
        SELECT k.component, k.error_type, s.signature, s.signatures = 1 AS is_only, k.errors > COALESCE(s.of_kind, 0) AS is_part, k.rank AS kind_rank, s.rank, k.tasks AS kind_tasks, s.tasks,
            -- What was not looked at is taken to be like what was.
            CASE WHEN s.errors IS NULL THEN k.errors ELSE GREATEST(s.errors, round(s.errors * k.errors / s.of_kind))::bigint END AS errors,
            k.first_at AS kind_first, k.last_at AS kind_last, s.first_at, s.last_at, s.message, s.task_id
        FROM kind k LEFT JOIN said s ON s.component = k.component AND s.error_type = k.error_type
    ), shown AS MATERIALIZED (
        SELECT c.*, count(*) OVER () AS causes FROM cause c ORDER BY c.errors DESC, c.kind_last DESC, c.component, c.error_type, c.signature LIMIT p_limit
    )
    SELECT s.component, s.error_type, COALESCE(s.signature, public.error_signature(l.error_message)), s.errors, s.is_part AND s.is_only IS NOT TRUE,
        (ARRAY['low', 'medium', 'high', 'critical'])[CASE WHEN s.is_only IS FALSE THEN s.rank ELSE s.kind_rank END],
        CASE WHEN s.is_part AND s.is_only IS NOT FALSE THEN s.kind_tasks ELSE s.tasks END,
        CASE WHEN s.is_part AND s.is_only IS NOT FALSE THEN s.kind_first ELSE s.first_at END, COALESCE(s.last_at, s.kind_last),
        COALESCE(s.message, l.error_message), COALESCE(s.task_id, l.task_id), s.causes
    FROM shown s LEFT JOIN LATERAL (
        SELECT e.error_message, e.task_id FROM public.error_tracking e
        WHERE s.message IS NULL AND e.component = s.component AND e.occurred_at = s.kind_last AND e.error_type = s.error_type LIMIT 1) AS l ON true
    ORDER BY s.errors DESC, s.kind_last DESC, s.component, s.error_type, s.signature;
END
$body$;
COMMENT ON FUNCTION get_error_causes(text, interval, integer, timestamptz) IS
    'The errors of a window by cause, the most frequent first: component, type, and message without its numbers and ids; how often, of how many tasks, first, last, and the newest message as a sample. Exact for the newest 2,000 errors of a component; beyond them the counts of several messages of one type are an estimate. causes counts all of them, whatever the limit.';

-- ---------------------------------------------------------------------------------------------------------------
-- Queues, hosts, components.

CREATE OR REPLACE FUNCTION get_queue_report(p_limit integer DEFAULT NULL, p_now timestamptz DEFAULT now())
RETURNS TABLE (queue_name text, severity text, pending bigint, processing bigint, oldest_pending_seconds double precision, in_per_minute double precision, out_per_minute double precision,
    change_per_minute double precision, seconds_to_empty double precision, reported_at timestamptz, is_silent boolean, alert_id bigint, alert_summary text, queues bigint, ok_queues bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_reports constant integer := 60;
BEGIN
    RETURN QUERY
    WITH shown AS MATERIALIZED (
        SELECT q.*, a.severity, a.alert_id, a.alert_type, a.summary, count(*) OVER () AS queues, count(*) FILTER (WHERE a.severity IS NULL) OVER () AS ok_queues
        FROM public.queue_reports_at(p_now) AS q LEFT JOIN public.worst_open_alerts('{queue_backlog,queue_silence}') AS a ON a.source = q.queue_name
        ORDER BY public.severity_rank(a.severity) DESC NULLS LAST, q.pending DESC, q.queue_name LIMIT p_limit
    )
    SELECT s.queue_name, s.severity, s.pending, s.processing, s.oldest_pending_seconds,
        CASE WHEN f.done IS NOT NULL THEN GREATEST((f.pending_change + COALESCE(f.processing_change, 0) + f.done) / f.minutes, 0) END, f.done / f.minutes, f.pending_change / f.minutes,
        CASE WHEN s.pending = 0 THEN 0 WHEN f.pending_change < 0 THEN s.pending * 60 * f.minutes / -f.pending_change END,
        s.reported_at, EXISTS (SELECT FROM public.alerts a WHERE a.resolved_at IS NULL AND a.alert_type = 'queue_silence' AND a.source = s.queue_name), s.alert_id, s.summary, s.queues, s.ok_queues
    FROM shown s CROSS JOIN LATERAL (
        -- What the oldest of these reports counts was done before it.
        SELECT (sum(COALESCE(n.completed, 0) + COALESCE(n.failed, 0)) FILTER (WHERE n.number < n.reports AND (n.completed IS NOT NULL OR n.failed IS NOT NULL)))::double precision AS done,
            s.pending - (array_agg(n.pending ORDER BY n.number DESC))[1]::double precision AS pending_change,
            s.processing - (array_agg(n.processing ORDER BY n.number DESC))[1]::double precision AS processing_change,
            NULLIF(extract(epoch FROM max(n.recorded_at) - min(n.recorded_at))::double precision, 0) / 60 AS minutes
        FROM (
            SELECT m.*, row_number() OVER (ORDER BY m.recorded_at DESC) AS number, count(*) OVER () AS reports FROM (
                SELECT x.* FROM public.queue_monitoring x
                WHERE x.queue_name = s.queue_name AND x.recorded_at <= s.reported_at AND x.recorded_at > s.reported_at - interval '1 hour' ORDER BY x.recorded_at DESC LIMIT c_reports) AS m
        ) AS n
    ) AS f
    ORDER BY public.severity_rank(s.severity) DESC NULLS LAST, s.pending DESC, s.queue_name;
END
$body$;
COMMENT ON FUNCTION get_queue_report(integer, timestamptz) IS
    'The queues, those in trouble first: what waits and since when, how much comes in and goes out a minute (of the newest 60 reports of an hour; NULL when queues do not say what they completed), in how many seconds it would be empty (NULL: not shrinking). queues and ok_queues count all of them, whatever the limit.';

CREATE OR REPLACE FUNCTION get_host_report(p_limit integer DEFAULT NULL, p_now timestamptz DEFAULT now())
RETURNS TABLE (host text, severity text, cpu_percent double precision, memory_percent double precision, disks jsonb, container jsonb, host_cpu_percent double precision, host_memory_percent double precision,
    sampled_at timestamptz, is_silent boolean, alert_id bigint, alert_summary text, hosts bigint, ok_hosts bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.host, a.severity, s.cpu_percent, s.memory_percent,
        COALESCE((SELECT jsonb_agg(jsonb_build_object('mount', d->'mount', 'percent', d->'percent', 'free_bytes', d->'free_bytes', 'total_bytes', d->'total_bytes'))
            FROM jsonb_array_elements(COALESCE(s.sample->'disks', '[]')) AS d), '[]'),
        NULLIF(s.sample->'container', '{}'), (s.sample->'cpu'->>'percent')::double precision, (s.sample->'memory'->>'percent')::double precision,
        s.sampled_at, COALESCE(a.is_silent, false), a.id, a.summary, count(*) OVER (), count(*) FILTER (WHERE a.severity IS NULL) OVER ()
    FROM public.host_samples_at(p_now) AS s
    LEFT JOIN (
        SELECT DISTINCT ON (w.host) w.host, w.severity, w.id, w.summary, bool_or(w.alert_type = 'host_silence') OVER (PARTITION BY w.host) AS is_silent FROM (
            -- A disk is "host /mount".
            SELECT CASE o.alert_type WHEN 'host_disk' THEN split_part(o.source, ' /', 1) ELSE o.source END AS host, o.* FROM public.alerts o
            WHERE o.resolved_at IS NULL AND o.alert_type IN ('host_cpu', 'host_memory', 'host_disk', 'host_silence')) AS w
        ORDER BY w.host, public.severity_rank(w.severity) DESC, w.opened_at, w.id) AS a ON a.host = s.host
    ORDER BY public.severity_rank(a.severity) DESC NULLS LAST, s.host LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION get_host_report(integer, timestamptz) IS
    'The hosts, those in trouble first, as their last sample has them (CPU: mean of the newest five): cpu_percent and memory_percent of whichever has less left, a container''s limit or the host; both by themselves in container and in host_cpu_percent and host_memory_percent; the disks, fullest first; and whether the samples have stopped. hosts and ok_hosts count all of them, whatever the limit.';

CREATE OR REPLACE FUNCTION get_component_report(p_limit integer DEFAULT NULL, p_now timestamptz DEFAULT now())
RETURNS TABLE (source text, severity text, status text, since timestamptz, reported_at timestamptz, response_time_ms double precision, failure_reason text, is_silent boolean,
    alert_id bigint, alert_summary text, components bigint, ok_components bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT c.source, a.severity, c.status, c.since, c.reported_at, c.response_time_ms, c.failure_reason,
        EXISTS (SELECT FROM public.alerts o WHERE o.resolved_at IS NULL AND o.alert_type = 'component_silence' AND o.source = c.source), a.alert_id, a.summary,
        count(*) OVER (), count(*) FILTER (WHERE a.severity IS NULL AND c.status = 'healthy') OVER ()
    FROM public.component_states_at(p_now) AS c LEFT JOIN public.worst_open_alerts('{component_health,component_silence,response_time}') AS a ON a.source = c.source
    ORDER BY public.severity_rank(a.severity) DESC NULLS LAST, c.status = 'healthy', c.source LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION get_component_report(integer, timestamptz) IS
    'The components, those in trouble first: state, since when, last report, response time in milliseconds, and whether they have fallen silent. components and ok_components count all of them, whatever the limit.';

CREATE OR REPLACE FUNCTION get_status(p_limit integer DEFAULT 6, p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $body$
BEGIN
    RETURN jsonb_build_object(
        'summary', public.get_dashboard_summary(p_now),
        'alerts', COALESCE((
            SELECT jsonb_agg(to_jsonb(a.alert) || jsonb_build_object('trend', CASE WHEN a.number <= p_limit THEN public.get_alert_trend((a.alert).alert_type, (a.alert).source, p_now) END) ORDER BY a.number)
            FROM (SELECT x AS alert, row_number() OVER () AS number FROM public.get_alerts(p_now => p_now) AS x) AS a), '[]'),
        'last_resolved', (SELECT jsonb_build_object('id', a.id, 'source', a.source, 'severity', a.peak_severity, 'resolved_at', a.resolved_at)
            FROM public.alerts a WHERE a.resolved_at IS NOT NULL AND a.resolved_at <= p_now ORDER BY a.resolved_at DESC, a.id DESC LIMIT 1),
        'tasks', COALESCE((SELECT jsonb_agg(to_jsonb(t)) FROM public.get_task_report(p_limit => p_limit, p_now => p_now) AS t), '[]'),
        'queues', COALESCE((SELECT jsonb_agg(to_jsonb(q)) FROM public.get_queue_report(p_limit, p_now) AS q), '[]'),
        'hosts', COALESCE((SELECT jsonb_agg(to_jsonb(h)) FROM public.get_host_report(p_limit, p_now) AS h), '[]'),
        'components', COALESCE((SELECT jsonb_agg(to_jsonb(c)) FROM public.get_component_report(p_limit, p_now) AS c), '[]'));
END
$body$;
COMMENT ON FUNCTION get_status(integer, timestamptz) IS
    'What is wrong and how the work goes, as JSON: the dashboard summary, the open alerts, worst first (the first few with their trend), and of tasks, queues, hosts and components those in trouble and a few others.';

-- ---------------------------------------------------------------------------------------------------------------
-- What people do. Whoever acts leaves name, moment and reason.

CREATE OR REPLACE FUNCTION unacknowledge_alert(p_alert_id bigint, p_by text DEFAULT NULL, p_note text DEFAULT NULL, p_at timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alert public.alerts := public.open_alert_or_refuse(p_alert_id);
BEGIN
    IF v_alert.resolved_at IS NOT NULL OR v_alert.acknowledged_at IS NULL THEN
        RETURN false;
    END IF;
    UPDATE public.alerts a SET acknowledged_at = NULL, acknowledged_by = NULL, acknowledged_note = NULL WHERE a.id = p_alert_id RETURNING a.* INTO v_alert;
    PERFORM public.record_transition(v_alert, 'unacknowledged', public.fact_moment(p_at), v_alert.severity, COALESCE(NULLIF(p_by, ''), session_user), p_note);
    RETURN true;
END
$body$;
COMMENT ON FUNCTION unacknowledge_alert(bigint, text, text, timestamptz) IS
    'Gives an alert back that was acknowledged: it is nobody''s, and reminders go on. Who had it stays in its story; no channel is told. False when it is not acknowledged or is resolved. Raises AM009.';

CREATE OR REPLACE FUNCTION preview_silence(p_source text, p_alert_type text DEFAULT '*', p_window interval DEFAULT '7 days', p_now timestamptz DEFAULT now())
RETURNS TABLE (messages bigint, alerts bigint, low bigint, medium bigint, high bigint, critical bigint, worst_alert_id bigint, worst_source text, worst_severity text, worst_summary text, worst_opened_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH told AS MATERIALIZED (
        SELECT a.id, a.source, a.peak_severity AS severity, a.peak_summary AS summary, a.opened_at, m.messages FROM public.alerts a
        CROSS JOIN LATERAL (
            SELECT count(*) AS messages FROM public.alert_deliveries d WHERE d.alert_id = a.id AND d.created_at > p_now - p_window AND d.created_at <= p_now AND d.status <> 'silenced') AS m
        WHERE (a.resolved_at IS NULL OR a.resolved_at > p_now - p_window) AND a.opened_at <= p_now AND p_source IN (a.source, '*') AND p_alert_type IN (a.alert_type, '*')
    ), worst AS (
        SELECT t.* FROM told t ORDER BY public.severity_rank(t.severity) DESC, t.messages DESC, t.opened_at DESC LIMIT 1
    )
    SELECT COALESCE(sum(t.messages), 0)::bigint, count(*), count(*) FILTER (WHERE t.severity = 'low'), count(*) FILTER (WHERE t.severity = 'medium'), count(*) FILTER (WHERE t.severity = 'high'),
        count(*) FILTER (WHERE t.severity = 'critical'), max(w.id), max(w.source), max(w.severity), max(w.summary), max(w.opened_at)
    FROM told t LEFT JOIN worst w ON true;
END
$body$;
COMMENT ON FUNCTION preview_silence(text, text, interval, timestamptz) IS
    'What a silence would have hidden within the window, as far as alerts are still kept: messages, alerts by their worst severity, and the worst of them.';

CREATE OR REPLACE FUNCTION get_silences(p_ended boolean DEFAULT false, p_limit integer DEFAULT NULL, p_now timestamptz DEFAULT now())
RETURNS TABLE (id bigint, alert_type text, source text, starts_at timestamptz, ends_at timestamptz, created_by text, reason text, ended_by text, is_active boolean, hidden_messages bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.id, s.alert_type, s.source, s.starts_at, s.ends_at, s.created_by, s.reason, s.ended_by, s.ends_at > p_now AND s.starts_at <= p_now,
        (SELECT count(*) FROM public.alerts a JOIN public.alert_deliveries d ON d.alert_id = a.id
         WHERE (a.resolved_at IS NULL OR a.resolved_at >= s.starts_at) AND s.source IN (a.source, '*') AND s.alert_type IN (a.alert_type, '*')
           AND d.status = 'silenced' AND d.created_at >= s.starts_at AND d.created_at < s.ends_at)
    FROM (
        SELECT x.* FROM public.alert_silences x WHERE p_ended OR x.ends_at > p_now
        ORDER BY x.ends_at > p_now DESC, CASE WHEN x.ends_at > p_now THEN x.ends_at END, x.ends_at DESC, x.id LIMIT p_limit) AS s
    ORDER BY s.ends_at > p_now DESC, CASE WHEN s.ends_at > p_now THEN s.ends_at END, s.ends_at DESC, s.id;
END
$body$;
COMMENT ON FUNCTION get_silences(boolean, integer, timestamptz) IS
    'The silences in force, the first to end first: what, who, why, until when, and how many messages they have hidden; with p_ended also those that are over, and who ended them before their time.';

-- With one more argument it is another function; beside the one without, calls would be ambiguous. Those of before work.
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS end_silence(bigint, timestamptz);
CREATE OR REPLACE FUNCTION end_silence(p_silence_id bigint, p_at timestamptz DEFAULT NULL, p_by text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at timestamptz := public.fact_moment(p_at);
BEGIN
    UPDATE public.alert_silences s SET ends_at = GREATEST(v_at, s.starts_at), ended_by = COALESCE(NULLIF(p_by, ''), session_user) WHERE s.id = p_silence_id AND s.ends_at > v_at;
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION end_silence(bigint, timestamptz, text) IS
    'Ends a silence now and keeps who did, by default the session''s user; false when there is none of that number or it has ended.';

-- ---------------------------------------------------------------------------------------------------------------
-- Export. Facts of a range of time in a stable order, a page at a time: no call holds a snapshot for longer than its page,
-- works behind a pooler, and goes on where another has stopped.

CREATE OR REPLACE FUNCTION export_facts(p_kind text, p_since timestamptz, p_until timestamptz, p_after jsonb DEFAULT NULL, p_limit integer DEFAULT 5000) RETURNS SETOF json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $body$
DECLARE
    -- Of most kinds the moment comes first, then what tells facts of one moment apart; of queues and hosts the name.
    v_at   timestamptz := COALESCE(CASE WHEN p_kind IN ('queues', 'hosts') THEN p_after->>1 ELSE p_after->>0 END, '-infinity');
    v_key  text        := CASE WHEN p_kind IN ('queues', 'hosts') THEN p_after->>0 ELSE p_after->>1 END;
    v_from timestamptz := GREATEST(p_since, v_at);
BEGIN
    CASE p_kind
    WHEN 'tasks' THEN RETURN QUERY SELECT row_to_json(x) FROM (
        SELECT h.id, h.task_id, h.parent_task_id, h.task_type, h.worker_id, h.status, h.start_time, h.end_time, h.duration_seconds, h.input_size, h.output_size, h.heartbeat_at, h.progress,
            h.current_step, h.step_timings, h.error_message
        FROM public.processing_metrics_history h
        WHERE h.end_time >= v_from AND h.end_time < p_until AND (h.end_time, h.id) > (v_at, COALESCE(v_key::bigint, 0)) ORDER BY h.end_time, h.id LIMIT p_limit) AS x;
    WHEN 'running' THEN RETURN QUERY SELECT row_to_json(x) FROM (
        SELECT r.id, r.task_id, r.parent_task_id, r.task_type, r.worker_id, r.start_time, r.input_size, r.heartbeat_at, r.progress, r.current_step
        FROM public.processing_metrics_running r
        WHERE r.start_time >= v_from AND r.start_time < p_until AND (r.start_time, r.id) > (v_at, COALESCE(v_key::bigint, 0)) ORDER BY r.start_time, r.id LIMIT p_limit) AS x;
    WHEN 'errors' THEN RETURN QUERY SELECT row_to_json(x) FROM (
        SELECT e.occurred_at, e.fact_id, e.task_id, e.component, e.error_type, e.severity, e.error_message, e.stack_trace, e.context
        FROM public.error_tracking e
        WHERE e.occurred_at >= v_from AND e.occurred_at < p_until AND (e.occurred_at, e.fact_id) > (v_at, COALESCE(v_key, '00000000-0000-0000-0000-000000000000')::uuid)
        ORDER BY e.occurred_at, e.fact_id LIMIT p_limit) AS x;
    WHEN 'metrics' THEN RETURN QUERY SELECT row_to_json(x) FROM (
        SELECT p.recorded_at, p.fact_id, p.component, p.metric_name, p.metric_type, p.value, p.unit, p.tags
        FROM public.performance_monitoring p
        WHERE p.recorded_at >= v_from AND p.recorded_at < p_until AND (p.recorded_at, p.fact_id) > (v_at, COALESCE(v_key, '00000000-0000-0000-0000-000000000000')::uuid)
        ORDER BY p.recorded_at, p.fact_id LIMIT p_limit) AS x;
    WHEN 'health' THEN RETURN QUERY SELECT row_to_json(x) FROM (
        SELECT s.id, s.component_type, s.component_name, s.status, s.started_at, s.ended_at, s.last_reported_at, s.report_count, s.response_time_ms, s.failure_reason, s.details
        FROM public.system_health s
        WHERE s.started_at >= v_from AND s.started_at < p_until AND (s.started_at, s.id) > (v_at, COALESCE(v_key::bigint, 0)) ORDER BY s.started_at, s.id LIMIT p_limit) AS x;
    WHEN 'queues' THEN RETURN QUERY SELECT row_to_json(x) FROM (
        SELECT q.queue_name, q.recorded_at, q.pending, q.processing, q.completed, q.failed, q.oldest_pending_seconds
        FROM public.queue_monitoring q
        WHERE q.recorded_at >= p_since AND q.recorded_at < p_until AND (q.queue_name, q.recorded_at) > (COALESCE(v_key, ''), v_at) ORDER BY q.queue_name, q.recorded_at LIMIT p_limit) AS x;
    WHEN 'hosts' THEN RETURN QUERY SELECT row_to_json(x) FROM (
        SELECT h.host, h.sampled_at, h.cpu_percent, h.memory_percent, h.swap_percent, h.disk_percent, h.load_per_core, h.sample
        FROM public.host_metrics h
        WHERE h.sampled_at >= p_since AND h.sampled_at < p_until AND (h.host, h.sampled_at) > (COALESCE(v_key, ''), v_at) ORDER BY h.host, h.sampled_at LIMIT p_limit) AS x;
    WHEN 'alerts' THEN RETURN QUERY SELECT row_to_json(x) FROM (
        SELECT a.id, a.alert_type, a.source, a.severity, a.summary, a.value, a.threshold, a.unit, a.opened_at, a.last_seen_at, a.peak_severity, a.peak_value, a.peak_summary, a.peak_at,
            a.acknowledged_at, a.acknowledged_by, a.acknowledged_note, a.resolved_at, a.resolved_by, a.evidence
        FROM public.alerts a
        WHERE a.opened_at >= v_from AND a.opened_at < p_until AND (a.opened_at, a.id) > (v_at, COALESCE(v_key::bigint, 0)) ORDER BY a.opened_at, a.id LIMIT p_limit) AS x;
    ELSE
        PERFORM public.refuse('AM001', format('invalid_name: %L is no kind of facts', p_kind), 'Use tasks, running, errors, metrics, health, queues, hosts or alerts.');
    END CASE;
END
$body$;
COMMENT ON FUNCTION export_facts(text, timestamptz, timestamptz, jsonb, integer) IS
    'A page of the facts of a kind from a moment (included) to another (left out), as JSON in UTC, in a stable order. p_after: the order''s two values of the last row that is known, as a JSON array: moment and id of tasks (end_time), running (start_time), health (started_at) and alerts (opened_at); moment and fact_id of errors and metrics; name and moment of queues and hosts. Raises AM001.';

CREATE OR REPLACE FUNCTION export_estimate(p_kind text, p_since timestamptz, p_until timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_table  text;
    v_column text;
    v_plan   json;
BEGIN
    SELECT k.table_name, k.column_name INTO v_table, v_column FROM (VALUES
        ('tasks', 'processing_metrics_history', 'end_time'), ('running', 'processing_metrics_running', 'start_time'), ('errors', 'error_tracking', 'occurred_at'),
        ('metrics', 'performance_monitoring', 'recorded_at'), ('health', 'system_health', 'started_at'), ('queues', 'queue_monitoring', 'recorded_at'), ('hosts', 'host_metrics', 'sampled_at'),
        ('alerts', 'alerts', 'opened_at')) AS k (kind, table_name, column_name) WHERE k.kind = p_kind;
    IF v_table IS NOT NULL THEN
        EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM public.%I WHERE %I >= %L AND %I < %L', v_table, v_column, p_since, v_column, p_until) INTO v_plan;
    END IF;
    RETURN (v_plan->0->'Plan'->>'Plan Rows')::bigint;
END
$body$;
COMMENT ON FUNCTION export_estimate(text, timestamptz, timestamptz) IS 'About how many facts of a kind a range of time holds, as the planner believes, without reading them; NULL for an unknown kind.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;

DO $do$
BEGIN
    PERFORM open_to('automon_reader', 'get_status', 'get_alerts', 'get_alert_trend', 'get_alert_context', 'get_source_report', 'get_sources', 'get_task_report', 'get_task_details',
        'get_error_causes', 'get_queue_report', 'get_host_report', 'get_component_report', 'get_silences', 'preview_silence');
    PERFORM open_to('automon_reader', 'export_facts', 'export_estimate');
    PERFORM open_to('automon_operator', 'unacknowledge_alert', 'preview_silence', 'get_silences');
END
$do$;

RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
