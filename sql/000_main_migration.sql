-- automon: installs or upgrades the whole schema, in one transaction.
--
--   psql -d DATABASE -f sql/000_main_migration.sql                     into the schema "public"
--   psql -d DATABASE -v schema=monitoring -f sql/000_main_migration.sql    into a schema of its own
--
-- `automon migrate` applies the same files through the same ledger, so either may follow the other.
-- A file that is already in the ledger is passed over; a file that was changed after it was applied is refused.
-- Several runs at once wait for each other; whatever fails leaves nothing behind.
--
-- Whoever reports or reads is not made to wait behind an upgrade: a lock that is not to be had within 200 ms ends it with
-- "canceling statement due to lock timeout". Nothing was changed then: run it again. `automon migrate` does so by itself.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?schema}
\else
  \set schema public
\endif
-- Whoever waited for another run must see what that one has done.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL client_min_messages = warning;
-- Before the schema is made: of several runs at once, one makes it.
SELECT pg_advisory_xact_lock(hashtextextended('automon migration', 0)) \g /dev/null
SELECT to_regnamespace(quote_ident(:'schema')) IS NULL AS schema_is_missing \gset
\if :schema_is_missing
CREATE SCHEMA :"schema";
\endif
SET LOCAL search_path TO :"schema";
-- The files are UTF-8, of which a database of single bytes does not have every character: it takes their bytes as they are.
SELECT set_config('client_encoding', CASE pg_encoding_max_length(pg_char_to_encoding(getdatabaseencoding())) WHEN 1 THEN getdatabaseencoding() ELSE 'UTF8' END, true) \g /dev/null

-- >>> ledger (also run by `automon migrate`, which reads this file between the two marks)
DO $do$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('automon migration', 0)); END $do$;
-- From here on: other migrations are waited for, applications are not.
SET LOCAL lock_timeout = '200ms';

CREATE TABLE IF NOT EXISTS monitoring_migrations (
    file       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    version    text
);
COMMENT ON TABLE monitoring_migrations IS 'Ledger of the schema files that were applied, with the SHA-256 of each and the version of automon that applied it.';
-- Only when there is something to change: this runs at every start of a service, also beside a dump that reads the ledger for hours.
DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = 'monitoring_migrations'::regclass AND a.attname = 'version' AND a.atthasdef) THEN
        ALTER TABLE monitoring_migrations ADD COLUMN IF NOT EXISTS version text;
        -- By itself, so that files of before this column stay without one.
        ALTER TABLE monitoring_migrations ALTER COLUMN version SET DEFAULT current_setting('automon.version', true);
        ALTER TABLE monitoring_migrations ENABLE ROW LEVEL SECURITY;
    END IF;
END
$do$;

CREATE OR REPLACE FUNCTION begin_migration(p_file text, p_checksum text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_known text;
BEGIN
    SELECT m.checksum INTO v_known FROM public.monitoring_migrations m WHERE m.file = p_file;
    IF v_known IS NULL THEN
        INSERT INTO public.monitoring_migrations (file, checksum) VALUES (p_file, p_checksum);
        RETURN true;
    END IF;
    IF v_known <> p_checksum THEN
        RAISE EXCEPTION 'changed_migration: % differs from the file of that name that was applied here', p_file
            USING ERRCODE = 'AM010', HINT = 'Restore the released file; a change to the schema belongs in a new file with the next number.';
    END IF;
    RETURN false;
END
$body$;
COMMENT ON FUNCTION begin_migration(text, text) IS
    'Enters a file in the ledger and answers whether it is to be applied now. Raises AM010 when an applied file has changed since.';

CREATE OR REPLACE FUNCTION refuse_newer_schema(p_newest_known text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    v_newest  text;
    v_version text;
BEGIN
    SELECT m.file, m.version INTO v_newest, v_version FROM public.monitoring_migrations m ORDER BY m.file DESC LIMIT 1;
    IF v_newest > p_newest_known THEN
        RAISE EXCEPTION 'newer_schema: the database is at % (automon %), this automon (%) knows the schema up to %',
            v_newest, COALESCE(v_version, 'of an unknown version'), current_setting('automon.version', true), p_newest_known
            USING ERRCODE = 'AM011', HINT = 'Upgrade automon on this machine; an older automon must not work on a newer schema.';
    END IF;
END
$body$;
COMMENT ON FUNCTION refuse_newer_schema(text) IS
    'Raises AM011 when the ledger holds a file that the caller does not know, naming both files and the versions of automon (the setting automon.version is the caller''s).';

-- Function bodies name their schema, because a search_path can be led astray. They are written for "public";
-- in any other schema this puts that schema's name in its place, once for each function.
CREATE OR REPLACE FUNCTION bind_functions_to_schema() RETURNS void
LANGUAGE plpgsql VOLATILE
AS $body$
DECLARE
    v_schema  text := current_schema();
    v_oid     oid;
BEGIN
    IF v_schema = 'public' THEN
        RETURN;
    END IF;
    IF v_schema ~ E'["\'$%\\\\]' THEN
        RAISE EXCEPTION 'invalid_name: the schema %', v_schema
            USING ERRCODE = 'AM001', HINT = 'Choose a name without quotes, $, % and backslash.';
    END IF;
    FOR v_oid IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        -- The pinned search_path and the comment tell automon's functions from others that live in the same schema.
        WHERE p.pronamespace = quote_ident(v_schema)::regnamespace AND p.proowner = current_user::regrole AND p.prosqlbody IS NULL
          AND p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'] AND obj_description(p.oid, 'pg_proc') IS NOT NULL AND p.prosrc LIKE '%public.%'
    LOOP
        EXECUTE replace(pg_get_functiondef(v_oid), 'public.', quote_ident(v_schema) || '.');
    END LOOP;
END
$body$;
COMMENT ON FUNCTION bind_functions_to_schema() IS
    'Makes the functions of the current schema name that schema in their bodies. Does nothing in "public".';
DO $do$ BEGIN PERFORM bind_functions_to_schema(); END $do$;
-- <<< ledger

-- >>> files (written by `make generate`)
SET LOCAL automon.version = '0.2.0';
SELECT refuse_newer_schema('022_existing_tables.sql') \g /dev/null
SELECT COALESCE(max(file) < '022_existing_tables.sql', false) AS upgrades, max(file) AS newest FROM monitoring_migrations \gset
\if :upgrades
\echo automon: upgrading from :newest. If this ends with a lock timeout, nothing was changed: run it again
\endif
SELECT begin_migration('001_create_processing_metrics.sql', '766ebfd35d862fc1dd909e9c261f28200d4752f0c9c9de3125c31c90c32c3df6') AS pending \gset
\if :pending
\ir 001_create_processing_metrics.sql
\endif
SELECT begin_migration('002_create_error_tracking.sql', 'e87704bf9cfe609800fac7bb8f76b2c08bb8c3f7ca8537eea4c86fce9e578ecf') AS pending \gset
\if :pending
\ir 002_create_error_tracking.sql
\endif
SELECT begin_migration('003_create_performance_monitoring.sql', 'a42b05b672e83a9a81bca950776d3d624ca44e846ea15e962bbcf42ca7a598be') AS pending \gset
\if :pending
\ir 003_create_performance_monitoring.sql
\endif
SELECT begin_migration('004_create_system_health.sql', '4f792b62eaf4c06109c8bdd9f4bf487f221bb2a74af1d5d5c4e573b19b69d62a') AS pending \gset
\if :pending
\ir 004_create_system_health.sql
\endif
SELECT begin_migration('005_create_queue_monitoring.sql', '2ae4e513ec9078aea7485a2cf0f6ad4790748e8bd90edb5c4a9f9095e5b48dff') AS pending \gset
\if :pending
\ir 005_create_queue_monitoring.sql
\endif
SELECT begin_migration('006_create_alerts.sql', '1f50a846c1c6f026196c158ddd92e8f0e7a54f77148fe756af6a1451a5fef8e2') AS pending \gset
\if :pending
\ir 006_create_alerts.sql
\endif
SELECT begin_migration('007_create_dashboard_views.sql', '8bf9094ffa79070afdce5118a5083429a8e88834de08aabd2484b4ffc4e13c66') AS pending \gset
\if :pending
\ir 007_create_dashboard_views.sql
\endif
SELECT begin_migration('008_alerting_functions.sql', 'ce360109ce627e803019889a645363e59d4761e920be2181f931095f77f27e6a') AS pending \gset
\if :pending
\ir 008_alerting_functions.sql
\endif
SELECT begin_migration('009_automated_monitoring.sql', '3821c716e5745af9c50c615c118e409383473d921f9d9f0ec2853dfd4bdb1871') AS pending \gset
\if :pending
\ir 009_automated_monitoring.sql
\endif
SELECT begin_migration('010_monitoring_procedures.sql', '86bc13e40ee077be998e44bc177b539b6f44c9ebd166c366ef3c8259a4ee7dca') AS pending \gset
\if :pending
\ir 010_monitoring_procedures.sql
\endif
SELECT begin_migration('011_outbox.sql', '0fd5d9e9de3a46e8783bb391afc4908cf7a90f91cc33d7cd3dd57004c8375c26') AS pending \gset
\if :pending
\ir 011_outbox.sql
\endif
SELECT begin_migration('012_services.sql', 'c72ef25676bf8c2e280df9f32b1f0195976416a4179ab540aba2d5ef5e2f5208') AS pending \gset
\if :pending
\ir 012_services.sql
\endif
SELECT begin_migration('013_bulk.sql', '4c9dd6ca04b594558642336b86117bb613a6129ebe41d5be59c7dc89006cfa6f') AS pending \gset
\if :pending
\ir 013_bulk.sql
\endif
SELECT begin_migration('014_rollups.sql', 'ef68b59a549cefe3f03d012ba889f9e3304842d8ce2d3b18ca88167313e13ff9') AS pending \gset
\if :pending
\ir 014_rollups.sql
\endif
SELECT begin_migration('015_flat_reads.sql', 'cd1efed30152429009422ffa87f17f993d891ded2c1261a6f1e6d09417b5f34b') AS pending \gset
\if :pending
\ir 015_flat_reads.sql
\endif
SELECT begin_migration('016_fast_lane.sql', '8600aa3706b51aa080a6ca57d8465988b721075584e7f27ed3feaa4d4c46c0c3') AS pending \gset
\if :pending
\ir 016_fast_lane.sql
\endif
SELECT begin_migration('017_retention.sql', '9ed41cd4905c2a878018039a2c653493049dc6c553c0fd13b311f95b1722e015') AS pending \gset
\if :pending
\ir 017_retention.sql
\endif
SELECT begin_migration('018_roles.sql', '712f68593f9727286925a5e73b1314b9208077be0256fd975f3c407b0213c26c') AS pending \gset
\if :pending
\ir 018_roles.sql
\endif
SELECT begin_migration('019_configuration.sql', 'affea57f6e8b3b2aa269821a65d396526c9fa7cf8e1be492421c9b68b04758f6') AS pending \gset
\if :pending
\ir 019_configuration.sql
\endif
SELECT begin_migration('020_reports.sql', 'b1cf32d5e0a1b70cbfd513d17a312a78eb65ca2f36df53ff1cb4fc380c9138fe') AS pending \gset
\if :pending
\ir 020_reports.sql
\endif
SELECT begin_migration('021_metrics.sql', 'c11f728c55760c2980831a9033bc81be020670685549649214cebe9fc9ce4415') AS pending \gset
\if :pending
\ir 021_metrics.sql
\endif
SELECT begin_migration('022_existing_tables.sql', 'adb5ba36d882d80c4bd500c032ca297753f9035549a9e1a85f0f6b0409cb124d') AS pending \gset
\if :pending
\ir 022_existing_tables.sql
\endif
-- <<< files
COMMIT;
\echo automon: the schema is up to date
