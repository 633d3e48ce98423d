-- How a moment is judged, and how the judgement becomes alerts.
--
--   facts --(evaluate_*: read-only, STABLE, the moment is an argument)--> findings --(apply_findings)--> alerts, transitions, deliveries
--
-- An evaluate_* function answers for every source that it measured. A finding without a severity says "measured, and
-- within its limits": it tells a resolved alert what is measured now. Evidence is gathered for what is not, only.
SET check_function_bodies = off;
SET client_min_messages = warning;

DO $do$
BEGIN
    IF to_regtype(quote_ident(current_schema()) || '.monitoring_finding') IS NULL THEN
        CREATE TYPE monitoring_finding AS (
            alert_type text, source text, severity text, value double precision, threshold double precision, unit text, summary text, evidence jsonb);
    END IF;
END
$do$;
COMMENT ON TYPE monitoring_finding IS 'What a check says of one source at a moment. No severity: within its limits.';

CREATE TABLE IF NOT EXISTS monitoring_thresholds (
    alert_type text             NOT NULL,
    source     text             NOT NULL DEFAULT '*',
    low        double precision,
    medium     double precision,
    high       double precision,
    critical   double precision,
    origin     text             NOT NULL DEFAULT 'shipped',
    updated_at timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (alert_type, source),
    CONSTRAINT origin_is_known CHECK (origin IN ('shipped', 'config', 'sql'))
);
COMMENT ON TABLE monitoring_thresholds IS 'From which value on a source is of which severity; * is every source without a row of its own, NULL a level that is not used.';
ALTER TABLE monitoring_thresholds ENABLE ROW LEVEL SECURITY;

INSERT INTO monitoring_thresholds (alert_type, low, medium, high, critical) VALUES
    ('error_rate',         25,   50,   75,   100),      -- errors per hour and component
    ('failure_rate',       10,   25,   50,    75),      -- percent of the tasks of a type that ended within the hour
    ('processing_time',   180,  300,  600,   900),      -- seconds; 95th percentile of a task type over the hour
    ('running_time',      180,  300,  600,   900),      -- seconds that the oldest running task of a type is at it
    ('component_health', NULL,    1, NULL,     2),      -- 1 degraded, 2 unhealthy
    ('component_silence', NULL, 600, 1800,  3600),      -- seconds since a component's last report
    ('response_time',    1000, 2000, 5000, 10000),      -- milliseconds that a component reported
    ('queue_backlog',      50,  100,  200,   500),      -- tasks that wait
    ('queue_silence',    NULL,  900, 3600,  NULL),      -- seconds since a queue's last report
    ('host_cpu',           80,   90,   95,  NULL),      -- percent, mean of five minutes
    ('host_memory',        80,   90,   95,    98),      -- percent
    ('host_disk',          80,   90,   95,    98),      -- percent
    ('host_silence',     NULL, NULL,  300,   900)       -- seconds since a host's last sample
ON CONFLICT (alert_type, source) DO NOTHING;

-- ---------------------------------------------------------------------------------------------------------------
-- Words and numbers.

CREATE OR REPLACE FUNCTION number_in_words(p_value double precision) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN abs(p_value) >= 100 OR p_value = round(p_value) THEN to_char(round(p_value::numeric), 'FM999,999,999,999,999,999,990')
        ELSE rtrim(rtrim(to_char(p_value::numeric, CASE WHEN abs(p_value) >= 10 THEN 'FM990.0' ELSE 'FM990.00' END), '0'), '.')
    END;
END;
COMMENT ON FUNCTION number_in_words(double precision) IS 'A number as a person reads it: thousands separated, two digits behind the point at the most.';

CREATE OR REPLACE FUNCTION in_words(p_value double precision, p_unit text DEFAULT '') RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE
        WHEN p_unit = 's' AND p_value >= 172800 THEN number_in_words(p_value / 86400) || ' days'
        WHEN p_unit = 's' AND p_value >= 7200 THEN number_in_words(p_value / 3600) || ' h'
        WHEN p_unit = 's' AND p_value >= 120 THEN number_in_words(floor(p_value / 60)) || ' min'
        WHEN p_unit = 's' THEN number_in_words(round(p_value::numeric, CASE WHEN p_value < 10 THEN 1 ELSE 0 END)::double precision) || ' s'
        WHEN p_unit IN ('%', 'ms') THEN number_in_words(p_value) || ' ' || p_unit
        ELSE number_in_words(p_value)
    END;
END;
COMMENT ON FUNCTION in_words(double precision, text) IS 'A value with its unit as a person reads it: seconds as s, min, h or days; %, ms; anything else as a bare number.';

CREATE OR REPLACE FUNCTION counted(p_count double precision, p_noun text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT in_words(p_count) || ' ' || p_noun || CASE WHEN p_count = 1 THEN '' ELSE 's' END;
END;
COMMENT ON FUNCTION counted(double precision, text) IS 'A count with its noun: 1 error, 12 errors.';

CREATE OR REPLACE FUNCTION thresholds_in_force() RETURNS monitoring_thresholds[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (SELECT array_agg(t) FROM public.monitoring_thresholds AS t);
END
$body$;
COMMENT ON FUNCTION thresholds_in_force() IS 'All thresholds as one value, the form in which an evaluate_* function takes those of a replay.';

CREATE OR REPLACE FUNCTION grade(p_thresholds monitoring_thresholds[], p_alert_type text, p_source text, p_value double precision)
RETURNS TABLE (severity text, threshold double precision)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT l.severity, l.threshold
    FROM (
        SELECT t.low, t.medium, t.high, t.critical FROM unnest(p_thresholds) AS t
        WHERE t.alert_type = p_alert_type AND t.source IN (p_source, '*') ORDER BY t.source = '*' LIMIT 1
    ) AS rule
    CROSS JOIN LATERAL (
        VALUES (4, 'critical', rule.critical), (3, 'high', rule.high), (2, 'medium', rule.medium), (1, 'low', rule.low),
               (0, NULL, LEAST(rule.low, rule.medium, rule.high, rule.critical))
    ) AS l (level, severity, threshold)
    WHERE l.level = 0 OR p_value >= l.threshold
    ORDER BY l.level DESC LIMIT 1;
END;
COMMENT ON FUNCTION grade(monitoring_thresholds[], text, text, double precision) IS
    'The severity of a value and the threshold that it reached; no severity and the lowest threshold for one within its limits. No row for an alert type without thresholds.';

CREATE OR REPLACE FUNCTION hour_window(p_now timestamptz) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT jsonb_build_object('window_from', p_now - interval '1 hour', 'window_to', p_now);
END;
COMMENT ON FUNCTION hour_window(timestamptz) IS 'The part of an evidence that says which hour was measured.';

CREATE OR REPLACE FUNCTION trend(p_of text, p_step interval, p_values double precision[]) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT jsonb_build_object('trend', jsonb_build_object('of', p_of, 'step_seconds', extract(epoch FROM p_step), 'values', to_jsonb(p_values)));
END;
COMMENT ON FUNCTION trend(text, interval, double precision[]) IS 'The part of an evidence that shows how a value came about: oldest first, one value a step, null where nothing was measured.';

CREATE OR REPLACE FUNCTION seeing_seconds(p_from timestamptz, p_to timestamptz) RETURNS double precision
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN extract(epoch FROM p_to - p_from) - COALESCE((
        SELECT sum(extract(epoch FROM LEAST(b.ended_at, p_to) - GREATEST(b.began_at, p_from))) FROM public.blind_periods b
        WHERE b.ended_at > p_from AND b.began_at < p_to), 0);
END
$body$;
COMMENT ON FUNCTION seeing_seconds(timestamptz, timestamptz) IS
    'The seconds between two moments without those in which automon was blind: what did not arrive then is neither silent nor late.';

-- ---------------------------------------------------------------------------------------------------------------
-- Errors.

-- The trends below repeat the six hours as a plain range: from the steps alone the planner cannot tell which days it may leave out.

CREATE OR REPLACE FUNCTION error_evidence(p_component text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.hour_window(p_now) || (
        SELECT jsonb_build_object(
            'measured', concat_ws(', ', public.counted(count(*), 'error'), CASE WHEN count(e.task_id) > 0 THEN public.counted(count(DISTINCT e.task_id), 'task') || ' affected' END),
            'totals', jsonb_build_object('errors', count(*), 'tasks', count(DISTINCT e.task_id),
                'critical', count(*) FILTER (WHERE e.severity = 'critical'), 'high', count(*) FILTER (WHERE e.severity = 'high')))
        FROM public.error_tracking e
        WHERE e.component = p_component AND e.occurred_at > p_now - interval '1 hour' AND e.occurred_at <= p_now
    ) || public.trend('errors', '30 minutes', (
        SELECT array_agg(s.errors ORDER BY s.step DESC) FROM (
            SELECT b.step, count(e.occurred_at)::double precision AS errors FROM generate_series(0, 11) AS b (step)
            LEFT JOIN public.error_tracking e ON e.component = p_component AND e.occurred_at > p_now - interval '6 hours' AND e.occurred_at <= p_now
                AND e.occurred_at > p_now - (b.step + 1) * interval '30 minutes' AND e.occurred_at <= p_now - b.step * interval '30 minutes'
            GROUP BY b.step) AS s)
    ) || jsonb_build_object('top', COALESCE((
        SELECT jsonb_agg(to_jsonb(g) ORDER BY g.count DESC, g.first_at) FROM (
            SELECT count(*) AS count, e.error_type AS what, min(e.error_message) AS message, NULL::text AS "where",
                min(e.occurred_at) AS first_at, max(e.occurred_at) AS last_at, max(e.task_id) AS sample
            FROM public.error_tracking e
            WHERE e.component = p_component AND e.occurred_at > p_now - interval '1 hour' AND e.occurred_at <= p_now
            GROUP BY e.error_type, public.error_signature(e.error_message)
            ORDER BY 1 DESC LIMIT 5) AS g), '[]'));
END
$body$;
COMMENT ON FUNCTION error_evidence(text, timestamptz) IS 'What the last hour''s errors of a component were: kinds, messages, tasks, first and last time, and the trend of six hours.';

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
    FROM (
        SELECT e.component, count(*)::double precision AS errors FROM public.error_tracking e
        WHERE e.occurred_at > p_now - interval '1 hour' AND e.occurred_at <= p_now GROUP BY e.component
    ) AS c
    CROSS JOIN LATERAL public.grade(v_thresholds, 'error_rate', c.component, c.errors) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_error_rate(timestamptz, monitoring_thresholds[]) IS 'error_rate: errors of each component within the hour before the moment.';

-- ---------------------------------------------------------------------------------------------------------------
-- Tasks.

CREATE OR REPLACE FUNCTION finished_tasks_evidence(p_task_type text, p_now timestamptz, p_of text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.hour_window(p_now) || (
        SELECT jsonb_build_object(
            'measured', CASE p_of WHEN 'failures' THEN format('%s of %s failed', count(*) FILTER (WHERE h.status = 'failed'), public.counted(count(*), 'task'))
                ELSE format('%s, the slowest took %s', public.counted(count(*), 'task'), public.in_words(max(h.duration_seconds), 's')) END,
            'totals', jsonb_build_object('tasks', count(*), 'failed', count(*) FILTER (WHERE h.status = 'failed'),
                'workers', count(DISTINCT h.worker_id), 'slowest_seconds', max(h.duration_seconds)))
        FROM public.processing_metrics_history h
        WHERE h.task_type = p_task_type AND h.status <> 'cancelled' AND h.end_time > p_now - interval '1 hour' AND h.end_time <= p_now
    ) || public.trend(CASE p_of WHEN 'failures' THEN 'failed tasks' ELSE 'slowest, seconds' END, '30 minutes', (
        SELECT array_agg(s.value ORDER BY s.step DESC) FROM (
            SELECT b.step, CASE p_of WHEN 'failures' THEN count(*) FILTER (WHERE h.status = 'failed') ELSE COALESCE(max(h.duration_seconds), 0) END AS value
            FROM generate_series(0, 11) AS b (step)
            LEFT JOIN public.processing_metrics_history h ON h.task_type = p_task_type AND h.status <> 'cancelled' AND h.end_time > p_now - interval '6 hours' AND h.end_time <= p_now
                AND h.end_time > p_now - (b.step + 1) * interval '30 minutes' AND h.end_time <= p_now - b.step * interval '30 minutes'
            GROUP BY b.step) AS s)
    ) || jsonb_build_object('top', COALESCE((
        SELECT jsonb_agg(to_jsonb(g) ORDER BY g.count DESC, g.first_at) FROM (
            SELECT count(*) AS count, CASE p_of WHEN 'failures' THEN 'failed' ELSE 'took up to ' || public.in_words(max(h.duration_seconds), 's') END AS what,
                COALESCE(min(h.error_message), '') AS message,
                h.worker_id AS "where", min(h.end_time) AS first_at, max(h.end_time) AS last_at,
                (array_agg(h.task_id ORDER BY h.duration_seconds DESC))[1] AS sample
            FROM public.processing_metrics_history h
            WHERE h.task_type = p_task_type AND h.end_time > p_now - interval '1 hour' AND h.end_time <= p_now
              AND CASE p_of WHEN 'failures' THEN h.status = 'failed' ELSE h.status <> 'cancelled' END
            GROUP BY h.worker_id, public.error_signature(h.error_message)
            ORDER BY CASE p_of WHEN 'failures' THEN count(*) ELSE max(h.duration_seconds) END DESC LIMIT 5) AS g), '[]'));
END
$body$;
COMMENT ON FUNCTION finished_tasks_evidence(text, timestamptz, text) IS 'What the last hour''s tasks of a type were, seen for their failures or for their durations: workers, messages, first and last time, and the trend of six hours.';

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
        SELECT h.task_type, 100.0::double precision * count(*) FILTER (WHERE h.status = 'failed') / count(*) AS percent
        FROM public.processing_metrics_history h
        WHERE h.status <> 'cancelled' AND h.end_time > p_now - interval '1 hour' AND h.end_time <= p_now
        GROUP BY h.task_type HAVING count(*) >= public.setting('failure_rate.min_tasks')
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
        SELECT h.task_type, percentile_cont(0.95) WITHIN GROUP (ORDER BY h.duration_seconds) AS seconds
        FROM public.processing_metrics_history h
        WHERE h.status <> 'cancelled' AND h.end_time > p_now - interval '1 hour' AND h.end_time <= p_now
        GROUP BY h.task_type
    ) AS t
    CROSS JOIN LATERAL public.grade(v_thresholds, 'processing_time', t.task_type, t.seconds) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_processing_time(timestamptz, monitoring_thresholds[]) IS 'processing_time: seconds that the tasks of each type took, 95th percentile of those that ended within the hour before the moment.';

CREATE OR REPLACE FUNCTION tasks_running_at(p_now timestamptz) RETURNS SETOF processing_metrics
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY SELECT r.* FROM public.processing_metrics_running r WHERE r.start_time <= p_now;
    -- Of a moment that has passed: what ran then and has ended since. Of the present: an empty look ahead.
    RETURN QUERY SELECT h.* FROM public.processing_metrics_history h WHERE h.end_time > p_now AND h.start_time <= p_now;
END
$body$;
COMMENT ON FUNCTION tasks_running_at(timestamptz) IS 'The tasks that were running at a moment, whether or not they have ended since.';

CREATE OR REPLACE FUNCTION running_tasks_evidence(p_task_type text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'window_from', min(r.start_time), 'window_to', p_now,
            'measured', format('%s running, the oldest for %s', public.counted(count(*), 'task'), public.in_words(extract(epoch FROM p_now - min(r.start_time)), 's')),
            'totals', jsonb_build_object('running', count(*), 'workers', count(DISTINCT r.worker_id)))
        FROM public.tasks_running_at(p_now) r WHERE r.task_type = p_task_type
    ) || jsonb_build_object('top', (
        SELECT jsonb_agg(jsonb_build_object('count', 1, 'what', 'running ' || public.in_words(extract(epoch FROM p_now - o.start_time), 's'),
            'message', concat_ws(', ', 'step ' || o.current_step, public.in_words(o.progress, '%') || ' done',
                CASE WHEN o.heartbeat_at IS NULL THEN 'no heartbeat' ELSE 'last heartbeat ' || public.in_words(extract(epoch FROM GREATEST(p_now - o.heartbeat_at, interval '0')), 's') || ' ago' END),
            'where', o.worker_id, 'first_at', o.start_time, 'last_at', COALESCE(o.heartbeat_at, o.start_time), 'sample', o.task_id) ORDER BY o.start_time)
        FROM (SELECT r.* FROM public.tasks_running_at(p_now) r WHERE r.task_type = p_task_type ORDER BY r.start_time LIMIT 5) AS o));
END
$body$;
COMMENT ON FUNCTION running_tasks_evidence(text, timestamptz) IS 'The oldest running tasks of a type: worker, step, progress, last heartbeat.';

CREATE OR REPLACE FUNCTION evaluate_running_time(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY
    SELECT 'running_time', t.task_type, g.severity, t.seconds, g.threshold, 's',
        format('a task is running for %s (limit %s)', public.in_words(extract(epoch FROM p_now - t.oldest_start), 's'), public.in_words(g.threshold, 's')),
        CASE WHEN g.severity IS NOT NULL THEN public.running_tasks_evidence(t.task_type, p_now) END
    FROM (
        SELECT r.task_type, min(r.start_time) AS oldest_start, public.seeing_seconds(min(r.start_time), p_now) AS seconds
        FROM public.tasks_running_at(p_now) r GROUP BY r.task_type
    ) AS t
    CROSS JOIN LATERAL public.grade(v_thresholds, 'running_time', t.task_type, t.seconds) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_running_time(timestamptz, monitoring_thresholds[]) IS 'running_time: seconds that the oldest running task of each type has been at it, without those in which automon was blind.';

-- ---------------------------------------------------------------------------------------------------------------
-- Components.

CREATE OR REPLACE FUNCTION component_states_at(p_now timestamptz)
RETURNS TABLE (source text, status text, since timestamptz, reported_at timestamptz, response_time_ms double precision, failure_reason text, reports bigint, rhythm_seconds double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT h.component_type || '/' || h.component_name, h.status, h.started_at, LEAST(h.last_reported_at, p_now), h.response_time_ms, h.failure_reason, w.reports,
        w.seconds / NULLIF(w.reports - 1, 0)
    FROM public.system_health h
    CROSS JOIN LATERAL (
        SELECT sum(i.report_count)::bigint AS reports, extract(epoch FROM max(i.last_reported_at) - min(i.started_at))::double precision AS seconds
        FROM public.system_health i
        WHERE i.component_type = h.component_type AND i.component_name = h.component_name AND i.started_at <= p_now AND i.last_reported_at > p_now - interval '7 days'
    ) AS w
    WHERE h.started_at <= p_now AND (h.ended_at IS NULL OR h.ended_at > p_now);
END
$body$;
COMMENT ON FUNCTION component_states_at(timestamptz) IS 'The state of each component at a moment, how often it reported within seven days, and the mean seconds between two of those reports.';

CREATE OR REPLACE FUNCTION component_evidence(p_source text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_type text := split_part(p_source, '/', 1);
    v_name text := substr(p_source, length(split_part(p_source, '/', 1)) + 2);
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'window_from', min(h.started_at), 'window_to', p_now,
            'measured', concat_ws(', ', (array_agg(h.status ORDER BY h.started_at DESC))[1] || ' for ' || public.in_words(extract(epoch FROM p_now - max(h.started_at)), 's'),
                'uptime ' || public.in_words(public.get_component_uptime(v_type, v_name, '24 hours', p_now), '%') || ' in 24 h'),
            'totals', jsonb_build_object('changes_24h', count(*), 'reports', sum(h.report_count)),
            'top', jsonb_agg(jsonb_build_object('count', h.report_count, 'what', h.status, 'message', COALESCE(h.failure_reason, ''), 'where', NULL,
                'first_at', h.started_at, 'last_at', h.last_reported_at, 'sample', NULL) ORDER BY h.started_at DESC) FILTER (WHERE h.status <> 'healthy'))
        FROM (
            SELECT i.* FROM public.system_health i
            WHERE i.component_type = v_type AND i.component_name = v_name AND i.started_at <= p_now
              AND (i.ended_at IS NULL OR i.ended_at > p_now - interval '24 hours')
            ORDER BY i.started_at DESC LIMIT 5) AS h);
END
$body$;
COMMENT ON FUNCTION component_evidence(text, timestamptz) IS 'The last states of a component with their reasons, and its uptime.';

CREATE OR REPLACE FUNCTION evaluate_component_health(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY
    WITH state AS MATERIALIZED (SELECT s.* FROM public.component_states_at(p_now) AS s), measured (alert_type, source, value, unit, summary) AS (
        SELECT 'component_health', s.source, CASE s.status WHEN 'unhealthy' THEN 2.0 WHEN 'degraded' THEN 1.0 ELSE 0.0 END, '',
            'is ' || s.status || COALESCE(': ' || NULLIF(s.failure_reason, ''), '') FROM state s
        UNION ALL
        SELECT 'response_time', s.source, s.response_time_ms, 'ms', format('answers in %s', public.in_words(s.response_time_ms, 'ms')) FROM state s WHERE s.response_time_ms IS NOT NULL
        UNION ALL
        -- A component is missed by its own rhythm: after three reports, and not before three times its usual pause.
        SELECT 'component_silence', s.source, CASE WHEN m.seconds >= 3 * s.rhythm_seconds THEN m.seconds ELSE 0 END, 's', 'last report ' || public.in_words(extract(epoch FROM p_now - s.reported_at), 's') || ' ago'
        FROM state s CROSS JOIN LATERAL (SELECT public.seeing_seconds(s.reported_at, p_now) AS seconds) AS m WHERE s.reports >= 3
    )
    SELECT m.alert_type, m.source, g.severity, m.value::double precision, g.threshold, m.unit,
        m.summary || CASE WHEN m.unit = '' THEN '' ELSE format(' (limit %s)', public.in_words(g.threshold, m.unit)) END,
        CASE WHEN g.severity IS NOT NULL THEN public.component_evidence(m.source, p_now) END
    FROM measured m CROSS JOIN LATERAL public.grade(v_thresholds, m.alert_type, m.source, m.value::double precision) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_component_health(timestamptz, monitoring_thresholds[]) IS 'component_health, response_time, component_silence: the reported state of each component, its response time, and whether it has fallen silent.';

-- ---------------------------------------------------------------------------------------------------------------
-- Queues.

CREATE OR REPLACE FUNCTION queue_reports_at(p_now timestamptz)
RETURNS TABLE (queue_name text, pending bigint, processing bigint, oldest_pending_seconds double precision, reported_at timestamptz, reports bigint, rhythm_seconds double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.name, l.pending, l.processing, l.oldest_pending_seconds, l.last_at, l.reports,
        extract(epoch FROM l.last_at - l.first_at)::double precision / NULLIF(l.reports - 1, 0)
    FROM public.monitored_sources s
    CROSS JOIN LATERAL (
        SELECT (array_agg(q.pending))[1] AS pending, (array_agg(q.processing))[1] AS processing, (array_agg(q.oldest_pending_seconds))[1] AS oldest_pending_seconds,
            count(*) AS reports, min(q.recorded_at) AS first_at, max(q.recorded_at) AS last_at
        FROM (
            SELECT m.* FROM public.queue_monitoring m WHERE m.queue_name = s.name AND m.recorded_at <= p_now AND m.recorded_at > p_now - interval '7 days'
            ORDER BY m.recorded_at DESC LIMIT 5) AS q
    ) AS l
    WHERE s.kind = 'queue' AND l.reports > 0;
END
$body$;
COMMENT ON FUNCTION queue_reports_at(timestamptz) IS 'The latest report of each queue at a moment, how many of its newest five there are, and the mean seconds between them.';

CREATE OR REPLACE FUNCTION queue_evidence(p_queue_name text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.hour_window(p_now) || (
        SELECT jsonb_build_object(
            'measured', concat_ws(', ', public.in_words(COALESCE((array_agg(q.pending ORDER BY q.recorded_at DESC))[1], 0)) || ' waiting',
                CASE WHEN count(*) > 1 THEN public.in_words((array_agg(q.pending ORDER BY q.recorded_at))[1]) || ' at the beginning' END,
                'the oldest for ' || public.in_words((array_agg(q.oldest_pending_seconds ORDER BY q.recorded_at DESC))[1], 's'),
                public.in_words(sum(q.completed)::double precision) || ' done', NULLIF(public.in_words(sum(q.failed)::double precision), '0') || ' failed'),
            'totals', jsonb_strip_nulls(jsonb_build_object('pending', (array_agg(q.pending ORDER BY q.recorded_at DESC))[1], 'processing', (array_agg(q.processing ORDER BY q.recorded_at DESC))[1],
                'completed', sum(q.completed), 'failed', sum(q.failed), 'reports', count(*))))
        FROM public.queue_monitoring q
        WHERE q.queue_name = p_queue_name AND q.recorded_at > p_now - interval '1 hour' AND q.recorded_at <= p_now
    ) || public.trend('waiting', '30 minutes', (
        SELECT array_agg(s.pending ORDER BY s.step DESC) FROM (
            SELECT b.step, max(q.pending)::double precision AS pending FROM generate_series(0, 11) AS b (step)
            LEFT JOIN public.queue_monitoring q ON q.queue_name = p_queue_name AND q.recorded_at > p_now - interval '6 hours' AND q.recorded_at <= p_now
                AND q.recorded_at > p_now - (b.step + 1) * interval '30 minutes' AND q.recorded_at <= p_now - b.step * interval '30 minutes'
            GROUP BY b.step) AS s));
END
$body$;
COMMENT ON FUNCTION queue_evidence(text, timestamptz) IS 'How a queue came to be as long as it is: an hour''s beginning and end, its oldest task, what was done, and the trend of six hours.';

CREATE OR REPLACE FUNCTION evaluate_queue_backlog(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY
    WITH report AS MATERIALIZED (SELECT r.* FROM public.queue_reports_at(p_now) AS r), measured (alert_type, source, value, unit, summary) AS (
        SELECT 'queue_backlog', r.queue_name, r.pending::double precision, '', public.in_words(r.pending) || ' waiting' FROM report r
        UNION ALL
        SELECT 'queue_silence', r.queue_name, CASE WHEN m.seconds >= 3 * r.rhythm_seconds THEN m.seconds ELSE 0 END, 's', 'last report ' || public.in_words(extract(epoch FROM p_now - r.reported_at), 's') || ' ago'
        FROM report r CROSS JOIN LATERAL (SELECT public.seeing_seconds(r.reported_at, p_now) AS seconds) AS m WHERE r.reports >= 3
    )
    SELECT m.alert_type, m.source, g.severity, m.value, g.threshold, CASE m.alert_type WHEN 'queue_backlog' THEN 'tasks' ELSE m.unit END,
        format('%s (limit %s)', m.summary, public.in_words(g.threshold, m.unit)),
        CASE WHEN g.severity IS NOT NULL THEN public.queue_evidence(m.source, p_now) END
    FROM measured m CROSS JOIN LATERAL public.grade(v_thresholds, m.alert_type, m.source, m.value) AS g;
END
$body$;
COMMENT ON FUNCTION evaluate_queue_backlog(timestamptz, monitoring_thresholds[]) IS 'queue_backlog, queue_silence: how many tasks wait in each queue, and whether it has stopped reporting.';

-- ---------------------------------------------------------------------------------------------------------------
-- Hosts.

CREATE OR REPLACE FUNCTION host_samples_at(p_now timestamptz)
RETURNS TABLE (host text, cpu_percent double precision, memory_percent double precision, sample jsonb, sampled_at timestamptz, samples bigint, rhythm_seconds double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.name, l.cpu_percent, l.memory_percent, l.sample, l.last_at, l.samples,
        extract(epoch FROM l.last_at - l.first_at)::double precision / NULLIF(l.samples - 1, 0)
    FROM public.monitored_sources s
    CROSS JOIN LATERAL (
        SELECT (array_agg(h.memory_percent))[1] AS memory_percent, (array_agg(h.sample))[1] AS sample, avg(h.cpu_percent) AS cpu_percent,
            count(*) AS samples, min(h.sampled_at) AS first_at, max(h.sampled_at) AS last_at
        FROM (
            SELECT m.* FROM public.host_metrics m WHERE m.host = s.name AND m.sampled_at <= p_now AND m.sampled_at > p_now - interval '7 days'
            ORDER BY m.sampled_at DESC LIMIT 5) AS h
    ) AS l
    WHERE s.kind = 'host' AND l.samples > 0;
END
$body$;
COMMENT ON FUNCTION host_samples_at(timestamptz) IS 'The latest sample of each host at a moment, its mean CPU over the newest five, and the mean seconds between them.';

CREATE OR REPLACE FUNCTION host_evidence(p_host text, p_measure text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.hour_window(p_now) || (
        SELECT jsonb_build_object('totals', jsonb_strip_nulls(jsonb_build_object('cpu_percent', h.cpu_percent, 'memory_percent', h.memory_percent, 'swap_percent', h.swap_percent,
                'disk_percent', h.disk_percent, 'load_per_core', h.load_per_core)),
            'measured', concat_ws(', ', 'CPU ' || public.in_words(h.cpu_percent, '%'), 'memory ' || public.in_words(h.memory_percent, '%'), 'swap ' || public.in_words(h.swap_percent, '%'),
                'fullest disk ' || public.in_words(h.disk_percent, '%'), 'load ' || public.in_words(h.load_per_core) || ' per core'))
        FROM public.host_metrics h WHERE h.host = p_host AND h.sampled_at <= p_now AND h.sampled_at > p_now - interval '7 days' ORDER BY h.sampled_at DESC LIMIT 1
    ) || public.trend(p_measure || ' %', '30 minutes', (
        SELECT array_agg(s.value ORDER BY s.step DESC) FROM (
            SELECT b.step, avg(CASE p_measure WHEN 'cpu' THEN h.cpu_percent WHEN 'memory' THEN h.memory_percent ELSE h.disk_percent END) AS value
            FROM generate_series(0, 11) AS b (step)
            LEFT JOIN public.host_metrics h ON h.host = p_host AND h.sampled_at > p_now - interval '6 hours' AND h.sampled_at <= p_now
                AND h.sampled_at > p_now - (b.step + 1) * interval '30 minutes' AND h.sampled_at <= p_now - b.step * interval '30 minutes'
            GROUP BY b.step) AS s));
END
$body$;
COMMENT ON FUNCTION host_evidence(text, text, timestamptz) IS 'How a host was at its last sample, and the trend of six hours.';

CREATE OR REPLACE FUNCTION evaluate_hosts(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY
    WITH sample AS MATERIALIZED (SELECT s.* FROM public.host_samples_at(p_now) AS s), measured (alert_type, source, host, measure, value, unit, summary) AS (
        SELECT 'host_cpu', s.host, s.host, 'cpu', s.cpu_percent, '%', format('CPU is %s busy', public.in_words(s.cpu_percent, '%')) FROM sample s WHERE s.samples >= 5
        UNION ALL
        SELECT 'host_memory', s.host, s.host, 'memory', s.memory_percent, '%', format('memory is %s full', public.in_words(s.memory_percent, '%')) FROM sample s
        UNION ALL
        SELECT 'host_disk', s.host || ' ' || (d->>'mount'), s.host, 'disk', (d->>'percent')::double precision, '%',
            format('disk is %s full', public.in_words((d->>'percent')::double precision, '%')) FROM sample s CROSS JOIN LATERAL jsonb_array_elements(COALESCE(s.sample->'disks', '[]')) AS d
        UNION ALL
        SELECT 'host_silence', s.host, s.host, 'cpu', CASE WHEN m.seconds >= 3 * s.rhythm_seconds THEN m.seconds ELSE 0 END, 's', 'last report ' || public.in_words(extract(epoch FROM p_now - s.sampled_at), 's') || ' ago'
        FROM sample s CROSS JOIN LATERAL (SELECT public.seeing_seconds(s.sampled_at, p_now) AS seconds) AS m WHERE s.samples >= 3
    )
    SELECT m.alert_type, m.source, g.severity, m.value, g.threshold, m.unit, format('%s (limit %s)', m.summary, public.in_words(g.threshold, m.unit)),
        CASE WHEN g.severity IS NOT NULL THEN public.host_evidence(m.host, m.measure, p_now) END
    FROM measured m CROSS JOIN LATERAL public.grade(v_thresholds, m.alert_type, m.source, m.value) AS g
    WHERE m.value IS NOT NULL;
END
$body$;
COMMENT ON FUNCTION evaluate_hosts(timestamptz, monitoring_thresholds[]) IS 'host_cpu, host_memory, host_disk, host_silence: how busy and full each host is, and whether its samples have stopped.';

CREATE OR REPLACE FUNCTION evaluate_all(p_now timestamptz DEFAULT now(), p_thresholds monitoring_thresholds[] DEFAULT NULL) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_thresholds public.monitoring_thresholds[] := COALESCE(p_thresholds, public.thresholds_in_force());
BEGIN
    RETURN QUERY SELECT * FROM public.evaluate_error_rate(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_failure_rate(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_processing_time(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_running_time(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_component_health(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_queue_backlog(p_now, v_thresholds);
    RETURN QUERY SELECT * FROM public.evaluate_hosts(p_now, v_thresholds);
END
$body$;
COMMENT ON FUNCTION evaluate_all(timestamptz, monitoring_thresholds[]) IS 'Every finding of every check at a moment.';

-- ---------------------------------------------------------------------------------------------------------------
-- From findings to alerts. apply_findings is the only way in; record_transition the only writer of transitions.

CREATE OR REPLACE FUNCTION lock_alerts() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('automon alerts', 0));
END
$body$;
COMMENT ON FUNCTION lock_alerts() IS 'Keeps alerts, and the handing on of their deliveries, from being changed by others until the transaction ends.';

CREATE OR REPLACE FUNCTION is_silenced(p_alert_type text, p_source text, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN EXISTS (
        SELECT FROM public.alert_silences s
        WHERE p_at >= s.starts_at AND p_at < s.ends_at AND s.alert_type IN (p_alert_type, '*') AND s.source IN (p_source, '*'));
END
$body$;
COMMENT ON FUNCTION is_silenced(text, text, timestamptz) IS 'Whether a silence covers an alert at a moment.';

CREATE OR REPLACE FUNCTION cause_of(p_alert_type text, p_source text, p_evidence jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_top jsonb := p_evidence->'top'->0;
BEGIN
    RETURN CASE
        WHEN p_alert_type IN ('error_rate', 'failure_rate', 'component_health') AND v_top->>'message' <> '' THEN public.error_signature(v_top->>'message')
        WHEN p_alert_type = 'error_rate' AND v_top->>'what' <> '' THEN v_top->>'what'
        WHEN p_alert_type LIKE 'host\_%' THEN 'host ' || split_part(p_source, ' ', 1)
        ELSE replace(p_alert_type, '_', ' ')
    END;
END
$body$;
COMMENT ON FUNCTION cause_of(text, text, jsonb) IS
    'What alerts have in common that are told together, whatever their type: the most frequent error message without its numbers and ids, else the error type, the host, or the alert type.';

CREATE OR REPLACE FUNCTION route_transition(p_transition_id bigint, p_at timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_told public.alert_transitions;
    v_of   public.alerts;
    v_sent integer;
    v_silenced boolean;
BEGIN
    SELECT t.* INTO v_told FROM public.alert_transitions t WHERE t.id = p_transition_id;
    SELECT a.* INTO v_of FROM public.alerts a WHERE a.id = v_told.alert_id;
    v_silenced := public.is_silenced(v_of.alert_type, v_of.source, p_at)
        -- The end of what a silence has hidden from everybody is hidden too.
        OR v_told.kind = 'resolved' AND v_of.last_told_at IS NULL AND EXISTS (SELECT FROM public.alert_deliveries d WHERE d.alert_id = v_of.id AND d.status = 'silenced');

    INSERT INTO public.alert_deliveries (transition_id, alert_id, cause, channel, recipient, status, created_at, next_attempt_at, finished_at)
    SELECT v_told.id, v_of.id, v_of.cause, c.name, r.recipient, CASE WHEN v_silenced THEN 'silenced' ELSE 'pending' END,
        clock_timestamp(), clock_timestamp(), CASE WHEN v_silenced THEN clock_timestamp() END
    FROM public.notification_channels c CROSS JOIN LATERAL unnest(c.recipients) AS r (recipient)
    -- Blindness is told when it is over, to whoever wants to hear of the beginning or of the end of anything.
    WHERE (v_told.kind = ANY (c.notify_on) OR v_of.alert_type = 'automon_blind' AND 'opened' = ANY (c.notify_on))
      -- Whoever heard of the worst of it hears of its end.
      AND public.severity_rank(CASE v_told.kind WHEN 'resolved' THEN v_of.peak_severity WHEN 'eased' THEN v_told.previous_severity ELSE v_told.severity END)
          >= public.severity_rank(c.min_severity)
      -- A channel that fails is told of on the others.
      AND NOT (v_of.alert_type = 'automon_channel' AND v_of.source = c.name AND v_told.kind <> 'resolved')
    ON CONFLICT (transition_id, channel, recipient) DO NOTHING;
    GET DIAGNOSTICS v_sent = ROW_COUNT;

    IF v_sent > 0 AND NOT v_silenced THEN
        UPDATE public.alerts a SET last_told_at = p_at WHERE a.id = v_of.id;
        PERFORM pg_notify('automon_deliveries', '');
    END IF;
    RETURN v_sent;
END
$body$;
COMMENT ON FUNCTION route_transition(bigint, timestamptz) IS
    'Writes a delivery of a transition for each channel and recipient that is to hear of it, and answers how many; those that exist stay as they are. The caller has hand_on_deliveries pass on what a failing channel cannot say.';

CREATE OR REPLACE FUNCTION record_transition(
    p_alert alerts, p_kind text, p_at timestamptz, p_previous_severity text DEFAULT NULL, p_actor text DEFAULT NULL, p_note text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_id bigint;
BEGIN
    INSERT INTO public.alert_transitions (alert_id, kind, at, severity, previous_severity, summary, value, threshold, evidence, actor, note)
    VALUES (p_alert.id, p_kind, p_at, p_alert.severity, p_previous_severity, p_alert.summary, p_alert.value, p_alert.threshold, p_alert.evidence, p_actor, p_note)
    RETURNING id INTO v_id;

    PERFORM public.route_transition(v_id, p_at);
    RETURN v_id;
END
$body$;
COMMENT ON FUNCTION record_transition(alerts, text, timestamptz, text, text, text) IS
    'Writes a transition of an alert and, in the same transaction, a delivery for each channel and recipient that is to hear of it.';

CREATE OR REPLACE FUNCTION evidence_for(p_alert_type text, p_source text, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN COALESCE(CASE
        WHEN p_alert_type = 'error_rate' THEN public.error_evidence(p_source, p_now)
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

CREATE OR REPLACE FUNCTION left_unrepaired(p_alert alerts) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_count bigint;
BEGIN
    CASE p_alert.alert_type
        WHEN 'failure_rate' THEN
            SELECT count(*) INTO v_count FROM public.processing_metrics_history h
            WHERE h.task_type = p_alert.source AND h.status = 'failed' AND h.end_time > p_alert.opened_at - interval '1 hour' AND h.end_time <= p_alert.resolved_at;
            RETURN CASE WHEN v_count > 0 THEN jsonb_build_object('left', public.counted(v_count, 'failed task') || CASE v_count WHEN 1 THEN ' was' ELSE ' were' END || ' not repeated') ELSE '{}'::jsonb END;
        WHEN 'error_rate' THEN
            SELECT count(DISTINCT e.task_id) INTO v_count FROM public.error_tracking e
            WHERE e.component = p_alert.source AND e.occurred_at > p_alert.opened_at - interval '1 hour' AND e.occurred_at <= p_alert.resolved_at;
            RETURN CASE WHEN v_count > 0 THEN jsonb_build_object('left', public.counted(v_count, 'task') || ' with errors' || CASE v_count WHEN 1 THEN ' was' ELSE ' were' END || ' not repeated') ELSE '{}'::jsonb END;
        WHEN 'queue_backlog' THEN
            RETURN CASE WHEN p_alert.value > 0 THEN jsonb_build_object('left', public.counted(p_alert.value, 'task') || CASE p_alert.value WHEN 1 THEN ' still waits' ELSE ' still wait' END) ELSE '{}'::jsonb END;
        ELSE
            RETURN '{}'::jsonb;
    END CASE;
END
$body$;
COMMENT ON FUNCTION left_unrepaired(alerts) IS 'What the end of an alert did not repair, as the part "left" of an evidence; empty when nothing is left.';

CREATE OR REPLACE FUNCTION quiet_summary(p_alert_type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE p_alert_type
        WHEN 'error_rate' THEN 'no errors in the last hour'
        WHEN 'failure_rate' THEN 'too few tasks in the last hour to judge'
        WHEN 'processing_time' THEN 'no tasks ended in the last hour'
        WHEN 'running_time' THEN 'no task is running'
        WHEN 'response_time' THEN 'no response time is reported'
        WHEN 'automon_job' THEN 'runs as it should'
        WHEN 'automon_channel' THEN 'is no longer in the config'
        ELSE 'reports no more' END;
END;
COMMENT ON FUNCTION quiet_summary(text) IS 'What is said of a source that a check no longer measures.';

CREATE OR REPLACE FUNCTION open_alert(p_finding monitoring_finding, p_now timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alert public.alerts;
BEGIN
    INSERT INTO public.alerts AS a (alert_type, source, severity, summary, value, threshold, unit, evidence, cause, opened_at, last_seen_at, peak_severity, peak_value, peak_summary, peak_at)
    VALUES (p_finding.alert_type, p_finding.source, p_finding.severity, p_finding.summary, p_finding.value, p_finding.threshold, COALESCE(p_finding.unit, ''),
            COALESCE(p_finding.evidence, '{}'), public.cause_of(p_finding.alert_type, p_finding.source, p_finding.evidence),
            p_now, p_now, p_finding.severity, p_finding.value, p_finding.summary, p_now)
    RETURNING a.* INTO v_alert;
    PERFORM public.record_transition(v_alert, 'opened', p_now);
END
$body$;
COMMENT ON FUNCTION open_alert(monitoring_finding, timestamptz) IS 'Opens an alert for a finding. Only apply_findings calls it.';

CREATE OR REPLACE FUNCTION follow_alert(p_alert alerts, p_finding monitoring_finding, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_change integer := public.severity_rank(p_finding.severity) - public.severity_rank(p_alert.severity);
    v_worse  boolean := (public.severity_rank(p_finding.severity), p_finding.value) > (public.severity_rank(p_alert.peak_severity), p_alert.peak_value);
    v_alert  public.alerts;
BEGIN
    UPDATE public.alerts a
    SET severity = p_finding.severity, summary = p_finding.summary, value = p_finding.value, threshold = p_finding.threshold,
        evidence = COALESCE(p_finding.evidence, '{}'), cause = public.cause_of(a.alert_type, a.source, p_finding.evidence), last_seen_at = p_now, clear_since = NULL,
        peak_severity = CASE WHEN v_worse THEN p_finding.severity ELSE a.peak_severity END,
        peak_value = CASE WHEN v_worse THEN p_finding.value ELSE a.peak_value END,
        peak_summary = CASE WHEN v_worse THEN p_finding.summary ELSE a.peak_summary END,
        peak_at = CASE WHEN v_worse THEN p_now ELSE a.peak_at END
    WHERE a.id = p_alert.id RETURNING a.* INTO v_alert;
    IF v_change <> 0 THEN
        PERFORM public.record_transition(v_alert, CASE WHEN v_change > 0 THEN 'escalated' ELSE 'eased' END, p_now, p_alert.severity);
    END IF;
    RETURN v_change <> 0;
END
$body$;
COMMENT ON FUNCTION follow_alert(alerts, monitoring_finding, timestamptz) IS 'Brings an open alert up to what is measured now; answers whether its severity changed. Only apply_findings calls it.';

CREATE OR REPLACE FUNCTION close_alert(p_alert alerts, p_summary text, p_value double precision, p_now timestamptz, p_by text, p_note text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alert public.alerts;
BEGIN
    UPDATE public.alerts a
    SET resolved_at = p_now, resolved_by = p_by, summary = p_summary, value = p_value, clear_since = COALESCE(a.clear_since, p_now)
    WHERE a.id = p_alert.id RETURNING a.* INTO v_alert;
    v_alert.evidence := public.evidence_for(v_alert.alert_type, v_alert.source, p_now) || public.left_unrepaired(v_alert);
    PERFORM public.record_transition(v_alert, 'resolved', p_now, p_alert.severity, NULLIF(p_by, 'automon'), p_note);
END
$body$;
COMMENT ON FUNCTION close_alert(alerts, text, double precision, timestamptz, text, text) IS 'Resolves an alert. Its transition says what is measured now and what was not repaired.';

CREATE OR REPLACE FUNCTION clear_alert(p_alert alerts, p_finding monitoring_finding, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- A tenth less than set: checks that come every five minutes come a little early now and then.
    v_patience interval := make_interval(secs => 0.9 * public.setting('alerts.resolve_after_seconds'));
BEGIN
    IF p_now - COALESCE(p_alert.clear_since, p_now) < v_patience THEN
        UPDATE public.alerts a SET clear_since = COALESCE(a.clear_since, p_now) WHERE a.id = p_alert.id;
        RETURN false;
    END IF;
    PERFORM public.close_alert(p_alert, COALESCE(p_finding.summary, public.quiet_summary(p_alert.alert_type)), p_finding.value, p_now, 'automon');
    RETURN true;
END
$body$;
COMMENT ON FUNCTION clear_alert(alerts, monitoring_finding, timestamptz) IS
    'Resolves an alert that has been within its limits for alerts.resolve_after_seconds; until then remembers since when. Only apply_findings calls it.';

CREATE OR REPLACE FUNCTION has_audience(p_alert alerts, p_kind text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN EXISTS (
        SELECT FROM public.notification_channels c
        WHERE p_kind = ANY (c.notify_on) AND public.severity_rank(p_alert.severity) >= public.severity_rank(c.min_severity) AND cardinality(c.recipients) > 0
          AND NOT (p_alert.alert_type = 'automon_channel' AND p_alert.source = c.name));
END
$body$;
COMMENT ON FUNCTION has_audience(alerts, text) IS 'Whether any channel is told of such a transition of an alert at its severity.';

CREATE OR REPLACE FUNCTION remind_of_alerts(p_alert_types text[], p_now timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_pause     interval := make_interval(secs => 0.9 * NULLIF(public.setting('alerts.remind_after_seconds'), 0));
    v_alert     public.alerts;
    v_kind      text;
    v_reminders integer := 0;
BEGIN
    FOR v_alert IN
        SELECT a.* FROM public.alerts a
        WHERE a.resolved_at IS NULL AND a.acknowledged_at IS NULL AND a.clear_since IS NULL AND a.alert_type = ANY (p_alert_types)
          AND (a.severity = 'critical' AND p_now - a.last_told_at >= v_pause
               -- changed under a silence that has ended, and not told since
               OR EXISTS (SELECT FROM public.alert_deliveries d JOIN public.alert_transitions t ON t.id = d.transition_id
                          WHERE d.alert_id = a.id AND d.status = 'silenced' AND t.at > COALESCE(a.last_told_at, '-infinity')))
          AND NOT public.is_silenced(a.alert_type, a.source, p_now)
    LOOP
        v_kind := CASE WHEN v_alert.last_told_at IS NULL THEN 'opened' ELSE 'reminded' END;
        CONTINUE WHEN NOT public.has_audience(v_alert, v_kind);      -- or the story would grow with every check
        PERFORM public.record_transition(v_alert, v_kind, p_now);
        v_reminders := v_reminders + 1;
    END LOOP;
    RETURN v_reminders;
END
$body$;
COMMENT ON FUNCTION remind_of_alerts(text[], timestamptz) IS
    'Reminds of critical alerts that nobody has acknowledged for alerts.remind_after_seconds, and of those that an ended silence has hidden.';

CREATE OR REPLACE FUNCTION apply_findings(
    p_alert_types text[], p_findings monitoring_finding[], p_now timestamptz DEFAULT now(), p_resolve_only boolean DEFAULT false
) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_row     record;
    v_changes integer := 0;
BEGIN
    PERFORM public.lock_alerts();
    FOR v_row IN
        SELECT f.finding, a.alert, f.severity IS NOT NULL AS fires, a.id IS NOT NULL AS is_open
        FROM (
            -- The worst for each source: two components may be called alike ("a/b" of type "c", "b" of type "c/a").
            SELECT DISTINCT ON (d.alert_type, d.source) d AS finding, d.alert_type, d.source, d.severity FROM unnest(p_findings) AS d
            ORDER BY d.alert_type, d.source, public.severity_rank(d.severity) DESC NULLS LAST, d.value DESC
        ) AS f
        FULL JOIN (
            SELECT o AS alert, o.id, o.alert_type, o.source, GREATEST(o.last_seen_at, o.clear_since) AS known_until FROM public.alerts o
            WHERE o.resolved_at IS NULL AND o.alert_type = ANY (p_alert_types)
        ) AS a ON a.alert_type = f.alert_type AND a.source = f.source
        WHERE (f.severity IS NOT NULL OR a.id IS NOT NULL) AND (a.known_until <= p_now) IS NOT FALSE
          AND NOT EXISTS (SELECT FROM public.alerts r WHERE r.resolved_at > p_now AND r.alert_type = f.alert_type AND r.source = f.source)
        ORDER BY public.severity_rank(f.severity) DESC NULLS LAST, f.alert_type, f.source
    LOOP
        IF NOT v_row.fires THEN
            v_changes := v_changes + public.clear_alert(v_row.alert, v_row.finding, p_now)::integer;
        ELSIF p_resolve_only THEN
            NULL;
        ELSIF v_row.is_open THEN
            v_changes := v_changes + public.follow_alert(v_row.alert, v_row.finding, p_now)::integer;
        ELSE
            PERFORM public.open_alert(v_row.finding, p_now);
            v_changes := v_changes + 1;
        END IF;
    END LOOP;
    IF NOT p_resolve_only THEN
        v_changes := v_changes + public.remind_of_alerts(p_alert_types, p_now);
    END IF;
    IF v_changes > 0 THEN
        PERFORM public.hand_on_deliveries();
    END IF;
    RETURN v_changes;
END
$body$;
COMMENT ON FUNCTION apply_findings(text[], monitoring_finding[], timestamptz, boolean) IS
    'Turns the findings of the alert types named into alerts, transitions and deliveries, in one transaction; answers how many transitions it wrote. An open alert without a firing finding clears. Evaluations that come at once wait for each other; one that is older than what an alert has seen changes nothing.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
