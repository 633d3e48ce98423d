"""The commands that list alerts and explain them."""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from automon.cli.names import EVERY, AlertType
from automon.cli.options import Duration, tell_if_behind
from automon.cli.reading import Answer, Reading, give, reads
from automon.errors import AutomonError
from automon.models import Severity

if TYPE_CHECKING:
    from automon.cli.alert_screens import AlertFilter
    from automon.store import Store

Document = dict[str, Any]
MOST_ALERTS = 10_000
NUMBER = re.compile(r"#?(\d{1,18})")


@click.command()
@click.option("--all", "with_resolved", is_flag=True, help="Also those that are resolved and still kept, newest first.")
@click.option("--source", help="Only those of this source.")
@click.option(
    "--severity", type=click.Choice([level.value for level in Severity]), help="Only those of this severity or worse."
)
@click.option("--type", "alert_type", type=AlertType(), help="Only those of this alert type, such as error_rate.")
@click.option("--since", type=Duration(), help="Only those that were opened or resolved within this span.")
@click.option("--unacked", is_flag=True, help="Leave out those that somebody has acknowledged.")
@click.option("--limit", type=click.IntRange(1, MOST_ALERTS), default=200, show_default=True, help="So many at most.")
@reads
def alerts(
    *,
    with_resolved: bool,
    source: str | None,
    severity: str | None,
    alert_type: str | None,
    since: timedelta | None,
    unacked: bool,
    limit: int,
    how: Reading,
) -> None:
    """List the open alerts, worst first, or with --all their history.

    Exit code: 0 none, 1 some, 2 critical ones, 4 the database cannot be read; with --all always 0 or 4.

    Example: automon alerts --all --since 24h
    """
    from automon.cli.alert_screens import AlertFilter, alert_list, alert_records
    from automon.clock import SystemClock

    wanted = AlertFilter(
        with_resolved=with_resolved, source=source, severity=severity, alert_type=alert_type, since=since,
        unacknowledged=unacked,
    )  # fmt: skip
    store, now = how.open(), SystemClock().now()
    tell_if_behind(store)
    found = _alerts(store, wanted, limit, now)
    empty = "" if found or how.as_json else _empty(store, wanted, now)
    answer = Answer(
        document={"alerts": found},
        records=lambda: alert_records(found),
        lines=lambda theme: alert_list(found, now, theme),
        empty=empty,
    )
    give(how, answer)
    sys.exit(_code(found, wanted))


def _alerts(store: Store, wanted: AlertFilter, limit: int, now: datetime) -> list[Document]:
    return store.alerts(
        is_open=not wanted.with_resolved,
        source=wanted.source,
        severity=wanted.severity,
        alert_type=None if wanted.alert_type == EVERY else wanted.alert_type,
        since=None if wanted.since is None else now - wanted.since,
        unacknowledged=wanted.unacknowledged,
        limit=limit,
    )


def _empty(store: Store, wanted: AlertFilter, now: datetime) -> str:
    from automon.cli.alert_screens import no_alerts

    last = next((one for one in store.alerts(is_open=False, limit=20) if one["resolved_at"]), None)
    return no_alerts(wanted, last, now)


def _code(found: list[Document], wanted: AlertFilter) -> int:
    from automon.cli.verdict import worst_code

    return 0 if wanted.with_resolved else worst_code(found)


@click.command()
@click.argument("what", metavar="ALERT|SOURCE")
@reads
def explain(*, what: str, how: Reading) -> None:
    """Say why an ALERT fired, what else changed, and what happens next; or of a SOURCE why it has no alert.

    A SOURCE is a task type, a component, a queue or a host: each of its checks is shown with its value and its limits.

    Example: automon explain 41
    """
    number = NUMBER.fullmatch(what)
    store = how.open()
    tell_if_behind(store)
    give(how, explain_alert(store, how, int(number[1])) if number else explain_source(store, what))


def explain_alert(store: Store, how: Reading, alert_id: int) -> Answer:
    from automon.cli.alert_screens import refuse_unknown_alert
    from automon.cli.explain_screen import Explanation, explain_lines
    from automon.clock import SystemClock
    from automon.places import load_found_config

    story, context = store.alert_story(alert_id), store.alert_context(alert_id)
    if story is None or context is None:
        raise refuse_unknown_alert(alert_id)
    guidance = load_found_config(how.config_path, os.environ).guidance_for(story["alert_type"], story["source"])
    told = Explanation(story=story, context=context, guidance=guidance, now=SystemClock().now(), verbs=_verbs())
    keys = ("id", "severity", "alert_type", "source", "opened_at", "resolved_at", "acknowledged_by", "summary")
    said = {"impact": guidance.impact, "next": guidance.next_step, "runbook": guidance.runbook}
    return Answer(
        document={"alert": story, "context": context, "guidance": said},
        records=lambda: [[story[key] for key in keys]],
        lines=lambda theme: explain_lines(told, theme),
    )


def explain_source(store: Store, source: str) -> Answer:
    from automon.cli.explain_screen import source_lines, source_records
    from automon.clock import SystemClock

    checks = store.source_report(source)
    if not checks:
        raise _unknown_source(store, source)
    now = SystemClock().now()
    return Answer(
        document={"source": source, "checks": checks},
        records=lambda: source_records(checks),
        lines=lambda theme: source_lines(source, checks, now, _verbs(), theme),
    )


def _unknown_source(store: Store, source: str) -> AutomonError:
    from automon.cli.explain_screen import unknown_source
    from automon.cli.suggestions import did_you_mean

    known = {row["name"] for row in store.sources()}
    message, hint = unknown_source(source, did_you_mean(source, known))
    return AutomonError(message, hint=hint)


def _verbs() -> frozenset[str]:
    from automon.cli.commands import MODULES

    return frozenset(MODULES)
