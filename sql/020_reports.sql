-- What people read.
SET check_function_bodies = off;
SET client_min_messages = warning;

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
    PERFORM open_to('automon_reader', 'export_facts', 'export_estimate');
END
$do$;

RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
