-- What a dashboard shows, as views: each reads a bounded stretch of time.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE OR REPLACE VIEW v_realtime_processing_status AS
WITH running AS (
    SELECT r.task_type, count(*) AS running, count(DISTINCT r.worker_id) AS workers, min(r.start_time) AS oldest_start,
        (array_agg(r.task_id ORDER BY r.start_time))[1] AS oldest_task_id, max(r.heartbeat_at) AS last_heartbeat_at, max(r.start_time) AS last_start
    FROM processing_metrics_running r GROUP BY r.task_type
), ended AS (
    SELECT h.task_type,
        count(*) FILTER (WHERE h.status = 'completed') AS completed_last_hour, count(*) FILTER (WHERE h.status = 'failed') AS failed_last_hour,
        count(*) FILTER (WHERE h.status = 'cancelled') AS cancelled_last_hour,
        avg(h.duration_seconds) AS avg_seconds,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY h.duration_seconds) AS percentiles,
        max(h.start_time) AS last_start, max(h.end_time) AS last_end,
        max(h.end_time) FILTER (WHERE h.status = 'failed') AS last_failed_at,
        (array_agg(h.error_message ORDER BY h.end_time DESC) FILTER (WHERE h.status = 'failed'))[1] AS last_error
    FROM processing_metrics_history h WHERE h.end_time > now() - interval '1 hour' GROUP BY h.task_type
)
SELECT COALESCE(r.task_type, e.task_type) AS task_type,
    COALESCE(r.running, 0) AS running, COALESCE(r.workers, 0) AS busy_workers,
    extract(epoch FROM now() - r.oldest_start)::double precision AS oldest_running_seconds, r.oldest_task_id AS oldest_running_task_id,
    extract(epoch FROM now() - r.last_heartbeat_at)::double precision AS last_heartbeat_age_seconds,
    COALESCE(e.completed_last_hour, 0) AS completed_last_hour, COALESCE(e.failed_last_hour, 0) AS failed_last_hour, COALESCE(e.cancelled_last_hour, 0) AS cancelled_last_hour,
    round(100.0 * e.failed_last_hour / NULLIF(e.completed_last_hour + e.failed_last_hour, 0), 2) AS failure_rate_percent,
    round((COALESCE(e.completed_last_hour, 0) + COALESCE(e.failed_last_hour, 0) + COALESCE(e.cancelled_last_hour, 0)) / 60.0, 2) AS ended_per_minute,
    e.avg_seconds, e.percentiles[1] AS p50_seconds, e.percentiles[2] AS p95_seconds, e.percentiles[3] AS p99_seconds,
    GREATEST(r.last_start, e.last_start) AS last_started_at, e.last_end AS last_ended_at, e.last_failed_at, e.last_error
FROM running r FULL JOIN ended e ON e.task_type = r.task_type
ORDER BY COALESCE(e.failed_last_hour, 0) DESC, 1;
COMMENT ON VIEW v_realtime_processing_status IS 'Each task type now and over the last hour: what runs and for how long, what ended how, durations in seconds, the last error.';

CREATE OR REPLACE VIEW v_error_summary AS
SELECT e.component, e.error_type, count(*) AS errors_24h, count(*) FILTER (WHERE e.occurred_at > now() - interval '1 hour') AS errors_last_hour,
    count(*) FILTER (WHERE e.severity = 'low') AS low, count(*) FILTER (WHERE e.severity = 'medium') AS medium,
    count(*) FILTER (WHERE e.severity = 'high') AS high, count(*) FILTER (WHERE e.severity = 'critical') AS critical,
    count(DISTINCT e.task_id) AS affected_tasks, min(e.occurred_at) AS first_seen_at, max(e.occurred_at) AS last_seen_at,
    extract(epoch FROM now() - max(e.occurred_at))::double precision AS last_seen_age_seconds,
    (array_agg(e.error_message ORDER BY e.occurred_at DESC))[1] AS last_message, (array_agg(e.task_id ORDER BY e.occurred_at DESC))[1] AS last_task_id
FROM error_tracking e WHERE e.occurred_at > now() - interval '24 hours'
GROUP BY e.component, e.error_type ORDER BY count(*) DESC;
COMMENT ON VIEW v_error_summary IS 'The errors of the last 24 hours by component and type: counts by severity, tasks affected, first, last and newest message.';

CREATE OR REPLACE VIEW v_system_health_summary AS
SELECT h.component_type, h.component_name, h.status, h.started_at AS status_since,
    extract(epoch FROM now() - h.started_at)::double precision AS status_age_seconds,
    h.last_reported_at, extract(epoch FROM now() - h.last_reported_at)::double precision AS report_age_seconds,
    h.response_time_ms, h.failure_reason,
    get_component_uptime(h.component_type, h.component_name, '24 hours', now()) AS uptime_24h_percent,
    get_component_uptime(h.component_type, h.component_name, '7 days', now()) AS uptime_7d_percent,
    get_component_uptime(h.component_type, h.component_name, '30 days', now()) AS uptime_30d_percent,
    f.outages_24h, f.last_failure_at, f.last_failure_reason, f.last_recovered_at
FROM system_health h
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE i.started_at > now() - interval '24 hours') AS outages_24h, max(i.started_at) AS last_failure_at,
        (array_agg(i.failure_reason ORDER BY i.started_at DESC))[1] AS last_failure_reason, max(i.ended_at) AS last_recovered_at
    FROM system_health i
    WHERE i.component_type = h.component_type AND i.component_name = h.component_name AND i.status = 'unhealthy'
) AS f
WHERE h.ended_at IS NULL
ORDER BY CASE h.status WHEN 'unhealthy' THEN 0 WHEN 'degraded' THEN 1 ELSE 2 END, h.component_type, h.component_name;
COMMENT ON VIEW v_system_health_summary IS 'Each component: its state and since when, its uptime over 24 hours, 7 and 30 days, its last failure and recovery.';

CREATE OR REPLACE VIEW v_queue_performance AS
SELECT s.name AS queue_name, l.pending, l.processing, l.oldest_pending_seconds, l.recorded_at AS last_reported_at,
    extract(epoch FROM now() - l.recorded_at)::double precision AS report_age_seconds,
    d.pending_first AS pending_1h_ago, l.pending - d.pending_first AS change_1h, d.max_pending AS max_pending_1h,
    d.completed AS completed_last_hour, d.failed AS failed_last_hour,
    round(d.completed / NULLIF(d.minutes, 0)::numeric, 2) AS completed_per_minute,
    CASE WHEN l.pending = 0 THEN 0 WHEN l.pending < d.pending_first THEN round((l.pending * 60 * d.minutes / (d.pending_first - l.pending))::numeric) END AS seconds_to_empty
FROM monitored_sources s
CROSS JOIN LATERAL (
    SELECT q.* FROM queue_monitoring q WHERE q.queue_name = s.name AND q.recorded_at > now() - interval '7 days' ORDER BY q.recorded_at DESC LIMIT 1
) AS l
CROSS JOIN LATERAL (
    SELECT (array_agg(q.pending ORDER BY q.recorded_at))[1] AS pending_first, max(q.pending) AS max_pending, sum(q.completed) AS completed, sum(q.failed) AS failed,
        extract(epoch FROM max(q.recorded_at) - min(q.recorded_at))::double precision / 60 AS minutes
    FROM queue_monitoring q WHERE q.queue_name = s.name AND q.recorded_at > now() - interval '1 hour'
) AS d
WHERE s.kind = 'queue'
ORDER BY l.pending DESC, s.name;
COMMENT ON VIEW v_queue_performance IS 'Each queue: what waits and since when, how that changed within the hour, and in how many seconds it would be empty at that pace (NULL: not shrinking).';

CREATE OR REPLACE VIEW v_performance_trends AS
WITH hourly AS (
    SELECT p.metric_name, p.metric_type, p.component, p.unit, date_trunc('hour', p.recorded_at) AS hour, count(*) AS measurements,
        avg(p.value) AS avg_value, min(p.value) AS min_value, max(p.value) AS max_value,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY p.value) AS percentiles
    FROM performance_monitoring p WHERE p.recorded_at > now() - interval '24 hours'
    GROUP BY p.metric_name, p.metric_type, p.component, p.unit, date_trunc('hour', p.recorded_at)
)
SELECT h.metric_name, h.metric_type, h.component, h.unit, h.hour, h.measurements, h.avg_value, h.min_value, h.max_value,
    h.percentiles[1] AS p50, h.percentiles[2] AS p95, h.percentiles[3] AS p99,
    lag(h.avg_value) OVER earlier AS previous_avg_value,
    round((100 * (h.avg_value / NULLIF(lag(h.avg_value) OVER earlier, 0) - 1))::numeric, 1) AS change_percent
FROM hourly h
WINDOW earlier AS (PARTITION BY h.metric_name, h.metric_type, h.component, h.unit ORDER BY h.hour)
ORDER BY h.metric_name, h.component, h.hour DESC;
COMMENT ON VIEW v_performance_trends IS 'Each measurement by hour over 24 hours: mean, extremes, percentiles, and the change against the hour before.';

CREATE OR REPLACE VIEW v_active_alerts AS
SELECT a.id, a.alert_type, a.source, a.severity,
    CASE WHEN s.ends_at IS NOT NULL THEN 'silenced' WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END AS status,
    a.summary, a.value, a.threshold, a.unit, a.opened_at, extract(epoch FROM now() - a.opened_at)::double precision AS age_seconds, a.last_seen_at,
    a.clear_since, a.peak_severity, a.peak_value, a.peak_summary, a.peak_at,
    a.acknowledged_at, a.acknowledged_by, a.acknowledged_note, s.ends_at AS silenced_until, a.last_told_at, a.evidence
FROM alerts a
LEFT JOIN LATERAL (
    SELECT max(x.ends_at) AS ends_at FROM alert_silences x
    WHERE now() >= x.starts_at AND now() < x.ends_at AND x.alert_type IN (a.alert_type, '*') AND x.source IN (a.source, '*')
) AS s ON true
WHERE a.resolved_at IS NULL
ORDER BY severity_rank(a.severity) DESC, a.opened_at;
COMMENT ON VIEW v_active_alerts IS 'The open alerts, worst first: what is measured, the limit, since when, how bad it was, who has it, whether it is silenced.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
