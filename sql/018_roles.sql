-- Who may do what, said by the file that brings a function or a view: it calls open_to. What nobody opens stays closed.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE TABLE IF NOT EXISTS role_openings (
    role text NOT NULL,
    name text NOT NULL,
    CONSTRAINT role_openings_pkey PRIMARY KEY (role, name),
    CONSTRAINT role_is_known CHECK (role IN ('automon_writer', 'automon_reader', 'automon_operator'))
);
COMMENT ON TABLE role_openings IS 'The functions (all of a name) and views that are opened to a role; kept, so that a role that is made later finds them open.';
ALTER TABLE role_openings ENABLE ROW LEVEL SECURITY;

CREATE OR REPLACE FUNCTION open_to(p_role text, VARIADIC p_names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    INSERT INTO public.role_openings (role, name) SELECT p_role, n.name FROM unnest(p_names) AS n (name) ON CONFLICT DO NOTHING;
END
$body$;
COMMENT ON FUNCTION open_to(text, text[]) IS
    'Says that functions or views of these names are for a role; grant_to_roles then opens them. A file that adds one calls this before it ends. Idempotent.';

CREATE OR REPLACE FUNCTION role_functions(p_role text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY SELECT o.name FROM public.role_openings o WHERE o.role = p_role;
END
$body$;
COMMENT ON FUNCTION role_functions(text) IS 'The names of the functions and views that are opened to a role.';

CREATE OR REPLACE FUNCTION grant_to_roles() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $body$
DECLARE
    v_schema   text := current_schema();
    v_oid      oid := quote_ident(v_schema)::regnamespace;
    -- Only what this very transaction has made is closed: a schema is often shared with the application that is watched.
    v_this_run xid := pg_current_xact_id()::xid;
    v_everyone text;
    v_role     text;
    v_item     text;
BEGIN
    -- The web roles of managed services find "public" open by default privileges.
    SELECT concat_ws(', ', 'PUBLIC', string_agg(quote_ident(r.rolname), ', ')) INTO v_everyone FROM pg_catalog.pg_roles r WHERE r.rolname IN ('anon', 'authenticated');
    FOR v_item IN SELECT format('%I.%I', v_schema, c.relname) FROM pg_catalog.pg_class c
        WHERE c.relnamespace = v_oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.xmin = v_this_run LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', v_item, v_everyone);
    END LOOP;
    FOR v_item IN SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p WHERE p.pronamespace = v_oid AND p.xmin = v_this_run LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', v_item, v_everyone);
    END LOOP;
    FOREACH v_role IN ARRAY ARRAY['automon_writer', 'automon_reader', 'automon_operator'] LOOP
        CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = v_role);
        -- An owner of the tables need not own the schema; then an administrator has opened it.
        IF NOT has_schema_privilege(v_role, v_oid, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', v_schema, v_role);
        END IF;
        -- In a shared schema somebody else's function may bear a name of ours.
        FOR v_item IN SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = v_oid AND p.prokind = 'f' AND pg_has_role(p.proowner, 'USAGE') AND NOT has_function_privilege(v_role, p.oid, 'EXECUTE')
              AND (p.proname IN (SELECT role_functions(v_role))
                -- A view calls with the rights of whoever reads it.
                OR p.oid IN (SELECT d.refobjid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid JOIN pg_catalog.pg_depend d ON d.objid = w.oid
                    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_proc'::regclass AND c.relnamespace = v_oid AND c.relkind = 'v'
                      AND c.relname IN (SELECT role_functions(v_role)))) LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', v_item, v_role);
        END LOOP;
        FOR v_item IN SELECT format('%I.%I', v_schema, c.relname) FROM pg_catalog.pg_class c
            WHERE c.relnamespace = v_oid AND c.relkind = 'v' AND pg_has_role(c.relowner, 'USAGE') AND NOT has_table_privilege(v_role, c.oid, 'SELECT')
              AND c.relname IN (SELECT role_functions(v_role)) LOOP
            EXECUTE format('GRANT SELECT ON %s TO %I', v_item, v_role);
        END LOOP;
    END LOOP;
END
$body$;
COMMENT ON FUNCTION grant_to_roles() IS
    'Closes what the current transaction has made in the current schema to PUBLIC and to web roles, and opens what open_to has named, and what those views call, to the roles that exist. Idempotent.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;

DO $do$
BEGIN
    PERFORM open_to('automon_writer', 'start_task_tracking', 'complete_task_tracking', 'record_task_heartbeat', 'record_error', 'record_performance_metric',
        'update_system_health', 'update_queue_metrics', 'record_host_sample', 'record_tasks', 'record_errors', 'record_performance_metrics', 'record_facts');
    PERFORM open_to('automon_reader', 'get_dashboard_summary', 'get_task_statistics', 'get_component_uptime', 'get_alert_story', 'get_automon_health', 'get_deliveries',
        'evaluate_error_rate', 'evaluate_critical_errors', 'evaluate_failure_rate', 'evaluate_processing_time', 'evaluate_running_time', 'evaluate_component_health', 'evaluate_queue_backlog',
        'evaluate_hosts', 'evaluate_all', 'evaluate_automon', 'tasks_between', 'errors_between', 'rollup_lag', 'storage_report');
    PERFORM open_to('automon_operator', 'acknowledge_alert', 'resolve_alert', 'silence_alerts', 'end_silence', 'forget_source', 'resume_channel', 'send_canary');
    PERFORM open_to(r.role, 'v_realtime_processing_status', 'v_error_summary', 'v_system_health_summary', 'v_queue_performance', 'v_performance_trends', 'v_active_alerts',
        'v_deliveries')
    FROM (VALUES ('automon_reader'), ('automon_operator')) AS r (role);
END
$do$;

RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
