-- Configuration: who changed it and when, what was rejected, and what in force is not what the file says.
SET check_function_bodies = off;
SET client_min_messages = warning;

CREATE SEQUENCE IF NOT EXISTS config_changes_id_seq;

CREATE TABLE IF NOT EXISTS config_changes (
    id              bigint      PRIMARY KEY DEFAULT nextval('config_changes_id_seq'),
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    noticed_by      text        NOT NULL,
    outcome         text        NOT NULL DEFAULT 'accepted',
    actor           text        NOT NULL,
    instance        text,
    host            text,
    path            text,
    file_changed_at timestamptz,
    changes         jsonb       NOT NULL DEFAULT '[]',
    problems        jsonb       NOT NULL DEFAULT '[]',
    CONSTRAINT noticed_by_is_known CHECK (noticed_by IN ('start', 'watch', 'reload', 'sync', 'sql')),
    CONSTRAINT outcome_is_known CHECK (outcome IN ('accepted', 'rejected')),
    CONSTRAINT problems_iff_rejected CHECK ((outcome = 'rejected') = (problems <> '[]')),
    CONSTRAINT file_set_iff_judged_by_a_service CHECK ((noticed_by IN ('start', 'watch', 'reload')) = (instance IS NOT NULL AND host IS NOT NULL AND path IS NOT NULL))
);
COMMENT ON TABLE config_changes IS
    'What became of each edit of a config file (noticed at a start, by the watch or at a reload), each change by SQL past the file (sql), and what of that a service put back (sync). actor: of a file its owner, who need not have written it; else the user of the database session. changes: [{key, old, new, line}]; problems: [{line, column, key, message, allowed}].';
CREATE INDEX IF NOT EXISTS config_changes_at ON config_changes (at);
CREATE INDEX IF NOT EXISTS config_changes_instance ON config_changes (instance, id);
ALTER TABLE config_changes ENABLE ROW LEVEL SECURITY;

CREATE TABLE IF NOT EXISTS config_files (
    host        text        NOT NULL,
    path        text        NOT NULL,
    accepted_at timestamptz NOT NULL,
    entries     jsonb       NOT NULL,
    CONSTRAINT config_files_pkey PRIMARY KEY (host, path)
);
COMMENT ON TABLE config_files IS 'What each config file said when it was last accepted, by key and without secrets: what it says at the next start is compared with this.';
ALTER TABLE config_files ENABLE ROW LEVEL SECURITY;

CREATE TABLE IF NOT EXISTS config_in_force (
    only_row  boolean     PRIMARY KEY DEFAULT true,
    synced_at timestamptz NOT NULL,
    document  jsonb       NOT NULL,
    CONSTRAINT one_row CHECK (only_row)
);
COMMENT ON TABLE config_in_force IS 'The thresholds and settings that a service put in force last. No row: none has.';
ALTER TABLE config_in_force ENABLE ROW LEVEL SECURITY;

-- ---------------------------------------------------------------------------------------------------------------
-- What was changed past the file.

CREATE OR REPLACE FUNCTION level_changes(p_alert_type text, p_source text, p_old jsonb, p_new jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- A source without levels of its own has those of every source.
    v_rest jsonb := (SELECT to_jsonb(t) FROM public.monitoring_thresholds t WHERE t.alert_type = p_alert_type AND t.source = '*');
    v_old  jsonb := COALESCE(p_old, v_rest, '{}');
    v_new  jsonb := COALESCE(p_new, v_rest, '{}');
BEGIN
    RETURN (
        SELECT COALESCE(jsonb_agg(jsonb_build_object('key', concat_ws('.', 'thresholds', p_alert_type, p_source, l.level), 'old', v_old->l.level, 'new', v_new->l.level) ORDER BY l.rank), '[]')
        FROM (VALUES ('low', 1), ('medium', 2), ('high', 3), ('critical', 4)) AS l (level, rank)
        WHERE (v_old->>l.level) IS DISTINCT FROM (v_new->>l.level));
END
$body$;
COMMENT ON FUNCTION level_changes(text, text, jsonb, jsonb) IS 'The levels in which two rows of monitoring_thresholds differ, as config_changes keeps them. NULL: there is no row.';

CREATE OR REPLACE FUNCTION note_change_by_sql() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_old     jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    v_new     jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    v_row     jsonb := COALESCE(v_new, v_old);
    v_changes jsonb;
BEGIN
    -- What sync_configuration does is told by the service that calls it.
    IF current_setting('automon.syncing', true) = 'on' THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'monitoring_thresholds' THEN
        v_changes := public.level_changes(v_row->>'alert_type', v_row->>'source', v_old, v_new);
    ELSIF v_old->>'value' IS DISTINCT FROM v_new->>'value' THEN
        v_changes := jsonb_build_array(jsonb_build_object('key', 'settings.' || (v_row->>'name'), 'old', v_old->'value', 'new', v_new->'value'));
    END IF;
    IF v_changes <> '[]' THEN
        INSERT INTO public.config_changes (noticed_by, actor, changes) VALUES ('sql', session_user, v_changes);
    END IF;
    RETURN NULL;
END
$body$;
COMMENT ON FUNCTION note_change_by_sql() IS 'Keeps in config_changes which session''s user has changed a threshold or a setting past the config file, and how.';

CREATE OR REPLACE FUNCTION stamp_change_by_sql() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF (NEW.origin, NEW.updated_at) = (OLD.origin, OLD.updated_at) THEN
        NEW.origin := 'sql';
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$body$;
COMMENT ON FUNCTION stamp_change_by_sql() IS 'Says of a row that an UPDATE has changed and not said so that SQL has changed it, and when.';

-- The tables are read by every check and written by hardly anybody: nobody waits for this.
DROP TRIGGER IF EXISTS note_change_by_sql ON monitoring_thresholds;
CREATE TRIGGER note_change_by_sql AFTER INSERT OR UPDATE OR DELETE ON monitoring_thresholds FOR EACH ROW EXECUTE FUNCTION note_change_by_sql();
DROP TRIGGER IF EXISTS note_change_by_sql ON monitoring_settings;
CREATE TRIGGER note_change_by_sql AFTER UPDATE ON monitoring_settings FOR EACH ROW EXECUTE FUNCTION note_change_by_sql();
DROP TRIGGER IF EXISTS stamp_change_by_sql ON monitoring_thresholds;
CREATE TRIGGER stamp_change_by_sql BEFORE UPDATE ON monitoring_thresholds FOR EACH ROW WHEN (NEW IS DISTINCT FROM OLD) EXECUTE FUNCTION stamp_change_by_sql();
DROP TRIGGER IF EXISTS stamp_change_by_sql ON monitoring_settings;
CREATE TRIGGER stamp_change_by_sql BEFORE UPDATE ON monitoring_settings FOR EACH ROW WHEN (NEW IS DISTINCT FROM OLD) EXECUTE FUNCTION stamp_change_by_sql();

CREATE OR REPLACE FUNCTION threshold_drift(p_thresholds jsonb)
RETURNS TABLE (alert_type text, source text, level text, file_value double precision, database_value double precision, origin text, updated_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    WITH file (alert_type, source, levels) AS MATERIALIZED (
        SELECT f->>'alert_type', f->>'source', f FROM jsonb_array_elements(p_thresholds) AS f
    ), held (alert_type, source, levels, origin, updated_at) AS MATERIALIZED (
        SELECT t.alert_type, t.source, to_jsonb(t), t.origin, t.updated_at FROM public.monitoring_thresholds t
    ), paired AS (
        SELECT k.alert_type, k.source, COALESCE(f.levels, every_f.levels) AS in_file, COALESCE(h.levels, every_h.levels) AS in_database, h.origin, h.updated_at
        FROM (SELECT x.alert_type, x.source FROM file x UNION SELECT x.alert_type, x.source FROM held x) AS k
        LEFT JOIN file f ON f.alert_type = k.alert_type AND f.source = k.source
        LEFT JOIN held h ON h.alert_type = k.alert_type AND h.source = k.source
        -- A source without levels of its own has those of every source.
        LEFT JOIN file every_f ON every_f.alert_type = k.alert_type AND every_f.source = '*'
        LEFT JOIN held every_h ON every_h.alert_type = k.alert_type AND every_h.source = '*'
    )
    SELECT p.alert_type, p.source, l.level, (p.in_file->>l.level)::double precision, (p.in_database->>l.level)::double precision, p.origin, p.updated_at
    FROM paired p CROSS JOIN (VALUES ('low', 1), ('medium', 2), ('high', 3), ('critical', 4)) AS l (level, rank)
    WHERE (p.in_file->>l.level)::double precision IS DISTINCT FROM (p.in_database->>l.level)::double precision
    ORDER BY p.alert_type, p.source, l.rank;
END
$body$;
COMMENT ON FUNCTION threshold_drift(jsonb) IS 'Where the thresholds in force differ from those of a list [{alert_type, source, low, medium, high, critical}], level by level. NULL: the level is not used.';

CREATE OR REPLACE FUNCTION get_config_drift()
RETURNS TABLE (kind text, name text, source text, level text, file_value double precision, database_value double precision, origin text, changed_at timestamptz, changed_by text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_document jsonb := (SELECT c.document FROM public.config_in_force c);
BEGIN
    RETURN QUERY
    WITH drift AS (
        SELECT 'threshold' AS kind, t.alert_type AS name, t.source, t.level, t.file_value, t.database_value, COALESCE(t.origin, 'sql') AS origin, t.updated_at,
            concat_ws('.', 'thresholds', t.alert_type, t.source, t.level) AS key
        FROM public.threshold_drift(v_document->'thresholds') AS t WHERE v_document IS NOT NULL
        UNION ALL
        SELECT 'setting', f.key, NULL, NULL, f.value::text::double precision, s.value, s.origin, s.updated_at, 'settings.' || f.key
        FROM jsonb_each(v_document->'settings') AS f JOIN public.monitoring_settings s ON s.name = f.key WHERE f.value::text::double precision <> s.value
    )
    SELECT d.kind, d.name, d.source, d.level, d.file_value, d.database_value, d.origin, COALESCE(c.at, d.updated_at), c.actor
    FROM drift d
    LEFT JOIN LATERAL (
        SELECT x.at, x.actor FROM public.config_changes x
        WHERE x.noticed_by = 'sql' AND x.changes @> jsonb_build_array(jsonb_build_object('key', d.key)) ORDER BY x.id DESC LIMIT 1) AS c ON true;
END
$body$;
COMMENT ON FUNCTION get_config_drift() IS
    'Thresholds and settings that were changed by SQL since a service put its config in force: what the file said, what is in force (NULL: not used), who changed it (NULL: unknown) and when. None as long as no service has brought a config.';

CREATE OR REPLACE FUNCTION get_config_in_force() RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN jsonb_build_object(
        'synced_at', (SELECT c.synced_at FROM public.config_in_force c),
        'thresholds', (SELECT jsonb_agg(jsonb_build_object('alert_type', t.alert_type, 'source', t.source, 'low', t.low, 'medium', t.medium, 'high', t.high, 'critical', t.critical)
            ORDER BY t.alert_type, t.source) FROM public.monitoring_thresholds t),
        'settings', (SELECT jsonb_object_agg(s.name, s.value) FROM public.monitoring_settings s),
        'drift', (SELECT COALESCE(jsonb_agg(to_jsonb(d)), '[]') FROM public.get_config_drift() AS d));
END
$body$;
COMMENT ON FUNCTION get_config_in_force() IS 'The thresholds and settings that checks work with now, since when a service has put its config in force, and what has drifted from it since, as JSON.';

CREATE OR REPLACE FUNCTION get_source_kinds(p_source text, p_now timestamptz DEFAULT now()) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    c_since constant timestamptz := p_now - interval '7 days';
BEGIN
    RETURN array_remove(ARRAY[
        CASE WHEN EXISTS (SELECT FROM public.error_hours e WHERE e.until > c_since AND e.component = p_source)
               OR EXISTS (SELECT FROM public.system_health h WHERE h.last_reported_at > c_since AND h.component_type || '/' || h.component_name = p_source) THEN 'component' END,
        CASE WHEN EXISTS (SELECT FROM public.task_hours t WHERE t.until > c_since AND t.task_type = p_source)
               OR EXISTS (SELECT FROM public.processing_metrics_running r WHERE r.task_type = p_source) THEN 'task type' END,
        CASE WHEN EXISTS (SELECT FROM public.monitored_sources s WHERE s.kind = 'queue' AND s.name = p_source) THEN 'queue' END,
        CASE WHEN EXISTS (SELECT FROM public.monitored_sources s WHERE s.kind = 'host' AND s.name = split_part(p_source, ' ', 1)) THEN 'host' END], NULL);
END
$body$;
COMMENT ON FUNCTION get_source_kinds(text, timestamptz) IS 'What a name stands for, of component, task type, queue and host, by what was reported within a week. Empty: nothing of that name has reported.';

-- ---------------------------------------------------------------------------------------------------------------
-- A service puts its config in force.

CREATE OR REPLACE FUNCTION sync_configuration(p_config jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_drift jsonb;
BEGIN
    IF NOT COALESCE(p_config ?& ARRAY['thresholds', 'settings', 'channels'], false) THEN
        PERFORM public.refuse('AM012', 'invalid_setting: the config lacks one of its parts', 'Give thresholds, settings and channels: what is not named is removed.');
    END IF;
    PERFORM public.lock_alerts();
    v_drift := (SELECT jsonb_agg(to_jsonb(d)) FROM public.get_config_drift() AS d);
    PERFORM set_config('automon.syncing', 'on', true);
    PERFORM public.set_threshold(t.alert_type, t.source, t.low, t.medium, t.high, t.critical, 'config')
    FROM jsonb_to_recordset(p_config->'thresholds') AS t (alert_type text, source text, low double precision, medium double precision, high double precision, critical double precision);
    DELETE FROM public.monitoring_thresholds t
    WHERE NOT EXISTS (SELECT FROM jsonb_to_recordset(p_config->'thresholds') AS n (alert_type text, source text) WHERE n.alert_type = t.alert_type AND n.source = t.source);
    PERFORM public.set_setting(s.key, s.value::text::double precision, 'config') FROM jsonb_each(p_config->'settings') AS s;
    PERFORM set_config('automon.syncing', '', true);
    INSERT INTO public.config_in_force AS c (synced_at, document) VALUES (clock_timestamp(), p_config - 'channels')
    ON CONFLICT (only_row) DO UPDATE SET synced_at = excluded.synced_at, document = excluded.document;
    PERFORM public.note_put_back(v_drift);
    PERFORM public.sync_channels(p_config->'channels');
END
$body$;
COMMENT ON FUNCTION sync_configuration(jsonb) IS
    'Puts a config in force, in one transaction: {"thresholds": [{alert_type, source, low, medium, high, critical}], "settings": {name: number}, "channels": [{name, recipients, min_severity, notify_on, fallback, fallback_after_seconds, fingerprint}]}. What was set by SQL is put back, and that is kept in config_changes. Idempotent. Raises AM004, AM012.';

CREATE OR REPLACE FUNCTION note_put_back(p_drift jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_changes jsonb;
BEGIN
    v_changes := (
        SELECT jsonb_agg(jsonb_build_object('key', n.key, 'old', d.database_value, 'new', n.value))
        FROM jsonb_to_recordset(p_drift) AS d (kind text, name text, source text, level text, database_value double precision)
        CROSS JOIN LATERAL (
            SELECT concat_ws('.', d.kind || 's', d.name, d.source, d.level) AS key,
                CASE d.kind WHEN 'setting' THEN public.setting(d.name) ELSE (
                    SELECT (to_jsonb(t)->>d.level)::double precision FROM public.monitoring_thresholds t WHERE t.alert_type = d.name AND t.source IN (d.source, '*') ORDER BY t.source = '*' LIMIT 1) END AS value
        ) AS n WHERE n.value IS DISTINCT FROM d.database_value);
    IF v_changes IS NOT NULL THEN
        INSERT INTO public.config_changes (noticed_by, actor, changes) VALUES ('sync', session_user, v_changes);
    END IF;
END
$body$;
COMMENT ON FUNCTION note_put_back(jsonb) IS 'Keeps in config_changes what of a drift, as get_config_drift has told it, is in force no more.';

-- ---------------------------------------------------------------------------------------------------------------
-- What a service says of its file.

CREATE OR REPLACE FUNCTION entry_changes(p_old jsonb, p_new jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN (
        SELECT COALESCE(jsonb_agg(jsonb_build_object('key', COALESCE(o.key, n.key), 'old', o.value->'value', 'new', n.value->'value', 'line', n.value->'line') ORDER BY (n.value->>'line')::integer, COALESCE(o.key, n.key)), '[]')
        FROM jsonb_each(p_old) AS o FULL JOIN jsonb_each(p_new) AS n ON n.key = o.key WHERE o.value->'value' IS DISTINCT FROM n.value->'value');
END
$body$;
COMMENT ON FUNCTION entry_changes(jsonb, jsonb) IS 'In which keys what a config file says differs from what it said: [{key, old, new, line}], of {key: {value, line}}.';

CREATE OR REPLACE FUNCTION config_findings(p_now timestamptz) RETURNS SETOF monitoring_finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT 'automon_config', j.host, g.severity, jsonb_array_length(j.problems)::double precision, 1::double precision, 'mistakes',
        CASE WHEN g.severity IS NULL THEN 'a right config is in force'
             -- A first line has little room: of the key its end, which the line of the file makes whole.
             ELSE concat_ws(': ', concat_ws(', ', 'config rejected', 'line ' || (f.problem->>'line')),
                 NULLIF(regexp_replace(f.problem->>'key', '^.*\.([^.]+\.[^.]+)$', '\1'), ''), f.problem->>'message') END,
        CASE WHEN g.severity IS NOT NULL THEN jsonb_build_object(
            'measured', format('the config before stays in force, a restart would fail; %s in %s', public.counted(jsonb_array_length(j.problems), 'mistake'), j.path),
            'totals', jsonb_build_object('mistakes', jsonb_array_length(j.problems), 'path', j.path, 'rejected_at', j.at),
            'next', 'automon check-config --config ' || CASE WHEN j.path ~ '^[A-Za-z0-9_./-]+$' THEN j.path ELSE '''' || replace(j.path, '''', '''\''''') || '''' END) END
    FROM (
        SELECT c.* FROM public.service_instances i
        CROSS JOIN LATERAL (SELECT x.* FROM public.config_changes x WHERE x.instance = i.instance ORDER BY x.id DESC LIMIT 1) AS c
        WHERE public.instance_lives(i, p_now)
    ) AS j
    -- The next start of the service would end with the mistake, and whoever made the edit believes that it has an effect.
    CROSS JOIN LATERAL (SELECT CASE j.outcome WHEN 'rejected' THEN 'high' END AS severity) AS g
    CROSS JOIN LATERAL (SELECT j.problems->0 AS problem) AS f;
END
$body$;
COMMENT ON FUNCTION config_findings(timestamptz) IS 'automon_config: whether the newest edit of a living service''s config file was rejected, by host.';

CREATE OR REPLACE FUNCTION tell_of_config(p_host text, p_is_right boolean, p_now timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_findings public.monitoring_finding[] := ARRAY(SELECT f FROM public.config_findings(p_now) AS f);
    v_alert    public.alerts;
BEGIN
    IF EXISTS (SELECT FROM unnest(v_findings) AS f WHERE f.source = p_host AND f.severity IS NOT NULL) THEN
        RETURN public.apply_findings(ARRAY['automon_config'], v_findings, p_now);
    END IF;
    SELECT a.* INTO v_alert FROM public.alerts a WHERE a.alert_type = 'automon_config' AND a.source = p_host AND a.resolved_at IS NULL;
    IF NOT p_is_right OR NOT FOUND THEN
        RETURN 0;
    END IF;
    -- A file is right or it is not: there is nothing to wait for, as with a value that goes up and down.
    PERFORM public.close_alert(v_alert, 'a right config is in force', 0, GREATEST(p_now, v_alert.opened_at), 'automon');
    PERFORM public.hand_on_deliveries();
    RETURN 1;
END
$body$;
COMMENT ON FUNCTION tell_of_config(text, boolean, timestamptz) IS
    'Opens the alert about a host''s config at once, or resolves it when the file is right; answers how many alerts changed. The caller holds lock_alerts.';

CREATE OR REPLACE FUNCTION record_config_judgements(p_instance text, p_host text, p_path text, p_judgements jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_one      record;
    v_last     public.config_changes;
    v_known    jsonb;
    v_changes  jsonb;
    v_recorded integer := 0;
BEGIN
    PERFORM public.lock_alerts();
    FOR v_one IN
        SELECT r.* FROM jsonb_array_elements(p_judgements) WITH ORDINALITY AS j (judgement, number)
        CROSS JOIN LATERAL jsonb_to_record(j.judgement) AS r (at timestamptz, noticed_by text, actor text, file_changed_at timestamptz, changes jsonb, problems jsonb, entries jsonb) ORDER BY j.number
    LOOP
        v_known := (SELECT f.entries FROM public.config_files f WHERE f.host = p_host AND f.path = p_path);
        SELECT c.* INTO v_last FROM public.config_changes c WHERE c.instance = p_instance ORDER BY c.id DESC LIMIT 1;
        v_changes := CASE WHEN v_one.entries IS NULL THEN '[]' ELSE COALESCE(v_one.changes, CASE WHEN v_known IS NOT NULL THEN public.entry_changes(v_known, v_one.entries) END, '[]') END;
        IF v_one.entries IS NOT NULL THEN
            INSERT INTO public.config_files AS f (host, path, accepted_at, entries) VALUES (p_host, p_path, v_one.at, v_one.entries)
            ON CONFLICT (host, path) DO UPDATE SET accepted_at = excluded.accepted_at, entries = excluded.entries;
        END IF;
        -- What says nothing new is not kept: a start or a reload without a change, the same mistakes once more.
        CONTINUE WHEN CASE WHEN v_one.entries IS NULL THEN (v_last.problems = v_one.problems) IS TRUE
                           ELSE v_known IS NOT NULL AND v_changes = '[]' AND (v_last.outcome = 'rejected') IS NOT TRUE END;
        INSERT INTO public.config_changes (at, noticed_by, outcome, actor, instance, host, path, file_changed_at, changes, problems)
        VALUES (v_one.at, v_one.noticed_by, CASE WHEN v_one.entries IS NULL THEN 'rejected' ELSE 'accepted' END, COALESCE(v_one.actor, ''), p_instance, p_host, p_path, v_one.file_changed_at,
            v_changes, CASE WHEN v_one.entries IS NULL THEN v_one.problems ELSE '[]' END);
        v_recorded := v_recorded + 1;
    END LOOP;
    PERFORM public.tell_of_config(p_host, v_one.entries IS NOT NULL, clock_timestamp());
    RETURN v_recorded;
END
$body$;
COMMENT ON FUNCTION record_config_judgements(text, text, text, jsonb) IS
    'Keeps what a service has judged of its file, oldest first: [{at, noticed_by, actor, file_changed_at, and problems, or entries {key: {value, line}} with changes]}]. Without changes they are what differs from the entries known of that host and path. Opens or resolves the alert automon_config by the last one. Answers how many said something new.';

CREATE OR REPLACE FUNCTION get_config_changes(p_limit integer DEFAULT 50)
RETURNS TABLE (id bigint, at timestamptz, noticed_by text, outcome text, actor text, host text, path text, file_changed_at timestamptz, changes jsonb, problems jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN QUERY
    SELECT c.id, c.at, c.noticed_by, c.outcome, c.actor, c.host, c.path, c.file_changed_at, c.changes, c.problems FROM public.config_changes c ORDER BY c.id DESC LIMIT p_limit;
END
$body$;
COMMENT ON FUNCTION get_config_changes(integer) IS 'The newest changes of the configuration, by files and by SQL, and the edits that were rejected. See the table config_changes.';

DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;

DO $do$
BEGIN
    PERFORM open_to('automon_reader', 'get_config_changes', 'get_config_drift', 'get_config_in_force', 'get_source_kinds');
END
$do$;

RESET client_min_messages;
RESET check_function_bodies;
DO $do$ BEGIN PERFORM grant_to_roles(); END $do$;
