-- The outbox: what waits to be told, who sends it, and what became of it.
--
--   route_transition --> pending --(claim_delivery: grouped when they are many)--> sending --(finish_delivery_attempt)--> sent
--                                                                                     |---> pending again, later
--                                                                                     |---> failed, expired: told by the fallback
--
-- Whoever hands deliveries on holds the lock of the alerts; whoever locks a channel and a delivery locks the channel first.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE OR REPLACE FUNCTION has_come(p_moment timestamptz, p_pause interval, p_now timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT p_moment <= p_now OR p_moment - p_pause > p_now + interval '1 second';
END;
COMMENT ON FUNCTION has_come(timestamptz, interval, timestamptz) IS
    'Whether a moment has come that was set a pause ahead. One that is further ahead than its pause was set by a clock that has been put back since, and has come.';

-- ---------------------------------------------------------------------------------------------------------------
-- What a message may say.

CREATE OR REPLACE FUNCTION transition_message(p_delivery alert_deliveries) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'alert_id', a.id, 'alert_type', a.alert_type, 'source', a.source, 'unit', a.unit, 'opened_at', a.opened_at,
            'peak_severity', a.peak_severity, 'peak_summary', a.peak_summary, 'peak_at', a.peak_at,
            'acknowledged_at', a.acknowledged_at, 'acknowledged_by', a.acknowledged_by, 'acknowledged_note', a.acknowledged_note,
            'kind', t.kind, 'at', t.at, 'severity', t.severity, 'previous_severity', t.previous_severity, 'summary', t.summary, 'value', t.value, 'threshold', t.threshold,
            'evidence', t.evidence, 'actor', t.actor, 'note', t.note,
            'also_open', COALESCE((
                SELECT jsonb_agg(jsonb_build_object('alert_id', o.id, 'alert_type', o.alert_type, 'source', o.source, 'severity', o.severity, 'summary', o.summary,
                    'opened_at', o.opened_at, 'acknowledged_by', o.acknowledged_by) ORDER BY public.severity_rank(o.severity) DESC, o.opened_at)
                FROM (SELECT x.* FROM public.alerts x WHERE x.resolved_at IS NULL AND x.id <> a.id ORDER BY public.severity_rank(x.severity) DESC, x.opened_at LIMIT 50) AS o), '[]'))
        FROM public.alert_transitions t JOIN public.alerts a ON a.id = t.alert_id
        WHERE t.id = p_delivery.transition_id);
END
$body$;
COMMENT ON FUNCTION transition_message(alert_deliveries) IS 'What a message about a transition may say: the transition, its alert, and what else is open.';

CREATE OR REPLACE FUNCTION cause_in_words(p_cause text, p_alert_type text, p_evidence jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_top jsonb := p_evidence->'top'->0;
BEGIN
    IF p_cause <> public.error_signature(v_top->>'message') OR v_top->>'message' IS NULL THEN
        RETURN p_cause;
    END IF;
    RETURN concat_ws(': ', CASE WHEN p_alert_type = 'error_rate' THEN v_top->>'what' END, left(v_top->>'message', 200));
END
$body$;
COMMENT ON FUNCTION cause_in_words(text, text, jsonb) IS 'A cause as one of its occurrences said it, with the numbers that cause_of leaves out.';

CREATE OR REPLACE FUNCTION digest_message(p_digest_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        WITH member AS MATERIALIZED (
            SELECT d.alert_id, d.cause, d.instead_of, t.kind, t.at, t.severity, public.severity_rank(t.severity) AS rank, t.summary, t.value,
                row_number() OVER (PARTITION BY d.alert_id ORDER BY d.id DESC) = 1 AS is_newest
            FROM public.alert_deliveries d JOIN public.alert_transitions t ON t.id = d.transition_id WHERE d.digest_id = p_digest_id
        ), newest AS MATERIALIZED (
            SELECT m.*, a.alert_type, a.source, a.opened_at, m.kind = 'resolved' AS is_over FROM member m JOIN public.alerts a ON a.id = m.alert_id WHERE m.is_newest
        ), cause AS MATERIALIZED (
            SELECT n.cause, count(*) AS alerts, max(n.rank) AS worst, min(n.alert_id) AS sample FROM newest n GROUP BY n.cause
        )
        SELECT jsonb_build_object(
            'first_at', (SELECT min(m.at) FROM member m), 'at', (SELECT max(m.at) FROM member m),
            'transitions', (SELECT count(*) FROM member m), 'alerts', (SELECT count(*) FROM newest n),
            'kinds', (SELECT jsonb_object_agg(k.kind, k.alerts) FROM (SELECT n.kind, count(*) AS alerts FROM newest n GROUP BY n.kind) AS k),
            'severities', (SELECT COALESCE(jsonb_object_agg(s.severity, s.alerts), '{}') FROM (SELECT n.severity, count(*) AS alerts FROM newest n WHERE NOT n.is_over GROUP BY n.severity) AS s),
            'instead_of', (SELECT string_agg(DISTINCT m.instead_of, ', ') FROM member m),
            'entries', (
                SELECT jsonb_agg(jsonb_build_object('alert_id', e.alert_id, 'alert_type', e.alert_type, 'source', e.source, 'kind', e.kind, 'severity', e.severity, 'summary', e.summary, 'opened_at', e.opened_at)
                    ORDER BY e.is_over, e.rank DESC, e.value DESC NULLS LAST, e.alert_id)
                FROM (SELECT n.* FROM newest n ORDER BY n.is_over, n.rank DESC, n.value DESC NULLS LAST, n.alert_id LIMIT 8) AS e),
            'causes', (
                SELECT jsonb_agg(jsonb_build_object('words', public.cause_in_words(c.cause, s.alert_type, s.evidence), 'count', c.alerts) ORDER BY c.alerts DESC, c.worst DESC, c.sample)
                FROM (SELECT x.* FROM cause x ORDER BY x.alerts DESC, x.worst DESC, x.sample LIMIT 5) AS c JOIN public.alerts s ON s.id = c.sample),
            'more_causes', GREATEST((SELECT count(*) FROM cause) - 5, 0)));
END
$body$;
COMMENT ON FUNCTION digest_message(bigint) IS 'What a digest may say: how many alerts did what, the worst of them, and what they have in common. Alerts count once, by the newest of their transitions in it.';

CREATE OR REPLACE FUNCTION delivery_message(p_delivery_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_delivery public.alert_deliveries;
BEGIN
    SELECT d.* INTO v_delivery FROM public.alert_deliveries d WHERE d.id = p_delivery_id;
    RETURN jsonb_build_object(
            'subject', v_delivery.subject, 'delivery_id', v_delivery.id, 'channel', v_delivery.channel, 'recipient', v_delivery.recipient, 'instead_of', v_delivery.instead_of,
            'attempt', v_delivery.attempts, 'uncertain', v_delivery.uncertain, 'created_at', v_delivery.created_at, 'first_attempt_at', v_delivery.first_attempt_at,
            'channel_failures', COALESCE((SELECT c.failures FROM public.notification_channels c WHERE c.name = v_delivery.channel), 0))
        || CASE v_delivery.subject
            WHEN 'transition' THEN public.transition_message(v_delivery)
            WHEN 'digest' THEN public.digest_message(v_delivery.id)
            WHEN 'canary' THEN jsonb_build_object('asked_by', v_delivery.asked_by, 'at', v_delivery.created_at)
        END;
END
$body$;
COMMENT ON FUNCTION delivery_message(bigint) IS 'All that a message may say, as JSON; "subject" tells which: a transition, a digest of many, or a canary.';

-- ---------------------------------------------------------------------------------------------------------------
-- Claiming. A channel is locked while one of its messages is chosen, so the choice sees all that waits.

CREATE OR REPLACE FUNCTION instance_lives(p_instance service_instances, p_now timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- One that beat in the future beat before the clock was put back; if it lives, it beats again within seconds.
    SELECT (p_instance).lease_until > p_now AND (p_instance).beat_at <= p_now + interval '1 minute';
END;
COMMENT ON FUNCTION instance_lives(service_instances, timestamptz) IS 'Whether a service has been heard of within the length of its lease.';

CREATE OR REPLACE FUNCTION instance_is_gone(p_instance text, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN EXISTS (SELECT FROM public.service_instances i WHERE i.instance = p_instance AND NOT public.instance_lives(i, p_now))
       -- After a time in which nobody could beat, everybody has the length of a lease to do so.
       AND EXISTS (SELECT FROM public.watch_state w WHERE w.seen_until > p_now)
       AND NOT EXISTS (SELECT FROM public.blind_periods b WHERE b.ended_at > p_now - interval '10 seconds' AND b.ended_at <= p_now);
END
$body$;
COMMENT ON FUNCTION instance_is_gone(text, timestamptz) IS 'Whether a service that was here has ended, or has not been heard of for the length of its lease while others were. What it holds may be taken over.';

CREATE OR REPLACE FUNCTION take_back_abandoned_deliveries(p_channel text, p_now timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    WITH abandoned AS (
        SELECT d.* FROM public.alert_deliveries d
        WHERE d.channel = p_channel AND d.status = 'sending' AND (d.lease_until <= p_now OR public.instance_is_gone(d.claimed_by, p_now)) FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE public.alert_deliveries d
        SET status = 'pending', uncertain = true, next_attempt_at = p_now, pause = '0', claimed_by = NULL, claimed_at = NULL, lease_until = NULL, last_error = 'abandoned'
        FROM abandoned a WHERE d.id = a.id
    )
    INSERT INTO public.delivery_attempts (delivery_id, attempt, instance, finished_at, duration_seconds, outcome, reason, detail)
    SELECT a.id, a.attempts, a.claimed_by, p_now, GREATEST(extract(epoch FROM p_now - a.claimed_at), 0), 'unknown', 'abandoned', 'its sender ended before it could say how it went'
    FROM abandoned a;
END
$body$;
COMMENT ON FUNCTION take_back_abandoned_deliveries(text, timestamptz) IS
    'Puts back what a sender has claimed that is gone or whose lease has ended, as uncertain: it may have been sent. Keeps that as an attempt.';

CREATE OR REPLACE FUNCTION due_deliveries(p_channel text, p_now timestamptz, p_fresh boolean DEFAULT NULL) RETURNS SETOF alert_deliveries
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT d.* FROM public.alert_deliveries d
    WHERE d.channel = p_channel AND d.status = 'pending' AND public.has_come(d.next_attempt_at, d.pause, p_now)
      AND (p_fresh IS NULL OR (d.subject = 'transition' AND d.attempts = 0) = p_fresh)
      -- What happened to one alert is told in its order. As NOT EXISTS a planner that has seen a crowd joins all messages of a week.
      AND NOT COALESCE((
          SELECT true FROM public.alert_deliveries e LEFT JOIN public.alert_deliveries g ON g.id = e.digest_id
          WHERE e.alert_id = d.alert_id AND e.channel = d.channel AND e.recipient = d.recipient AND e.transition_id < d.transition_id
            AND COALESCE(g.status, e.status) IN ('pending', 'sending') LIMIT 1), false);
END
$body$;
COMMENT ON FUNCTION due_deliveries(text, timestamptz, boolean) IS
    'What of a channel may be sent now: its time has come, and nothing earlier of its alert is under way to the same recipient. Fresh: what may be grouped, for it was never tried; or all else; or both.';

CREATE OR REPLACE FUNCTION make_digest(p_members bigint[], p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_id bigint;
BEGIN
    INSERT INTO public.alert_deliveries (subject, cause, channel, recipient, status, created_at, next_attempt_at)
    SELECT 'digest', CASE WHEN min(d.cause) = max(d.cause) THEN min(d.cause) ELSE '' END, d.channel, d.recipient, 'pending', min(d.created_at), p_now
    FROM public.alert_deliveries d WHERE d.id = ANY (p_members) GROUP BY d.channel, d.recipient
    RETURNING id INTO STRICT v_id;
    UPDATE public.alert_deliveries d SET status = 'grouped', digest_id = v_id, finished_at = p_now WHERE d.id = ANY (p_members);
    RETURN v_id;
END
$body$;
COMMENT ON FUNCTION make_digest(bigint[], timestamptz) IS
    'Makes one delivery of many to the same recipient, which stay on record as its members; answers its number. Without a cause when they have several.';

CREATE OR REPLACE FUNCTION waiting_causes(p_channel text, p_now timestamptz)
RETURNS TABLE (recipient text, cause text, members bigint[], messages bigint, budget bigint, worst integer)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_window    constant interval := make_interval(secs => public.setting('delivery.window_seconds'));
    -- Below one nobody would ever be told of anything.
    c_per_cause constant bigint := GREATEST(public.setting('delivery.messages_per_cause'), 1);
    c_at_once   constant bigint := GREATEST(public.setting('delivery.messages_at_once'), 1);
BEGIN
    RETURN QUERY
    WITH told AS MATERIALIZED (
        SELECT d.recipient, d.cause, count(*) AS messages FROM public.alert_deliveries d
        WHERE d.channel = p_channel AND d.first_attempt_at > p_now - c_window AND d.first_attempt_at <= p_now AND d.subject <> 'canary'
        GROUP BY d.recipient, d.cause
    ), waiting AS (
        SELECT d.recipient, d.cause, array_agg(d.id ORDER BY d.id) AS members, count(*) AS size, max(public.severity_rank(t.severity)) AS worst
        FROM public.due_deliveries(p_channel, p_now, true) AS d JOIN public.alert_transitions t ON t.id = d.transition_id
        GROUP BY d.recipient, d.cause
    )
    SELECT w.recipient, w.cause, w.members, CASE WHEN w.size + COALESCE(t.messages, 0) > c_per_cause THEN 1 ELSE w.size END,
        c_at_once - COALESCE((SELECT sum(a.messages) FROM told a WHERE a.recipient = w.recipient), 0)::bigint, w.worst
    FROM waiting w LEFT JOIN told t ON t.recipient = w.recipient AND t.cause = w.cause
    WHERE COALESCE(t.messages, 0) < c_per_cause;
END
$body$;
COMMENT ON FUNCTION waiting_causes(text, timestamptz) IS
    'What waits on a channel and was never tried, by recipient and cause: how many messages it makes (a cause that makes too many becomes one) and how many its recipient may get now. Causes that were told too often just now are left out.';

CREATE OR REPLACE FUNCTION choose_fresh_delivery(p_channel text, p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_next record;
BEGIN
    WITH waiting AS MATERIALIZED (
        SELECT w.*, sum(w.messages) OVER of_recipient > w.budget AS is_too_much, min(w.members[1]) OVER of_recipient AS oldest
        FROM public.waiting_causes(p_channel, p_now) AS w WHERE w.budget > 0 WINDOW of_recipient AS (PARTITION BY w.recipient)
    )
    SELECT w.*, CASE WHEN w.is_too_much AND w.budget = 1 THEN ARRAY(SELECT m.id FROM waiting o CROSS JOIN LATERAL unnest(o.members) AS m (id) WHERE o.recipient = w.recipient) END AS all_members
    INTO v_next FROM waiting w
    ORDER BY w.oldest, CASE WHEN w.is_too_much THEN w.worst END DESC, CASE WHEN w.is_too_much THEN cardinality(w.members) END DESC, w.members[1] LIMIT 1;

    RETURN CASE
        WHEN v_next IS NULL THEN NULL
        -- The last message that the recipient may get now says all the rest.
        WHEN v_next.all_members IS NOT NULL THEN public.make_digest(v_next.all_members, p_now)
        WHEN cardinality(v_next.members) = 1 OR NOT v_next.is_too_much AND v_next.messages > 1 THEN v_next.members[1]
        ELSE public.make_digest(v_next.members, p_now)
    END;
END
$body$;
COMMENT ON FUNCTION choose_fresh_delivery(text, timestamptz) IS
    'Chooses what is told next of what was never tried: one message at once while they are few; one digest for a cause with many; when causes are too many, the worst by themselves and one digest for the rest. NULL when nothing may be told now.';

CREATE OR REPLACE FUNCTION claim_delivery(p_channel text, p_holder text, p_lease interval DEFAULT '2 minutes', p_pace interval DEFAULT '0') RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_now     timestamptz := clock_timestamp();
    v_channel public.notification_channels;
    v_id      bigint;
BEGIN
    SELECT c.* INTO v_channel FROM public.notification_channels c WHERE c.name = p_channel FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR v_channel.stopped_at IS NOT NULL OR NOT public.has_come(v_channel.next_send_at, v_channel.pause, v_now) THEN
        RETURN NULL;
    END IF;
    PERFORM public.take_back_abandoned_deliveries(p_channel, v_now);
    SELECT d.id INTO v_id FROM public.due_deliveries(p_channel, v_now, false) AS d ORDER BY d.next_attempt_at, d.id LIMIT 1;
    v_id := COALESCE(v_id, public.choose_fresh_delivery(p_channel, v_now));
    IF v_id IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE public.alert_deliveries d
    SET status = 'sending', claimed_by = p_holder, claimed_at = v_now, lease_until = v_now + p_lease, attempts = d.attempts + 1, first_attempt_at = COALESCE(d.first_attempt_at, v_now)
    WHERE d.id = v_id AND d.status = 'pending';
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE public.notification_channels c SET next_send_at = v_now + p_pace, pause = p_pace WHERE c.name = p_channel;
    RETURN public.delivery_message(v_id);
END
$body$;
COMMENT ON FUNCTION claim_delivery(text, text, interval, interval) IS
    'Claims the next message of a channel for a holder until the lease ends, and answers its delivery_message; NULL when none may be sent now, or another is choosing. The channel''s next message comes a pace later, whoever sends it.';

CREATE OR REPLACE FUNCTION next_delivery_in(p_channel text) RETURNS interval
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_window  constant interval := make_interval(secs => public.setting('delivery.window_seconds'));
    v_now     timestamptz := clock_timestamp();
    v_channel public.notification_channels;
    v_wait    interval;
BEGIN
    SELECT c.* INTO v_channel FROM public.notification_channels c WHERE c.name = p_channel AND c.stopped_at IS NULL;
    IF EXISTS (SELECT FROM public.due_deliveries(v_channel.name, v_now, false)) OR EXISTS (SELECT FROM public.waiting_causes(v_channel.name, v_now) AS w WHERE w.budget > 0) THEN
        v_wait := '0';
    ELSIF EXISTS (SELECT FROM public.due_deliveries(v_channel.name, v_now, true)) THEN
        -- Whoever was told too much just now may be told again when the first of that is past the window.
        SELECT min(t.first_attempt_at) + c_window - v_now INTO v_wait
        FROM public.alert_deliveries t WHERE t.channel = v_channel.name AND t.first_attempt_at > v_now - c_window AND t.first_attempt_at <= v_now;
    END IF;
    -- LEAST passes over a NULL.
    v_wait := LEAST(v_wait,
        (SELECT min(d.next_attempt_at) - v_now FROM public.alert_deliveries d WHERE d.channel = v_channel.name AND d.status = 'pending' AND NOT public.has_come(d.next_attempt_at, d.pause, v_now)),
        (SELECT min(d.lease_until) - v_now FROM public.alert_deliveries d WHERE d.channel = v_channel.name AND d.status = 'sending'));
    RETURN CASE WHEN v_wait IS NOT NULL THEN GREATEST(v_wait, interval '0', CASE WHEN NOT public.has_come(v_channel.next_send_at, v_channel.pause, v_now) THEN v_channel.next_send_at - v_now END) END;
END
$body$;
COMMENT ON FUNCTION next_delivery_in(text) IS
    'How long until it is worth to claim a delivery of the channel, as things stand: until its moment, its recipient''s turn, or the end of the lease of one that is being sent. NULL when none waits or the channel is stopped.';

-- ---------------------------------------------------------------------------------------------------------------
-- What came of it.

CREATE OR REPLACE FUNCTION channel_is_failing(p_channel notification_channels, p_now timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT (p_channel).stopped_at IS NOT NULL OR COALESCE((p_channel).failing_since <= p_now - (p_channel).fallback_after, false);
END;
COMMENT ON FUNCTION channel_is_failing(notification_channels, timestamptz) IS 'Whether a channel has failed for so long that its fallback speaks for it.';

CREATE OR REPLACE FUNCTION fallback_of(p_channel text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT f.name FROM public.notification_channels f LEFT JOIN public.notification_channels c ON c.name = p_channel
        WHERE f.name IN (c.fallback, 'journal') AND f.name <> p_channel ORDER BY f.name = 'journal' LIMIT 1);
END
$body$;
COMMENT ON FUNCTION fallback_of(text) IS 'The channel that speaks for another: the one that its config names, else the journal. NULL for the journal, and where there is none.';

CREATE OR REPLACE FUNCTION deliveries_to_hand_on() RETURNS SETOF alert_deliveries
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_now     timestamptz := clock_timestamp();
    v_failing text[] := ARRAY(SELECT c.name FROM public.notification_channels c WHERE public.channel_is_failing(c, v_now) AND public.fallback_of(c.name) IS NOT NULL);
BEGIN
    RETURN QUERY
    WITH unsaid AS MATERIALIZED (
        SELECT d.* FROM public.alert_deliveries d
        WHERE d.handed_on_at IS NULL AND d.status IN ('pending', 'sending', 'failed', 'expired') AND d.subject <> 'canary'
          AND (d.channel = ANY (v_failing) OR d.status IN ('failed', 'expired') AND public.fallback_of(d.channel) IS NOT NULL)
    )
    SELECT u.* FROM unsaid u
    UNION ALL
    SELECT m.* FROM unsaid u JOIN public.alert_deliveries m ON m.digest_id = u.id;
END
$body$;
COMMENT ON FUNCTION deliveries_to_hand_on() IS
    'What a failing channel has not said, and what was given up, and no fallback has been told of yet. A digest comes with its members.';

CREATE OR REPLACE FUNCTION hand_on_deliveries() RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_due bigint[];
    v_all integer := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM public.deliveries_to_hand_on()) THEN
        RETURN 0;
    END IF;
    PERFORM FROM public.notification_channels c ORDER BY c.name FOR UPDATE;
    -- Each round goes one step down the chain: a fallback may fail too. It ends at the journal, which has none.
    LOOP
        v_due := ARRAY(SELECT d.id FROM public.deliveries_to_hand_on() AS d);
        EXIT WHEN v_due = '{}';
        INSERT INTO public.alert_deliveries (transition_id, alert_id, cause, channel, recipient, instead_of, status, created_at, next_attempt_at)
        SELECT DISTINCT ON (d.transition_id, c.name, r.recipient) d.transition_id, d.alert_id, d.cause, c.name, r.recipient, d.channel, 'pending', clock_timestamp(), clock_timestamp()
        FROM public.alert_deliveries d JOIN public.notification_channels c ON c.name = public.fallback_of(d.channel) CROSS JOIN LATERAL unnest(c.recipients) AS r (recipient)
        WHERE d.id = ANY (v_due) AND d.subject = 'transition'
        ORDER BY d.transition_id, c.name, r.recipient, d.id
        ON CONFLICT (transition_id, channel, recipient) DO NOTHING;
        UPDATE public.alert_deliveries d SET handed_on_at = clock_timestamp() WHERE d.id = ANY (v_due);
        v_all := v_all + cardinality(v_due);
    END LOOP;
    PERFORM pg_notify('automon_deliveries', '');
    RETURN v_all;
END
$body$;
COMMENT ON FUNCTION hand_on_deliveries() IS
    'Has the fallback told what its channel cannot say or has given up, unless it was told by itself; answers how many deliveries were handed on. They stay: a channel that works again says them late. The caller holds lock_alerts.';

CREATE OR REPLACE FUNCTION note_channel_success(p_channel text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    UPDATE public.notification_channels c SET failures = 0, failing_since = NULL, last_error = NULL WHERE c.name = p_channel AND c.failures > 0 AND c.stopped_at IS NULL;
END
$body$;
COMMENT ON FUNCTION note_channel_success(text) IS 'Remembers that a channel works.';

CREATE OR REPLACE FUNCTION note_channel_failure(p_channel text, p_claimed_at timestamptz, p_error text, p_pause interval, p_stops boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_now   timestamptz := clock_timestamp();
    v_pause interval := COALESCE(p_pause, interval '0');
BEGIN
    UPDATE public.notification_channels c
    SET failures = c.failures + 1, failing_since = COALESCE(c.failing_since, v_now), last_error = p_error, stopped_at = CASE WHEN p_stops THEN COALESCE(c.stopped_at, v_now) ELSE c.stopped_at END,
        -- What another sender was told to wait is not cut short.
        next_send_at = CASE WHEN r.is_longer THEN c.next_send_at ELSE v_now + v_pause END, pause = CASE WHEN r.is_longer THEN c.pause ELSE v_pause END
    FROM (SELECT x.name, x.next_send_at > v_now + v_pause AND NOT public.has_come(x.next_send_at, x.pause, v_now) AS is_longer FROM public.notification_channels x) AS r
    -- What was sent to an address that the config has changed since says nothing about the new one.
    WHERE c.name = p_channel AND r.name = p_channel AND c.updated_at <= p_claimed_at;
    IF FOUND AND p_stops THEN
        PERFORM public.hand_on_deliveries();
        PERFORM public.check_automon_alerts(v_now);
    END IF;
END
$body$;
COMMENT ON FUNCTION note_channel_failure(text, timestamptz, text, interval, boolean) IS
    'Remembers that a channel fails, and lets it rest for a pause; or stops it until somebody resumes it, which the other channels hear at once. The caller holds lock_alerts when it stops.';

CREATE OR REPLACE FUNCTION finish_delivery_attempt(
    p_delivery_id bigint, p_holder text, p_outcome text, p_duration_seconds double precision, p_detail text DEFAULT '', p_reason text DEFAULT NULL,
    p_retry_after interval DEFAULT NULL, p_final_status text DEFAULT NULL, p_channel_pause interval DEFAULT NULL, p_stops_channel boolean DEFAULT false
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_now       timestamptz := clock_timestamp();
    v_error     text := concat_ws(': ', p_reason, NULLIF(p_detail, ''));
    v_delivery  public.alert_deliveries;
    v_abandoned integer;
    v_counts    boolean;
BEGIN
    IF p_final_status IS NOT NULL OR p_stops_channel THEN
        PERFORM public.lock_alerts();
    END IF;
    PERFORM FROM public.notification_channels c WHERE c.name = (SELECT d.channel FROM public.alert_deliveries d WHERE d.id = p_delivery_id) FOR UPDATE;
    SELECT d.* INTO v_delivery FROM public.alert_deliveries d WHERE d.id = p_delivery_id FOR UPDATE;
    SELECT max(a.attempt) INTO v_abandoned FROM public.delivery_attempts a WHERE a.delivery_id = p_delivery_id AND a.instance = p_holder AND a.reason = 'abandoned';
    UPDATE public.alert_deliveries d
    SET status = CASE WHEN p_outcome = 'sent' THEN 'sent' ELSE COALESCE(p_final_status, 'pending') END, claimed_by = NULL, claimed_at = NULL, lease_until = NULL,
        uncertain = d.uncertain OR p_outcome = 'unknown', next_attempt_at = v_now + COALESCE(p_retry_after, interval '0'), pause = COALESCE(p_retry_after, interval '0'),
        finished_at = CASE WHEN p_outcome = 'sent' OR p_final_status IS NOT NULL THEN v_now END, last_error = CASE WHEN p_outcome = 'sent' THEN NULL ELSE v_error END
    -- One that was taken for dead and has sent after all says so in time, as long as nobody has begun to send it again.
    WHERE d.id = p_delivery_id AND (d.status = 'sending' AND d.claimed_by = p_holder OR d.status = 'pending' AND p_outcome = 'sent' AND d.attempts = v_abandoned);
    v_counts := FOUND;
    INSERT INTO public.delivery_attempts (delivery_id, attempt, instance, finished_at, duration_seconds, outcome, reason, detail)
    SELECT p_delivery_id, CASE WHEN v_counts THEN v_delivery.attempts ELSE COALESCE(v_abandoned, v_delivery.attempts) END, p_holder, v_now, p_duration_seconds, p_outcome, p_reason, COALESCE(p_detail, '')
    WHERE v_delivery.id IS NOT NULL;
    IF v_counts AND p_outcome = 'sent' THEN
        PERFORM public.note_channel_success(v_delivery.channel);
    ELSIF v_counts AND (p_stops_channel OR p_channel_pause IS NOT NULL) THEN
        PERFORM public.note_channel_failure(v_delivery.channel, v_delivery.claimed_at, v_error, p_channel_pause, p_stops_channel);
    END IF;
    IF p_final_status IS NOT NULL THEN
        PERFORM public.hand_on_deliveries();
    END IF;
    RETURN v_counts;
END
$body$;
COMMENT ON FUNCTION finish_delivery_attempt(bigint, text, text, double precision, text, text, interval, text, interval, boolean) IS
    'Records how an attempt ended (sent, failed, or unknown: it may have arrived) and what follows: another attempt after a while, or a final status (failed, expired), which the fallback tells of; a pause for the channel, or its stop. False when the lease was lost; the attempt is recorded all the same.';

CREATE OR REPLACE FUNCTION give_up_homeless_deliveries() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- What is being sent at this moment is finished by its sender; the next look finds what it leaves.
    UPDATE public.alert_deliveries d
    SET status = 'failed', finished_at = clock_timestamp(), last_error = 'the channel or the recipient is no longer in the config'
    WHERE d.status = 'pending'
      AND NOT EXISTS (SELECT FROM public.notification_channels c WHERE c.name = d.channel AND d.recipient = ANY (c.recipients));
END
$body$;
COMMENT ON FUNCTION give_up_homeless_deliveries() IS 'Gives up what waits for a channel or a recipient that the config does not have any more.';

CREATE OR REPLACE FUNCTION give_up_old_deliveries(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_patience constant interval := make_interval(secs => public.setting('delivery.keep_trying_seconds'));
    v_expired  integer;
BEGIN
    UPDATE public.alert_deliveries d
    SET status = 'expired', finished_at = clock_timestamp(), last_error = COALESCE(d.last_error, 'not delivered in time')
    WHERE d.status = 'pending'
      AND (d.first_attempt_at <= p_now - c_patience
           OR d.subject = 'canary' AND d.created_at <= p_now - interval '5 minutes'
           OR EXISTS (SELECT FROM public.notification_channels c WHERE c.name = d.channel AND GREATEST(d.created_at, c.stopped_at) <= p_now - c_patience AND c.stopped_at IS NOT NULL));
    GET DIAGNOSTICS v_expired = ROW_COUNT;
    RETURN v_expired;
END
$body$;
COMMENT ON FUNCTION give_up_old_deliveries(timestamptz) IS
    'Gives up what was tried for delivery.keep_trying_seconds, or has waited so long for a stopped channel, and canaries after five minutes; answers how many. What no service has tried yet never grows too old.';

CREATE OR REPLACE FUNCTION tend_deliveries(p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM public.lock_alerts();
    PERFORM FROM public.notification_channels c ORDER BY c.name FOR UPDATE;
    PERFORM public.take_back_abandoned_deliveries(s.channel, clock_timestamp()) FROM (SELECT DISTINCT d.channel FROM public.alert_deliveries d WHERE d.status = 'sending') AS s;
    PERFORM public.give_up_homeless_deliveries();
    RETURN jsonb_build_object('expired', public.give_up_old_deliveries(p_now), 'handed_on', public.hand_on_deliveries());
END
$body$;
COMMENT ON FUNCTION tend_deliveries(timestamptz) IS
    'Puts back what was abandoned, gives up what is too old or has nowhere to go, and has fallbacks told what their channels cannot say; answers how many expired and were handed on. Part of the self-check.';

-- ---------------------------------------------------------------------------------------------------------------
-- For people.

CREATE OR REPLACE FUNCTION refuse_unknown_channel(p_channel text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF NOT EXISTS (SELECT FROM public.notification_channels c WHERE c.name = p_channel) THEN
        PERFORM public.refuse('AM013', format('unknown_channel: there is no channel %L', p_channel),
            COALESCE((SELECT 'The service knows ' || string_agg(c.name, ', ' ORDER BY c.name) || '.' FROM public.notification_channels c WHERE c.name <> 'journal'), 'There is none yet: has the service run?'));
    END IF;
END
$body$;
COMMENT ON FUNCTION refuse_unknown_channel(text) IS 'Raises AM013 for a channel that no service has brought from its config.';

CREATE OR REPLACE FUNCTION resume_channel(p_channel text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_was_in_trouble boolean;
BEGIN
    PERFORM public.refuse_unknown_channel(p_channel);
    PERFORM public.lock_alerts();
    PERFORM FROM public.notification_channels c WHERE c.name = p_channel FOR UPDATE;
    UPDATE public.notification_channels c
    SET stopped_at = NULL, failures = 0, failing_since = NULL, last_error = NULL, next_send_at = to_timestamp(0), pause = '0', updated_at = clock_timestamp()
    WHERE c.name = p_channel AND (c.stopped_at IS NOT NULL OR c.failures > 0);
    v_was_in_trouble := FOUND;
    UPDATE public.alert_deliveries d SET next_attempt_at = clock_timestamp(), pause = '0' WHERE d.channel = p_channel AND d.status = 'pending' AND d.next_attempt_at > clock_timestamp();
    PERFORM pg_notify('automon_deliveries', '');
    RETURN v_was_in_trouble;
END
$body$;
COMMENT ON FUNCTION resume_channel(text) IS 'Takes a stopped or failing channel up again: all that waits is tried at once. False when it was neither. Raises AM013.';

CREATE OR REPLACE FUNCTION send_canary(p_by text DEFAULT NULL, p_channel text DEFAULT NULL) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF p_channel IS NOT NULL THEN
        PERFORM public.refuse_unknown_channel(p_channel);
    END IF;
    RETURN QUERY
    INSERT INTO public.alert_deliveries (subject, asked_by, channel, recipient, status, created_at, next_attempt_at)
    SELECT 'canary', COALESCE(NULLIF(p_by, ''), session_user), c.name, r.recipient, 'pending', clock_timestamp(), clock_timestamp()
    FROM public.notification_channels c CROSS JOIN LATERAL unnest(c.recipients) AS r (recipient)
    WHERE c.name = COALESCE(p_channel, c.name) AND (c.name <> 'journal' OR p_channel = 'journal')
    RETURNING id;
    PERFORM pg_notify('automon_deliveries', '');
END
$body$;
COMMENT ON FUNCTION send_canary(text, text) IS
    'Has a marked message sent through one or every channel, on the way that alerts take; answers the numbers of the deliveries, whose receipts v_deliveries shows. Raises AM013.';

CREATE OR REPLACE VIEW v_deliveries AS
SELECT d.id, d.created_at, d.channel, d.recipient, d.subject, d.alert_id, a.alert_type, a.source, t.kind, t.severity,
    CASE d.subject WHEN 'transition' THEN t.summary WHEN 'canary' THEN 'canary for ' || d.asked_by
        ELSE concat_ws(': ', (SELECT count(*) FROM alert_deliveries m WHERE m.digest_id = d.id) || ' messages as one', NULLIF(d.cause, '')) END AS summary,
    COALESCE(g.status, d.status) AS status, d.digest_id, d.instead_of, COALESCE(g.attempts, d.attempts) AS attempts, COALESCE(g.first_attempt_at, d.first_attempt_at) AS first_attempt_at,
    COALESCE(g.finished_at, CASE WHEN g.id IS NULL THEN d.finished_at END) AS finished_at,
    extract(epoch FROM CASE WHEN COALESCE(g.status, d.status) = 'sent' THEN COALESCE(g.finished_at, d.finished_at) END - d.created_at)::double precision AS latency_seconds,
    COALESCE(g.uncertain, d.uncertain) AS may_be_repeat, d.handed_on_at, COALESCE(CASE WHEN g.id IS NOT NULL THEN g.last_error ELSE d.last_error END,
        CASE WHEN COALESCE(g.status, d.status) = 'pending' AND c.stopped_at IS NOT NULL THEN 'the channel is stopped: ' || c.last_error END) AS why
FROM alert_deliveries d
LEFT JOIN alert_deliveries g ON g.id = d.digest_id
LEFT JOIN alert_transitions t ON t.id = d.transition_id
LEFT JOIN alerts a ON a.id = d.alert_id
LEFT JOIN notification_channels c ON c.name = d.channel
ORDER BY d.id DESC;
COMMENT ON VIEW v_deliveries IS
    'Every message, newest first: to whom, about what, how it stands, how often it was tried, how many seconds it took, and why it has not arrived. One that was told in a digest stands as its digest does.';

CREATE OR REPLACE FUNCTION get_deliveries(
    p_channel text DEFAULT NULL, p_alert_id bigint DEFAULT NULL, p_digest_id bigint DEFAULT NULL, p_ids bigint[] DEFAULT NULL,
    p_in_trouble boolean DEFAULT false, p_limit integer DEFAULT 50
) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT to_jsonb(v) FROM public.v_deliveries v
    WHERE (p_channel IS NULL OR v.channel = p_channel) AND (p_alert_id IS NULL OR v.alert_id = p_alert_id) AND (p_digest_id IS NULL OR v.digest_id = p_digest_id)
      AND (p_ids IS NULL OR v.id = ANY (p_ids)) AND (NOT p_in_trouble OR v.why IS NOT NULL OR v.status IN ('failed', 'expired'))
    ORDER BY v.id DESC LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION get_deliveries(text, bigint, bigint, bigint[], boolean, integer) IS
    'The rows of v_deliveries as JSON, newest first: of a channel, an alert, a digest, by their numbers, or only what has not arrived.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
