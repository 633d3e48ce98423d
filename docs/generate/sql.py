"""Describe the schema for people, as `docs/reference/sql.md`, from a migrated database: `make generate`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from automon.embedded import EmbeddedPostgres
from automon.migrate import migrate

PAGE_FILE = Path("docs/reference/sql.md")

_INTRODUCTION = """\
# The schema: functions, views, tables

Written by `make generate`; a test compares it with a migrated database.

The functions are the only way in for applications. They live in the schema that the migration was run in (`public`
unless chosen otherwise) and work without the service: from psql, from cron, from any language.

- Times are `timestamp with time zone`. A function that records takes the moment of the fact as its last argument,
  `p_at`; left out, the fact happens now. Recording the same moment again changes nothing and answers false.
- A function that judges takes the moment as `p_now`, so that a moment that has passed can be judged again.
- A refusal has a code of its own (see [Errors](#errors)), a message that begins with its name, and a hint that says
  what to do.

| role | may |
|---|---|
| `automon_writer` | call what is below [Recording](#recording) |
| `automon_reader` | call what is below [Asking](#asking), and read the views |
| `automon_operator` | call what is below [Acting](#acting), and read the views |

Grant them to the users of your applications: `GRANT automon_writer TO app`. The tables are open to their owner alone.
"""
_ROLES = (("Recording", "automon_writer"), ("Asking", "automon_reader"), ("Acting", "automon_operator"))
_RUNNING = (
    "check_error_rate_alerts", "check_processing_performance_alerts", "check_system_health_alerts", "check_queue_backlog_alerts", "check_host_alerts",
    "resolve_resolved_alerts", "run_monitoring_checks", "check_automon_alerts", "cleanup_old_monitoring_data", "ensure_partitions", "set_threshold", "set_setting", "setting",
    "thresholds_in_force", "grant_to_roles",
)  # fmt: skip
_FOR_THE_SERVICE = (
    "sync_configuration", "apply_findings", "claim_delivery", "finish_delivery_attempt", "next_delivery_in", "delivery_message", "tend_deliveries", "beat", "leave",
    "report_outage", "claim_job_run", "begin_job_run", "finish_job_run", "record_config_judgements",
)  # fmt: skip
_ELSEWHERE = {
    "AM006": "every function that records",
    "AM010": "the migration",
    "AM011": "the migration",
    "AM014": "the functions that record a document",
}
_OF_A_DAY = "_[0-9]{8}$"

_FUNCTIONS = """
SELECT p.proname AS name, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result, obj_description(p.oid, 'pg_proc') AS comment,
    p.prosrc AS body
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND NOT 'timestamp'::regtype = ANY (p.proargtypes) ORDER BY p.proname
"""
_RELATIONS = f"""
SELECT c.relname AS name, c.relkind = 'v' AS is_view, obj_description(c.oid, 'pg_class') AS comment,
    (SELECT array_agg(ARRAY[a.attname::text, format_type(a.atttypid, NULL), CASE WHEN a.attnotnull THEN 'yes' ELSE '' END] ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND c.relname !~ '{_OF_A_DAY}' ORDER BY c.relname
"""  # noqa: S608 - composed of a constant
_THRESHOLDS = "SELECT alert_type, low, medium, high, critical FROM monitoring_thresholds ORDER BY alert_type"
_SETTINGS = "SELECT name, value FROM monitoring_settings ORDER BY name"
_REFUSED = re.compile(r"(AM\d{3})', (?:format\()?'(\w+):")
# The server repeats the type of a default that is NULL or a text.
_CAST = re.compile(r"(DEFAULT (?:NULL|'[^']*'))::[a-z_ ]+(?:\[\])?")
_WIDTH = 100
_RAISED = re.compile(r"RAISE EXCEPTION '(\w+):[^;]*?ERRCODE = '(AM\d{3})'")

Row = dict[str, Any]


def describe(connection: psycopg.Connection[Any]) -> str:
    """Return the page for the database that the connection leads to, which must be migrated into "public"."""
    connection.execute("SET search_path = public")
    connection.execute("SET IntervalStyle = 'postgres'")
    functions = _rows(connection, _FUNCTIONS)
    relations = _rows(connection, _RELATIONS)
    parts = [
        _INTRODUCTION.rstrip("\n"),
        *_function_parts(connection, functions),
        *_relation_part("Views", [row for row in relations if row["is_view"]]),
        *_relation_part("Tables", [row for row in relations if not row["is_view"]]),
        *_openings(connection),
        *_shipped(connection),
        *_errors(functions, connection),
    ]
    return "\n\n".join(parts) + "\n"


def _rows(connection: psycopg.Connection[Any], query: str) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


def _function_parts(connection: psycopg.Connection[Any], functions: list[Row]) -> Iterator[str]:
    told: set[str] = set()
    for title, role in _ROLES:
        names = _opened(connection, role) - told
        told |= names
        yield from _function_part(title, [row for row in functions if row["name"] in names])
    for title, chosen in (("Running it without the service", _RUNNING), ("What the service calls", _FOR_THE_SERVICE)):
        told |= set(chosen)
        yield from _function_part(title, [row for row in functions if row["name"] in chosen])
    yield "## Inside\n\nWhat the functions above are made of; these may change from one version to the next."
    yield _table(
        ("function", "what it does"),
        ((f"`{row['name']}`", row["comment"]) for row in functions if row["name"] not in told),
    )


def _opened(connection: psycopg.Connection[Any], role: str) -> set[str]:
    return {name for (name,) in connection.execute("SELECT role_functions(%s)", [role]).fetchall()}


def _function_part(title: str, functions: list[Row]) -> Iterator[str]:
    yield f"## {title}"
    for row in functions:
        yield f"### `{row['name']}`\n\n```sql\n{_signature(row)}\n```\n\n{row['comment']}"


def _signature(row: Row) -> str:
    arguments, result = (
        _CAST.sub(r"\1", text).replace("timestamp with time zone", "timestamptz")
        for text in (row["arguments"], row["result"])
    )
    one_line = f"{row['name']}({arguments}) RETURNS {result}"
    if len(one_line) <= _WIDTH:
        return one_line
    broken = arguments.replace(", ", ",\n    ")
    return f"{row['name']}(\n    {broken}\n) RETURNS {result}"


def _relation_part(title: str, relations: list[Row]) -> Iterator[str]:
    yield f"## {title}"
    for row in relations:
        columns = ((f"`{name}`", kind, always) for name, kind, always in row["columns"])
        heads = ("column", "type") if row["is_view"] else ("column", "type", "always set")
        yield f"### `{row['name']}`\n\n{row['comment']}\n\n{_table(heads, columns)}"


def _openings(connection: psycopg.Connection[Any]) -> Iterator[str]:
    roles = [role for _, role in _ROLES]
    opened = {role: _opened(connection, role) for role in roles}
    rows = (
        (f"`{name}`", *("yes" if name in opened[role] else "" for role in roles))
        for name in sorted(set().union(*opened.values()))
    )
    yield "## Who may call what"
    yield "Of the functions and views; what is not named here is open to the owner alone, as all tables are."
    yield _table(("name", *(f"`{role}`" for role in roles)), rows)


def _shipped(connection: psycopg.Connection[Any]) -> Iterator[str]:
    levels = ("low", "medium", "high", "critical")
    thresholds = (
        (f"`{row['alert_type']}`", *(_number(row[level]) for level in levels)) for row in _rows(connection, _THRESHOLDS)
    )
    settings = ((f"`{row['name']}`", _number(row["value"])) for row in _rows(connection, _SETTINGS))
    yield f"## Shipped thresholds\n\nFrom which value on an alert is of which severity.\n\n{_table(('alert type', *levels), thresholds)}"
    yield f"## Shipped settings\n\nThe last word of a name is its unit.\n\n{_table(('setting', 'value'), settings)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _errors(functions: list[Row], connection: psycopg.Connection[Any]) -> Iterator[str]:
    names: dict[str, str] = {}
    for row in functions:
        names |= dict(_REFUSED.findall(row["body"])) | {code: name for name, code in _RAISED.findall(row["body"])}
    public = {*_RUNNING, *_FOR_THE_SERVICE}.union(*(_opened(connection, role) for _, role in _ROLES))
    raised_by = {
        code: [f"`{row['name']}`" for row in functions if code in row["comment"] and row["name"] in public]
        for code in names
    }
    rows = ((f"`{code}`", f"`{names[code]}`", ", ".join(raised_by[code]) or _ELSEWHERE[code]) for code in sorted(names))
    yield f"## Errors\n\nThe code is the SQLSTATE of the error.\n\n{_table(('code', 'name', 'raised by'), rows)}"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *(row[: len(heads)] for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main() -> None:
    """Write the page into the checkout that this runs in."""
    with (
        tempfile.TemporaryDirectory(prefix="automon-") as directory,
        EmbeddedPostgres(Path(directory), durable=False, port=0) as server,
    ):
        migrate(server.url)
        with psycopg.connect(server.url) as connection:
            PAGE_FILE.write_text(describe(connection), encoding="utf-8")


if __name__ == "__main__":
    main()
