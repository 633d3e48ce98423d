-- What other tools read: the numbers behind /metrics, and views for dashboards of one's own. All of it is flat: it reads
-- the last hour of the rollups, the newest report of each source, and as many days as a dashboard asks for.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE OR REPLACE FUNCTION metrics_of_tasks(p_now timestamptz, p_most integer, OUT tasks jsonb, OUT left_out bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    WITH ended AS (
        SELECT t.task_type, t.status, t.bucket, t.tasks, t.seconds FROM public.tasks_between(p_now - interval '1 hour', p_now) AS t
    ), running AS (
        SELECT r.task_type, count(*) AS tasks, min(r.start_time) AS oldest_start FROM (
            SELECT x.task_type, x.start_time FROM public.processing_metrics_running x WHERE x.start_time <= p_now
            UNION ALL SELECT h.task_type, h.start_time FROM public.processing_metrics_history h WHERE h.end_time > p_now AND h.start_time <= p_now) AS r
        GROUP BY r.task_type
    ), named AS (
        SELECT n.task_type, CASE WHEN row_number() OVER (ORDER BY sum(n.tasks) DESC, n.task_type) <= p_most THEN n.task_type ELSE 'other' END AS name
        FROM (SELECT e.task_type, e.tasks FROM ended e UNION ALL SELECT r.task_type, r.tasks FROM running r) AS n GROUP BY n.task_type
    ), counted AS (
        SELECT n.name, sum(e.tasks) FILTER (WHERE e.status = 'completed') AS completed, sum(e.tasks) FILTER (WHERE e.status = 'failed') AS failed,
            sum(e.tasks) FILTER (WHERE e.status = 'cancelled') AS cancelled,
            array_agg(e.tasks ORDER BY e.bucket) FILTER (WHERE e.status <> 'cancelled') AS counts,
            array_agg(e.seconds / e.tasks ORDER BY e.bucket) FILTER (WHERE e.status <> 'cancelled') AS means
        FROM ended e JOIN named n USING (task_type) GROUP BY n.name
    ), at_work AS (
        SELECT n.name, sum(r.tasks) AS running, extract(epoch FROM p_now - min(r.oldest_start))::double precision AS seconds FROM running r JOIN named n USING (task_type) GROUP BY n.name
    )
    SELECT COALESCE(jsonb_agg(jsonb_build_object('task_type', k.name, 'running', COALESCE(w.running, 0), 'oldest_running_seconds', w.seconds,
            'completed', COALESCE(c.completed, 0), 'failed', COALESCE(c.failed, 0), 'cancelled', COALESCE(c.cancelled, 0),
            'p50_seconds', p.seconds[1], 'p95_seconds', p.seconds[2], 'p99_seconds', p.seconds[3]) ORDER BY k.name), '[]'),
        GREATEST((SELECT count(*) FROM named) - p_most, 0)
    INTO tasks, left_out
    FROM (SELECT DISTINCT n.name FROM named n) AS k
    LEFT JOIN counted c ON c.name = k.name LEFT JOIN at_work w ON w.name = k.name
    CROSS JOIN LATERAL (SELECT CASE WHEN c.counts IS NOT NULL THEN public.percentiles_of(c.counts, c.means, '{0.5,0.95,0.99}') END AS seconds) AS p;
END
$body$;
COMMENT ON FUNCTION metrics_of_tasks(timestamptz, integer) IS
    'The part "tasks" of get_metrics, by task type: what runs, what ended within an hour and how, and how long that took. Types beyond the busiest are one row, "other"; left_out: how many they are.';

CREATE OR REPLACE FUNCTION metrics_of_errors(p_now timestamptz, p_most integer, OUT errors jsonb, OUT left_out bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    WITH found AS (
        SELECT b.component, b.severity, sum(b.errors) AS errors FROM public.errors_between(p_now - interval '1 hour', p_now) AS b GROUP BY b.component, b.severity
    ), named AS (
        SELECT f.component, CASE WHEN row_number() OVER (ORDER BY sum(f.errors) DESC, f.component) <= p_most THEN f.component ELSE 'other' END AS name FROM found f GROUP BY f.component
    )
    SELECT COALESCE(jsonb_agg(jsonb_build_object('component', s.name, 'severity', s.severity, 'errors', s.errors) ORDER BY s.name, s.severity), '[]'),
        GREATEST((SELECT count(*) FROM named) - p_most, 0)
    INTO errors, left_out
    FROM (SELECT n.name, f.severity, sum(f.errors) AS errors FROM found f JOIN named n USING (component) GROUP BY n.name, f.severity) AS s;
END
$body$;
COMMENT ON FUNCTION metrics_of_errors(timestamptz, integer) IS 'The part "errors" of get_metrics: those of an hour by component and severity, limited as the tasks are.';

CREATE OR REPLACE FUNCTION metrics_of_queues(p_now timestamptz, p_most integer, OUT queues jsonb, OUT left_out bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    WITH newest AS (
        SELECT s.name, q.pending, q.processing, q.oldest_pending_seconds, q.recorded_at,
            CASE WHEN row_number() OVER (ORDER BY q.pending DESC, s.name) <= p_most THEN s.name ELSE 'other' END AS queue
        FROM public.monitored_sources s CROSS JOIN LATERAL (
            SELECT m.* FROM public.queue_monitoring m WHERE m.queue_name = s.name AND m.recorded_at <= p_now AND m.recorded_at > p_now - interval '1 day'
            ORDER BY m.recorded_at DESC LIMIT 1) AS q
        WHERE s.kind = 'queue'
    )
    SELECT COALESCE(jsonb_agg(jsonb_build_object('queue', g.queue, 'pending', g.pending, 'processing', g.processing, 'oldest_pending_seconds', g.oldest,
            'reported_at', extract(epoch FROM g.reported_at)::double precision) ORDER BY g.queue), '[]'), GREATEST((SELECT count(*) FROM newest) - p_most, 0)
    INTO queues, left_out
    FROM (SELECT n.queue, sum(n.pending) AS pending, sum(n.processing) AS processing, max(n.oldest_pending_seconds) AS oldest, min(n.recorded_at) AS reported_at
          FROM newest n GROUP BY n.queue) AS g;
END
$body$;
COMMENT ON FUNCTION metrics_of_queues(timestamptz, integer) IS 'The part "queues" of get_metrics: the newest report of each queue that reported within a day; those beyond the longest added up.';

CREATE OR REPLACE FUNCTION metrics_of_components(p_now timestamptz, p_most integer, OUT components jsonb, OUT left_out bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    WITH state AS (
        SELECT h.component_type || '/' || h.component_name AS source, h.status, h.response_time_ms, LEAST(h.last_reported_at, p_now) AS reported_at
        FROM (SELECT x.* FROM public.system_health x WHERE x.ended_at IS NULL AND x.started_at <= p_now
              UNION ALL SELECT x.* FROM public.system_health x WHERE x.ended_at > p_now AND x.started_at <= p_now) AS h
    ), named AS (
        -- In trouble first: nobody may miss one of these.
        SELECT s.*, CASE WHEN row_number() OVER (ORDER BY s.status = 'healthy', s.source) <= p_most THEN s.source ELSE 'other' END AS name FROM state s
    )
    SELECT COALESCE(jsonb_agg(jsonb_build_object('component', g.name, 'healthy', g.healthy, 'degraded', g.degraded, 'unhealthy', g.unhealthy,
            'response_time_ms', g.response_time_ms, 'reported_at', extract(epoch FROM g.reported_at)::double precision) ORDER BY g.name), '[]'),
        GREATEST((SELECT count(*) FROM named) - p_most, 0)
    INTO components, left_out
    FROM (SELECT n.name, count(*) FILTER (WHERE n.status = 'healthy') AS healthy, count(*) FILTER (WHERE n.status = 'degraded') AS degraded,
              count(*) FILTER (WHERE n.status = 'unhealthy') AS unhealthy, max(n.response_time_ms) FILTER (WHERE n.name <> 'other') AS response_time_ms, min(n.reported_at) AS reported_at
          FROM named n GROUP BY n.name) AS g;
END
$body$;
COMMENT ON FUNCTION metrics_of_components(timestamptz, integer) IS 'The part "components" of get_metrics: the state of each; beyond a limit how many are in which, those in trouble named first.';

CREATE OR REPLACE FUNCTION metrics_of_hosts(p_now timestamptz, p_most integer, OUT hosts jsonb, OUT disks jsonb, OUT left_out bigint, OUT disks_left_out bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    WITH newest AS (
        SELECT s.name, m.sampled_at, m.sample, row_number() OVER (ORDER BY m.cpu_percent DESC NULLS LAST, s.name) AS rank
        FROM public.monitored_sources s CROSS JOIN LATERAL (
            SELECT h.sampled_at, h.sample, h.cpu_percent FROM public.host_metrics h WHERE h.host = s.name AND h.sampled_at <= p_now AND h.sampled_at > p_now - interval '1 day'
            ORDER BY h.sampled_at DESC LIMIT 1) AS m
        WHERE s.kind = 'host'
    ), disk AS (
        SELECT n.name, d.value AS disk, row_number() OVER (ORDER BY (d.value->>'percent')::double precision DESC NULLS LAST, n.name, d.value->>'mount') AS rank
        FROM newest n CROSS JOIN LATERAL jsonb_array_elements(COALESCE(n.sample->'disks', '[]')) AS d (value)
    )
    SELECT (SELECT COALESCE(jsonb_agg(jsonb_build_object('host', n.name, 'sampled_at', extract(epoch FROM n.sampled_at)::double precision,
                'sample', jsonb_strip_nulls(jsonb_build_object('cpu_percent', n.sample->'cpu_percent', 'memory_percent', n.sample->'memory_percent', 'swap_percent', n.sample->'swap_percent',
                    'load_per_core', n.sample->'load_per_core', 'pressure', n.sample->'pressure', 'container', n.sample->'container'))) ORDER BY n.name), '[]') FROM newest n WHERE n.rank <= p_most),
        (SELECT COALESCE(jsonb_agg(jsonb_build_object('host', d.name, 'mount', d.disk->>'mount', 'percent', d.disk->'percent', 'free_bytes', d.disk->'free_bytes')
                ORDER BY d.name, d.disk->>'mount'), '[]') FROM disk d WHERE d.rank <= p_most),
        (SELECT GREATEST(count(*) - p_most, 0) FROM newest), (SELECT GREATEST(count(*) - p_most, 0) FROM disk)
    INTO hosts, disks, left_out, disks_left_out;
END
$body$;
COMMENT ON FUNCTION metrics_of_hosts(timestamptz, integer) IS
    'The parts "hosts" and "disks" of get_metrics: the newest sample of each host that was sampled within a day, the busiest and the fullest up to a limit.';

CREATE OR REPLACE FUNCTION metrics_of_jobs(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT jsonb_agg(jsonb_build_object('job', k.job, 'ran_at', extract(epoch FROM l.started_at)::double precision, 'succeeded', l.outcome = 'succeeded',
            'seconds', extract(epoch FROM l.finished_at - l.started_at)::double precision, 'succeeded_at', extract(epoch FROM s.started_at)::double precision) ORDER BY k.job)
        FROM (VALUES ('alert_checks'), ('self_check'), ('cleanup'), ('host_sampling')) AS k (job)
        CROSS JOIN LATERAL (
            SELECT r.* FROM public.job_runs r WHERE r.job = k.job AND r.outcome IN ('succeeded', 'failed') AND r.started_at <= p_now AND r.started_at > p_now - interval '3 days'
            ORDER BY r.started_at DESC LIMIT 1) AS l
        LEFT JOIN LATERAL (
            SELECT r.started_at FROM public.job_runs r WHERE r.job = k.job AND r.outcome = 'succeeded' AND r.started_at <= p_now AND r.started_at > p_now - interval '3 days'
            ORDER BY r.started_at DESC LIMIT 1) AS s ON true);
END
$body$;
COMMENT ON FUNCTION metrics_of_jobs(timestamptz) IS 'How automon''s own jobs ran last, within three days: when, how it ended, how long it took, and when one last succeeded.';

CREATE OR REPLACE FUNCTION metrics_of_channels(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT jsonb_agg(jsonb_build_object('channel', c.name, 'state', CASE WHEN c.stopped_at IS NOT NULL THEN 'stopped' WHEN c.failures > 0 THEN 'failing' ELSE 'working' END,
            'waiting', COALESCE(d.waiting, 0), 'oldest_waiting_seconds', CASE WHEN d.oldest IS NOT NULL THEN GREATEST(extract(epoch FROM p_now - d.oldest), 0)::double precision END,
            'failed_last_day', COALESCE(d.failed, 0)) ORDER BY c.name)
        FROM public.notification_channels c
        LEFT JOIN (
            SELECT x.channel, count(*) FILTER (WHERE x.status IN ('pending', 'sending')) AS waiting, min(x.created_at) FILTER (WHERE x.status IN ('pending', 'sending')) AS oldest,
                count(*) FILTER (WHERE x.status IN ('failed', 'expired') AND x.finished_at > p_now - interval '24 hours') AS failed
            FROM public.alert_deliveries x GROUP BY x.channel) AS d ON d.channel = c.name);
END
$body$;
COMMENT ON FUNCTION metrics_of_channels(timestamptz) IS 'How each channel fares, the journal too: its state, what waits and since when, and what was given up within a day.';

CREATE OR REPLACE FUNCTION metrics_of_automon(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_day  constant interval := interval '24 hours';
    c_most constant integer := 10;
BEGIN
    RETURN jsonb_build_object(
        'services', (SELECT count(*) FROM public.service_instances i WHERE public.instance_lives(i, p_now)),
        'check_every_seconds', public.setting('schedule.alert_checks_seconds'),
        'jobs', COALESCE(public.metrics_of_jobs(p_now), '[]'),
        'channels', COALESCE(public.metrics_of_channels(p_now), '[]'),
        'blind_seconds_last_day', (SELECT COALESCE(sum(extract(epoch FROM LEAST(b.ended_at, p_now) - GREATEST(b.began_at, p_now - c_day))), 0)::double precision
            FROM public.blind_periods b WHERE b.ended_at > p_now - c_day AND b.began_at < p_now),
        'rollups_behind_seconds', (SELECT l.behind_seconds FROM public.rollup_lag(p_now) AS l),
        'partitions', (
            SELECT jsonb_agg(jsonb_build_object('table', t.name, 'ahead', COALESCE(m.first_missing - 1, c_most)) ORDER BY t.name)
            FROM public.day_partitioned_tables() AS t (name) CROSS JOIN LATERAL (
                SELECT min(d.ahead) AS first_missing FROM generate_series(1, c_most) AS d (ahead)
                WHERE to_regclass('public.' || public.day_partition_name(t.name, p_now + make_interval(days => d.ahead))) IS NULL) AS m));
END
$body$;
COMMENT ON FUNCTION metrics_of_automon(timestamptz) IS 'The part "automon" of get_metrics: its services, jobs, channels, rollups and partitions, and for how long it was blind.';

CREATE OR REPLACE FUNCTION get_metrics(p_now timestamptz DEFAULT clock_timestamp(), p_most integer DEFAULT 1000) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_tasks      record := public.metrics_of_tasks(p_now, p_most);
    v_errors     record := public.metrics_of_errors(p_now, p_most);
    v_queues     record := public.metrics_of_queues(p_now, p_most);
    v_components record := public.metrics_of_components(p_now, p_most);
    v_hosts      record := public.metrics_of_hosts(p_now, p_most);
BEGIN
    RETURN jsonb_build_object(
        'tasks', v_tasks.tasks, 'errors', v_errors.errors, 'queues', v_queues.queues, 'components', v_components.components, 'hosts', v_hosts.hosts, 'disks', v_hosts.disks,
        'alerts', (SELECT COALESCE(jsonb_agg(to_jsonb(a) ORDER BY a.alert_type, a.severity, a.status), '[]')
            FROM (SELECT v.alert_type, v.severity, v.status, count(*) AS alerts FROM public.v_active_alerts v GROUP BY v.alert_type, v.severity, v.status) AS a),
        -- A component may fail and report: whichever of its two lists leaves out more.
        'left_out', jsonb_build_object('task_type', v_tasks.left_out, 'component', GREATEST(v_errors.left_out, v_components.left_out), 'queue', v_queues.left_out,
            'host', v_hosts.left_out, 'mount', v_hosts.disks_left_out),
        'automon', public.metrics_of_automon(p_now));
END
$body$;
COMMENT ON FUNCTION get_metrics(timestamptz, integer) IS
    'What /metrics tells of the database, as JSON: automon itself, open alerts, tasks, errors, queues, components and hosts. At most so many names of each kind; what is beyond is "other" or counted in left_out. Moments in Unix time.';

-- ---------------------------------------------------------------------------------------------------------------
-- Views for dashboards. Each has a moment that a dashboard limits, by which it finds the days that it needs.

CREATE OR REPLACE VIEW v_task_minutes AS
SELECT m.until AS at, m.task_type, m.status, sum(m.tasks)::bigint AS tasks, sum(m.seconds) / sum(m.tasks) AS avg_seconds, max(m.max_seconds) AS max_seconds
FROM task_minutes m GROUP BY m.until, m.task_type, m.status;
COMMENT ON VIEW v_task_minutes IS 'Ended tasks by minute, type and status, of the last eight days: how many, and how long they took. at: the end of the minute.';

CREATE OR REPLACE VIEW v_task_hours AS
SELECT h.until AS at, h.task_type, h.status, sum(h.tasks)::bigint AS tasks, sum(h.seconds) / sum(h.tasks) AS avg_seconds, max(h.max_seconds) AS max_seconds
FROM task_hours h GROUP BY h.until, h.task_type, h.status;
COMMENT ON VIEW v_task_hours IS 'Ended tasks by hour, type and status, for as long as rollups are kept. at: the end of the hour.';

CREATE OR REPLACE VIEW v_error_minutes AS
SELECT m.until AS at, m.component, m.error_type, m.severity, m.errors FROM error_minutes m;
COMMENT ON VIEW v_error_minutes IS 'Errors by minute, component, type and severity, of the last eight days. at: the end of the minute.';

CREATE OR REPLACE VIEW v_error_hours AS
SELECT h.until AS at, h.component, h.error_type, h.severity, h.errors FROM error_hours h;
COMMENT ON VIEW v_error_hours IS 'Errors by hour, component, type and severity, for as long as rollups are kept. at: the end of the hour.';

CREATE OR REPLACE VIEW v_queue_history AS
SELECT q.recorded_at AS at, q.queue_name, q.pending, q.processing, q.completed, q.failed, q.oldest_pending_seconds FROM queue_monitoring q;
COMMENT ON VIEW v_queue_history IS 'What queues reported.';

CREATE OR REPLACE VIEW v_host_history AS
SELECT h.sampled_at AS at, h.host, h.cpu_percent, h.memory_percent, h.swap_percent, h.disk_percent, h.load_per_core,
    (h.sample->'pressure'->>'cpu')::double precision AS cpu_pressure_percent, (h.sample->'pressure'->>'memory')::double precision AS memory_pressure_percent,
    (h.sample->'pressure'->>'io')::double precision AS io_pressure_percent,
    (h.sample->'network'->>'received_bytes_per_second')::double precision AS received_bytes_per_second, (h.sample->'network'->>'sent_bytes_per_second')::double precision AS sent_bytes_per_second,
    (h.sample->'disk_io'->>'read_bytes_per_second')::double precision AS read_bytes_per_second, (h.sample->'disk_io'->>'written_bytes_per_second')::double precision AS written_bytes_per_second,
    (h.sample->'container'->>'memory_limit_bytes')::double precision AS container_memory_limit_bytes, (h.sample->'container'->>'cpu_limit_cores')::double precision AS container_cpu_limit_cores,
    (h.sample->'container'->>'cpu_throttled_percent')::double precision AS container_cpu_throttled_percent
FROM host_metrics h;
COMMENT ON VIEW v_host_history IS 'What was seen of hosts, and of the limits of the containers that their samplers run in. disk_percent is that of the fullest disk.';

CREATE OR REPLACE VIEW v_host_summary AS
SELECT s.name AS host, h.sampled_at, extract(epoch FROM now() - h.sampled_at)::double precision AS sample_age_seconds, h.cpu_percent, h.memory_percent, h.swap_percent, h.disk_percent, h.load_per_core,
    h.sample->'disks'->0->>'mount' AS fullest_disk, (h.sample->'disks'->0->>'free_bytes')::double precision AS fullest_disk_free_bytes, (h.sample->>'uptime_seconds')::double precision AS uptime_seconds,
    (h.sample->'container'->>'memory_limit_bytes')::double precision AS container_memory_limit_bytes, (h.sample->'container'->>'cpu_limit_cores')::double precision AS container_cpu_limit_cores
FROM monitored_sources s
CROSS JOIN LATERAL (SELECT m.* FROM host_metrics m WHERE m.host = s.name AND m.sampled_at > now() - interval '7 days' ORDER BY m.sampled_at DESC LIMIT 1) AS h
WHERE s.kind = 'host'
ORDER BY s.name;
COMMENT ON VIEW v_host_summary IS 'Each host as it was last sampled within seven days.';

CREATE OR REPLACE VIEW v_alert_history AS
SELECT a.opened_at AS at, a.id, a.alert_type, a.source, a.severity, a.peak_severity, a.summary, a.resolved_at, a.resolved_by, a.acknowledged_at, a.acknowledged_by,
    extract(epoch FROM COALESCE(a.resolved_at, now()) - a.opened_at)::double precision AS open_seconds
FROM alerts a;
COMMENT ON VIEW v_alert_history IS 'Alerts, the resolved ones too for as long as they are kept. at: when they were opened.';

CREATE OR REPLACE VIEW v_job_runs AS
SELECT r.started_at AS at, r.job, r.instance, r.outcome, extract(epoch FROM r.finished_at - r.started_at)::double precision AS seconds, r.counts, r.error FROM job_runs r;
COMMENT ON VIEW v_job_runs IS 'The runs of automon''s own jobs: when, by which service, how they ended and how long they took.';

CREATE OR REPLACE VIEW v_services AS
SELECT i.instance, i.version, i.started_at, i.beat_at, extract(epoch FROM now() - i.beat_at)::double precision AS beat_age_seconds, instance_lives(i, now()) AS is_alive
FROM service_instances i ORDER BY i.started_at;
COMMENT ON VIEW v_services IS 'The services that run on this database, or ran within a day.';

CREATE OR REPLACE VIEW v_blind_periods AS
SELECT b.began_at AS at, b.ended_at, extract(epoch FROM b.ended_at - b.began_at)::double precision AS seconds, b.why FROM blind_periods b;
COMMENT ON VIEW v_blind_periods IS 'When automon saw nothing, and why.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;

DO $do$
BEGIN
    PERFORM open_to('automon_reader', 'get_metrics');
    PERFORM open_to(r.role, 'v_task_minutes', 'v_task_hours', 'v_error_minutes', 'v_error_hours', 'v_queue_history', 'v_host_history', 'v_host_summary', 'v_alert_history',
        'v_job_runs', 'v_services', 'v_blind_periods')
    FROM (VALUES ('automon_reader'), ('automon_operator')) AS r (role);
END
$do$;

RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
