"""The command that takes facts out of the database, in an order that stays, so that it can go on where it stopped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from automon.cli.export_kinds import KINDS
from automon.cli.options import Duration, config_option, database_option, open_reader, primary_option, quiet_logs
from automon.errors import AutomonError

if TYPE_CHECKING:
    from automon.cli.export_formats import RowsAsText
    from automon.cli.export_outputs import Output, Query
    from automon.store import Store

FORMATS = ("csv", "jsonl", "parquet")
PAGE_ROWS = 5000


class Moment(click.ParamType[str]):
    """A span back from now such as 7d, or a date or time in ISO form; without a zone it is this host's."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            moment_of(str(value), datetime.now(UTC))
        except (ValueError, click.UsageError):
            self.fail(f"{value!r} is no moment; write 24h, 7d, 2026-11-01 or 2026-11-01T08:00+01:00.", param, ctx)
        return str(value)


def moment_of(text: str, now: datetime) -> datetime:
    """Return the moment that a text names. Raises ValueError or UsageError."""
    if text[-1:] in ("s", "m", "h", "d"):
        span: timedelta = Duration().convert(text, None, None)
        return now - span
    return datetime.fromisoformat(text).astimezone(UTC)


@click.command("export")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option(
    "--since",
    type=Moment(),
    default="24h",
    show_default=True,
    help="From then on: 7d, 2026-11-01, 2026-11-01T08:00+01:00.",
)
@click.option("--until", type=Moment(), help="Until then, that moment left out. Without it: until now.")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(FORMATS),
    help="How rows are written. Without it what the output's name ends with, else csv.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write. Without it: stdout, which cannot be gone on with.",
)
@click.option("--exact", is_flag=True, help="In CSV, leave texts as they are that a spreadsheet would run as formulas.")
@click.option("--force", is_flag=True, help="Begin anew, whatever is there.")
@config_option
@database_option
@primary_option
def export(
    *,
    kind: str,
    since: str,
    until: str | None,
    wanted: str | None,
    output: Path | None,
    exact: bool,
    force: bool,
    config_path: Path | None,
    database_url: str | None,
    primary: bool,
) -> None:
    """Take facts of a KIND out of the database: as CSV, JSON lines or Parquet.

    tasks are those that ended in that time, running those that began in it and have not ended. Broken off, it goes on
    where it stopped when it is called with the same words again: a file beside the output, FILE.progress, says how far
    it came.

    Example: automon export tasks --since 7d --format jsonl --output tasks.jsonl
    """
    quiet_logs()
    format_ = wanted or _format_of(output)
    if format_ == "parquet":
        from automon.cli.export_formats import require_parquet

        if output is None:
            raise click.UsageError("Parquet is written to a file: give --output.")
        require_parquet()
    store = open_reader(config_path, database_url, primary=primary)
    words = {
        "kind": kind,
        "since": since,
        "until": until,
        "format": format_,
        "exact": exact,
        "database": store.database.description,
    }
    query = _query(words, output, force=force)
    target = _output(query, output)
    try:
        # Rows that scroll by on the same terminal show it well enough.
        is_shown = sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())
        with _bar(store, query, target) if is_shown else nullcontext(_say_nothing) as tell:
            _copy(store, query, target, tell)
    except BrokenPipeError:
        # Whoever read has enough; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (KeyboardInterrupt, AutomonError):
        target.close()
        if output is not None:
            click.echo(f"stopped after {target.rows:,} rows; the same command goes on from there", err=True)
        raise
    if output is not None or not target.rows:
        where = f" in {output}" if output is not None else ""
        click.echo(f"{target.rows:,} {kind}{where}, from {query['from']} to {query['to']}", err=True)


def _format_of(output: Path | None) -> str:
    suffix = output.suffix.removeprefix(".") if output else ""
    return suffix if suffix in FORMATS else FORMATS[0]


def _query(words: dict[str, Any], output: Path | None, *, force: bool) -> Query:
    """Fix the range of time; that of an export that is gone on with stays what it was. Raises AutomonError."""
    from automon.cli.export_outputs import Progress

    now = datetime.now(UTC)
    query = words | {
        "from": moment_of(words["since"], now).isoformat(),
        "to": (moment_of(words["until"], now) if words["until"] else now).isoformat(),
    }
    if output is None:
        return query
    progress = Progress(output)
    if force:
        progress.remove()
    state = progress.read()
    if state is None:
        if output.exists() and not force:
            raise AutomonError(f"{output} is there, and whole", hint="Choose another, or write it anew with --force.")
        return query
    if any(state["query"].get(name) != value for name, value in words.items()):
        raise AutomonError(
            f"{output} was begun with other words: {' '.join(_as_words(state['query']))}",
            hint="Call it with those to go on, or begin anew with --force.",
        )
    begun: Query = state["query"]
    return begun


def _as_words(query: Query) -> Iterator[str]:
    yield from ("automon export", query["kind"], "--since", query["since"])
    if query["until"]:
        yield from ("--until", query["until"])
    yield from ("--format", query["format"], *(["--exact"] if query["exact"] else []))


def _output(query: Query, path: Path | None) -> Output:
    from automon.cli import export_formats
    from automon.cli.export_outputs import ParquetOutput, StreamOutput, TextOutput

    kind = KINDS[query["kind"]]
    if query["format"] == "parquet" and path is not None:
        return ParquetOutput(path, query, kind)
    as_text: RowsAsText
    if query["format"] == "csv":
        head, as_text = export_formats.csv_head(kind), export_formats.csv_text(kind, is_exact=query["exact"])
    else:
        head, as_text = "", export_formats.jsonl_text
    return StreamOutput(head, as_text) if path is None else TextOutput(path, query, head, as_text)


def _copy(store: Store, query: Query, target: Output, tell: Callable[[int], None]) -> None:
    """Ask for page after page, each behind the last row of the one before."""
    kind = KINDS[query["kind"]]
    since, until = (datetime.fromisoformat(query[end]) for end in ("from", "to"))
    while True:
        rows = store.export_facts(query["kind"], since, until, target.after, PAGE_ROWS)
        if rows:
            target.write(rows, kind.position(rows[-1]))
            tell(len(rows))
        if len(rows) < PAGE_ROWS:
            break
    target.finish()


def _say_nothing(_: int) -> None:
    """Show no progress."""


@contextmanager
def _bar(store: Store, query: Query, target: Output) -> Iterator[Callable[[int], None]]:
    """Show on stderr how far it is, how fast, and how long it takes yet."""
    since, until = (datetime.fromisoformat(query[end]) for end in ("from", "to"))
    expected = max(store.export_estimate(query["kind"], since, until) or 0, target.rows + 1)
    began, before = time.monotonic(), target.rows

    def rate(_: object) -> str:
        return f"{(target.rows - before) / max(time.monotonic() - began, 0.001):,.0f} rows/s"

    with click.progressbar(
        length=expected,
        label=f"about {expected:,} {query['kind']}",
        file=sys.stderr,
        item_show_func=rate,
        show_eta=True,
    ) as bar:
        bar.update(before)
        yield lambda count: bar.update(count, count)
