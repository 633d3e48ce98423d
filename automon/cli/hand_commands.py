"""The commands with which people take alerts in hand, and silence what they know. Each says what changed and how to undo it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from automon.cli.names import EVERY, AlertType
from automon.cli.options import Duration, by_option, config_option, database_option, open_store, quiet_logs
from automon.cli.reading import Answer, Reading, give, reads

if TYPE_CHECKING:
    from automon.store import Store

Document = dict[str, Any]
# Changes one alert, whose story of before is given; answers what to say, or None when there was nothing to change.
Change: TypeAlias = "Callable[[Store, int, Document, datetime], str | None]"
MOST_SILENCES = 10_000

alerts_argument = click.argument("alert_ids", metavar="ALERT...", type=int, nargs=-1, required=True)


@click.command()
@alerts_argument
@click.option("--note", help="What you are doing about it; shown in the resolved message.")
@by_option
@config_option
@database_option
def ack(
    alert_ids: tuple[int, ...], note: str | None, by: str, config_path: Path | None, database_url: str | None
) -> None:
    """Take every ALERT in hand, so that its reminders stop.

    An escalation is still told. Your name, the time and the note stay in the alert's story.

    Example: automon ack 41 --note "relay restarted"
    """
    from automon.cli.alert_screens import acked, undo

    def acknowledge(store: Store, number: int, story: Document, now: datetime) -> str | None:
        return acked(number, by, story, now) if store.acknowledge_alert(number, by, note) else None

    if changed := _change_each(config_path, database_url, alert_ids, acknowledge):
        click.echo(undo("unack", changed))


@click.command()
@alerts_argument
@click.option("--note", help="Why; kept in the alert's story.")
@by_option
@config_option
@database_option
def unack(
    alert_ids: tuple[int, ...], note: str | None, by: str, config_path: Path | None, database_url: str | None
) -> None:
    """Give every ALERT back that was acknowledged, so that reminders go on.

    Who had it stays in its story; no channel is told.

    Example: automon unack 41
    """
    from automon.cli.alert_screens import undo
    from automon.cli.text import cut

    def give_back(store: Store, number: int, story: Document, _: datetime) -> str | None:
        had = cut(story["acknowledged_by"] or "", 30)
        told = f"gave back #{number} (was acked by {had}); reminders of a critical alert go on"
        return told if store.unacknowledge_alert(number, by, note) else None

    if changed := _change_each(config_path, database_url, alert_ids, give_back):
        click.echo(undo("ack", changed))


@click.command()
@alerts_argument
@click.option("--note", help="Why; kept in the alert's story.")
@by_option
@config_option
@database_option
def resolve(
    alert_ids: tuple[int, ...], note: str | None, by: str, config_path: Path | None, database_url: str | None
) -> None:
    """Resolve every ALERT by hand.

    If its cause still stands, the next check opens another: silence the source to keep it quiet.

    Example: automon resolve 41 --note "known, ticket 7"
    """
    from automon.cli.text import age, cut, local

    def end(store: Store, number: int, story: Document, now: datetime) -> str | None:
        open_for = age(max((now - local(story["opened_at"])).total_seconds(), 0))
        told = f"resolved #{number} {cut(story['source'], 30)} as {cut(by, 30)} (was open {open_for})"
        return f"{told}; if its cause still stands, the next check opens another" if store.resolve_alert(number, by, note) else None  # fmt: skip

    _change_each(config_path, database_url, alert_ids, end)


def _change_each(
    config_path: Path | None, database_url: str | None, alert_ids: tuple[int, ...], change: Change
) -> list[int]:
    """Find every alert that is named before any is changed, and say of each what became of it; answer which were changed."""
    from automon.cli.alert_screens import was_not_changed
    from automon.clock import SystemClock

    quiet_logs()
    store, now = open_store(config_path, database_url), SystemClock().now()
    stories = {number: _story(store, number) for number in dict.fromkeys(alert_ids)}
    changed = []
    for number, story in stories.items():
        told = change(store, number, story, now)
        if told is not None:
            changed.append(number)
        click.echo(told or was_not_changed(number, _story(store, number), now))
    return changed


def _story(store: Store, alert_id: int) -> Document:
    from automon.cli.alert_screens import refuse_unknown_alert

    story = store.alert_story(alert_id)
    if story is None:
        raise refuse_unknown_alert(alert_id)
    return story


@click.command()
@click.argument("source")
@click.argument("duration", type=Duration())
@click.option("--reason", default="", help="Why; kept in the database.")
@click.option("--type", "alert_type", type=AlertType(), default=EVERY, help="Only this alert type.")
@click.option("--dry-run", is_flag=True, help="Only say what it would have hidden in the last 7 days.")
@by_option
@config_option
@database_option
def silence(
    *,
    source: str,
    duration: timedelta,
    reason: str,
    alert_type: str,
    dry_run: bool,
    by: str,
    config_path: Path | None,
    database_url: str | None,
) -> None:
    """Send no messages about SOURCE for a while.

    SOURCE '*' is everything; DURATION is 30m, 2h or 7d, 90 days at the most. Alerts are kept, and told afterwards if they
    still stand. What the silence would have hidden in the last week is said first.

    Example: automon silence invoice-sync 2h --reason "deploying"
    """
    from automon.cli.alert_screens import preview_lines, silenced
    from automon.clock import SystemClock

    quiet_logs()
    store = open_store(config_path, database_url)
    for line in preview_lines(store.preview_silence(source, alert_type), source, alert_type, is_past=not dry_run):
        click.echo(line)
    if dry_run:
        click.echo("Nothing was silenced: this was --dry-run.", err=True)
        return
    number = store.silence_alerts(source, duration, reason, by, alert_type)
    click.echo(silenced(source, alert_type, SystemClock().now() + duration, by))
    click.echo(f"Undo: automon unsilence {number}")


@click.command()
@click.option("--all", "with_ended", is_flag=True, help="Also those that are over, and who ended them.")
@click.option("--limit", type=click.IntRange(1, MOST_SILENCES), default=200, show_default=True, help="So many at most.")
@reads
def silences(*, with_ended: bool, limit: int, how: Reading) -> None:
    """List the silences in force: of what, until when, by whom, why, and how many messages each has hidden.

    Example: automon silences
    """
    from automon.cli.alert_screens import silence_lines, silence_records
    from automon.clock import SystemClock

    store, now = how.open(), SystemClock().now()
    found = store.silences(ended=with_ended, limit=limit)
    answer = Answer(
        document={"silences": found},
        records=lambda: silence_records(found),
        lines=lambda _: silence_lines(found, now),
        empty="" if found else "No silence is kept." if with_ended else "No silence is in force. Earlier ones: automon silences --all",
    )  # fmt: skip
    give(how, answer)


@click.command()
@click.argument("numbers", metavar="SILENCE...", type=int, nargs=-1, required=True)
@by_option
@config_option
@database_option
def unsilence(numbers: tuple[int, ...], by: str, config_path: Path | None, database_url: str | None) -> None:
    """End every SILENCE before its time; who did is kept.

    Example: automon unsilence 3
    """
    quiet_logs()
    store = open_store(config_path, database_url)
    for number in dict.fromkeys(numbers):
        ended = store.end_silence(number, by)
        click.echo(f"ended silence {number} as {by}" if ended else f"silence {number} has ended before, or never was")
