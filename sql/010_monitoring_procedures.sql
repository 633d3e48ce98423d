-- What people, the service and dashboards call: alerts in hand, statistics, configuration, the outbox, and who may do what.
SET check_function_bodies = off;
SET client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------
-- Alerts in hand. Whoever acts leaves name, moment and reason.

CREATE OR REPLACE FUNCTION open_alert_or_refuse(p_alert_id bigint) RETURNS alerts
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alert public.alerts;
BEGIN
    PERFORM public.lock_alerts();
    SELECT a.* INTO v_alert FROM public.alerts a WHERE a.id = p_alert_id;
    IF NOT FOUND THEN
        PERFORM public.refuse('AM009', format('unknown_alert: there is no alert %s', p_alert_id), 'See v_active_alerts for those that are open.');
    END IF;
    RETURN v_alert;
END
$body$;
COMMENT ON FUNCTION open_alert_or_refuse(bigint) IS 'The alert of that number, open or not, kept from changing until the transaction ends. Raises AM009.';

CREATE OR REPLACE FUNCTION acknowledge_alert(p_alert_id bigint, p_by text DEFAULT NULL, p_note text DEFAULT NULL, p_at timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alert public.alerts := public.open_alert_or_refuse(p_alert_id);
    v_by    text := COALESCE(NULLIF(p_by, ''), session_user);
BEGIN
    IF v_alert.resolved_at IS NOT NULL OR v_alert.acknowledged_at IS NOT NULL THEN
        RETURN false;
    END IF;
    UPDATE public.alerts a SET acknowledged_at = public.fact_moment(p_at), acknowledged_by = v_by, acknowledged_note = p_note
    WHERE a.id = p_alert_id RETURNING a.* INTO v_alert;
    PERFORM public.record_transition(v_alert, 'acknowledged', v_alert.acknowledged_at, v_alert.severity, v_by, p_note);
    PERFORM public.hand_on_deliveries();
    RETURN true;
END
$body$;
COMMENT ON FUNCTION acknowledge_alert(bigint, text, text, timestamptz) IS
    'Takes an alert in hand: reminders stop, an escalation is still told. False when it is in hand or resolved. By default the session''s user. Raises AM009.';

CREATE OR REPLACE FUNCTION resolve_alert(p_alert_id bigint, p_by text DEFAULT NULL, p_note text DEFAULT NULL, p_at timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alert public.alerts := public.open_alert_or_refuse(p_alert_id);
BEGIN
    IF v_alert.resolved_at IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM public.close_alert(v_alert, v_alert.summary, v_alert.value, GREATEST(public.fact_moment(p_at), v_alert.opened_at), COALESCE(NULLIF(p_by, ''), session_user), p_note);
    PERFORM public.hand_on_deliveries();
    RETURN true;
END
$body$;
COMMENT ON FUNCTION resolve_alert(bigint, text, text, timestamptz) IS
    'Resolves an alert by hand. If its cause still stands, the next check opens another one: silence it to keep it quiet. False when it is resolved. Raises AM009.';

CREATE OR REPLACE FUNCTION silence_alerts(
    p_source text, p_duration interval, p_reason text DEFAULT NULL, p_by text DEFAULT NULL, p_alert_type text DEFAULT '*', p_at timestamptz DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at timestamptz := public.fact_moment(p_at);
    v_id bigint;
BEGIN
    IF NOT public.is_name(p_source) THEN PERFORM public.refuse_name('source', p_source); END IF;
    IF NOT public.is_name(p_alert_type) THEN PERFORM public.refuse_name('alert_type', p_alert_type); END IF;
    IF p_duration IS NULL OR v_at + p_duration <= v_at OR p_duration > interval '90 days' THEN
        PERFORM public.refuse('AM005', format('invalid_time: a silence of %s', COALESCE(p_duration::text, 'no duration')), 'Give a duration from above zero to 90 days, such as interval ''2 hours''.');
    END IF;
    INSERT INTO public.alert_silences (alert_type, source, starts_at, ends_at, created_by, reason)
    VALUES (p_alert_type, p_source, v_at, v_at + p_duration, COALESCE(NULLIF(p_by, ''), session_user), COALESCE(p_reason, ''))
    RETURNING id INTO v_id;
    RETURN v_id;
END
$body$;
COMMENT ON FUNCTION silence_alerts(text, interval, text, text, text, timestamptz) IS
    'Sends no messages about a source (* for every one) for a while; alerts are still opened and kept, and told when the silence ends and they still stand. Answers the silence''s number. Raises AM001, AM005.';

CREATE OR REPLACE FUNCTION end_silence(p_silence_id bigint, p_at timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_at timestamptz := public.fact_moment(p_at);
BEGIN
    UPDATE public.alert_silences s SET ends_at = GREATEST(v_at, s.starts_at) WHERE s.id = p_silence_id AND s.ends_at > v_at;
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION end_silence(bigint, timestamptz) IS 'Ends a silence now; false when there is none of that number or it has ended.';

CREATE OR REPLACE FUNCTION forget_source(p_kind text, p_name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    CASE p_kind
        WHEN 'queue', 'host' THEN
            DELETE FROM public.monitored_sources s WHERE s.kind = p_kind AND s.name = p_name;
        WHEN 'component' THEN
            UPDATE public.system_health h SET ended_at = h.last_reported_at WHERE h.ended_at IS NULL AND h.component_type || '/' || h.component_name = p_name;
        ELSE
            PERFORM public.refuse('AM001', format('invalid_name: %L is no kind of source', p_kind), 'Use queue, host or component.');
    END CASE;
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION forget_source(text, text) IS
    'Stops watching a queue, a host or a component (type/name) that is gone for good: its silence is no alert any more. Its next report brings it back. False when it is not watched. Raises AM001.';

-- ---------------------------------------------------------------------------------------------------------------
-- Statistics.

CREATE OR REPLACE FUNCTION get_task_statistics(p_task_type text DEFAULT NULL, p_window interval DEFAULT '24 hours', p_now timestamptz DEFAULT now())
RETURNS TABLE (task_type text, tasks bigint, completed bigint, failed bigint, cancelled bigint, failure_rate_percent double precision,
    avg_seconds double precision, p50_seconds double precision, p95_seconds double precision, p99_seconds double precision, max_seconds double precision,
    total_input_size numeric, total_output_size numeric, workers bigint, first_ended_at timestamptz, last_ended_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.task_type, s.tasks, s.completed, s.failed, s.cancelled, 100.0::double precision * s.failed / NULLIF(s.completed + s.failed, 0),
        s.avg_seconds, s.percentiles[1], s.percentiles[2], s.percentiles[3], s.max_seconds, s.input_size, s.output_size, s.workers, s.first_end, s.last_end
    FROM (
        SELECT h.task_type, count(*) AS tasks, count(*) FILTER (WHERE h.status = 'completed') AS completed, count(*) FILTER (WHERE h.status = 'failed') AS failed,
            count(*) FILTER (WHERE h.status = 'cancelled') AS cancelled, avg(h.duration_seconds) AS avg_seconds, max(h.duration_seconds) AS max_seconds,
            percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY h.duration_seconds) AS percentiles,
            sum(h.input_size) AS input_size, sum(h.output_size) AS output_size, count(DISTINCT h.worker_id) AS workers, min(h.end_time) AS first_end, max(h.end_time) AS last_end
        FROM public.processing_metrics_history h
        WHERE h.end_time > p_now - p_window AND h.end_time <= p_now AND (p_task_type IS NULL OR h.task_type = p_task_type)
        GROUP BY h.task_type
    ) AS s ORDER BY s.tasks DESC;
END
$body$;
COMMENT ON FUNCTION get_task_statistics(text, interval, timestamptz) IS 'How the tasks of each type (or of one) that ended within the window went: counts, failure rate in percent, durations in seconds, sizes, workers.';

CREATE OR REPLACE FUNCTION task_summary(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT jsonb_build_object('running', (SELECT count(*) FROM public.processing_metrics_running),
            'completed_last_hour', COALESCE(sum(t.completed), 0), 'failed_last_hour', COALESCE(sum(t.failed), 0), 'cancelled_last_hour', COALESCE(sum(t.cancelled), 0),
            'by_type', COALESCE(jsonb_object_agg(t.task_type, jsonb_build_object('tasks', t.tasks, 'failed', t.failed, 'p95_seconds', t.p95_seconds)) FILTER (WHERE t.task_type IS NOT NULL), '{}'))
        FROM public.get_task_statistics(NULL, '1 hour', p_now) AS t);
END
$body$;
COMMENT ON FUNCTION task_summary(timestamptz) IS 'The part "tasks" of the dashboard summary.';

CREATE OR REPLACE FUNCTION channel_state(p_channel notification_channels, p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN jsonb_build_object('name', p_channel.name, 'recipients', cardinality(p_channel.recipients), 'min_severity', p_channel.min_severity,
        'fallback', COALESCE(p_channel.fallback, 'journal'), 'fallback_after_seconds', extract(epoch FROM p_channel.fallback_after),
        'state', CASE WHEN p_channel.stopped_at IS NOT NULL THEN 'stopped' WHEN p_channel.failures > 0 THEN 'failing' ELSE 'working' END,
        'since', COALESCE(p_channel.stopped_at, p_channel.failing_since), 'last_error', p_channel.last_error,
        'next_attempt_at', CASE WHEN p_channel.failures > 0 AND p_channel.stopped_at IS NULL THEN p_channel.next_send_at END,
        'waiting', (SELECT count(*) FROM public.alert_deliveries d WHERE d.channel = p_channel.name AND d.status IN ('pending', 'sending')),
        'last_sent_at', (SELECT max(d.finished_at) FROM public.alert_deliveries d WHERE d.channel = p_channel.name AND d.status = 'sent'),
        'failed_24h', (SELECT count(*) FROM public.alert_deliveries d WHERE d.channel = p_channel.name AND d.status IN ('failed', 'expired') AND d.finished_at > p_now - interval '24 hours'),
        'expired_24h', (SELECT count(*) FROM public.alert_deliveries d WHERE d.channel = p_channel.name AND d.status = 'expired' AND d.finished_at > p_now - interval '24 hours'));
END
$body$;
COMMENT ON FUNCTION channel_state(notification_channels, timestamptz) IS 'How a channel fares, as JSON: working, failing or stopped, since when and why, what waits, what was sent and what was given up.';

CREATE OR REPLACE FUNCTION automon_summary(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN jsonb_build_object(
        'check_every_seconds', public.setting('schedule.alert_checks_seconds'),
        'last_check', (SELECT jsonb_build_object('at', r.started_at, 'age_seconds', extract(epoch FROM p_now - r.started_at), 'outcome', r.outcome, 'instance', r.instance, 'error', r.error)
                       FROM public.job_runs r WHERE r.job = 'alert_checks' ORDER BY r.started_at DESC LIMIT 1),
        'last_cleanup', (SELECT jsonb_build_object('at', r.started_at, 'outcome', r.outcome, 'counts', r.counts, 'error', r.error)
                         FROM public.job_runs r WHERE r.job = 'cleanup' ORDER BY r.started_at DESC LIMIT 1),
        'services', (SELECT COALESCE(jsonb_agg(jsonb_build_object('instance', i.instance, 'version', i.version, 'since', i.started_at, 'beat_seconds_ago', extract(epoch FROM clock_timestamp() - i.beat_at))
                ORDER BY i.started_at), '[]') FROM public.service_instances i WHERE public.instance_lives(i, clock_timestamp())),
        'blind', (SELECT jsonb_build_object('from', b.began_at, 'to', b.ended_at, 'why', b.why) FROM public.blind_periods b
            WHERE b.alert_id IS NOT NULL AND b.ended_at > p_now - interval '24 hours' ORDER BY b.id DESC LIMIT 1),
        'channels', (SELECT COALESCE(jsonb_agg(public.channel_state(c, p_now) ORDER BY c.name), '[]') FROM public.notification_channels c WHERE c.name <> 'journal'),
        'partitions_ahead_days', (SELECT count(*) FROM generate_series(1, 30) AS d (ahead)
            WHERE to_regclass('public.' || public.day_partition_name('processing_metrics_history', p_now + make_interval(days => d.ahead))) IS NOT NULL));
END
$body$;
COMMENT ON FUNCTION automon_summary(timestamptz) IS 'The part "automon" of the dashboard summary: its own checks, clean-up, channels and partitions.';

CREATE OR REPLACE FUNCTION get_dashboard_summary(p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN jsonb_build_object(
        'generated_at', p_now,
        'tasks', public.task_summary(p_now),
        'errors', (SELECT jsonb_build_object('last_hour', count(*) FILTER (WHERE e.occurred_at > p_now - interval '1 hour'), 'last_24h', count(*),
                'critical_24h', count(*) FILTER (WHERE e.severity = 'critical'), 'last_at', max(e.occurred_at))
            FROM public.error_tracking e WHERE e.occurred_at > p_now - interval '24 hours' AND e.occurred_at <= p_now),
        'components', (SELECT jsonb_build_object('healthy', count(*) FILTER (WHERE s.status = 'healthy'), 'degraded', count(*) FILTER (WHERE s.status = 'degraded'),
                'unhealthy', count(*) FILTER (WHERE s.status = 'unhealthy')) FROM public.component_states_at(p_now) AS s),
        'queues', (SELECT COALESCE(jsonb_agg(jsonb_build_object('name', q.queue_name, 'pending', q.pending, 'processing', q.processing, 'oldest_pending_seconds', q.oldest_pending_seconds,
                'reported_at', q.reported_at) ORDER BY q.pending DESC), '[]') FROM public.queue_reports_at(p_now) AS q),
        'hosts', (SELECT COALESCE(jsonb_agg(jsonb_build_object('name', h.host, 'cpu_percent', h.cpu_percent, 'memory_percent', h.memory_percent,
                'disk_percent', (SELECT max((d->>'percent')::double precision) FROM jsonb_array_elements(COALESCE(h.sample->'disks', '[]')) AS d), 'sampled_at', h.sampled_at) ORDER BY h.host), '[]')
            FROM public.host_samples_at(p_now) AS h),
        'alerts', (SELECT jsonb_build_object('open', count(*), 'critical', count(*) FILTER (WHERE a.severity = 'critical'), 'high', count(*) FILTER (WHERE a.severity = 'high'),
                'medium', count(*) FILTER (WHERE a.severity = 'medium'), 'low', count(*) FILTER (WHERE a.severity = 'low'), 'acknowledged', count(*) FILTER (WHERE a.acknowledged_at IS NOT NULL),
                'opened_24h', (SELECT count(*) FROM public.alerts o WHERE o.opened_at > p_now - interval '24 hours'))
            FROM public.alerts a WHERE a.resolved_at IS NULL),
        'automon', public.automon_summary(p_now));
END
$body$;
COMMENT ON FUNCTION get_dashboard_summary(timestamptz) IS 'Everything at a glance, as JSON: tasks, errors, components, queues, hosts, alerts, and automon itself.';

CREATE OR REPLACE FUNCTION get_alert_story(p_alert_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT to_jsonb(a) || jsonb_build_object(
            'is_silenced', public.is_silenced(a.alert_type, a.source, now()),
            'transitions', (SELECT jsonb_agg(to_jsonb(t) - 'evidence' || jsonb_build_object('deliveries', COALESCE((
                    SELECT jsonb_agg(jsonb_build_object('id', d.id, 'channel', d.channel, 'recipient', d.recipient, 'status', d.status, 'attempts', d.attempts, 'finished_at', d.finished_at,
                        'digest_id', d.digest_id, 'instead_of', d.instead_of, 'last_error', d.why) ORDER BY d.id)
                    FROM public.v_deliveries d WHERE d.id IN (SELECT x.id FROM public.alert_deliveries x WHERE x.transition_id = t.id)), '[]')) ORDER BY t.id)
                FROM public.alert_transitions t WHERE t.alert_id = a.id))
        FROM public.alerts a WHERE a.id = p_alert_id);
END
$body$;
COMMENT ON FUNCTION get_alert_story(bigint) IS 'An alert as JSON, with each of its transitions and what became of their deliveries; NULL for a number that there is not.';

-- ---------------------------------------------------------------------------------------------------------------
-- Configuration. The service puts here what its config file says; what that does not name is removed.

CREATE OR REPLACE FUNCTION set_threshold(
    p_alert_type text, p_source text, p_low double precision, p_medium double precision, p_high double precision, p_critical double precision, p_origin text DEFAULT 'sql'
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NOT p_alert_type = ANY (public.judged_alert_types()) THEN
        PERFORM public.refuse('AM012', format('invalid_setting: there is no alert type %L', p_alert_type), 'Use one of ' || array_to_string(public.judged_alert_types(), ', ') || '.');
    END IF;
    INSERT INTO public.monitoring_thresholds AS t (alert_type, source, low, medium, high, critical, origin)
    VALUES (p_alert_type, COALESCE(NULLIF(p_source, ''), '*'), p_low, p_medium, p_high, p_critical, p_origin)
    ON CONFLICT (alert_type, source) DO UPDATE
    SET low = excluded.low, medium = excluded.medium, high = excluded.high, critical = excluded.critical, origin = excluded.origin, updated_at = now()
    WHERE (t.low, t.medium, t.high, t.critical, t.origin) IS DISTINCT FROM (excluded.low, excluded.medium, excluded.high, excluded.critical, excluded.origin);
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION set_threshold(text, text, double precision, double precision, double precision, double precision, text) IS
    'Sets from which value on a source (* for all) is of which severity; NULL leaves a level out. Answers whether that changed anything. A service that runs puts its config''s values back. Raises AM012.';

CREATE OR REPLACE FUNCTION set_setting(p_name text, p_value double precision, p_origin text DEFAULT 'sql') RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NOT EXISTS (SELECT FROM public.monitoring_settings s WHERE s.name = p_name) THEN
        PERFORM public.refuse('AM012', format('invalid_setting: there is no setting %L', p_name), 'See the names in monitoring_settings.');
    ELSIF p_value IS NULL OR p_value < 0 OR p_value IN ('NaN', 'Infinity') THEN
        PERFORM public.refuse_negative(p_name, p_value);
    END IF;
    UPDATE public.monitoring_settings s SET value = p_value, origin = p_origin, updated_at = now()
    WHERE s.name = p_name AND (s.value, s.origin) IS DISTINCT FROM (p_value, p_origin);
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION set_setting(text, double precision, text) IS 'Sets a setting, in the unit that its name ends with; answers whether that changed anything. Raises AM004, AM012.';

CREATE OR REPLACE FUNCTION sync_channels(p_channels jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alert public.alerts;
BEGIN
    INSERT INTO public.notification_channels AS c (name, recipients, min_severity, notify_on, fallback, fallback_after, fingerprint)
    SELECT n.name, n.recipients, n.min_severity, n.notify_on, n.fallback, make_interval(secs => COALESCE(n.fallback_after_seconds, 600)), COALESCE(n.fingerprint, '')
    FROM jsonb_to_recordset(p_channels) AS n (name text, recipients text[], min_severity text, notify_on text[], fallback text, fallback_after_seconds double precision, fingerprint text)
    ON CONFLICT (name) DO UPDATE
    SET recipients = excluded.recipients, min_severity = excluded.min_severity, notify_on = excluded.notify_on, fallback = excluded.fallback, fallback_after = excluded.fallback_after;
    -- A channel with another address, server or secret deserves another try.
    PERFORM public.resume_channel(c.name)
    FROM public.notification_channels c JOIN jsonb_to_recordset(p_channels) AS n (name text, fingerprint text) ON n.name = c.name WHERE c.fingerprint <> COALESCE(n.fingerprint, '');
    UPDATE public.notification_channels c SET fingerprint = COALESCE(n.fingerprint, ''), updated_at = clock_timestamp()
    FROM jsonb_to_recordset(p_channels) AS n (name text, fingerprint text) WHERE n.name = c.name AND c.fingerprint <> COALESCE(n.fingerprint, '');
    DELETE FROM public.notification_channels c WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(p_channels) AS n WHERE n->>'name' = c.name);
    PERFORM public.give_up_homeless_deliveries();
    -- Alerts that were raised while nobody could be told, by psql or cron alone, are told now.
    FOR v_alert IN
        SELECT a.* FROM public.alerts a
        WHERE a.resolved_at IS NULL AND a.last_told_at IS NULL AND NOT EXISTS (SELECT FROM public.alert_deliveries d WHERE d.alert_id = a.id)
          AND public.has_audience(a, 'opened')
    LOOP
        PERFORM public.route_transition((SELECT max(t.id) FROM public.alert_transitions t WHERE t.alert_id = v_alert.id AND t.kind IN ('opened', 'escalated')), GREATEST(now(), v_alert.last_seen_at));
    END LOOP;
    PERFORM public.hand_on_deliveries();
END
$body$;
COMMENT ON FUNCTION sync_channels(jsonb) IS
    'Makes the channels those of the list, takes up again those whose address or secret has changed, gives up what waits for one that is gone, and tells of open alerts that were raised while there was no channel.';

CREATE OR REPLACE FUNCTION sync_configuration(p_config jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NOT COALESCE(p_config ?& ARRAY['thresholds', 'settings', 'channels'], false) THEN
        PERFORM public.refuse('AM012', 'invalid_setting: the config lacks one of its parts', 'Give thresholds, settings and channels: what is not named is removed.');
    END IF;
    PERFORM public.lock_alerts();
    PERFORM public.set_threshold(t.alert_type, t.source, t.low, t.medium, t.high, t.critical, 'config')
    FROM jsonb_to_recordset(p_config->'thresholds') AS t (alert_type text, source text, low double precision, medium double precision, high double precision, critical double precision);
    DELETE FROM public.monitoring_thresholds t
    WHERE NOT EXISTS (SELECT FROM jsonb_to_recordset(p_config->'thresholds') AS n (alert_type text, source text) WHERE n.alert_type = t.alert_type AND n.source = t.source);
    PERFORM public.set_setting(s.key, s.value::text::double precision, 'config') FROM jsonb_each(p_config->'settings') AS s;
    PERFORM public.sync_channels(p_config->'channels');
END
$body$;
COMMENT ON FUNCTION sync_configuration(jsonb) IS
    'Puts a config in force, in one transaction: {"thresholds": [{alert_type, source, low, medium, high, critical}], "settings": {name: number}, "channels": [{name, recipients, min_severity, notify_on, fallback, fallback_after_seconds, fingerprint}]}. Idempotent. Raises AM004, AM012.';

-- ---------------------------------------------------------------------------------------------------------------
-- A moment without a time zone means another moment on every machine, so it is refused wherever one is taken.

CREATE OR REPLACE FUNCTION refuse_naive_time() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.refuse('AM006', 'naive_time: the moment was given without a time zone', 'Give a timestamp with time zone: an aware datetime in Python, ''2026-01-31 14:02:00+01'' in SQL.');
    RETURN false;
END
$body$;
COMMENT ON FUNCTION refuse_naive_time() IS 'Raises AM006 naive_time.';

DO $do$
DECLARE
    v_function record;
BEGIN
    FOR v_function IN
        SELECT p.proname, pg_get_function_result(p.oid) AS result,
            array_to_string(ARRAY(SELECT format('%I %s', p.proargnames[a.position], format_type(a.type, NULL)) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, position)
                                  WHERE a.position < p.pronargs ORDER BY a.position), ', ') AS arguments
        FROM pg_proc p
        WHERE p.pronamespace = quote_ident(current_schema())::regnamespace AND p.proname IN ('start_task_tracking', 'complete_task_tracking', 'record_task_heartbeat', 'record_error',
            'record_performance_metric', 'update_system_health', 'update_queue_metrics', 'record_host_sample') AND p.proargtypes[p.pronargs - 1] = 'timestamptz'::regtype
    LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION %I(%s, p_at timestamp without time zone) RETURNS %s LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS '
            || '$body$ BEGIN RETURN public.refuse_naive_time(); END $body$', v_function.proname, v_function.arguments, v_function.result);
        EXECUTE format('COMMENT ON FUNCTION %I(%s, p_at timestamp without time zone) IS %L', v_function.proname, v_function.arguments, 'Refuses a moment without a time zone (AM006 naive_time).');
    END LOOP;
END
$do$;

-- ---------------------------------------------------------------------------------------------------------------
-- Who may do what. Tables are closed to everyone but their owner; functions and views are opened to three roles.
-- An administrator who cannot create roles goes without them; the owner works all the same.

CREATE OR REPLACE FUNCTION role_functions(p_role text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT f.name FROM (VALUES
        ('automon_writer', 'start_task_tracking'), ('automon_writer', 'complete_task_tracking'), ('automon_writer', 'record_task_heartbeat'), ('automon_writer', 'record_error'),
        ('automon_writer', 'record_performance_metric'), ('automon_writer', 'update_system_health'), ('automon_writer', 'update_queue_metrics'), ('automon_writer', 'record_host_sample'),
        ('automon_reader', 'get_dashboard_summary'), ('automon_reader', 'get_task_statistics'), ('automon_reader', 'get_component_uptime'), ('automon_reader', 'get_alert_story'),
        ('automon_reader', 'evaluate_error_rate'), ('automon_reader', 'evaluate_failure_rate'), ('automon_reader', 'evaluate_processing_time'), ('automon_reader', 'evaluate_running_time'),
        ('automon_reader', 'evaluate_component_health'), ('automon_reader', 'evaluate_queue_backlog'), ('automon_reader', 'evaluate_hosts'), ('automon_reader', 'evaluate_all'), ('automon_reader', 'evaluate_automon'), ('automon_reader', 'get_automon_health'), ('automon_reader', 'get_deliveries'),
        -- what the views call, with the rights of whoever reads them
        ('automon_reader', 'severity_rank'), ('automon_operator', 'severity_rank'), ('automon_operator', 'get_component_uptime'),
        ('automon_operator', 'acknowledge_alert'), ('automon_operator', 'resolve_alert'), ('automon_operator', 'silence_alerts'), ('automon_operator', 'end_silence'), ('automon_operator', 'forget_source'),
        ('automon_operator', 'resume_channel'), ('automon_operator', 'send_canary')
    ) AS f (role, name) WHERE f.role = p_role;
END;
COMMENT ON FUNCTION role_functions(text) IS 'The functions that are opened to a role.';

CREATE OR REPLACE FUNCTION grant_to_roles() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $body$
DECLARE
    v_schema   text := current_schema();
    -- Only what this very transaction has made is closed: a schema is often shared with the application that is watched.
    v_this_run xid := pg_current_xact_id()::xid;
    v_role     text;
    v_item     text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['anon', 'authenticated'] LOOP     -- the web roles of managed services, who find "public" open
        IF EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = v_role) THEN
            FOR v_item IN SELECT format('%I.%I', v_schema, c.relname) FROM pg_catalog.pg_class c
                WHERE c.relnamespace = quote_ident(v_schema)::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND c.xmin = v_this_run LOOP
                EXECUTE format('REVOKE ALL ON %s FROM %I', v_item, v_role);
            END LOOP;
        END IF;
    END LOOP;
    FOR v_item IN SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p WHERE p.pronamespace = quote_ident(v_schema)::regnamespace AND p.xmin = v_this_run LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', v_item);
        FOREACH v_role IN ARRAY ARRAY['anon', 'authenticated'] LOOP
            IF EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = v_role) THEN
                EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', v_item, v_role);
            END IF;
        END LOOP;
    END LOOP;
    FOREACH v_role IN ARRAY ARRAY['automon_writer', 'automon_reader', 'automon_operator'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = v_role);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', v_schema, v_role);
        FOR v_item IN SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = quote_ident(v_schema)::regnamespace AND p.proname IN (SELECT role_functions(v_role)) LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', v_item, v_role);
        END LOOP;
        IF v_role <> 'automon_writer' THEN
            FOR v_item IN SELECT format('%I.%I', v_schema, c.relname) FROM pg_catalog.pg_class c
                WHERE c.relnamespace = quote_ident(v_schema)::regnamespace AND c.relkind = 'v' AND c.relname IN ('v_realtime_processing_status', 'v_error_summary', 'v_system_health_summary',
                    'v_queue_performance', 'v_performance_trends', 'v_active_alerts', 'v_deliveries') LOOP
                EXECUTE format('GRANT SELECT ON %s TO %I', v_item, v_role);
            END LOOP;
        END IF;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION grant_to_roles() IS 'Closes what the current transaction has made in the current schema to PUBLIC and to web roles, and opens what role_functions names (and the views) to the roles that exist. Idempotent.';

DO $do$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['automon_writer', 'automon_reader', 'automon_operator'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = v_role) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
            END IF;
        EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
            NULL;       -- not allowed to, or another database of this cluster is being migrated at this very moment
        END;
    END LOOP;
END
$do$;

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
