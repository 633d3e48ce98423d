"""Describes a migrated schema as text that is the same on every server, every day and for every owner."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psycopg

DUMP = Path(__file__).with_name("schema.sql")
RENEW = "AUTOMON_RENEW_SCHEMA_DUMP"
_HEADER = f"""\
-- What the files in sql/ make, without day partitions, function bodies and view definitions (they stand in sql/).
-- Written by `{RENEW}=1 pytest tests/migration/test_schema_dump.py`; a test compares it with a migrated database.
"""

_RELATIONS = """
SELECT 'c' || c.relname, CASE c.relkind WHEN 'v' THEN 'VIEW ' WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.relname
    || COALESCE(' PARTITION BY ' || pg_get_partkeydef(c.oid), '') || COALESCE(' ' || pg_get_expr(c.relpartbound, c.oid), '')
    || COALESCE(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '') || CASE WHEN c.relrowsecurity THEN ' ROW LEVEL SECURITY' ELSE '' END
    || COALESCE(E'\\n    -- ' || obj_description(c.oid, 'pg_class'), '')
FROM pg_class c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relname !~ '_[0-9]{8}$'
"""
_COLUMNS = """
SELECT 'c' || c.relname || ' c' || to_char(a.attnum, '000'), '    ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    || COALESCE(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') || COALESCE('  -- ' || col_description(c.oid, a.attnum), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'c') AND a.attnum > 0 AND NOT a.attisdropped AND c.relname !~ '_[0-9]{8}$'
"""
_CONSTRAINTS = """
SELECT 'c' || c.relname || ' d' || n.conname, '    CONSTRAINT ' || n.conname || ' ' || pg_get_constraintdef(n.oid)
FROM pg_constraint n JOIN pg_class c ON c.oid = n.conrelid
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname !~ '_[0-9]{8}$' AND n.contype <> 'n'
"""
_INDEXES = """
SELECT 'c' || c.relname || ' e' || i.relname, '    ' || pg_get_indexdef(i.oid)
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname !~ '_[0-9]{8}$'
"""
_RELATION_GRANTS = """
SELECT 'c' || c.relname || ' f' || r.rolname || a.privilege_type, '    GRANT ' || a.privilege_type || ' TO ' || r.rolname
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) AS a JOIN pg_roles r ON r.oid = a.grantee
WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname !~ '_[0-9]{8}$' AND a.grantee <> c.relowner
"""
_FUNCTIONS = """
SELECT 'f' || p.oid::regprocedure::text, 'FUNCTION ' || p.proname || '(' || pg_get_function_arguments(p.oid) || ') RETURNS ' || pg_get_function_result(p.oid)
    || E'\\n    ' || concat_ws(' ', upper(l.lanname), CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
        CASE p.proparallel WHEN 's' THEN 'PARALLEL SAFE' END, CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END, 'SET ' || array_to_string(p.proconfig, ', '))
    || COALESCE(E'\\n    -- ' || obj_description(p.oid, 'pg_proc'), '')
    || COALESCE((SELECT string_agg(E'\\n    GRANT EXECUTE TO ' || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, '' ORDER BY a.grantee::regrole::text)
        FROM aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee <> p.proowner), '')
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = %(schema)s::regnamespace
"""
_TYPES = """
SELECT 'c' || t.typname, 'TYPE ' || t.typname || COALESCE(E'\\n    -- ' || obj_description(t.oid, 'pg_type'), '')
FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid WHERE t.typnamespace = %(schema)s::regnamespace AND c.relkind = 'c'
"""
# What a second run of a file could change and a review need not read.
_BODIES = """
SELECT 'x' || p.oid::regprocedure::text, pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = %(schema)s::regnamespace
UNION ALL SELECT 'y' || c.relname, pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'v'
UNION ALL SELECT 'z' || c.relname, 'partition of ' || i.inhparent::regclass::text FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'r'
"""
_SHAPE = (_RELATIONS, _TYPES, _COLUMNS, _CONSTRAINTS, _INDEXES, _RELATION_GRANTS, _FUNCTIONS)


def _described(connection: psycopg.Connection[Any], queries: tuple[str, ...], schema: str) -> list[str]:
    connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", [schema])
    for form in ("TimeZone = 'UTC'", "DateStyle = 'ISO'", "IntervalStyle = 'postgres'"):
        connection.execute(f"SET {form}".encode())
    found = [
        row for query in queries for row in connection.execute(query.encode(), {"schema": f'"{schema}"'}).fetchall()
    ]
    connection.execute("SET search_path = ''")
    return [text for _, text in sorted(found)]


def describe(connection: psycopg.Connection[Any], schema: str = "public") -> str:
    """Describe tables, views, types and functions of a schema, one paragraph each, in the order of their names."""
    lines = "\n".join(_described(connection, _SHAPE, schema))
    settled = lines.replace(f"{schema}.", "")
    for word in ("TABLE ", "VIEW ", "SEQUENCE ", "TYPE ", "FUNCTION "):
        settled = settled.replace(f"\n{word}", f"\n\n{word}")
    return f"{_HEADER}\n{settled}\n"


def everything(connection: psycopg.Connection[Any], schema: str = "public") -> list[str]:
    """Describe a schema with bodies, partitions and the rows that come with it: equal if and only if nothing changed."""
    rows = connection.execute(
        f"SELECT 'setting ' || (to_jsonb(s) - 'updated_at')::text FROM \"{schema}\".monitoring_settings s UNION ALL SELECT 'threshold ' || (to_jsonb(t) - 'updated_at')::text FROM \"{schema}\".monitoring_thresholds t".encode()
    ).fetchall()
    return [*_described(connection, (*_SHAPE, _BODIES), schema), *sorted(row[0] for row in rows)]


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as link:
        sys.stdout.write(describe(link))
