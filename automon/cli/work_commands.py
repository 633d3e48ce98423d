"""The commands that show the work: tasks, errors by cause, queues, hosts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from automon.cli.options import Duration, tell_if_behind
from automon.cli.reading import Answer, Reading, give, reads
from automon.errors import AutomonError

if TYPE_CHECKING:
    from automon.store import Store

Document = dict[str, Any]
MOST_ROWS = 10_000

since_option = click.option("--since", type=Duration(), default="24h", show_default=True, help="How far to look back.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, MOST_ROWS), default=50, show_default=True, help="So many at most."
)


@click.command()
@click.argument("task_type", metavar="[TYPE]", required=False)
@since_option
@limit_option
@reads
def tasks(*, task_type: str | None, since: timedelta, limit: int, how: Reading) -> None:
    """Show how the task types fare, those in trouble first; or of one TYPE what runs and what failed.

    Example: automon tasks invoice_sync --since 7d
    """
    store = how.open()
    tell_if_behind(store)
    give(how, _tasks(store, since, limit) if task_type is None else _task(store, task_type, since))


def _tasks(store: Store, since: timedelta, limit: int) -> Answer:
    from automon.cli.text import age
    from automon.cli.work_screens import TASK_FIELDS, records, task_table, without_totals

    found, now = store.task_report(window=since, limit=limit), _now()
    total = found[0]["task_types"] if found else 0
    shown = without_totals(found, "task_types", "ok_task_types")
    return Answer(
        document={"window_seconds": since.total_seconds(), "task_types": total, "tasks": shown},
        records=lambda: records(shown, TASK_FIELDS),
        lines=lambda theme: [*task_table(found, since, now, theme), *_beyond(total, len(found))],
        empty="" if found else f"No task ended in the last {age(since.total_seconds())}, and none runs. Look further back: automon tasks --since 30d",
    )  # fmt: skip


def _task(store: Store, task_type: str, since: timedelta) -> Answer:
    from automon.cli.suggestions import did_you_mean
    from automon.cli.work_screens import FAILURE_FIELDS, records, task_screen

    found, now = store.task_details(task_type, window=since), _now()
    if found is None:
        known = [row["task_type"] for row in store.task_report(window=timedelta(days=7))]
        raise AutomonError(
            f"nothing of the task type {task_type} ended in that time or runs.{did_you_mean(task_type, known)}",
            hint="automon tasks lists the task types; --since 30d looks further back.",
        )
    return Answer(
        document={"window_seconds": since.total_seconds(), "task": found},
        records=lambda: records(found["failures"], FAILURE_FIELDS),
        lines=lambda theme: task_screen(found, since, now, theme),
    )


@click.command()
@click.argument("component", required=False)
@since_option
@limit_option
@reads
def errors(*, component: str | None, since: timedelta, limit: int, how: Reading) -> None:
    """Show the errors by cause, the most frequent first; or only those of a COMPONENT.

    A cause is a component, a type, and a message without its numbers and ids.

    Example: automon errors --since 2h
    """
    from automon.cli.text import age, printable
    from automon.cli.work_screens import CAUSE_FIELDS, cause_lines, records, without_totals

    store = how.open()
    tell_if_behind(store)
    found, now = store.error_causes(component=component, window=since, limit=limit), _now()
    shown, total = without_totals(found, "causes"), found[0]["causes"] if found else 0
    about = f" of {printable(component)}" if component is not None else ""
    answer = Answer(
        document={"window_seconds": since.total_seconds(), "causes_total": total, "causes": shown},
        records=lambda: records(shown, CAUSE_FIELDS),
        lines=lambda theme: cause_lines(found, since, now, theme),
        empty="" if found else f"No error{about} in the last {age(since.total_seconds())}. What failed without one: automon tasks",
    )  # fmt: skip
    give(how, answer)


@click.command()
@reads
def queues(*, how: Reading) -> None:
    """Show the queues, those in trouble first: what waits, what comes in and goes out, and when each is empty.

    Example: automon queues
    """
    from automon.cli.work_screens import QUEUE_FIELDS, queue_table, records, without_totals

    store = how.open()
    tell_if_behind(store)
    found, now = store.queue_report(), _now()
    shown = without_totals(found, "queues", "ok_queues")
    answer = Answer(
        document={"queues": shown},
        records=lambda: records(shown, QUEUE_FIELDS),
        lines=lambda theme: queue_table(found, now, theme),
        empty="" if found else "No queue has reported within 7 days. To report one: SELECT update_queue_metrics('mail', 12)",
    )  # fmt: skip
    give(how, answer)


@click.command()
@reads
def hosts(*, how: Reading) -> None:
    """Show the hosts, those in trouble first: CPU, memory, disks, and a container's limits beside the machine.

    Example: automon hosts
    """
    from automon.cli.work_screens import HOST_FIELDS, host_records, host_table, without_totals

    store = how.open()
    tell_if_behind(store)
    found, now = store.host_report(), _now()
    shown = without_totals(found, "hosts", "ok_hosts")
    answer = Answer(
        document={"hosts": shown},
        records=lambda: host_records(shown, HOST_FIELDS),
        lines=lambda theme: host_table(found, now, theme),
        empty="" if found else "No host has been sampled within 7 days. A running service samples its own: automon run",
    )
    give(how, answer)


def _beyond(total: int, shown: int) -> list[str]:
    return [f"+{total - shown:,} more: --limit {total}"] if total > shown else []


def _now() -> Any:
    from automon.clock import SystemClock

    return SystemClock().now()
