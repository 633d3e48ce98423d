-- Rollups: what was recorded, added up by minute and by hour, so that no view, summary or check pays for the age of the
-- installation.
--
--   facts --(roll_up: whatever was committed since its last look)--> task_minutes, task_hours, error_minutes, error_hours, metric_hours
--   tasks_between, errors_between: rollups, the raw edges of the span, and the few facts that are not rolled up yet
--
-- Each fact carries the transaction that recorded it (recorded_in, which the last file adds). What is rolled up is told by a snapshot (the first transaction that
-- had not begun, and those before it that were still open), so a fact that is committed late is counted once, whoever
-- holds a transaction open meanwhile.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE OR REPLACE FUNCTION recording_transaction() RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT pg_current_xact_id()::text::bigint + 0;
END;
COMMENT ON FUNCTION recording_transaction() IS
    'The current transaction as a number that grows for as long as the database lives: what a restored database adds to its server''s own numbers is put in by follow_server.';

-- ---------------------------------------------------------------------------------------------------------------
-- The tables.

CREATE TABLE IF NOT EXISTS rollup_state (
    only_row           boolean     PRIMARY KEY DEFAULT true,
    next_transaction   bigint      NOT NULL,
    open_transactions  bigint[]    NOT NULL,
    transaction_offset bigint      NOT NULL DEFAULT 0,
    rolled_at          timestamptz NOT NULL,
    minutes_since      timestamptz NOT NULL,
    hours_since        timestamptz NOT NULL,
    server             text,
    CONSTRAINT one_row CHECK (only_row),
    CONSTRAINT minutes_are_no_older_than_hours CHECK (minutes_since >= hours_since)
);
COMMENT ON TABLE rollup_state IS
    'What the rollups hold: the facts of every transaction before next_transaction but the open ones, as far as they happened after minutes_since and hours_since. Whatever else there is, is read from the facts.';

CREATE TABLE IF NOT EXISTS task_minutes (
    until       timestamptz      NOT NULL,
    task_type   text             NOT NULL,
    status      text             NOT NULL,
    bucket      integer          NOT NULL,
    tasks       bigint           NOT NULL,
    seconds     double precision NOT NULL,
    max_seconds double precision NOT NULL,
    input_size  numeric,
    output_size numeric,
    first_end   timestamptz      NOT NULL,
    last_end    timestamptz      NOT NULL,
    last_start  timestamptz      NOT NULL,
    workers     bit(512)         NOT NULL
) PARTITION BY RANGE (until);
COMMENT ON TABLE task_minutes IS
    'Ended tasks by minute (after until - 1 minute, to until), type, status and bucket of their duration in seconds; workers is a sketch of how many there were.';
CREATE UNIQUE INDEX IF NOT EXISTS one_row_per_minute_of_tasks ON task_minutes (until, task_type, status, bucket);

CREATE TABLE IF NOT EXISTS task_hours (LIKE task_minutes) WITH (fillfactor = 70);
COMMENT ON TABLE task_hours IS 'Ended tasks by hour (after until - 1 hour, to until), as in task_minutes.';
CREATE UNIQUE INDEX IF NOT EXISTS one_row_per_hour_of_tasks ON task_hours (until, task_type, status, bucket);

CREATE TABLE IF NOT EXISTS error_minutes (
    until        timestamptz NOT NULL,
    component    text        NOT NULL,
    error_type   text        NOT NULL,
    severity     text        NOT NULL,
    errors       bigint      NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    tasks        bit(512)    NOT NULL
) PARTITION BY RANGE (until);
COMMENT ON TABLE error_minutes IS
    'Errors by minute (after until - 1 minute, to until), component, type and severity; tasks is a sketch of how many tasks they were about.';
CREATE UNIQUE INDEX IF NOT EXISTS one_row_per_minute_of_errors ON error_minutes (until, component, error_type, severity);

CREATE TABLE IF NOT EXISTS error_hours (LIKE error_minutes) WITH (fillfactor = 70);
COMMENT ON TABLE error_hours IS 'Errors by hour (after until - 1 hour, to until), as in error_minutes.';
CREATE UNIQUE INDEX IF NOT EXISTS one_row_per_hour_of_errors ON error_hours (until, component, error_type, severity);

CREATE TABLE IF NOT EXISTS metric_hours (
    hour         timestamptz      NOT NULL,
    metric_name  text             NOT NULL,
    metric_type  text             NOT NULL,
    component    text             NOT NULL,
    unit         text             NOT NULL,
    bucket       integer          NOT NULL,
    measurements bigint           NOT NULL,
    total        double precision NOT NULL,
    min_value    double precision NOT NULL,
    max_value    double precision NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE metric_hours IS 'Measurements by UTC hour, what they are of, and bucket of their value.';
CREATE UNIQUE INDEX IF NOT EXISTS one_row_per_hour_of_measurements ON metric_hours (hour, metric_name, metric_type, component, unit, bucket);

ALTER TABLE rollup_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE task_minutes ENABLE ROW LEVEL SECURITY;
ALTER TABLE task_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE error_minutes ENABLE ROW LEVEL SECURITY;
ALTER TABLE error_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE metric_hours ENABLE ROW LEVEL SECURITY;

INSERT INTO monitoring_settings (name, value) VALUES ('retention.minutes_days', 8), ('retention.rollups_days', 400) ON CONFLICT (name) DO NOTHING;

CREATE OR REPLACE FUNCTION day_partitioned_tables() RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    VALUES ('processing_metrics_history'), ('error_tracking'), ('performance_monitoring'), ('queue_monitoring'), ('host_metrics'), ('task_minutes'), ('error_minutes');
END;
COMMENT ON FUNCTION day_partitioned_tables() IS 'The tables that are partitioned by UTC day.';

-- ---------------------------------------------------------------------------------------------------------------
-- Buckets and sketches.

CREATE OR REPLACE FUNCTION log_bucket(p_value double precision) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT (CASE WHEN p_value = 0 THEN 0
        ELSE sign(p_value) * (1000 + GREATEST(-999, LEAST(floor(ln(abs(p_value)) / ln(1.1::double precision)), 30000))) END)::integer;
END;
COMMENT ON FUNCTION log_bucket(double precision) IS
    'The bucket of a logarithmic histogram that a number falls into; each is a tenth wider than the one before. Grows with the number, negative ones included; all below 5e-42 share one.';

CREATE OR REPLACE FUNCTION percentiles_of(p_counts bigint[], p_means double precision[], p_fractions double precision[]) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_upto   bigint[] := ARRAY[]::bigint[];      -- how many values lie in a bucket or below it
    v_total  bigint := 0;
    v_count  bigint;
    v_rank   double precision;
    v_bucket integer := 1;
    v_next   integer;
    v_found  double precision[] := ARRAY[]::double precision[];
BEGIN
    FOREACH v_count IN ARRAY p_counts LOOP
        v_total := v_total + v_count;
        v_upto := v_upto || v_total;
    END LOOP;
    FOR v_index IN 1..cardinality(p_fractions) LOOP
        v_rank := p_fractions[v_index] * (v_total - 1);
        WHILE v_upto[v_bucket] <= floor(v_rank) LOOP
            v_bucket := v_bucket + 1;
        END LOOP;
        v_next := CASE WHEN v_upto[v_bucket] <= ceil(v_rank) THEN v_bucket + 1 ELSE v_bucket END;
        v_found := v_found || (p_means[v_bucket] + (v_rank - floor(v_rank)) * (p_means[v_next] - p_means[v_bucket]));
    END LOOP;
    RETURN v_found;
END
$body$;
COMMENT ON FUNCTION percentiles_of(bigint[], double precision[], double precision[]) IS
    'Percentiles as percentile_cont gives them, for rising fractions, of a histogram: how many values each bucket holds and their mean, by rising bucket. Off by less than a bucket''s width, and exact when the values of each bucket are equal.';

CREATE OR REPLACE FUNCTION sketch(p_name text) RETURNS bit(512)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_name IS NULL THEN repeat('0', 512)::bit(512)
        ELSE set_bit(repeat('0', 512)::bit(512), (hashtextextended(p_name, 0) & 511)::integer, 1) END;
END;
COMMENT ON FUNCTION sketch(text) IS 'A set of names as a bitmap, one bit a name, to be united by bit_or; count_sketched tells how many names there were.';

CREATE OR REPLACE FUNCTION count_sketched(p_sketch bit) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT round(-512 * ln(GREATEST(512 - bit_count(p_sketch), 1) / 512.0))::bigint;
END;
COMMENT ON FUNCTION count_sketched(bit) IS
    'About how many different names a sketch has seen, by linear counting (Whang, Vander-Zanden, Taylor 1990): within 2 for 50, within a tenth up to 2,000, and never more than 3,194.';

-- ---------------------------------------------------------------------------------------------------------------
-- Spans of time.

CREATE OR REPLACE FUNCTION end_of(p_step interval, p_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT date_bin(p_step, p_at - interval '1 microsecond', '0001-01-01 00:00:00+00') + p_step;
END;
COMMENT ON FUNCTION end_of(interval, timestamptz) IS 'The end of the minute (or hour) that a moment lies in; one that is itself such an end belongs to the minute before it.';

CREATE OR REPLACE FUNCTION rolled_span(
    p_from timestamptz, p_to timestamptz, p_minutes_since timestamptz, p_hours_since timestamptz,
    OUT begins timestamptz, OUT hours_begin timestamptz, OUT hours_end timestamptz, OUT ends timestamptz
)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_minute constant interval := interval '1 minute';
    c_hour   constant interval := interval '1 hour';
BEGIN
    begins := public.end_of(c_minute, p_from);
    IF begins < p_minutes_since THEN
        begins := GREATEST(public.end_of(c_hour, p_from), p_hours_since);
    END IF;
    ends := date_bin(c_minute, p_to, '0001-01-01 00:00:00+00');
    IF ends <= p_minutes_since THEN
        ends := date_bin(c_hour, p_to, '0001-01-01 00:00:00+00');
    END IF;
    IF begins >= ends THEN
        begins := p_to; ends := p_to; hours_begin := p_to; hours_end := p_to;
        RETURN;
    END IF;
    hours_begin := public.end_of(c_hour, begins);
    hours_end := date_bin(c_hour, ends, '0001-01-01 00:00:00+00');
    IF hours_begin >= hours_end THEN
        hours_begin := ends; hours_end := ends;
    END IF;
END
$body$;
COMMENT ON FUNCTION rolled_span(timestamptz, timestamptz, timestamptz, timestamptz) IS
    'The part of a span that rollups answer for: minutes from its beginning, hours in the middle, minutes to its end. What lies before and behind is read from the facts.';

CREATE OR REPLACE FUNCTION tasks_between(p_from timestamptz, p_to timestamptz, p_task_type text DEFAULT NULL, p_step interval DEFAULT NULL)
RETURNS TABLE (step integer, task_type text, status text, bucket integer, tasks bigint, seconds double precision, max_seconds double precision,
    input_size numeric, output_size numeric, first_end timestamptz, last_end timestamptz, last_start timestamptz, workers bit(512))
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $body$
#variable_conflict use_column
DECLARE
    v_state public.rollup_state;
    v_span  record;
BEGIN
    SELECT s.* INTO v_state FROM public.rollup_state s;
    v_span := public.rolled_span(p_from, p_to, v_state.minutes_since, CASE WHEN p_step IS NULL THEN v_state.hours_since ELSE v_state.minutes_since END);
    IF p_step IS NOT NULL THEN
        v_span.hours_begin := v_span.ends; v_span.hours_end := v_span.ends;
    END IF;
    RETURN QUERY
    WITH part AS (
        SELECT f.end_time AS until, f.task_type, f.status, f.bucket, 1 AS tasks, f.seconds, f.seconds AS max_seconds, f.input_size::numeric AS input_size, f.output_size::numeric AS output_size,
            f.end_time AS first_end, f.end_time AS last_end, f.start_time AS last_start, public.sketch(f.worker_id) AS workers
        FROM (
            SELECT e.* FROM public.task_facts e WHERE e.end_time > p_from AND e.end_time <= v_span.begins
            UNION ALL SELECT e.* FROM public.task_facts e WHERE e.end_time > v_span.ends AND e.end_time <= p_to
            UNION ALL SELECT e.* FROM public.task_facts e WHERE e.recorded_in >= v_state.next_transaction AND e.end_time > v_span.begins AND e.end_time <= v_span.ends
            UNION ALL SELECT e.* FROM public.task_facts e WHERE e.recorded_in = ANY (v_state.open_transactions) AND e.end_time > v_span.begins AND e.end_time <= v_span.ends
        ) AS f
        UNION ALL SELECT m.* FROM public.task_minutes m WHERE m.until > v_span.begins AND m.until <= v_span.hours_begin
        UNION ALL SELECT h.* FROM public.task_hours h WHERE h.until > v_span.hours_begin AND h.until <= v_span.hours_end
        UNION ALL SELECT m.* FROM public.task_minutes m WHERE m.until > v_span.hours_end AND m.until <= v_span.ends
    )
    SELECT g.step, p.task_type, p.status, p.bucket, sum(p.tasks)::bigint, sum(p.seconds), max(p.max_seconds), sum(p.input_size), sum(p.output_size),
        min(p.first_end), max(p.last_end), max(p.last_start), bit_or(p.workers)
    FROM part p CROSS JOIN LATERAL (SELECT public.step_of(p_step, p.until, p_to) AS step) AS g
    WHERE p_task_type IS NULL OR p.task_type = p_task_type
    GROUP BY g.step, p.task_type, p.status, p.bucket;
END
$body$;
COMMENT ON FUNCTION tasks_between(timestamptz, timestamptz, text, interval) IS
    'The tasks that ended after a moment and up to another, of one type or all, by type, status and bucket of their duration; with a step also by steps (0 the newest; to the minute, unless the end of the span is a whole one).';

CREATE OR REPLACE FUNCTION step_of(p_step interval, p_at timestamptz, p_to timestamptz) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE WHEN p_step IS NULL THEN 0 ELSE floor(GREATEST(extract(epoch FROM p_to - p_at), 0) / extract(epoch FROM p_step))::integer END;
END;
COMMENT ON FUNCTION step_of(interval, timestamptz, timestamptz) IS 'How many whole steps a moment lies before the end of a span; 0 without steps.';

CREATE OR REPLACE FUNCTION errors_between(p_from timestamptz, p_to timestamptz, p_component text DEFAULT NULL, p_step interval DEFAULT NULL)
RETURNS TABLE (step integer, component text, error_type text, severity text, errors bigint, first_at timestamptz, last_at timestamptz, tasks bit(512))
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $body$
#variable_conflict use_column
DECLARE
    v_state public.rollup_state;
    v_span  record;
BEGIN
    SELECT s.* INTO v_state FROM public.rollup_state s;
    v_span := public.rolled_span(p_from, p_to, v_state.minutes_since, CASE WHEN p_step IS NULL THEN v_state.hours_since ELSE v_state.minutes_since END);
    IF p_step IS NOT NULL THEN
        v_span.hours_begin := v_span.ends; v_span.hours_end := v_span.ends;
    END IF;
    RETURN QUERY
    WITH part AS (
        SELECT f.occurred_at AS until, f.component, f.error_type, f.severity, 1 AS errors, f.occurred_at AS first_at, f.occurred_at AS last_at,
            public.sketch(f.task_id) AS tasks
        FROM (
            SELECT e.* FROM public.error_facts e WHERE e.occurred_at > p_from AND e.occurred_at <= v_span.begins
            UNION ALL SELECT e.* FROM public.error_facts e WHERE e.occurred_at > v_span.ends AND e.occurred_at <= p_to
            UNION ALL SELECT e.* FROM public.error_facts e WHERE e.recorded_in >= v_state.next_transaction AND e.occurred_at > v_span.begins AND e.occurred_at <= v_span.ends
            UNION ALL SELECT e.* FROM public.error_facts e WHERE e.recorded_in = ANY (v_state.open_transactions) AND e.occurred_at > v_span.begins AND e.occurred_at <= v_span.ends
        ) AS f
        UNION ALL SELECT m.* FROM public.error_minutes m WHERE m.until > v_span.begins AND m.until <= v_span.hours_begin
        UNION ALL SELECT h.* FROM public.error_hours h WHERE h.until > v_span.hours_begin AND h.until <= v_span.hours_end
        UNION ALL SELECT m.* FROM public.error_minutes m WHERE m.until > v_span.hours_end AND m.until <= v_span.ends
    )
    SELECT g.step, p.component, p.error_type, p.severity, sum(p.errors)::bigint, min(p.first_at), max(p.last_at), bit_or(p.tasks)
    FROM part p CROSS JOIN LATERAL (SELECT public.step_of(p_step, p.until, p_to) AS step) AS g
    WHERE p_component IS NULL OR p.component = p_component
    GROUP BY g.step, p.component, p.error_type, p.severity;
END
$body$;
COMMENT ON FUNCTION errors_between(timestamptz, timestamptz, text, interval) IS
    'The errors after a moment and up to another, of one component or all, by component, type and severity; with a step also by steps (0 the newest; to the minute, unless the end of the span is a whole one).';

CREATE OR REPLACE FUNCTION metrics_since(p_hour timestamptz)
RETURNS TABLE (hour timestamptz, metric_name text, metric_type text, component text, unit text,
    measurements bigint, total double precision, min_value double precision, max_value double precision, counts bigint[], means double precision[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET enable_sort = off
AS $body$
#variable_conflict use_column
DECLARE
    v_state public.rollup_state;
    v_since timestamptz;
BEGIN
    SELECT s.* INTO v_state FROM public.rollup_state s;
    v_since := GREATEST(p_hour, v_state.hours_since);
    RETURN QUERY
    -- By itself and without a sort, because the index has it in the order in which it is needed, which the planner sees for young tables only.
    WITH rolled AS MATERIALIZED (
        SELECT r.hour, r.metric_name, r.metric_type, r.component, r.unit, sum(r.measurements)::bigint AS measurements, sum(r.total) AS total, min(r.min_value) AS min_value, max(r.max_value) AS max_value,
            array_agg(r.measurements ORDER BY r.bucket) AS counts, array_agg(r.total / r.measurements ORDER BY r.bucket) AS means
        FROM public.metric_hours r WHERE r.hour >= v_since GROUP BY r.hour, r.metric_name, r.metric_type, r.component, r.unit
    ), fresh AS MATERIALIZED (
        SELECT b.hour, b.metric_name, b.metric_type, b.component, b.unit, sum(b.measurements)::bigint AS measurements, sum(b.total) AS total, min(b.min_value) AS min_value, max(b.max_value) AS max_value,
            array_agg(b.measurements ORDER BY b.bucket) AS counts, array_agg(b.total / b.measurements ORDER BY b.bucket) AS means
        FROM (
            SELECT f.hour, f.metric_name, f.metric_type, f.component, f.unit, f.bucket, count(*) AS measurements, sum(f.value) AS total, min(f.value) AS min_value, max(f.value) AS max_value
            FROM (
                SELECT m.* FROM public.metric_facts m WHERE m.recorded_at >= p_hour AND m.recorded_at < v_since
                UNION ALL SELECT m.* FROM public.metric_facts m WHERE m.recorded_in >= v_state.next_transaction AND m.recorded_at >= v_since
                UNION ALL SELECT m.* FROM public.metric_facts m WHERE m.recorded_in = ANY (v_state.open_transactions) AND m.recorded_at >= v_since
            ) AS f GROUP BY 1, 2, 3, 4, 5, 6
        ) AS b GROUP BY 1, 2, 3, 4, 5
    )
    SELECT k.hour, k.metric_name, k.metric_type, k.component, k.unit, COALESCE(r.measurements, 0) + COALESCE(f.measurements, 0), COALESCE(r.total, 0) + COALESCE(f.total, 0),
        LEAST(r.min_value, f.min_value), GREATEST(r.max_value, f.max_value),
        CASE WHEN r.counts IS NULL OR f.counts IS NULL THEN COALESCE(r.counts, f.counts)
            ELSE (SELECT array_agg(u.count ORDER BY u.mean) FROM unnest(r.counts || f.counts, r.means || f.means) AS u (count, mean)) END,
        CASE WHEN r.counts IS NULL OR f.counts IS NULL THEN COALESCE(r.means, f.means)
            ELSE (SELECT array_agg(u.mean ORDER BY u.mean) FROM unnest(r.means || f.means) AS u (mean)) END
    FROM (
        SELECT x.hour, x.metric_name, x.metric_type, x.component, x.unit FROM rolled x
        UNION SELECT y.hour, y.metric_name, y.metric_type, y.component, y.unit FROM fresh y
    ) AS k
    LEFT JOIN rolled r ON (r.hour, r.metric_name, r.metric_type, r.component, r.unit) = (k.hour, k.metric_name, k.metric_type, k.component, k.unit)
    LEFT JOIN fresh f ON (f.hour, f.metric_name, f.metric_type, f.component, f.unit) = (k.hour, k.metric_name, k.metric_type, k.component, k.unit);
END
$body$;
COMMENT ON FUNCTION metrics_since(timestamptz) IS 'The measurements from the beginning of a UTC hour on, by hour and what they are of, with their histogram: the count and the mean of each bucket, rising.';

-- ---------------------------------------------------------------------------------------------------------------
-- The job. What it looks for is little, at the end of the index by recording, which the planner cannot know: hence the
-- order that it is read in, and the settings of its functions.

CREATE OR REPLACE FUNCTION add_tasks(p_state rollup_state, p_end bigint, p_still_open bigint[], p_until timestamptz DEFAULT 'infinity') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
AS $body$
DECLARE
    v_added bigint;
BEGIN
    WITH fact AS (
        (SELECT f.* FROM public.task_facts f WHERE f.recorded_in >= p_state.next_transaction AND f.recorded_in < p_end AND f.recorded_in <> ALL (p_still_open) AND f.end_time > p_state.hours_since AND f.end_time <= p_until ORDER BY f.recorded_in)
        UNION ALL (SELECT f.* FROM public.task_facts f WHERE f.recorded_in = ANY (p_state.open_transactions) AND f.recorded_in <> ALL (p_still_open) AND f.end_time > p_state.hours_since AND f.end_time <= p_until ORDER BY f.recorded_in)
    ), minute AS MATERIALIZED (
        SELECT public.end_of('1 minute', f.end_time) AS until, f.task_type, f.status, f.bucket, count(*) AS tasks, sum(f.seconds) AS seconds, max(f.seconds) AS max_seconds,
            sum(f.input_size) AS input_size, sum(f.output_size) AS output_size, min(f.end_time) AS first_end, max(f.end_time) AS last_end, max(f.start_time) AS last_start,
            bit_or(public.sketch(f.worker_id)) AS workers
        FROM fact f GROUP BY 1, 2, 3, 4
    ), minutes AS (
        INSERT INTO public.task_minutes AS r SELECT m.* FROM minute m WHERE m.until > p_state.minutes_since ORDER BY m.until, m.task_type, m.status, m.bucket
        ON CONFLICT (until, task_type, status, bucket) DO UPDATE
        SET tasks = r.tasks + excluded.tasks, seconds = r.seconds + excluded.seconds, max_seconds = GREATEST(r.max_seconds, excluded.max_seconds),
            input_size = COALESCE(r.input_size + excluded.input_size, r.input_size, excluded.input_size),
            output_size = COALESCE(r.output_size + excluded.output_size, r.output_size, excluded.output_size),
            first_end = LEAST(r.first_end, excluded.first_end), last_end = GREATEST(r.last_end, excluded.last_end), last_start = GREATEST(r.last_start, excluded.last_start),
            workers = r.workers | excluded.workers
    ), hours AS (
        INSERT INTO public.task_hours AS r
        SELECT public.end_of('1 hour', m.until), m.task_type, m.status, m.bucket, sum(m.tasks)::bigint, sum(m.seconds), max(m.max_seconds), sum(m.input_size), sum(m.output_size),
            min(m.first_end), max(m.last_end), max(m.last_start), bit_or(m.workers)
        FROM minute m GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (until, task_type, status, bucket) DO UPDATE
        SET tasks = r.tasks + excluded.tasks, seconds = r.seconds + excluded.seconds, max_seconds = GREATEST(r.max_seconds, excluded.max_seconds),
            input_size = COALESCE(r.input_size + excluded.input_size, r.input_size, excluded.input_size),
            output_size = COALESCE(r.output_size + excluded.output_size, r.output_size, excluded.output_size),
            first_end = LEAST(r.first_end, excluded.first_end), last_end = GREATEST(r.last_end, excluded.last_end), last_start = GREATEST(r.last_start, excluded.last_start),
            workers = r.workers | excluded.workers
    )
    SELECT COALESCE(sum(m.tasks), 0) INTO v_added FROM minute m;
    RETURN v_added;
END
$body$;
COMMENT ON FUNCTION add_tasks(rollup_state, bigint, bigint[], timestamptz) IS 'Rolls up the ended tasks of the transactions that a state lacks, before an end and but for those that are still open; of those that happened up to a moment; answers how many.';

CREATE OR REPLACE FUNCTION add_errors(p_state rollup_state, p_end bigint, p_still_open bigint[], p_until timestamptz DEFAULT 'infinity') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
AS $body$
DECLARE
    v_added bigint;
BEGIN
    WITH fact AS (
        (SELECT f.* FROM public.error_facts f WHERE f.recorded_in >= p_state.next_transaction AND f.recorded_in < p_end AND f.recorded_in <> ALL (p_still_open) AND f.occurred_at > p_state.hours_since AND f.occurred_at <= p_until ORDER BY f.recorded_in)
        UNION ALL (SELECT f.* FROM public.error_facts f WHERE f.recorded_in = ANY (p_state.open_transactions) AND f.recorded_in <> ALL (p_still_open) AND f.occurred_at > p_state.hours_since AND f.occurred_at <= p_until ORDER BY f.recorded_in)
    ), minute AS MATERIALIZED (
        SELECT public.end_of('1 minute', f.occurred_at) AS until, f.component, f.error_type, f.severity, count(*) AS errors, min(f.occurred_at) AS first_at, max(f.occurred_at) AS last_at,
            bit_or(public.sketch(f.task_id)) AS tasks
        FROM fact f GROUP BY 1, 2, 3, 4
    ), minutes AS (
        INSERT INTO public.error_minutes AS r SELECT m.* FROM minute m WHERE m.until > p_state.minutes_since ORDER BY m.until, m.component, m.error_type, m.severity
        ON CONFLICT (until, component, error_type, severity) DO UPDATE
        SET errors = r.errors + excluded.errors, first_at = LEAST(r.first_at, excluded.first_at), last_at = GREATEST(r.last_at, excluded.last_at), tasks = r.tasks | excluded.tasks
    ), hours AS (
        INSERT INTO public.error_hours AS r
        SELECT public.end_of('1 hour', m.until), m.component, m.error_type, m.severity, sum(m.errors)::bigint, min(m.first_at), max(m.last_at), bit_or(m.tasks)
        FROM minute m GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (until, component, error_type, severity) DO UPDATE
        SET errors = r.errors + excluded.errors, first_at = LEAST(r.first_at, excluded.first_at), last_at = GREATEST(r.last_at, excluded.last_at), tasks = r.tasks | excluded.tasks
    )
    SELECT COALESCE(sum(m.errors), 0) INTO v_added FROM minute m;
    RETURN v_added;
END
$body$;
COMMENT ON FUNCTION add_errors(rollup_state, bigint, bigint[], timestamptz) IS 'Rolls up the errors of the transactions that a state lacks, before an end and but for those that are still open; of those that happened up to a moment; answers how many.';

CREATE OR REPLACE FUNCTION add_metrics(p_state rollup_state, p_end bigint, p_still_open bigint[], p_until timestamptz DEFAULT 'infinity') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
AS $body$
DECLARE
    v_added bigint;
BEGIN
    WITH fact AS (
        (SELECT f.* FROM public.metric_facts f WHERE f.recorded_in >= p_state.next_transaction AND f.recorded_in < p_end AND f.recorded_in <> ALL (p_still_open) AND f.recorded_at >= p_state.hours_since AND f.recorded_at < p_until ORDER BY f.recorded_in)
        UNION ALL (SELECT f.* FROM public.metric_facts f WHERE f.recorded_in = ANY (p_state.open_transactions) AND f.recorded_in <> ALL (p_still_open) AND f.recorded_at >= p_state.hours_since AND f.recorded_at < p_until ORDER BY f.recorded_in)
    ), hour AS MATERIALIZED (
        SELECT f.hour, f.metric_name, f.metric_type, f.component, f.unit, f.bucket, count(*) AS measurements, sum(f.value) AS total, min(f.value) AS min_value, max(f.value) AS max_value
        FROM fact f GROUP BY 1, 2, 3, 4, 5, 6
    ), hours AS (
        INSERT INTO public.metric_hours AS r SELECT h.* FROM hour h ORDER BY h.hour, h.metric_name, h.metric_type, h.component, h.unit, h.bucket
        ON CONFLICT (hour, metric_name, metric_type, component, unit, bucket) DO UPDATE
        SET measurements = r.measurements + excluded.measurements, total = r.total + excluded.total,
            min_value = LEAST(r.min_value, excluded.min_value), max_value = GREATEST(r.max_value, excluded.max_value)
    )
    SELECT COALESCE(sum(h.measurements), 0) INTO v_added FROM hour h;
    RETURN v_added;
END
$body$;
COMMENT ON FUNCTION add_metrics(rollup_state, bigint, bigint[], timestamptz) IS 'Rolls up the measurements of the transactions that a state lacks, before an end and but for those that are still open; of those that happened up to a moment; answers how many.';

CREATE OR REPLACE FUNCTION waiting_facts(p_state rollup_state, p_limit integer) RETURNS TABLE (kind text, first_at timestamptz, last_at timestamptz, cut bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
AS $body$
BEGIN
    RETURN QUERY
    SELECT 'tasks', min(w.at), max(w.at), CASE WHEN count(*) > p_limit THEN max(w.recorded_in) END FROM (
        SELECT f.end_time AS at, f.recorded_in FROM public.processing_metrics_history f
        WHERE f.recorded_in >= p_state.next_transaction AND f.end_time > p_state.hours_since ORDER BY f.recorded_in LIMIT p_limit + 1) AS w
    UNION ALL
    SELECT 'errors', min(w.at), max(w.at), CASE WHEN count(*) > p_limit THEN max(w.recorded_in) END FROM (
        SELECT f.occurred_at AS at, f.recorded_in FROM public.error_tracking f
        WHERE f.recorded_in >= p_state.next_transaction AND f.occurred_at > p_state.hours_since ORDER BY f.recorded_in LIMIT p_limit + 1) AS w
    UNION ALL
    SELECT 'metrics', min(w.at), max(w.at), CASE WHEN count(*) > p_limit THEN max(w.recorded_in) END FROM (
        SELECT f.recorded_at AS at, f.recorded_in FROM public.performance_monitoring f
        WHERE f.recorded_in >= p_state.next_transaction AND f.recorded_at >= p_state.hours_since ORDER BY f.recorded_in LIMIT p_limit + 1) AS w;
    IF p_state.open_transactions <> '{}' THEN
        RETURN QUERY
        SELECT 'tasks', min(w.at), max(w.at), NULL::bigint FROM (
            SELECT f.end_time AS at FROM public.processing_metrics_history f
            WHERE f.recorded_in = ANY (p_state.open_transactions) AND f.end_time > p_state.hours_since ORDER BY f.recorded_in) AS w
        UNION ALL
        SELECT 'errors', min(w.at), max(w.at), NULL::bigint FROM (
            SELECT f.occurred_at AS at FROM public.error_tracking f
            WHERE f.recorded_in = ANY (p_state.open_transactions) AND f.occurred_at > p_state.hours_since ORDER BY f.recorded_in) AS w
        UNION ALL
        SELECT 'metrics', min(w.at), max(w.at), NULL::bigint FROM (
            SELECT f.recorded_at AS at FROM public.performance_monitoring f
            WHERE f.recorded_in = ANY (p_state.open_transactions) AND f.recorded_at >= p_state.hours_since ORDER BY f.recorded_in) AS w;
    END IF;
END
$body$;
COMMENT ON FUNCTION waiting_facts(rollup_state, integer) IS
    'From when to when the facts of each kind happened that a state lacks (empty for none; a kind may come twice), as far as a limited number goes; cut: the transaction that the next one is of, when there are more.';

CREATE OR REPLACE FUNCTION all_waiting(p_state rollup_state, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (SELECT jsonb_agg(to_jsonb(w)) FROM public.waiting_facts(p_state, p_limit) AS w WHERE w.first_at IS NOT NULL);
END
$body$;
COMMENT ON FUNCTION all_waiting(rollup_state, integer) IS 'What waiting_facts answers, as one value; NULL when nothing waits.';

CREATE OR REPLACE FUNCTION ensure_days(p_table text, p_first timestamptz, p_last timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    -- To the minute that the last moment belongs to, which may be the first of the next day.
    PERFORM public.ensure_day_partition(p_table, d.at)
    FROM generate_series(date_bin('1 day', p_first, '0001-01-01 00:00:00+00'), public.end_of('1 minute', p_last), interval '1 day') AS d (at);
END
$body$;
COMMENT ON FUNCTION ensure_days(text, timestamptz, timestamptz) IS 'Makes the partitions of all days from one moment to another; none for an empty moment.';

CREATE OR REPLACE FUNCTION server_identity() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (SELECT c.system_identifier::text FROM pg_control_system() AS c);
EXCEPTION WHEN insufficient_privilege THEN
    RETURN '';
END
$body$;
COMMENT ON FUNCTION server_identity() IS 'What tells this server from one that its databases were copied from; empty where that is not to be known.';

CREATE OR REPLACE FUNCTION follow_server(p_state rollup_state, p_now timestamptz) RETURNS rollup_state
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_newest bigint := GREATEST(p_state.next_transaction, (SELECT max(f.recorded_in) FROM public.processing_metrics_history f),
        (SELECT max(f.recorded_in) FROM public.error_tracking f), (SELECT max(f.recorded_in) FROM public.performance_monitoring f));
    v_first  bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    v_offset bigint := GREATEST(p_state.transaction_offset, v_newest + 1 - v_first, 0);
    v_since  timestamptz := date_bin('1 day', GREATEST(p_now, clock_timestamp()), '0001-01-01 00:00:00+00') + interval '1 day';
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION public.recording_transaction() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT pg_current_xact_id()::text::bigint + %s; END', v_offset);
    UPDATE public.rollup_state s
    SET next_transaction = v_first + v_offset, open_transactions = '{}', transaction_offset = v_offset, minutes_since = v_since, hours_since = v_since, server = public.server_identity()
    RETURNING s.* INTO p_state;
    RETURN p_state;
END
$body$;
COMMENT ON FUNCTION follow_server(rollup_state, timestamptz) IS
    'Begins anew, from the next UTC day on, on a server that numbers its transactions in another way, as after a restore from a dump; rebuild_rollups adds what is older.';

CREATE OR REPLACE FUNCTION locked_rollup_state(p_now timestamptz) RETURNS rollup_state
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_state public.rollup_state;
BEGIN
    SELECT s.* INTO v_state FROM public.rollup_state s FOR UPDATE SKIP LOCKED;
    IF v_state.server <> public.server_identity() THEN
        v_state := public.follow_server(v_state, p_now);
    END IF;
    RETURN v_state;
END
$body$;
COMMENT ON FUNCTION locked_rollup_state(timestamptz) IS 'The state of the rollups, kept from others until the transaction ends; NULL while another has it.';

CREATE OR REPLACE FUNCTION open_transactions(p_snapshot pg_snapshot, p_offset bigint, p_end bigint) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN ARRAY(SELECT x::text::bigint + p_offset FROM pg_snapshot_xip(p_snapshot) AS x WHERE x::text::bigint + p_offset < p_end);
END
$body$;
COMMENT ON FUNCTION open_transactions(pg_snapshot, bigint, bigint) IS 'The transactions before an end that were open at a snapshot, as recording_transaction numbers them.';

CREATE OR REPLACE FUNCTION add_facts(p_kind text, p_state rollup_state, p_end bigint, p_still_open bigint[], p_first timestamptz, p_last timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_instant constant interval := interval '1 microsecond';
BEGIN
    -- So that only the days are looked at that they belong to.
    p_state.hours_since := GREATEST(p_state.hours_since, CASE p_kind WHEN 'metrics' THEN p_first ELSE p_first - c_instant END);
    CASE p_kind
        WHEN 'tasks' THEN
            PERFORM public.ensure_days('task_minutes', GREATEST(p_first, p_state.minutes_since + c_instant), p_last);
            RETURN public.add_tasks(p_state, p_end, p_still_open, p_last);
        WHEN 'errors' THEN
            PERFORM public.ensure_days('error_minutes', GREATEST(p_first, p_state.minutes_since + c_instant), p_last);
            RETURN public.add_errors(p_state, p_end, p_still_open, p_last);
        WHEN 'metrics' THEN
            RETURN public.add_metrics(p_state, p_end, p_still_open, p_last + c_instant);
    END CASE;
END
$body$;
COMMENT ON FUNCTION add_facts(text, rollup_state, bigint, bigint[], timestamptz, timestamptz) IS
    'Rolls up the facts of a kind of the transactions that a state lacks, which happened between two moments; answers how many.';

CREATE OR REPLACE FUNCTION roll_up(p_limit integer DEFAULT 100000, p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_all constant integer := 2000000000;
    v_state    public.rollup_state; v_locked public.rollup_state;
    v_snapshot pg_snapshot;
    v_waiting  jsonb;
    v_kind     record;
    v_newest   bigint; v_cut bigint; v_end bigint;
    v_open     bigint[];
    v_added    jsonb := jsonb_build_object('tasks', 0, 'errors', 0, 'metrics', 0);
BEGIN
    SELECT s.* INTO v_state FROM public.rollup_state s;
    v_snapshot := pg_current_snapshot();
    v_waiting := public.all_waiting(v_state, p_limit);
    IF v_state.server = public.server_identity() AND v_waiting IS NULL THEN
        -- Whoever else is at it, a check say, may be so for long.
        UPDATE public.rollup_state s SET rolled_at = clock_timestamp()
        WHERE s.only_row IN (SELECT x.only_row FROM public.rollup_state x WHERE x.rolled_at < clock_timestamp() - interval '5 seconds' FOR UPDATE SKIP LOCKED);
        RETURN v_added || '{"more": false}';
    END IF;
    v_locked := public.locked_rollup_state(p_now);
    IF v_locked IS NULL THEN
        RETURN NULL;
    ELSIF (v_locked.next_transaction, v_locked.open_transactions) IS DISTINCT FROM (v_state.next_transaction, v_state.open_transactions) THEN
        -- Another has looked further meanwhile.
        v_snapshot := pg_current_snapshot();
        v_waiting := public.all_waiting(v_locked, p_limit);
    END IF;
    v_state := v_locked;
    v_newest := pg_snapshot_xmax(v_snapshot)::text::bigint + v_state.transaction_offset;
    v_cut := (SELECT min((w->>'cut')::bigint) FROM jsonb_array_elements(v_waiting) AS w);
    IF v_cut = v_state.next_transaction THEN
        -- A transaction is rolled up as a whole, however large it is.
        v_cut := v_cut + 1;
        v_waiting := public.all_waiting(v_state, c_all);
    END IF;
    v_end := LEAST(v_newest, v_cut);
    v_open := public.open_transactions(v_snapshot, v_state.transaction_offset, v_end);
    FOR v_kind IN
        SELECT w.kind, min(w.first_at) AS first_at, max(w.last_at) AS last_at FROM jsonb_to_recordset(v_waiting) AS w (kind text, first_at timestamptz, last_at timestamptz)
        GROUP BY w.kind
    LOOP
        v_added := v_added || jsonb_build_object(v_kind.kind, public.add_facts(v_kind.kind, v_state, v_end, v_open, v_kind.first_at, v_kind.last_at));
    END LOOP;
    UPDATE public.rollup_state s SET next_transaction = v_end, open_transactions = v_open, rolled_at = clock_timestamp();
    RETURN v_added || jsonb_build_object('more', v_end < v_newest);
END
$body$;
COMMENT ON FUNCTION roll_up(integer, timestamptz) IS
    'Rolls up what has been recorded since it was last called, a limited number of facts of each kind, and answers how many of each; "more": call it again. NULL while another session is at it. What the service does every second, and every check before it judges.';

CREATE OR REPLACE FUNCTION rebuild_rollups(p_now timestamptz DEFAULT now()) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_state    public.rollup_state;
    v_snapshot pg_snapshot;
    v_end      bigint;
    v_open     bigint[];
    v_tasks    timestamptz := public.first_kept_day('processing', p_now);
    v_errors   timestamptz := public.first_kept_day('errors_low', p_now);
    v_metrics  timestamptz := public.first_kept_day('performance', p_now);
    c_day      constant interval := interval '1 day';
    v_oldest   timestamptz := (SELECT min(d.day)::timestamp AT TIME ZONE 'UTC' FROM public.day_partitions(p_now) AS d);
    v_day      timestamptz;
    v_counts   bigint[] := ARRAY[0, 0, 0]::bigint[];
BEGIN
    PERFORM FROM public.rollup_state s FOR UPDATE;
    -- Whoever records into a day that has no index by recording yet waits for the end of this.
    PERFORM public.index_day(t.name || '_recorded_in', t.name, d.leaf)
    FROM (VALUES ('processing_metrics_history'), ('error_tracking'), ('performance_monitoring')) AS t (name) CROSS JOIN LATERAL public.unindexed_days(t.name || '_recorded_in', t.name) AS d;
    v_state := public.locked_rollup_state(p_now);
    v_snapshot := pg_current_snapshot();
    v_end := pg_snapshot_xmax(v_snapshot)::text::bigint + v_state.transaction_offset;
    v_open := public.open_transactions(v_snapshot, v_state.transaction_offset, v_end);

    DELETE FROM public.task_minutes;
    DELETE FROM public.error_minutes;
    DELETE FROM public.task_hours h WHERE h.until > v_tasks;
    DELETE FROM public.error_hours h WHERE h.until > v_errors;
    DELETE FROM public.metric_hours h WHERE h.hour >= v_metrics;
    v_state.next_transaction := 0;
    v_state.open_transactions := '{}';
    v_state.hours_since := LEAST(v_state.hours_since, v_tasks, v_errors, v_metrics);
    v_state.minutes_since := GREATEST(v_state.hours_since, public.first_kept_day('minutes', p_now));
    UPDATE public.rollup_state s
    SET next_transaction = v_end, open_transactions = v_open, hours_since = v_state.hours_since, minutes_since = v_state.minutes_since, rolled_at = clock_timestamp();

    PERFORM public.ensure_days(t.name, GREATEST(v_state.minutes_since, LEAST(v_tasks, v_errors)), p_now + c_day) FROM (VALUES ('task_minutes'), ('error_minutes')) AS t (name);
    -- Older hours are kept: the facts that they were made of may be gone.
    FOR v_day IN SELECT d.at FROM generate_series(GREATEST(LEAST(v_tasks, v_errors, v_metrics), v_oldest), p_now + c_day, c_day) AS d (at) LOOP
        v_state.hours_since := v_day;
        IF v_day >= v_tasks THEN v_counts[1] := v_counts[1] + public.add_tasks(v_state, v_end, v_open, v_day + c_day); END IF;
        IF v_day >= v_errors THEN v_counts[2] := v_counts[2] + public.add_errors(v_state, v_end, v_open, v_day + c_day); END IF;
        IF v_day >= v_metrics THEN v_counts[3] := v_counts[3] + public.add_metrics(v_state, v_end, v_open, v_day + c_day); END IF;
    END LOOP;
    RETURN jsonb_build_object('tasks', v_counts[1], 'errors', v_counts[2], 'metrics', v_counts[3]);
END
$body$;
COMMENT ON FUNCTION rebuild_rollups(timestamptz) IS
    'Makes the rollups anew, in one transaction, from all facts that their retention still keeps; answers how many of each. Readers see the old ones until then, and the job waits.';

CREATE OR REPLACE FUNCTION first_kept_day(p_setting text, p_now timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN date_bin('1 day', public.term_ended(p_now, public.setting('retention.' || p_setting || '_days')), '0001-01-01 00:00:00+00');
END
$body$;
COMMENT ON FUNCTION first_kept_day(text, timestamptz) IS 'The beginning of the first UTC day that a setting of the retention still keeps.';

CREATE OR REPLACE FUNCTION forget_rollups(p_now timestamptz, p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_first   timestamptz := public.first_kept_day('rollups', p_now);
    v_tasks   integer; v_errors integer; v_metrics integer;
BEGIN
    DELETE FROM public.task_hours h WHERE h.ctid = ANY (ARRAY(SELECT x.ctid FROM public.task_hours x WHERE x.until <= v_first LIMIT p_limit));
    GET DIAGNOSTICS v_tasks = ROW_COUNT;
    DELETE FROM public.error_hours h WHERE h.ctid = ANY (ARRAY(SELECT x.ctid FROM public.error_hours x WHERE x.until <= v_first LIMIT p_limit));
    GET DIAGNOSTICS v_errors = ROW_COUNT;
    DELETE FROM public.metric_hours h WHERE h.ctid = ANY (ARRAY(SELECT x.ctid FROM public.metric_hours x WHERE x.hour < v_first LIMIT p_limit));
    GET DIAGNOSTICS v_metrics = ROW_COUNT;
    RETURN v_tasks + v_errors + v_metrics;
END
$body$;
COMMENT ON FUNCTION forget_rollups(timestamptz, integer) IS 'Deletes hours that have passed their term, a limited number of each kind; answers how many.';

CREATE OR REPLACE FUNCTION rollup_lag(p_now timestamptz DEFAULT clock_timestamp())
RETURNS TABLE (behind_seconds double precision, rolled_at timestamptz, facts_wait boolean, open_transactions integer, since timestamptz, why text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    c_worth_saying constant double precision := 10;
    v_state  public.rollup_state;
    v_wait   boolean;
    v_behind double precision;
BEGIN
    SELECT s.* INTO v_state FROM public.rollup_state s;
    v_wait := public.all_waiting(v_state, 1) IS NOT NULL;
    v_behind := CASE WHEN v_wait THEN GREATEST(extract(epoch FROM p_now - v_state.rolled_at), 0) ELSE 0 END;
    RETURN QUERY SELECT v_behind, v_state.rolled_at, v_wait, cardinality(v_state.open_transactions), NULLIF(v_state.hours_since, '-infinity'), CASE
        WHEN v_state.server <> public.server_identity() THEN 'the database came from another server, and nothing has been rolled up since'
        WHEN v_behind <= c_worth_saying THEN NULL
        ELSE COALESCE((
            SELECT format('%s (process %s) is at it since %s', COALESCE(NULLIF(a.application_name, ''), 'a session'), a.pid, a.xact_start)
            FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.relation = 'public.rollup_state'::regclass AND l.mode IN ('RowShareLock', 'RowExclusiveLock') AND l.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
            ORDER BY a.xact_start LIMIT 1), 'nobody has rolled up since ' || v_state.rolled_at) END;
END
$body$;
COMMENT ON FUNCTION rollup_lag(timestamptz) IS
    'How far the rollups are behind the facts, in seconds, and from ten seconds on why. What is behind is read from the facts meanwhile: slower, and as exact. Facts of open transactions are added when these end. since: what happened before is always read from the facts, until rebuild_rollups; NULL for nothing.';

-- ---------------------------------------------------------------------------------------------------------------
-- Indexes by day. Making one on a day that holds facts holds up whoever records into it: at an upgrade only empty days
-- get it, and those that have passed get it later, one at a time.

CREATE OR REPLACE FUNCTION index_day(p_index text, p_table text, p_leaf oid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_leaf  text := (SELECT c.relname FROM pg_class c WHERE c.oid = p_leaf);
    v_index text := v_leaf || substr(p_index, length(p_table) + 1);
BEGIN
    EXECUTE format('CREATE INDEX %I ON public.%I %s', v_index, v_leaf, substring(pg_get_indexdef(('public.' || quote_ident(p_index))::regclass) FROM 'USING .*'));
    EXECUTE format('ALTER INDEX public.%I ATTACH PARTITION public.%I', p_index, v_index);
END
$body$;
COMMENT ON FUNCTION index_day(text, text, oid) IS 'Makes the part of a partitioned index that belongs to a day.';

CREATE OR REPLACE FUNCTION unindexed_days(p_index text, p_table text) RETURNS TABLE (leaf oid, day date, is_used boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT c.oid, to_date(right(c.relname, 8), 'YYYYMMDD'), pg_relation_size(c.oid) > 0
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = ('public.' || quote_ident(p_table))::regclass AND NOT EXISTS (
        SELECT FROM pg_inherits x JOIN pg_index d ON d.indexrelid = x.inhrelid WHERE x.inhparent = ('public.' || quote_ident(p_index))::regclass AND d.indrelid = c.oid)
    ORDER BY c.relname;
END
$body$;
COMMENT ON FUNCTION unindexed_days(text, text) IS 'The days of a table that lack their part of a partitioned index, and whether they hold anything.';

CREATE OR REPLACE FUNCTION index_empty_days(p_index text, p_table text) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_day   record;
    v_since timestamptz := timestamptz '-infinity';
BEGIN
    FOR v_day IN SELECT d.* FROM public.unindexed_days(p_index, p_table) AS d LOOP
        IF v_day.is_used THEN
            v_since := GREATEST(v_since, (v_day.day + 1)::timestamp AT TIME ZONE 'UTC');
        ELSE
            PERFORM public.index_day(p_index, p_table, v_day.leaf);
        END IF;
    END LOOP;
    RETURN v_since;
END
$body$;
COMMENT ON FUNCTION index_empty_days(text, text) IS 'Makes the parts of a partitioned index for the days that are empty; answers from when on every day has its part.';

CREATE OR REPLACE FUNCTION index_past_day(p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '10ms'
AS $body$
DECLARE
    v_day record;
BEGIN
    SELECT i.relname AS index_name, t.relname AS table_name, d.leaf INTO v_day
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    JOIN public.day_partitioned_tables() AS n (name) ON t.oid = to_regclass('public.' || quote_ident(n.name))
    CROSS JOIN LATERAL public.unindexed_days(i.relname, t.relname) AS d
    WHERE NOT x.indisvalid AND d.day < (p_now AT TIME ZONE 'UTC')::date - 1 ORDER BY d.day LIMIT 1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM public.index_day(v_day.index_name, v_day.table_name, v_day.leaf);
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$body$;
COMMENT ON FUNCTION index_past_day(timestamptz) IS
    'Makes the part of a partitioned index for one day before yesterday that an upgrade has left out; false when there is none, or somebody writes to it. Who records into that day meanwhile waits.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
DO $do$ BEGIN PERFORM ensure_partitions(); END $do$;
RESET client_min_messages;
RESET check_function_bodies;
