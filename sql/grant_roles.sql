-- automon: what an administrator does once, so that automon can be installed and run by a role without superuser rights.
--
--   psql -d DATABASE -v owner=automon_service -f sql/grant_roles.sql
--   psql -d postgres -v owner=automon_service -v database=monitoring -v schema=monitoring -f sql/grant_roles.sql
--
-- Makes the three roles and the owner, and gives the owner the right to create in one schema: "public" unless chosen
-- otherwise, made when it is missing. Who runs it needs CREATEROLE and the right to grant on that schema (to create in
-- the database for a new one); both are what managed services give their administrators. It needs no superuser, makes
-- none, and keeps none of the owner's rights for itself. Running it again changes nothing. What it does, it says.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?owner}
\else
  \warn 'automon: name the role that is to own the tables: -v owner=automon_service'
  DO $do$ BEGIN RAISE EXCEPTION 'owner is not set'; END $do$;
\endif
\if :{?schema}
\else
  \set schema public
\endif
\if :{?database}
  \connect -reuse-previous=on :"database"
\endif
\pset tuples_only on
\pset format unaligned
\pset pager off

BEGIN;
SELECT set_config('automon.owner', :'owner', true), set_config('automon.schema', :'schema', true), set_config('automon.done', '', true) \g /dev/null

DO $do$
DECLARE
    c_roles constant text[] := ARRAY['automon_writer', 'automon_reader', 'automon_operator'];
    v_owner  text := current_setting('automon.owner');
    v_schema text := current_setting('automon.schema');
    v_steps  text[] := '{}';
    v_done   text[] := '{}';
    v_role   text;
    v_step   text;
BEGIN
    IF (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = v_owner) THEN
        RAISE EXCEPTION 'the role % is a superuser', v_owner USING HINT = 'Name a role for automon alone; it needs no superuser.';
    END IF;
    FOREACH v_role IN ARRAY c_roles LOOP
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = v_role) THEN
            v_steps := v_steps || format('CREATE ROLE %I NOLOGIN', v_role);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = v_owner) THEN
        v_steps := v_steps || format('CREATE ROLE %I LOGIN', v_owner);
    END IF;
    IF to_regnamespace(quote_ident(v_schema)) IS NULL THEN
        -- Not AUTHORIZATION: for that the administrator would have to be a member of the owner.
        v_steps := v_steps || format('CREATE SCHEMA %I', v_schema);
    END IF;
    FOREACH v_step IN ARRAY v_steps LOOP
        EXECUTE v_step;
    END LOOP;
    v_done := v_steps;

    -- Only what is missing: to grant what others have granted ends in a warning for whoever may not grant it.
    v_steps := '{}';
    IF NOT has_schema_privilege(v_owner, v_schema, 'CREATE') OR NOT has_schema_privilege(v_owner, v_schema, 'USAGE') THEN
        v_steps := v_steps || format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', v_schema, v_owner);
    END IF;
    FOREACH v_role IN ARRAY c_roles LOOP
        IF NOT has_schema_privilege(v_role, v_schema, 'USAGE') THEN
            v_steps := v_steps || format('GRANT USAGE ON SCHEMA %I TO %I', v_schema, v_role);
        END IF;
    END LOOP;
    FOREACH v_role IN ARRAY c_roles || v_owner LOOP
        IF NOT has_database_privilege(v_role, current_database(), 'CONNECT') THEN
            v_steps := v_steps || format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), v_role);
        END IF;
    END LOOP;
    FOREACH v_step IN ARRAY v_steps LOOP
        EXECUTE v_step;
    END LOOP;

    -- A grant that one may not give is only a warning of the server.
    IF NOT has_schema_privilege(v_owner, v_schema, 'CREATE') OR NOT has_schema_privilege(v_owner, v_schema, 'USAGE')
       OR NOT has_database_privilege(v_owner, current_database(), 'CONNECT') THEN
        RAISE EXCEPTION '% may not let % into the schema % of %', current_user, v_owner, v_schema, current_database()
            USING HINT = 'Run this as the owner of the database, or choose another schema with -v schema=monitoring.';
    END IF;
    FOREACH v_role IN ARRAY c_roles LOOP
        IF NOT has_schema_privilege(v_role, v_schema, 'USAGE') THEN
            RAISE EXCEPTION '% may not let % into the schema %', current_user, v_role, v_schema USING HINT = 'Run this as the owner of that schema.';
        END IF;
    END LOOP;
    PERFORM set_config('automon.done', array_to_string(v_done || v_steps, E'\n'), true);
END
$do$;

SELECT CASE current_setting('automon.done') WHEN '' THEN 'automon: nothing to do, all of it is there' ELSE current_setting('automon.done') END;
COMMIT;

SELECT format('next: give the role a password, with \password %I', :'owner')
WHERE EXISTS (SELECT FROM pg_roles r WHERE r.rolname = :'owner' AND r.rolcanlogin);
SELECT format('note: the role %I may not log in; ALTER ROLE %1$I LOGIN', :'owner')
WHERE EXISTS (SELECT FROM pg_roles r WHERE r.rolname = :'owner' AND NOT r.rolcanlogin);
-- PostgreSQL 14 lets everybody create in "public", and whoever can may put a function of his own beside automon's.
SELECT 'note: everybody may create objects in the schema public; unless others need that: REVOKE CREATE ON SCHEMA public FROM PUBLIC'
WHERE :'schema' = 'public' AND EXISTS (
    SELECT FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) AS a WHERE n.nspname = 'public' AND a.grantee = 0 AND a.privilege_type = 'CREATE');
SELECT format('next: automon is installed here already; let its owner run SELECT grant_to_roles() with search_path = %I', n.nspname)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = :'schema' AND p.proname = 'grant_to_roles';
