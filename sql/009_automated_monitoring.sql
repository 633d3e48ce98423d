-- What runs by itself: the checks and the clean-up. The service calls these; so may cron or pg_cron, alone.
-- All checks in one pass: run_monitoring_checks, where the services are.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE OR REPLACE FUNCTION check_error_rate_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.apply_findings(ARRAY['error_rate'], ARRAY(SELECT f FROM public.evaluate_error_rate(p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION check_error_rate_alerts(timestamptz) IS 'Checks the errors of each component; answers how many alerts it changed.';

CREATE OR REPLACE FUNCTION check_processing_performance_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.apply_findings(ARRAY['failure_rate', 'processing_time', 'running_time'], ARRAY(
        SELECT f FROM public.evaluate_failure_rate(p_now) AS f
        UNION ALL SELECT f FROM public.evaluate_processing_time(p_now) AS f
        UNION ALL SELECT f FROM public.evaluate_running_time(p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION check_processing_performance_alerts(timestamptz) IS 'Checks the tasks of each type: how many fail, how long they take, how long they are running; answers how many alerts it changed.';

CREATE OR REPLACE FUNCTION check_system_health_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.apply_findings(ARRAY['component_health', 'component_silence', 'response_time'], ARRAY(SELECT f FROM public.evaluate_component_health(p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION check_system_health_alerts(timestamptz) IS 'Checks the state, the response time and the silence of each component; answers how many alerts it changed.';

CREATE OR REPLACE FUNCTION check_queue_backlog_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.apply_findings(ARRAY['queue_backlog', 'queue_silence'], ARRAY(SELECT f FROM public.evaluate_queue_backlog(p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION check_queue_backlog_alerts(timestamptz) IS 'Checks the length and the silence of each queue; answers how many alerts it changed.';

CREATE OR REPLACE FUNCTION check_host_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.apply_findings(ARRAY['host_cpu', 'host_memory', 'host_disk', 'host_silence'], ARRAY(SELECT f FROM public.evaluate_hosts(p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION check_host_alerts(timestamptz) IS 'Checks CPU, memory, disks and silence of each host; answers how many alerts it changed.';

CREATE OR REPLACE FUNCTION judged_alert_types() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ARRAY['error_rate', 'failure_rate', 'processing_time', 'running_time', 'component_health', 'component_silence', 'response_time',
        'queue_backlog', 'queue_silence', 'host_cpu', 'host_memory', 'host_disk', 'host_silence'];
END;
COMMENT ON FUNCTION judged_alert_types() IS 'The alert types that evaluate_all judges.';

CREATE OR REPLACE FUNCTION resolve_resolved_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.apply_findings(public.judged_alert_types(), ARRAY(SELECT f FROM public.evaluate_all(p_now) AS f), p_now, true);
END
$body$;
COMMENT ON FUNCTION resolve_resolved_alerts(timestamptz) IS 'Resolves the alerts whose cause is gone, and opens none; answers how many it resolved.';

-- ---------------------------------------------------------------------------------------------------------------
-- Clean-up.

CREATE OR REPLACE FUNCTION retention_days(p_table text) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN CASE p_table
        WHEN 'processing_metrics_history' THEN public.setting('retention.processing_days')
        WHEN 'error_tracking' THEN GREATEST(public.setting('retention.errors_low_days'), public.setting('retention.errors_medium_days'),
            public.setting('retention.errors_high_days'), public.setting('retention.errors_critical_days'))
        WHEN 'performance_monitoring' THEN public.setting('retention.performance_days')
        WHEN 'queue_monitoring' THEN public.setting('retention.queue_days')
        WHEN 'host_metrics' THEN public.setting('retention.host_days')
    END;
END
$body$;
COMMENT ON FUNCTION retention_days(text) IS 'How many days a partitioned table is kept; for errors the longest of the four.';

CREATE OR REPLACE FUNCTION expired_partitions(p_now timestamptz DEFAULT now()) RETURNS TABLE (table_name text, partition_name text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT t.name, c.relname::text
    FROM public.day_partitioned_tables() AS t (name)
    JOIN pg_inherits i ON i.inhparent = to_regclass('public.' || quote_ident(t.name))
    JOIN pg_class c ON c.oid = i.inhrelid
    WHERE c.relname ~ '_[0-9]{8}$'
      AND to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <= ((p_now AT TIME ZONE 'UTC') - make_interval(secs => 86400 * public.retention_days(t.name)))::date
    ORDER BY right(c.relname, 8);
END
$body$;
COMMENT ON FUNCTION expired_partitions(timestamptz) IS 'The day partitions that hold nothing but what has passed its term, oldest first.';

CREATE OR REPLACE FUNCTION drop_expired_partition(p_partition text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
AS $body$
BEGIN
    FOR v_try IN 1..5 LOOP
        BEGIN
            EXECUTE format('DROP TABLE public.%I', p_partition);
            RETURN true;
        EXCEPTION WHEN lock_not_available THEN
            NULL;       -- a reader has the table open: writers queue behind a waiting DROP, so let them pass and try again
        END;
    END LOOP;
    RETURN false;
END
$body$;
COMMENT ON FUNCTION drop_expired_partition(text) IS 'Drops a partition without holding writers up for more than 200 ms at a time; false when it stayed in use.';

CREATE OR REPLACE FUNCTION delete_expired_errors(p_now timestamptz, p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_deleted integer;
BEGIN
    DELETE FROM public.error_tracking e
    USING (
        SELECT x.occurred_at, x.fact_id FROM public.error_tracking x
        CROSS JOIN LATERAL (SELECT p_now - make_interval(secs => 86400 * public.setting('retention.errors_' || s.severity || '_days')) AS term
                            FROM (VALUES ('low'), ('medium'), ('high'), ('critical')) AS s (severity) WHERE s.severity = x.severity) AS r
        WHERE x.occurred_at < p_now - make_interval(secs => 86400 * LEAST(public.setting('retention.errors_low_days'), public.setting('retention.errors_medium_days'),
                  public.setting('retention.errors_high_days'), public.setting('retention.errors_critical_days')))
          AND x.occurred_at < r.term
        LIMIT p_limit
    ) AS gone
    WHERE e.occurred_at = gone.occurred_at AND e.fact_id = gone.fact_id;
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    RETURN v_deleted;
END
$body$;
COMMENT ON FUNCTION delete_expired_errors(timestamptz, integer) IS 'Deletes errors that have passed the term of their severity, a limited number; answers how many.';

CREATE OR REPLACE FUNCTION delete_expired_records(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alerts bigint; v_health bigint; v_runs bigint; v_silences bigint;
BEGIN
    DELETE FROM public.alerts a
    WHERE a.resolved_at < p_now - make_interval(secs => 86400 * public.setting('retention.resolved_alerts_days'))
      AND NOT EXISTS (
          SELECT FROM public.alert_deliveries d LEFT JOIN public.alert_deliveries g ON g.id = d.digest_id
          WHERE d.alert_id = a.id AND COALESCE(g.status, d.status) IN ('pending', 'sending'));
    GET DIAGNOSTICS v_alerts = ROW_COUNT;
    DELETE FROM public.system_health h WHERE h.ended_at < p_now - make_interval(secs => 86400 * public.setting('retention.health_days'));
    GET DIAGNOSTICS v_health = ROW_COUNT;
    DELETE FROM public.job_runs r WHERE r.started_at < p_now - make_interval(secs => 86400 * public.setting('retention.job_runs_days'));
    GET DIAGNOSTICS v_runs = ROW_COUNT;
    DELETE FROM public.alert_silences s WHERE s.ends_at < p_now - make_interval(secs => 86400 * public.setting('retention.resolved_alerts_days'));
    GET DIAGNOSTICS v_silences = ROW_COUNT;
    DELETE FROM public.alert_deliveries d
    WHERE d.transition_id IS NULL AND d.finished_at < p_now - make_interval(secs => 86400 * public.setting('retention.resolved_alerts_days'))
      AND NOT EXISTS (SELECT FROM public.alert_deliveries m WHERE m.digest_id = d.id);
    DELETE FROM public.blind_periods b WHERE b.ended_at < p_now - interval '90 days';
    DELETE FROM public.monitored_sources s
    WHERE (s.kind = 'queue' AND s.first_reported_at < p_now - make_interval(secs => 86400 * public.setting('retention.queue_days'))
           AND NOT EXISTS (SELECT FROM public.queue_monitoring q WHERE q.queue_name = s.name))
       OR (s.kind = 'host' AND s.first_reported_at < p_now - make_interval(secs => 86400 * public.setting('retention.host_days'))
           AND NOT EXISTS (SELECT FROM public.host_metrics h WHERE h.host = s.name));
    RETURN jsonb_build_object('alerts_deleted', v_alerts, 'health_intervals_deleted', v_health, 'job_runs_deleted', v_runs, 'silences_deleted', v_silences);
END
$body$;
COMMENT ON FUNCTION delete_expired_records(timestamptz) IS 'Deletes resolved alerts (not before their messages are out), closed health intervals, job runs and silences that have passed their term.';

CREATE OR REPLACE FUNCTION cleanup_old_monitoring_data(p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_batch   constant integer := 20000;
    v_errors  integer := public.delete_expired_errors(p_now, c_batch);
    v_records jsonb := public.delete_expired_records(p_now);
    v_dropped bigint; v_in_use bigint;
BEGIN
    -- Partitions last: dropping locks their parent until this transaction ends.
    SELECT count(*) FILTER (WHERE d.dropped), count(*) FILTER (WHERE NOT d.dropped) INTO v_dropped, v_in_use
    FROM (SELECT public.drop_expired_partition(e.partition_name) AS dropped FROM public.expired_partitions(p_now) AS e) AS d;
    RETURN v_records || jsonb_build_object('errors_deleted', v_errors, 'partitions_dropped', v_dropped, 'partitions_in_use', v_in_use, 'more', v_errors = c_batch);
END
$body$;
COMMENT ON FUNCTION cleanup_old_monitoring_data(timestamptz) IS
    'Removes what has passed its term and answers what it removed. "more": there are more expired errors than one call deletes, call it again. "partitions_in_use": days that readers held open, left for the next call.';

DO $do$ BEGIN PERFORM ensure_partitions(); END $do$;

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
