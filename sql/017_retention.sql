-- Retention: what has passed its term goes, without holding anybody up, and is told of when it does not go.
--
-- Dropping a day needs its table for itself, for about a millisecond: the files go after the locks. Before that it has to
-- wait for whoever uses the table, and whoever comes later waits behind it. So one call waits for locks for 0.15 s in
-- all, as long as it holds nothing that others want; once it holds a table, it takes what is free, and ends.
SET check_function_bodies = off;
SET client_min_messages = warning;

-- ---------------------------------------------------------------------------------------------------------------
-- Terms.

CREATE OR REPLACE FUNCTION retention_days(p_table text) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN CASE
        WHEN p_table = 'processing_metrics_history' THEN public.setting('retention.processing_days')
        WHEN p_table = 'error_tracking' THEN GREATEST(public.setting('retention.errors_low_days'), public.setting('retention.errors_medium_days'),
            public.setting('retention.errors_high_days'), public.setting('retention.errors_critical_days'))
        WHEN p_table = 'performance_monitoring' THEN public.setting('retention.performance_days')
        WHEN p_table = 'queue_monitoring' THEN public.setting('retention.queue_days')
        WHEN p_table = 'host_metrics' THEN public.setting('retention.host_days')
        WHEN p_table IN ('task_minutes', 'error_minutes') THEN public.setting('retention.minutes_days')
    END;
END
$body$;
COMMENT ON FUNCTION retention_days(text) IS 'How many days a partitioned table is kept; for errors the longest of the four. NULL: for ever.';

CREATE OR REPLACE FUNCTION term_ended(p_now timestamptz, p_days double precision) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Nothing is older than the year 2000, and a term of a billion days shall be none that is out of range.
    SELECT GREATEST(to_timestamp(extract(epoch FROM p_now)::double precision - 86400 * LEAST(p_days, 1000000)), '2000-01-01 00:00:00+00');
END;
COMMENT ON FUNCTION term_ended(timestamptz, double precision) IS 'The moment before which everything is past a term of that many days.';

CREATE OR REPLACE FUNCTION day_partitions(p_now timestamptz)
RETURNS TABLE (table_name text, partition_name text, relation oid, day date, days_past_term double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT t.name, c.relname::text, c.oid, d.day, extract(epoch FROM p_now - ((d.day + 1)::timestamp AT TIME ZONE 'UTC'))::double precision / 86400 - t.days
    FROM (SELECT n.name, public.retention_days(n.name) AS days FROM public.day_partitioned_tables() AS n (name)) AS t
    JOIN pg_inherits i ON i.inhparent = to_regclass('public.' || quote_ident(t.name))
    JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day) AS d
    WHERE c.relname ~ '_[0-9]{8}$';
END
$body$;
COMMENT ON FUNCTION day_partitions(timestamptz) IS
    'Every day of every table of facts, and for how many days all of it has been past its term (negative: not yet; NULL: it is kept for ever). Reads the catalogue alone.';

CREATE OR REPLACE FUNCTION expired_partitions(p_now timestamptz DEFAULT now()) RETURNS TABLE (table_name text, partition_name text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY SELECT d.table_name, d.partition_name FROM public.day_partitions(p_now) AS d WHERE d.days_past_term >= 0 ORDER BY d.day;
END
$body$;
COMMENT ON FUNCTION expired_partitions(timestamptz) IS 'The day partitions that hold nothing but what has passed its term, oldest first.';

CREATE OR REPLACE FUNCTION expired_errors(p_now timestamptz) RETURNS TABLE (severity text, expired_until timestamptz, oldest_at timestamptz, relation regclass)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.severity, s.expired_until, o.occurred_at, o.relation
    FROM (SELECT l.severity, public.term_ended(p_now, public.setting('retention.errors_' || l.severity || '_days')) AS expired_until
          FROM (VALUES ('low'), ('medium'), ('high'), ('critical')) AS l (severity)) AS s
    CROSS JOIN LATERAL (
        SELECT e.occurred_at, e.tableoid::regclass AS relation FROM public.error_tracking e
        WHERE e.severity = s.severity AND e.occurred_at < s.expired_until
          AND (SELECT x.indisvalid FROM pg_index x WHERE x.indexrelid = 'public.error_tracking_severity'::regclass)
          -- What lies before goes with its day.
          AND e.occurred_at >= date_trunc('day', public.term_ended(p_now, public.retention_days('error_tracking')), 'UTC')
        ORDER BY e.occurred_at LIMIT 1) AS o;
END
$body$;
COMMENT ON FUNCTION expired_errors(timestamptz) IS
    'For each severity that has errors past its term, in days that are kept for longer: up to when they have expired, the oldest of them, and its partition. None as long as a day lacks its index.';

-- ---------------------------------------------------------------------------------------------------------------
-- Row by row: what is not a table of facts, and errors that go before their day.

CREATE OR REPLACE FUNCTION delete_expired_errors(p_now timestamptz, p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_batch   constant integer := 2000;
    c_time    constant interval := interval '1 second';
    v_began   timestamptz := clock_timestamp();
    v_oldest  record;
    v_rows    integer;
    v_deleted integer := 0;
BEGIN
    LOOP
        SELECT x.* INTO v_oldest FROM public.expired_errors(p_now) AS x ORDER BY x.oldest_at LIMIT 1;
        EXIT WHEN NOT FOUND;
        EXECUTE format('DELETE FROM %1$s WHERE ctid = ANY (ARRAY(SELECT e.ctid FROM %1$s e WHERE e.severity = $1 AND e.occurred_at < $2 ORDER BY e.occurred_at LIMIT $3))', v_oldest.relation)
            USING v_oldest.severity, v_oldest.expired_until, LEAST(c_batch, p_limit - v_deleted);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_deleted := v_deleted + v_rows;
        EXIT WHEN v_rows = 0 OR v_deleted >= p_limit OR clock_timestamp() > v_began + c_time;
    END LOOP;
    RETURN v_deleted;
END
$body$;
COMMENT ON FUNCTION delete_expired_errors(timestamptz, integer) IS
    'Deletes errors that have passed the term of their severity, oldest first, until none is left, or for a second, or that many; answers how many.';

CREATE OR REPLACE FUNCTION delete_expired_records(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- A row that somebody has locked is left for the next call: nobody waits for whom.
    c_batch constant integer := 1000;
    c_alert_term constant timestamptz := public.term_ended(p_now, public.setting('retention.resolved_alerts_days'));
    v_alerts bigint; v_health bigint; v_runs bigint; v_silences bigint; v_deliveries bigint; v_blind bigint; v_config bigint;
BEGIN
    DELETE FROM public.alerts a WHERE a.id IN (
        SELECT x.id FROM public.alerts x
        WHERE x.resolved_at < c_alert_term
          AND NOT EXISTS (
              SELECT FROM public.alert_deliveries d LEFT JOIN public.alert_deliveries g ON g.id = d.digest_id
              WHERE d.alert_id = x.id AND COALESCE(g.status, d.status) IN ('pending', 'sending'))
        ORDER BY x.resolved_at LIMIT c_batch FOR UPDATE OF x SKIP LOCKED);
    GET DIAGNOSTICS v_alerts = ROW_COUNT;
    DELETE FROM public.system_health h WHERE h.id IN (
        SELECT x.id FROM public.system_health x WHERE x.ended_at < public.term_ended(p_now, public.setting('retention.health_days'))
        ORDER BY x.ended_at LIMIT c_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_health = ROW_COUNT;
    DELETE FROM public.job_runs r WHERE r.id IN (
        SELECT x.id FROM public.job_runs x WHERE x.started_at < public.term_ended(p_now, public.setting('retention.job_runs_days'))
        ORDER BY x.started_at LIMIT c_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_runs = ROW_COUNT;
    DELETE FROM public.alert_silences s WHERE s.id IN (
        SELECT x.id FROM public.alert_silences x WHERE x.ends_at < c_alert_term ORDER BY x.ends_at LIMIT c_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_silences = ROW_COUNT;
    DELETE FROM public.alert_deliveries d WHERE d.id IN (
        SELECT x.id FROM public.alert_deliveries x
        WHERE x.transition_id IS NULL AND x.finished_at < c_alert_term AND NOT EXISTS (SELECT FROM public.alert_deliveries m WHERE m.digest_id = x.id)
        ORDER BY x.finished_at LIMIT c_batch FOR UPDATE OF x SKIP LOCKED);
    GET DIAGNOSTICS v_deliveries = ROW_COUNT;
    DELETE FROM public.blind_periods b WHERE b.id IN (
        SELECT x.id FROM public.blind_periods x WHERE x.ended_at < p_now - interval '90 days' ORDER BY x.ended_at LIMIT c_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_blind = ROW_COUNT;
    DELETE FROM public.config_changes c WHERE c.id IN (
        SELECT x.id FROM public.config_changes x
        WHERE x.at < p_now - interval '90 days'
          -- What was last said of the file of a service that runs stands as long as that is so.
          AND NOT EXISTS (SELECT FROM public.service_instances i WHERE i.instance = x.instance AND NOT EXISTS (SELECT FROM public.config_changes n WHERE n.instance = x.instance AND n.id > x.id))
        ORDER BY x.at LIMIT c_batch FOR UPDATE OF x SKIP LOCKED);
    GET DIAGNOSTICS v_config = ROW_COUNT;
    RETURN jsonb_build_object('alerts_deleted', v_alerts, 'health_intervals_deleted', v_health, 'job_runs_deleted', v_runs, 'silences_deleted', v_silences,
        'deliveries_deleted', v_deliveries, 'blind_periods_deleted', v_blind, 'config_changes_deleted', v_config,
        'more', c_batch IN (v_alerts, v_health, v_runs, v_silences, v_deliveries, v_blind, v_config));
END
$body$;
COMMENT ON FUNCTION delete_expired_records(timestamptz) IS
    'Deletes resolved alerts (not before their messages are out), digests and canaries, closed health intervals, job runs, silences, blind periods and changes of the config that have passed their term, at most a thousand of each. "more": of one of them there may be more.';

CREATE OR REPLACE FUNCTION forget_expired_sources(p_now timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_forgotten bigint;
BEGIN
    DELETE FROM public.monitored_sources s
    WHERE (s.kind = 'queue' AND s.first_reported_at < public.term_ended(p_now, public.setting('retention.queue_days'))
           AND NOT EXISTS (SELECT FROM public.queue_monitoring q WHERE q.queue_name = s.name))
       OR (s.kind = 'host' AND s.first_reported_at < public.term_ended(p_now, public.setting('retention.host_days'))
           AND NOT EXISTS (SELECT FROM public.host_metrics h WHERE h.host = s.name));
    GET DIAGNOSTICS v_forgotten = ROW_COUNT;
    RETURN v_forgotten;
END
$body$;
COMMENT ON FUNCTION forget_expired_sources(timestamptz) IS 'Forgets queues and hosts of which no report is kept; answers how many. One that reports again at this very moment waits for the end of the transaction.';

-- ---------------------------------------------------------------------------------------------------------------
-- Day by day.

-- No user calls it: it answers more now.
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS drop_expired_partition(text);
CREATE OR REPLACE FUNCTION drop_expired_partition(
    p_table text, p_partition text, p_patience interval, OUT outcome text, OUT bytes bigint, OUT rows_estimated double precision
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms'
AS $body$
DECLARE
    v_relation oid := to_regclass('public.' || quote_ident(p_partition));
BEGIN
    outcome := 'table in use';
    -- The table first, as DROP TABLE does: whoever reads all days has locked it before he comes to the day.
    PERFORM set_config('lock_timeout', GREATEST(1, ceil(extract(epoch FROM p_patience) * 1000)) || 'ms', true);
    EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', p_table);
    outcome := 'day in use';
    PERFORM set_config('lock_timeout', '10ms', true);
    EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', p_partition);
    bytes := pg_total_relation_size(v_relation);
    rows_estimated := (SELECT CASE WHEN c.reltuples >= 0 THEN c.reltuples ELSE pg_stat_get_live_tuples(c.oid) END FROM pg_class c WHERE c.oid = v_relation);
    EXECUTE format('DROP TABLE public.%I', p_partition);
    IF p_table IN ('task_minutes', 'error_minutes') THEN
        UPDATE public.rollup_state s SET minutes_since = GREATEST(s.minutes_since, (to_date(right(p_partition, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC');
    END IF;
    outcome := 'dropped';
EXCEPTION
    -- The block is undone, and its locks with it.
    WHEN lock_not_available OR deadlock_detected THEN NULL;
    WHEN dependent_objects_still_exist THEN outcome := 'day in use';
    WHEN undefined_table THEN outcome := 'gone';
END
$body$;
COMMENT ON FUNCTION drop_expired_partition(text, text, interval) IS
    'Drops a day when its table is free within that time, and the day itself at once: "dropped", with its size in bytes and about how many rows it held. Else it holds no lock, and says "table in use" or "day in use" (also by a view of somebody''s own).';

CREATE OR REPLACE FUNCTION drop_expired_days(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_patience   constant interval := interval '150 milliseconds';  -- for all waits while nothing is held
    c_at_once    constant interval := interval '10 milliseconds';   -- far below any deadlock_timeout
    c_holding    constant interval := interval '80 milliseconds';
    c_most       constant integer := 50;                   -- each takes several places in the server's table of locks
    v_day        record;
    v_try        record;
    v_held_since timestamptz;
    v_busy       text[] := ARRAY[]::text[];
    v_by_table   jsonb := '{}'::jsonb;
    v_dropped integer := 0; v_in_use integer := 0; v_bytes bigint := 0::bigint; v_rows double precision := 0::double precision; v_expired bigint := 0::bigint;
BEGIN
    FOR v_day IN
        SELECT d.table_name, d.partition_name, count(*) OVER () AS expired, max(d.days_past_term) OVER (PARTITION BY d.table_name) AS worst,
            (SELECT count(DISTINCT x.table_name) FROM public.expired_partitions(p_now) AS x) AS tables
        FROM public.day_partitions(p_now) AS d WHERE d.days_past_term >= 0
        -- The table that is most behind may wait for its lock, the others take theirs if they can: each gets its turn.
        ORDER BY worst DESC, d.table_name, d.day
    LOOP
        v_expired := v_day.expired;
        EXIT WHEN v_dropped >= c_most OR clock_timestamp() > v_held_since + c_holding;
        IF v_day.table_name = ANY (v_busy) THEN
            v_in_use := v_in_use + 1;
            CONTINUE;
        END IF;
        SELECT t.* INTO v_try FROM public.drop_expired_partition(v_day.table_name, v_day.partition_name,
            CASE WHEN v_held_since IS NULL THEN c_patience / v_day.tables ELSE c_at_once END) AS t;
        CASE v_try.outcome
            WHEN 'dropped' THEN
                v_held_since := COALESCE(v_held_since, clock_timestamp());
                v_dropped := v_dropped + 1;
                v_bytes := v_bytes + v_try.bytes;
                v_rows := v_rows + v_try.rows_estimated;
                v_by_table := v_by_table || jsonb_build_object(v_day.table_name, COALESCE((v_by_table->v_day.table_name)::bigint, 0) + 1);
            WHEN 'table in use' THEN
                v_busy := v_busy || v_day.table_name;
                v_in_use := v_in_use + 1;
            WHEN 'day in use' THEN
                v_in_use := v_in_use + 1;
            ELSE
                NULL;
        END CASE;
    END LOOP;
    RETURN jsonb_build_object('partitions_dropped', v_dropped, 'partitions_in_use', v_in_use, 'dropped_by_table', v_by_table,
        'bytes_freed', v_bytes, 'rows_dropped_estimated', v_rows::bigint, 'more', v_dropped BETWEEN 1 AND v_expired - 1);
END
$body$;
COMMENT ON FUNCTION drop_expired_days(timestamptz) IS
    'Drops the days that have passed their term: waits for locks for 0.15 s in all, and ends 0.08 s after it holds the first. "more": another call may drop more at once. To be committed at once.';

CREATE OR REPLACE FUNCTION retention_state(p_now timestamptz)
RETURNS TABLE (table_name text, kept_days double precision, oldest_day date, past_term_days double precision, partitions bigint, has_today boolean, has_tomorrow boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_today  date := (p_now AT TIME ZONE 'UTC')::date;
    v_errors double precision := (
        SELECT max(extract(epoch FROM x.expired_until - x.oldest_at)) / 86400 FROM public.expired_errors(p_now) AS x);
BEGIN
    RETURN QUERY
    SELECT t.name, public.retention_days(t.name), min(d.day),
        GREATEST(max(d.days_past_term), CASE WHEN t.name = 'error_tracking' THEN v_errors END, CASE WHEN public.retention_days(t.name) IS NOT NULL THEN 0 END),
        count(d.day), COALESCE(bool_or(d.day = v_today), false), COALESCE(bool_or(d.day = v_today + 1), false)
    FROM public.day_partitioned_tables() AS t (name) LEFT JOIN public.day_partitions(p_now) AS d ON d.table_name = t.name
    GROUP BY t.name ORDER BY t.name;
END
$body$;
COMMENT ON FUNCTION retention_state(timestamptz) IS
    'How each table of facts is kept: its term, its oldest day, for how long a day (or an error, by its severity) has been past its term, and whether today and tomorrow have their partitions. Reads the catalogue, and one error of each severity.';

CREATE OR REPLACE FUNCTION storage_report(p_now timestamptz DEFAULT now())
RETURNS TABLE (table_name text, kept_days double precision, oldest_day date, past_term_days double precision, partitions bigint, size_bytes bigint, tomorrow_is_prepared boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT s.table_name, s.kept_days, s.oldest_day, s.past_term_days, s.partitions,
        (SELECT COALESCE(sum(pg_total_relation_size(d.relation)), 0)::bigint FROM public.day_partitions(p_now) AS d WHERE d.table_name = s.table_name), s.has_tomorrow
    FROM public.retention_state(p_now) AS s;
END
$body$;
COMMENT ON FUNCTION storage_report(timestamptz) IS
    'What each table of facts keeps: its term in days (empty: for ever), its oldest day, for how many days something has been past its term (0: nothing), days, size in bytes, and whether tomorrow has its partition.';

CREATE OR REPLACE FUNCTION nothing_removed() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT jsonb_build_object('alerts_deleted', 0, 'health_intervals_deleted', 0, 'job_runs_deleted', 0, 'silences_deleted', 0, 'deliveries_deleted', 0, 'blind_periods_deleted', 0,
        'config_changes_deleted', 0, 'sources_forgotten', 0, 'errors_deleted', 0, 'hours_deleted', 0, 'partitions_dropped', 0, 'partitions_in_use', 0, 'dropped_by_table', '{}'::jsonb, 'bytes_freed', 0, 'rows_dropped_estimated', 0,
        'another_runs', false, 'more', false);
END;
COMMENT ON FUNCTION nothing_removed() IS 'The answer of a clean-up that removed nothing.';

CREATE OR REPLACE FUNCTION retention_summary(p_now timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (SELECT jsonb_build_object('oldest_day', jsonb_object_agg(s.table_name, s.oldest_day), 'past_term_days', jsonb_object_agg(s.table_name, floor(s.past_term_days)))
            FROM public.retention_state(p_now) AS s);
END
$body$;
COMMENT ON FUNCTION retention_summary(timestamptz) IS 'The oldest day that each table of facts keeps, and for how many whole days something in it has been past its term.';

CREATE OR REPLACE FUNCTION cleanup_old_monitoring_data(p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_errors  constant integer := 20000;
    c_hours   constant integer := 20000;
    v_hours   integer;
    v_removed jsonb := public.nothing_removed();
    v_records jsonb;
    v_errors  integer;
    v_more    boolean;
    v_days    jsonb;
    v_indexed boolean;
BEGIN
    IF pg_try_advisory_xact_lock(hashtextextended('automon clean-up', 0)) THEN
        v_indexed := public.index_past_day(p_now);
        v_errors := public.delete_expired_errors(p_now, c_errors);
        v_records := public.delete_expired_records(p_now);
        v_hours := public.forget_rollups(p_now, c_hours);
        v_more := v_indexed OR v_hours >= c_hours OR (v_records->'more')::boolean OR (v_errors > 0 AND EXISTS (SELECT FROM public.expired_errors(p_now)));
        v_removed := v_removed || v_records || jsonb_build_object('errors_deleted', v_errors, 'hours_deleted', v_hours, 'sources_forgotten', public.forget_expired_sources(p_now));
        -- Days last: who drops one has its table for himself until this transaction ends.
        v_days := public.drop_expired_days(p_now);
        v_removed := v_removed || v_days || jsonb_build_object('more', v_more OR (v_days->'more')::boolean);
    ELSE
        v_removed := v_removed || jsonb_build_object('another_runs', true);
    END IF;
    RETURN v_removed || public.retention_summary(p_now);
END
$body$;
COMMENT ON FUNCTION cleanup_old_monitoring_data(timestamptz) IS
    'Removes what has passed its term and answers what it removed, about how much that was, and what is left. No writer waits for it for more than 0.3 s, when it is committed at once. "more": another call removes more now. "partitions_in_use": days that others held open, for a later call. "another_runs": another session is at it, nothing was done.';

-- ---------------------------------------------------------------------------------------------------------------
-- automon tells when it has fallen behind.

CREATE OR REPLACE FUNCTION who_holds(p_table text, p_now timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        WITH held (relation, partition_name) AS (
            SELECT to_regclass('public.' || quote_ident(p_table))::oid, NULL
            UNION ALL SELECT d.relation, d.partition_name FROM public.day_partitions(p_now) AS d WHERE d.table_name = p_table AND d.days_past_term >= 0
        ), session (words, since) AS (
            -- A prepared transaction holds locks without a session.
            SELECT DISTINCT CASE WHEN l.pid IS NULL THEN 'a prepared transaction (see pg_prepared_xacts)'
                ELSE format('pid %s (%s)', l.pid, concat_ws(', ', NULLIF(left(a.application_name, 60), ''), a.state, 'since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC')) END,
                a.xact_start
            FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'relation' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
              AND l.granted AND l.relation IN (SELECT h.relation FROM held h) AND l.pid IS DISTINCT FROM pg_backend_pid()
        ), holder (words, rank) AS (
            SELECT s.words, row_number() OVER (ORDER BY s.since NULLS FIRST) FROM session s
            UNION ALL
            SELECT DISTINCT format('the view %s, which needs %s', r.ev_class::regclass, h.partition_name), 0
            FROM held h JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = h.relation AND d.classid = 'pg_rewrite'::regclass
            JOIN pg_rewrite r ON r.oid = d.objid WHERE h.partition_name IS NOT NULL
        )
        SELECT string_agg(x.words, '; ' ORDER BY x.rank) FROM (SELECT h.* FROM holder h ORDER BY h.rank LIMIT 3) AS x);
END
$body$;
COMMENT ON FUNCTION who_holds(text, timestamptz) IS
    'Who keeps the expired days of a table from going at this moment: sessions that have it open, the oldest first, and views of somebody''s own. NULL: nobody.';

CREATE OR REPLACE FUNCTION just_cleaned(p_table text, p_days double precision, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN EXISTS (
        SELECT FROM (SELECT r.started_at, r.counts FROM public.job_runs r WHERE r.job = 'cleanup' AND r.outcome = 'succeeded' AND r.started_at <= p_now
                     ORDER BY r.started_at DESC LIMIT 1) AS last
        WHERE last.started_at > p_now - interval '26 hours' AND (last.counts->'past_term_days'->>p_table)::double precision < p_days);
END
$body$;
COMMENT ON FUNCTION just_cleaned(text, double precision, timestamptz) IS
    'Whether the last clean-up was a day ago at the most and left nothing in a table that was so many days past its term: what is so now was recorded late, and goes with the next.';

CREATE OR REPLACE FUNCTION retention_findings(p_now timestamptz) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_medium constant double precision := 2;
    c_high   constant double precision := 7;
BEGIN
    RETURN QUERY
    SELECT 'automon_storage', 'retention of ' || s.table_name, g.severity, floor(s.past_term_days), CASE g.severity WHEN 'high' THEN c_high ELSE c_medium END, 'days',
        CASE WHEN s.past_term_days >= 1 THEN format('oldest row is %s past its term', public.counted(floor(s.past_term_days), 'day'))
             ELSE format('nothing is past its term of %s', public.counted(s.kept_days, 'day')) END,
        CASE WHEN g.severity IS NOT NULL THEN jsonb_build_object(
            'measured', COALESCE('held open by ' || public.who_holds(s.table_name, p_now), 'nobody holds it open now: does the clean-up run?'),
            'totals', jsonb_build_object('kept_days', s.kept_days, 'oldest_day', s.oldest_day, 'days', s.partitions),
            'next', 'SELECT cleanup_old_monitoring_data()') END
    FROM public.retention_state(p_now) AS s
    CROSS JOIN LATERAL (
        SELECT CASE WHEN s.past_term_days < c_medium OR public.just_cleaned(s.table_name, c_medium, p_now) THEN NULL
                    WHEN s.past_term_days >= c_high THEN 'high' ELSE 'medium' END AS severity) AS g
    WHERE s.past_term_days IS NOT NULL;
END
$body$;
COMMENT ON FUNCTION retention_findings(timestamptz) IS 'automon_storage: for how many days a table of facts has held what is past its term.';

CREATE OR REPLACE FUNCTION preparation_findings(p_now timestamptz) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_tomorrow date := ((p_now AT TIME ZONE 'UTC')::date) + 1;
    v_is_near  boolean := p_now >= (v_tomorrow::timestamp AT TIME ZONE 'UTC') - interval '6 hours';
BEGIN
    RETURN QUERY
    SELECT 'automon_storage', 'days of ' || s.table_name, g.severity, (NOT s.has_today)::integer + (NOT s.has_tomorrow)::integer::double precision, 1::double precision, 'days',
        CASE WHEN NOT s.has_today THEN format('no partition for today, %s: it is made by who records first', v_tomorrow - 1)
             WHEN NOT s.has_tomorrow THEN format('no partition for tomorrow, %s', v_tomorrow) ELSE 'today and tomorrow have their partitions' END,
        CASE WHEN g.severity IS NOT NULL THEN jsonb_build_object(
            'measured', COALESCE('held open by ' || public.who_holds(s.table_name, p_now), 'nobody holds it open now'),
            'next', 'SELECT ensure_partitions()') END
    FROM public.retention_state(p_now) AS s
    CROSS JOIN LATERAL (SELECT CASE WHEN NOT s.has_today THEN 'critical' WHEN NOT s.has_tomorrow AND v_is_near THEN 'high' END AS severity) AS g;
END
$body$;
COMMENT ON FUNCTION preparation_findings(timestamptz) IS 'automon_storage: whether the partitions of today and, from six hours before it, of tomorrow (UTC) are there.';

CREATE OR REPLACE FUNCTION rollup_findings(p_now timestamptz) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_medium constant double precision := 60;
    c_high   constant double precision := 600;
BEGIN
    RETURN QUERY
    SELECT 'automon_storage', 'rollups', CASE WHEN b.seconds >= c_high THEN 'high' WHEN b.seconds >= c_medium THEN 'medium' END, b.seconds, CASE WHEN b.seconds >= c_high THEN c_high ELSE c_medium END, 's',
        CASE WHEN b.seconds >= c_medium THEN format('are %s behind the facts', public.in_words(b.seconds, 's')) ELSE 'are up to date' END,
        CASE WHEN b.seconds >= c_medium THEN jsonb_build_object('measured', l.why, 'impact', 'views and checks read facts instead, and are slower', 'next', 'SELECT roll_up()') END
    FROM public.rollup_lag(p_now) AS l
    -- What came together while no service ran is not late yet.
    CROSS JOIN LATERAL (SELECT LEAST(l.behind_seconds, (SELECT extract(epoch FROM p_now - min(i.started_at)) FROM public.service_instances i WHERE public.instance_lives(i, p_now)))::double precision AS seconds) AS b;
END
$body$;
COMMENT ON FUNCTION rollup_findings(timestamptz) IS 'automon_storage: for how long, in seconds, facts have waited to be rolled up while a service runs.';

CREATE OR REPLACE FUNCTION prepare_days(p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $body$
BEGIN
    PERFORM public.ensure_partitions(1, p_now);
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    RETURN false;       -- preparation_findings tells what is missing
END
$body$;
COMMENT ON FUNCTION prepare_days(timestamptz) IS 'Makes the partitions of yesterday, today and tomorrow, as far as that can be done within a second; false when it cannot.';

CREATE OR REPLACE FUNCTION evaluate_automon(p_now timestamptz DEFAULT now()) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT f.* FROM public.channel_findings(p_now) AS f
    UNION ALL SELECT f.* FROM public.job_findings(p_now) AS f
    UNION ALL SELECT f.* FROM public.retention_findings(p_now) AS f
    UNION ALL SELECT f.* FROM public.preparation_findings(p_now) AS f
    UNION ALL SELECT f.* FROM public.rollup_findings(p_now) AS f
    UNION ALL SELECT f.* FROM public.config_findings(p_now) AS f;
END
$body$;
COMMENT ON FUNCTION evaluate_automon(timestamptz) IS 'automon_channel, automon_job, automon_storage, automon_config: how automon''s own channels, jobs, tables and config files are.';

CREATE OR REPLACE FUNCTION check_automon_alerts(p_now timestamptz DEFAULT now()) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- After a long pause this may come before the first check, and a day is missing because nobody was there to make it.
    PERFORM public.prepare_days(p_now);
    RETURN public.apply_findings(ARRAY['automon_channel', 'automon_job', 'automon_storage', 'automon_config'], ARRAY(SELECT f FROM public.evaluate_automon(p_now) AS f), p_now);
END
$body$;
COMMENT ON FUNCTION check_automon_alerts(timestamptz) IS 'Checks automon''s own channels, jobs, tables and config files; answers how many alerts it changed.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
