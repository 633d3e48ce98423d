-- How 0.1.0 calls the database, in an order that works on a fresh one. Written down at its release; not to be changed.
-- Behind a statement stands what its first column answers, where that is always the same.

-- From psql, as documented.
SELECT start_task_tracking('task-123', 'document_processing', 1024, 'worker-01') -- True
SELECT record_task_heartbeat('task-123', 50, 'reading') -- True
SELECT complete_task_tracking('task-123', 'completed', 2048, '{"step1": 1.2}') -- True
SELECT record_error('task-123', 'validation_error', 'medium', 'Invalid input', 'processor') -- True
SELECT record_performance_metric('latency', 'gauge', 3) -- True
SELECT update_system_health('api', 'main_api', 'healthy', 50) -- True
SELECT update_system_health('api', 'main_api', 'unhealthy', 80, 'timeout') -- True
SELECT update_queue_metrics('mail', 700, 1, 10, 0, 60) -- True

-- From the client: every argument by its name, the values as literals, the moment last.
SELECT public.start_task_tracking("p_task_id" => '0198a1', "p_task_type" => 'ocr', "p_input_size" => 1024, "p_worker_id" => 'host-1', "p_at" => '2026-01-02 03:04:05+00:00'::timestamptz) -- True
SELECT public.record_task_heartbeat("p_task_id" => '0198a1', "p_progress" => 50.0, "p_step" => NULL, "p_at" => '2026-01-02 03:04:06+00:00'::timestamptz) -- True
SELECT public.record_error("p_task_id" => '0198a1', "p_error_type" => 'timeout', "p_severity" => 'medium', "p_error_message" => 'no answer', "p_component" => 'processor', "p_stack_trace" => NULL, "p_context" => '{"a": 1}'::jsonb, "p_at" => '2026-01-02 03:04:06+00:00'::timestamptz) -- True
SELECT public.complete_task_tracking("p_task_id" => '0198a1', "p_status" => 'failed', "p_output_size" => NULL, "p_step_timings" => '{"read": 1.5}'::jsonb, "p_error_message" => 'no answer', "p_at" => '2026-01-02 03:04:07+00:00'::timestamptz) -- True
SELECT public.start_task_tracking("p_task_id" => '0198a2', "p_task_type" => 'ocr', "p_input_size" => NULL, "p_worker_id" => 'host-1', "p_at" => '2026-01-02 03:04:05+00:00'::timestamptz) -- True
SELECT public.record_performance_metric("p_metric_name" => 'processing_duration', "p_metric_type" => 'response_time', "p_value" => 1.25, "p_unit" => 'seconds', "p_component" => 'processor', "p_tags" => '{}'::jsonb, "p_at" => '2026-01-02 03:04:05+00:00'::timestamptz) -- True
SELECT public.update_system_health("p_component_type" => 'api', "p_component_name" => 'other_api', "p_status" => 'healthy', "p_response_time_ms" => 12.5, "p_failure_reason" => NULL, "p_details" => '{}'::jsonb, "p_at" => '2026-01-02 03:04:05+00:00'::timestamptz) -- True
SELECT public.update_queue_metrics("p_queue_name" => 'import', "p_pending" => 3, "p_processing" => 1, "p_completed" => 0, "p_failed" => 0, "p_oldest_pending_seconds" => 1.5, "p_at" => '2026-01-02 03:04:05+00:00'::timestamptz) -- True

-- From the service: every argument by its place, with the types that its driver gives them.
SELECT * FROM public.beat('host-1:1', '0.1.0', 'no service ran')
SELECT * FROM public.sync_configuration('{"thresholds": [{"alert_type": "queue_backlog", "source": "*", "low": 50, "medium": 100, "high": 200, "critical": 500}], "settings": {}, "channels": [{"name": "ops", "recipients": [""], "min_severity": "low", "notify_on": ["opened", "resolved", "acknowledged"]}]}'::jsonb)
SELECT * FROM public.record_host_sample('host-1', '{"cpu_percent": 3.5, "disks": [{"mount": "/", "percent": 20}]}'::jsonb, now()) -- True
SELECT * FROM public.claim_job_run('alert_checks', 'host-1:1', '300 s'::interval, NULL) -- 1
SELECT * FROM public.run_monitoring_checks(now()) -- 1
SELECT * FROM public.finish_job_run(1::smallint, 'succeeded', '{"changed": 1}'::jsonb, NULL) -- True
SELECT * FROM public.begin_job_run('host_sampling', 'host-1:1') -- 2
SELECT * FROM public.next_delivery_in('ops')
SELECT * FROM public.claim_delivery('ops', 'host-1:1', '120 s'::interval, '0'::interval)
SELECT * FROM public.finish_delivery_attempt(1::smallint, 'host-1:1', 'failed', 0.2::float8, 'HTTP 503', 'unreachable', '1 s'::interval, NULL, '1 s'::interval, false) -- True
SELECT * FROM public.tend_deliveries(now())
SELECT * FROM public.check_automon_alerts(now())
SELECT * FROM public.get_automon_health()
SELECT * FROM public.report_outage('host-1', now() - interval '2 minutes', now()) -- True
SELECT * FROM public.cleanup_old_monitoring_data(now())
SELECT * FROM public.leave('host-1:1')

-- From the command line.
SELECT * FROM public.get_dashboard_summary(now())
SELECT "id", "alert_type", "source", "severity", "status", "summary", "opened_at", "age_seconds", "last_seen_at", "peak_summary", "peak_at", "acknowledged_at", "acknowledged_by", "acknowledged_note", "silenced_until", "evidence" FROM public.v_active_alerts
SELECT * FROM public.get_alert_story(1::smallint)
SELECT * FROM public.acknowledge_alert(1::smallint, 'kim', 'looking') -- True
SELECT * FROM public.silence_alerts('mail', '2 h'::interval, 'known', 'kim', '*') -- 1
SELECT * FROM public.end_silence(1::smallint) -- True
SELECT * FROM public.get_deliveries('ops', NULL, NULL, NULL::smallint[], false, 50::smallint)
SELECT * FROM public.get_deliveries(NULL, 1::smallint, NULL, '{1,2}'::smallint[], true, 50::smallint)
SELECT * FROM public.resume_channel('ops')
SELECT * FROM public.send_canary('kim', 'ops')
SELECT * FROM public.resolve_alert(1::smallint, 'kim', NULL) -- True

-- From cron, as documented.
SELECT get_dashboard_summary()
SELECT check_error_rate_alerts()
SELECT check_processing_performance_alerts()
SELECT check_system_health_alerts()
SELECT check_queue_backlog_alerts()
SELECT check_host_alerts()
SELECT resolve_resolved_alerts()
SELECT run_monitoring_checks()
SELECT cleanup_old_monitoring_data()
SELECT ensure_partitions()
SELECT * FROM get_task_statistics()
SELECT * FROM get_component_uptime('api', 'main_api')
SELECT set_threshold('error_rate', '*', 25, 50, 75, 100)
SELECT set_setting('retention.queue_days', 7)
SELECT setting('retention.queue_days')
SELECT forget_source('queue', 'mail') -- True
