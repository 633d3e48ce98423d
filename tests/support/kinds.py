"""Kinds of databases that automon has not made for itself: what their owners chose long before.

AUTOMON_TEST_DATABASE names the kind that `database_url` and its neighbours are of; without it they are as initdb makes
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg import sql

# Names that functions would find first if they looked along such a path; some answer wrongly, the rest have nothing.
_HOSTILE: LiteralString = """
    CREATE SCHEMA hostile;
    CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz '1999-12-31 UTC' $$;
    CREATE FUNCTION hostile.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format_nv';
    CREATE FUNCTION hostile.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'hostile'::text $$;
    CREATE FUNCTION hostile.never(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
    CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.never);
    CREATE TABLE hostile.alerts (said text);
    CREATE TABLE hostile.pg_class (said text);
    CREATE TABLE hostile.processing_metrics (said text);
    GRANT USAGE ON SCHEMA hostile TO PUBLIC;
"""

_FIRST_WITH_PROVIDERS = 150_000


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseKind:
    """`encoding` and `icu_locale` are fixed for good; `settings` go to each new session; `inhabitants` were there first.

    `words` are such as its owners would write, and can be written in its encoding.
    """

    encoding: str | None = None
    icu_locale: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    inhabitants: LiteralString = ""
    words: str = "Grüße, naïve façade"

    def fixed(self, server_version: int) -> sql.Composed:
        """Return what CREATE DATABASE is to add."""
        clauses: list[sql.Composable] = []
        if self.encoding is not None:
            clauses.append(sql.SQL(" ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'").format(sql.Literal(self.encoding)))
            if server_version >= _FIRST_WITH_PROVIDERS:
                clauses.append(sql.SQL(" LOCALE_PROVIDER libc"))
        if self.icu_locale is not None:
            clauses.append(sql.SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(self.icu_locale)))
        return sql.Composed(clauses)

    def settings_of(self, database: str) -> Iterator[sql.Composed]:
        for name, value in self.settings.items():
            # A search_path is a list of names; whatever else is one value.
            written = (
                sql.SQL(", ").join(map(sql.Identifier, value.split(", ")))
                if name == "search_path"
                else sql.Literal(value)
            )
            yield sql.SQL("ALTER DATABASE {} SET {} TO {}").format(
                sql.Identifier(database), sql.Identifier(name), written
            )


USUAL = DatabaseKind()
_PATH = {"search_path": "hostile, public, pg_catalog"}
_FORMS = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
}
KINDS = {
    "east of Greenwich by 12:45": DatabaseKind(settings={"TimeZone": "Pacific/Chatham"}),
    "east of Greenwich by 5:45": DatabaseKind(settings={"TimeZone": "Asia/Kathmandu"}),
    "west of Greenwich by 3:30": DatabaseKind(settings={"TimeZone": "America/St_Johns"}),
    "Latin 1": DatabaseKind(encoding="LATIN1"),
    "no encoding": DatabaseKind(encoding="SQL_ASCII"),
    "EUC-JP": DatabaseKind(encoding="EUC_JP", words="請求書の処理に失敗しました"),
    "collation of a language": DatabaseKind(icu_locale="en-US", words="Ωμέγα 🙂 ﬁ"),
    "Turkish": DatabaseKind(icu_locale="tr-TR", words="INFO: bağlantı kesildi, İSTANBUL ıssız"),
    "collation that ignores punctuation": DatabaseKind(icu_locale="und-u-ka-shifted"),
    "hostile search_path": DatabaseKind(settings=_PATH, inhabitants=_HOSTILE),
    "backslashes escape": DatabaseKind(settings={"standard_conforming_strings": "off"}, words=r"C:\new\table"),
    "other forms": DatabaseKind(settings=_FORMS),
    "serializable": DatabaseKind(settings={"default_transaction_isolation": "serializable"}),
    "unusual": DatabaseKind(
        settings={"TimeZone": "Asia/Kathmandu", **_FORMS, **_PATH, "standard_conforming_strings": "off"},
        inhabitants=_HOSTILE,
    ),
}
CHOSEN = KINDS[os.environ["AUTOMON_TEST_DATABASE"]] if os.environ.get("AUTOMON_TEST_DATABASE") else USUAL
