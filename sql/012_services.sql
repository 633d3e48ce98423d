-- The services that run on this database: which live, which of them runs a due job, when all of them were blind, and
-- how automon watches itself.
SET check_function_bodies = off;
SET client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------
-- Who lives. A beat every few seconds; whoever stays away for the length of a lease is gone.

CREATE OR REPLACE FUNCTION note_sight(p_now timestamptz, p_good_for interval, p_why text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_state public.watch_state;
BEGIN
    SELECT w.* INTO v_state FROM public.watch_state w FOR UPDATE;
    IF p_why IS NOT NULL AND p_now > v_state.seen_until THEN
        INSERT INTO public.blind_periods (began_at, ended_at, why) VALUES (v_state.seen_at, p_now, p_why);
    END IF;
    -- A clock that was put back makes a later sight earlier, and that is fine.
    INSERT INTO public.watch_state AS w (seen_at, seen_until) VALUES (p_now, p_now + p_good_for)
    ON CONFLICT (only_row) DO UPDATE SET seen_at = excluded.seen_at, seen_until = excluded.seen_until;
END
$body$;
COMMENT ON FUNCTION note_sight(timestamptz, interval, text) IS
    'Remembers that somebody watches, and for how long that is good. With a reason: when the sight before was not good until now, keeps the time between as a blind period.';

CREATE OR REPLACE FUNCTION beat(p_instance text, p_version text DEFAULT '', p_why text DEFAULT 'no service ran', p_lease interval DEFAULT '10 seconds') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO public.service_instances AS i (instance, version, started_at, beat_at, lease_until) VALUES (p_instance, p_version, v_now, v_now, v_now + p_lease)
    ON CONFLICT (instance) DO UPDATE SET beat_at = excluded.beat_at, lease_until = excluded.lease_until;
    PERFORM public.note_sight(v_now, p_lease, p_why);
    PERFORM public.tell_of_blindness(v_now);
    DELETE FROM public.service_instances i WHERE i.lease_until < v_now - interval '1 day';
END
$body$;
COMMENT ON FUNCTION beat(text, text, text, interval) IS
    'Says that a service lives, for the length of a lease. When no service had said so for too long, that time becomes a blind period, for the reason given.';

CREATE OR REPLACE FUNCTION leave(p_instance text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    UPDATE public.service_instances i SET lease_until = clock_timestamp() WHERE i.instance = p_instance;
END
$body$;
COMMENT ON FUNCTION leave(text) IS 'Says that a service ends: what it holds is free for others at once.';

-- ---------------------------------------------------------------------------------------------------------------
-- automon's own jobs. Each service asks often whether one is due; one of them gets it.

CREATE OR REPLACE FUNCTION begin_job_run(p_job text, p_instance text, p_at timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_id bigint;
BEGIN
    INSERT INTO public.job_runs (job, instance, started_at) VALUES (p_job, p_instance, COALESCE(p_at, clock_timestamp())) RETURNING id INTO v_id;
    RETURN v_id;
END
$body$;
COMMENT ON FUNCTION begin_job_run(text, text, timestamptz) IS 'Records that a job starts; answers the number of the run.';

CREATE OR REPLACE FUNCTION claim_job_run(p_job text, p_instance text, p_pause interval, p_due_since timestamptz DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_now  timestamptz := clock_timestamp();
    v_last public.job_runs;
BEGIN
    -- Who has slept, or was cut off, beats first: the beat says for how long nobody has watched.
    IF EXISTS (SELECT FROM public.service_instances i WHERE i.instance = p_instance AND NOT public.instance_lives(i, v_now)) THEN
        RETURN NULL;
    ELSIF NOT pg_try_advisory_xact_lock(hashtextextended('automon job ' || p_job, 0)) THEN
        RETURN NULL;
    END IF;
    SELECT r.* INTO v_last FROM public.job_runs r WHERE r.job = p_job ORDER BY r.id DESC LIMIT 1;
    -- Whoever asks again has ended the run before, and could not say so.
    IF v_last.outcome = 'running' AND v_last.instance <> p_instance AND (CASE
        WHEN EXISTS (SELECT FROM public.service_instances i WHERE i.instance = v_last.instance) THEN NOT public.instance_is_gone(v_last.instance, v_now)
        ELSE NOT public.has_come(v_last.started_at + p_pause, p_pause, v_now) END) THEN
        RETURN NULL;
    ELSIF v_last.outcome = 'running' THEN
        UPDATE public.job_runs r SET outcome = 'abandoned', finished_at = GREATEST(v_now, r.started_at), error = 'it never said how it ended' WHERE r.id = v_last.id;
    -- A little early is due, or a look that comes as often as the job would find it too early each second time.
    ELSIF NOT public.has_come(v_last.started_at + p_pause - LEAST(p_pause / 10, interval '1 second'), p_pause, v_now)
       OR EXISTS (SELECT FROM public.job_runs r WHERE r.job = p_job AND r.outcome = 'succeeded' AND r.started_at >= p_due_since AND r.started_at <= v_now) THEN
        RETURN NULL;
    END IF;
    RETURN public.begin_job_run(p_job, p_instance, v_now);
END
$body$;
COMMENT ON FUNCTION claim_job_run(text, text, interval, timestamptz) IS
    'Begins a run of a job, for one service only: NULL while another runs it, when it began less than a pause ago, or has succeeded since it was due, and for a service that has not beaten within its lease. A run whose service is gone (or was never heard of, after a pause) is taken over.';

CREATE OR REPLACE FUNCTION finish_job_run(p_run_id bigint, p_outcome text, p_counts jsonb DEFAULT '{}', p_error text DEFAULT NULL, p_at timestamptz DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    UPDATE public.job_runs r
    SET outcome = p_outcome, counts = COALESCE(p_counts, '{}'), error = p_error, finished_at = GREATEST(COALESCE(p_at, clock_timestamp()), r.started_at)
    WHERE r.id = p_run_id AND r.outcome = 'running';
    RETURN FOUND;
END
$body$;
COMMENT ON FUNCTION finish_job_run(bigint, text, jsonb, text, timestamptz) IS 'Records how a run ended (succeeded or failed) and what it counted; false when it had ended.';

-- ---------------------------------------------------------------------------------------------------------------
-- Blindness.

CREATE OR REPLACE FUNCTION missed_reports(p_began timestamptz, p_ended timestamptz) RETURNS TABLE (kind text, sources bigint, reports double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    WITH source (kind, rhythm_seconds, reported_until) AS (
        SELECT 'component', s.rhythm_seconds, (
            SELECT max(LEAST(h.last_reported_at, p_ended)) FROM public.system_health h
            WHERE h.component_type || '/' || h.component_name = s.source AND h.started_at <= p_ended AND h.last_reported_at >= p_began)
        FROM public.component_states_at(p_began) AS s WHERE s.reports >= 3
        UNION ALL
        SELECT 'queue', s.rhythm_seconds, (SELECT max(q.recorded_at) FROM public.queue_monitoring q WHERE q.queue_name = s.queue_name AND q.recorded_at BETWEEN p_began AND p_ended)
        FROM public.queue_reports_at(p_began) AS s WHERE s.reports >= 3
        UNION ALL
        SELECT 'host', s.rhythm_seconds, (SELECT max(m.sampled_at) FROM public.host_metrics m WHERE m.host = s.host AND m.sampled_at BETWEEN p_began AND p_ended)
        FROM public.host_samples_at(p_began) AS s WHERE s.samples >= 3
    ), missed AS (
        SELECT s.kind, floor(extract(epoch FROM p_ended - COALESCE(s.reported_until, p_began))::double precision / s.rhythm_seconds) AS reports FROM source s WHERE s.rhythm_seconds > 0
    )
    SELECT m.kind, count(*), sum(m.reports) FROM missed m WHERE m.reports >= 1 GROUP BY m.kind ORDER BY m.kind;
END
$body$;
COMMENT ON FUNCTION missed_reports(timestamptz, timestamptz) IS
    'How many reports of how many sources were to be expected within a blind period, by their rhythm before it, and are not there.';

CREATE OR REPLACE FUNCTION blind_evidence(p_began timestamptz, p_ended timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_reports double precision; v_sources bigint; v_parts text;
    v_tasks   bigint := (SELECT count(*) FROM public.processing_metrics_history h WHERE h.end_time > p_began - interval '24 hours' AND h.end_time <= p_began);
    v_usual   double precision := v_tasks * extract(epoch FROM p_ended - p_began) / 86400;
BEGIN
    SELECT COALESCE(sum(m.reports), 0), COALESCE(sum(m.sources), 0), string_agg(public.in_words(m.reports) || ' of ' || public.counted(m.sources, m.kind), ', ' ORDER BY m.kind)
    INTO v_reports, v_sources, v_parts FROM public.missed_reports(p_began, p_ended) AS m;
    RETURN jsonb_build_object('window_from', p_began, 'window_to', p_ended,
        'totals', jsonb_build_object('reports', v_reports, 'sources', v_sources, 'usual_tasks', floor(v_usual)),
        'measured', concat_ws('; ',
            CASE WHEN v_reports > 0 THEN format('about %s cannot be known (%s)', public.counted(v_reports, 'expected report'), v_parts) ELSE 'no report that was expected is missing' END,
            CASE WHEN v_usual >= 1 THEN format('%s usually end in such a time', public.counted(floor(v_usual), 'task')) END),
        'left', 'what is recorded late is judged late');
END
$body$;
COMMENT ON FUNCTION blind_evidence(timestamptz, timestamptz) IS 'What automon cannot know of a blind period: reports that were to be expected, and how many tasks usually end in such a time.';

CREATE OR REPLACE FUNCTION record_blindness(p_source text, p_began timestamptz, p_ended timestamptz, p_summary text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_alert public.alerts;
BEGIN
    INSERT INTO public.alerts AS a (alert_type, source, severity, summary, value, threshold, unit, evidence, cause, opened_at, last_seen_at,
        peak_severity, peak_value, peak_summary, peak_at, clear_since, resolved_at, resolved_by)
    SELECT 'automon_blind', p_source, 'critical', p_summary, s.seconds, public.setting('alerts.blind_after_seconds'), 's', public.blind_evidence(p_began, p_ended), 'automon blind', p_began, p_ended,
        'critical', s.seconds, '', p_ended, p_ended, p_ended, 'automon'
    FROM (SELECT extract(epoch FROM p_ended - p_began)::double precision AS seconds) AS s
    RETURNING a.* INTO v_alert;
    -- The beginning could not be told through the database: the service told it by itself, or there was none.
    INSERT INTO public.alert_transitions (alert_id, kind, at, severity, summary, value, threshold, evidence)
    VALUES (v_alert.id, 'opened', p_began, 'critical', p_summary, v_alert.value, v_alert.threshold, '{}');
    PERFORM public.record_transition(v_alert, 'resolved', p_ended, 'critical');
    PERFORM public.hand_on_deliveries();
    RETURN v_alert.id;
END
$body$;
COMMENT ON FUNCTION record_blindness(text, timestamptz, timestamptz, text) IS 'Keeps a time in which nobody or one service watched nothing as an alert that is over, and has its end told, once. The caller holds lock_alerts.';

CREATE OR REPLACE FUNCTION tell_of_blindness(p_now timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- Services keep host samples while the database is away; they get a moment to store them.
    c_settling constant interval := interval '5 seconds';
    v_period   public.blind_periods;
    v_seconds  double precision;
BEGIN
    FOR v_period IN SELECT b.* FROM public.blind_periods b WHERE NOT b.is_told AND b.ended_at <= p_now - c_settling ORDER BY b.id LOOP
        v_seconds := extract(epoch FROM v_period.ended_at - v_period.began_at);
        IF v_seconds >= public.setting('alerts.blind_after_seconds') THEN
            -- A beat must not wait behind a long evaluation: the next one tells.
            EXIT WHEN NOT pg_try_advisory_xact_lock(hashtextextended('automon alerts', 0));
            v_period.alert_id := public.record_blindness('automon', v_period.began_at, v_period.ended_at, format('was blind for %s: %s', public.in_words(v_seconds, 's'), v_period.why));
        END IF;
        UPDATE public.blind_periods b SET is_told = true, alert_id = v_period.alert_id WHERE b.id = v_period.id;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION tell_of_blindness(timestamptz) IS 'Tells of each blind period that lasted for alerts.blind_after_seconds, once, a few seconds after its end.';

CREATE OR REPLACE FUNCTION report_outage(p_host text, p_from timestamptz, p_to timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- A clock that was put back in the meantime makes the end earlier than the beginning.
    v_from timestamptz := LEAST(p_from, p_to);
BEGIN
    PERFORM public.lock_alerts();
    IF EXISTS (SELECT FROM public.blind_periods b WHERE b.ended_at > v_from AND b.began_at < p_to AND extract(epoch FROM b.ended_at - b.began_at) >= public.setting('alerts.blind_after_seconds')) THEN
        RETURN false;
    END IF;
    PERFORM public.record_blindness(p_host, v_from, p_to, format('could not reach the database for %s; other services could', public.in_words(extract(epoch FROM p_to - v_from), 's')));
    RETURN true;
END
$body$;
COMMENT ON FUNCTION report_outage(text, timestamptz, timestamptz) IS
    'Tells of the end of an outage that a service had told of by itself. False when all services were blind: then tell_of_blindness tells.';

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
        UNION ALL SELECT e.* FROM public.evaluate_failure_rate(moment.at) AS e
        UNION ALL SELECT e.* FROM public.evaluate_processing_time(moment.at) AS e) AS f
    WHERE f.severity IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.alerts a WHERE a.alert_type = f.alert_type AND a.source = f.source AND (a.resolved_at IS NULL OR a.resolved_at >= p_began))
    ORDER BY f.alert_type, f.source, public.severity_rank(f.severity) DESC, f.value DESC;
END
$body$;
COMMENT ON FUNCTION late_findings(timestamptz, timestamptz) IS 'The worst that was beyond its limits within a blind period, as far as it is recorded by now, and is no alert yet.';

CREATE OR REPLACE FUNCTION judge_blind_periods(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_remembered constant interval := interval '1 day';
    v_period  public.blind_periods;
    v_known   bigint;
    v_finding public.monitoring_finding;
    v_opened  integer := 0;
BEGIN
    FOR v_period IN SELECT b.* FROM public.blind_periods b WHERE b.ended_at > p_now - c_remembered AND b.ended_at <= p_now ORDER BY b.id LOOP
        v_known := (SELECT count(*) FROM public.error_tracking e WHERE e.occurred_at > v_period.began_at AND e.occurred_at <= v_period.ended_at)
                 + (SELECT count(*) FROM public.processing_metrics_history h WHERE h.end_time > v_period.began_at AND h.end_time <= v_period.ended_at);
        CONTINUE WHEN v_known <= v_period.judged;
        UPDATE public.blind_periods b SET judged = v_known WHERE b.id = v_period.id;
        FOR v_finding IN SELECT f.* FROM public.late_findings(v_period.began_at, v_period.ended_at) AS f LOOP
            PERFORM public.open_alert(v_finding, p_now);
            v_opened := v_opened + 1;
        END LOOP;
    END LOOP;
    IF v_opened > 0 THEN
        PERFORM public.hand_on_deliveries();
    END IF;
    RETURN v_opened;
END
$body$;
COMMENT ON FUNCTION judge_blind_periods(timestamptz) IS
    'Judges what is known of the blind periods of the last day, whenever more of it has been recorded since; answers how many alerts it opened. The caller holds lock_alerts.';

CREATE OR REPLACE FUNCTION run_monitoring_checks(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_changes integer;
BEGIN
    PERFORM public.ensure_partitions(8, p_now);
    IF NOT EXISTS (SELECT FROM public.service_instances i WHERE public.instance_lives(i, clock_timestamp())) THEN
        -- cron or a person watches instead of a service.
        PERFORM public.note_sight(clock_timestamp(), make_interval(secs => public.setting('schedule.alert_checks_seconds'))) FROM public.watch_state;
    END IF;
    v_changes := public.apply_findings(public.judged_alert_types(), ARRAY(SELECT f FROM public.evaluate_all(p_now) AS f), p_now);
    RETURN v_changes + public.judge_blind_periods(p_now);
END
$body$;
COMMENT ON FUNCTION run_monitoring_checks(timestamptz) IS
    'All checks in one pass, what was recorded late of a blind period, and the partitions of the coming days; answers how many alerts it changed. What the service runs every five minutes.';

-- ---------------------------------------------------------------------------------------------------------------
-- automon watches itself.

CREATE OR REPLACE FUNCTION channel_findings(p_now timestamptz) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT 'automon_channel', c.name, CASE WHEN c.stopped_at IS NOT NULL THEN 'critical' WHEN public.channel_is_failing(c, p_now) THEN 'high' END,
        COALESCE(f.seconds, 0), extract(epoch FROM c.fallback_after)::double precision, 's',
        CASE WHEN c.stopped_at IS NOT NULL THEN 'is stopped: ' || c.last_error WHEN f.seconds IS NOT NULL THEN format('fails for %s: %s', public.in_words(f.seconds, 's'), c.last_error) ELSE 'delivers' END,
        jsonb_build_object(
            'measured', (SELECT public.counted(count(*), 'message') || CASE count(*) WHEN 1 THEN ' waits' ELSE ' wait' END || ', told by ' || COALESCE(c.fallback, 'the journal') || ' instead'
                         FROM public.alert_deliveries d WHERE d.channel = c.name AND d.status IN ('pending', 'sending')),
            'next', CASE WHEN c.stopped_at IS NOT NULL THEN 'automon channels resume ' || c.name END)
    FROM public.notification_channels c CROSS JOIN LATERAL (SELECT extract(epoch FROM p_now - c.failing_since)::double precision AS seconds) AS f
    WHERE c.name <> 'journal';
END
$body$;
COMMENT ON FUNCTION channel_findings(timestamptz) IS 'automon_channel: whether a channel is stopped, or has failed for so long that its fallback speaks for it.';

CREATE OR REPLACE FUNCTION job_findings(p_now timestamptz) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT 'automon_job', j.job, CASE WHEN j.seconds > j.overdue_after THEN j.severity_overdue WHEN j.failures >= 2 THEN 'high' END, j.seconds, j.overdue_after, 's',
        CASE WHEN j.failures >= 2 THEN format('has failed %s times in a row: %s', j.failures, left(j.error, 200))
             WHEN j.seconds > j.overdue_after THEN format('has not succeeded for %s (limit %s)', public.in_words(j.seconds, 's'), public.in_words(j.overdue_after, 's'))
             ELSE 'succeeded ' || public.in_words(j.seconds, 's') || ' ago' END,
        jsonb_build_object('measured', public.counted(j.failures, 'failed run') || ' since it last succeeded', 'next', 'journalctl -u automon -p warning')
    FROM (
        SELECT k.job, k.overdue_after, k.severity_overdue, l.failures, l.error,
            public.seeing_seconds(COALESCE(l.succeeded_at, (SELECT min(i.started_at) FROM public.service_instances i), p_now), p_now) AS seconds
        FROM (VALUES ('alert_checks', 3 * public.setting('schedule.alert_checks_seconds') + 60, 'critical'), ('self_check', 3 * public.setting('schedule.self_check_seconds') + 60, 'high'),
                     ('cleanup', 26 * 3600.0, 'high'), ('host_sampling', NULL, NULL)) AS k (job, overdue_after, severity_overdue)
        CROSS JOIN LATERAL (
            SELECT s.started_at AS succeeded_at, count(r.id) AS failures, (array_agg(r.error ORDER BY r.id DESC))[1] AS error
            FROM (SELECT max(x.started_at) AS started_at, COALESCE(max(x.id), 0) AS id FROM public.job_runs x WHERE x.job = k.job AND x.outcome = 'succeeded' AND x.started_at > p_now - interval '3 days' AND x.started_at <= p_now) AS s
            LEFT JOIN public.job_runs r ON r.job = k.job AND r.id > s.id AND r.outcome = 'failed' AND r.started_at > p_now - interval '3 days'
            GROUP BY s.started_at
        ) AS l
        WHERE EXISTS (SELECT FROM public.service_instances i WHERE public.instance_lives(i, p_now))
    ) AS j;
END
$body$;
COMMENT ON FUNCTION job_findings(timestamptz) IS 'automon_job: whether automon''s own jobs fail, or have not succeeded for too long, while a service runs.';

CREATE OR REPLACE FUNCTION evaluate_automon(p_now timestamptz DEFAULT now()) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY SELECT f.* FROM public.channel_findings(p_now) AS f;
    RETURN QUERY SELECT f.* FROM public.job_findings(p_now) AS f;
END
$body$;
COMMENT ON FUNCTION evaluate_automon(timestamptz) IS 'automon_channel, automon_job: how automon''s own channels and jobs are.';

CREATE OR REPLACE FUNCTION check_automon_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN public.apply_findings(ARRAY['automon_channel', 'automon_job'], ARRAY(SELECT f FROM public.evaluate_automon(p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION check_automon_alerts(timestamptz) IS 'Checks automon''s own channels and jobs; answers how many alerts it changed.';

CREATE OR REPLACE FUNCTION get_automon_health(p_now timestamptz DEFAULT clock_timestamp()) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'check_every_seconds', public.setting('schedule.alert_checks_seconds'),
            'check_ran_seconds_ago', public.seeing_seconds((SELECT max(r.started_at) FROM public.job_runs r
                WHERE r.job = 'alert_checks' AND r.outcome IN ('succeeded', 'failed') AND r.started_at > p_now - interval '3 days' AND r.started_at <= p_now), p_now),
            'check_succeeded_seconds_ago', public.seeing_seconds((SELECT max(r.started_at) FROM public.job_runs r
                WHERE r.job = 'alert_checks' AND r.outcome = 'succeeded' AND r.started_at > p_now - interval '3 days' AND r.started_at <= p_now), p_now),
            'channels', count(*), 'channels_in_trouble', count(*) FILTER (WHERE public.channel_is_failing(c, p_now)),
            -- Nobody has even tried: failing is a channel's fault, this is ours.
            'untried', COALESCE(sum((SELECT count(*) FROM public.due_deliveries(c.name, p_now) AS d WHERE d.attempts = 0 AND d.next_attempt_at < p_now - interval '3 minutes'))
                FILTER (WHERE c.failures = 0 AND c.stopped_at IS NULL), 0))
        FROM public.notification_channels c WHERE c.name <> 'journal');
END
$body$;
COMMENT ON FUNCTION get_automon_health(timestamptz) IS 'Whether checks ran and messages leave, as JSON: what a service says to those who watch it from outside.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
