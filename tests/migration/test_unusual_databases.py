"""Databases of every kind: automon installs in each of them, and answers there as in one of its own making."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from automon.migrate import migrate
from tests.integration.sql.test_catalogue import CORE_TABLES, VIEWS
from tests.migration.normalised import everything
from tests.support.calls import DAY, HOUR, MINUTE, SECOND, Calls, channel
from tests.support.kinds import KINDS, USUAL, DatabaseKind
from tests.support.postgres import PostgresUnderTest
from tests.support.psql import SQL_FOLDER, migrate_with_psql
from tests.support.sessions import connect

# The end of the last quarter of an hour: what happened within it is of one hour in every time zone.
NOW = datetime.fromtimestamp(datetime.now(UTC).timestamp() // 900 * 900, UTC)
ISO = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")
AGES = re.compile(r".*(age_seconds|seconds_ago|^oldest_running_seconds|uptime_\w+|latency_seconds|^open_seconds)$")

Answers = dict[str, Any]
MakeDatabase = Callable[..., str]


@pytest.fixture
def make_database(postgres_server: PostgresUnderTest) -> Iterator[MakeDatabase]:
    """Make databases of a kind with nothing of automon's in them; skips where the server cannot have such."""
    with ExitStack() as stack:

        def make(kind: DatabaseKind) -> str:
            try:
                name = postgres_server.create_database(kind=kind)
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.SyntaxError) as error:
                pytest.skip(f"this server cannot have such a database: {error.diag.message_primary}")
            stack.callback(postgres_server.drop_database, name)
            return postgres_server.address.socket_url(name)

        yield make


def described(url: str) -> list[str]:
    with connect(url) as link:
        return everything(link)


def report(calls: Calls, words: str) -> None:
    """Report facts of every kind, all within the quarter of an hour before NOW."""
    hostile = f'{words} don\'t "quote" \\d+ {{}} %s $1 \n second line'
    for number in range(10):
        name, at = f"{words} {number}", NOW - (number + 1) * SECOND
        calls("start_task_tracking", name, f"ocr {words}", 1024, f"worker {words}", p_at=at - 2 * SECOND)
        status = "failed" if number < 8 else "completed"
        calls("complete_task_tracking", name, status, 2048, {words: 1.25}, hostile, p_at=at)
        calls("record_performance_metric", "duration", "gauge", 1.25 + number / 7, "s", words, {words: words}, p_at=at)
    calls("start_task_tracking", "long", "etl", p_at=NOW - 13 * MINUTE)
    calls("record_task_heartbeat", "long", 0.4, words, p_at=NOW - MINUTE)
    for number in range(112):
        calls("record_error", f"t-{number}", "smtp_error", "high", hostile, f"mail {words}", hostile, {"at": words}, p_at=NOW - number * SECOND)  # fmt: skip
    calls("update_system_health", "api", words, "healthy", 12.5, p_at=NOW - 5 * MINUTE)
    calls("update_system_health", "api", words, "unhealthy", 12.5, hostile, {words: 1}, p_at=NOW - MINUTE)
    calls("update_queue_metrics", f"queue {words}", 640, 3, 4, 5, 90.5, p_at=NOW)
    disks = [{"mount": f"/{words}", "percent": 99}]
    calls("record_host_sample", f"host {words}", {"cpu_percent": 12.5, "disks": disks}, NOW)


def replayed(calls: Calls, words: str) -> None:
    """Report the same again, which is to change nothing."""
    before = counted(calls)
    report(calls, words)
    assert counted(calls) == before


def counted(calls: Calls) -> Answers:
    return {table: calls.one(f"SELECT count(*) FROM public.{table}") for table in CORE_TABLES}


def tell(calls: Calls) -> list[Any]:
    """Claim and send whatever waits."""
    told = []
    while (message := calls("claim_delivery", "ops", "me", 2 * MINUTE, timedelta())) is not None:
        calls("finish_delivery_attempt", message["delivery_id"], "me", "sent", 0.2, "ok")
        told.append(message)
    return told


def whole_way(url: str, words: str) -> Answers:
    """Go from facts to messages, to what dashboards show, and to the end of it all; return every answer on the way."""
    with connect(url) as link:
        calls = Calls(link)
        answers: Answers = {}
        calls.configure(
            channels=[channel("ops"), channel("journal", notify_on=())], settings={"delivery.window_seconds": 0}
        )
        report(calls, words)
        replayed(calls, words)
        answers["findings"] = calls.rows("evaluate_all", NOW)
        answers["changed"] = calls("run_monitoring_checks", NOW)
        answers["messages"] = tell(calls)
        answers["silence"] = calls("silence_alerts", f"mail {words}", 2 * HOUR, words, "kim", p_at=NOW)
        answers["acknowledged"] = calls("acknowledge_alert", 1, "kim", words)
        for view in VIEWS:
            answers[view] = calls.ask(f"SELECT * FROM public.{view}")
        answers["summary"] = calls("get_dashboard_summary", NOW)
        answers["statistics"] = calls.rows("get_task_statistics", f"ocr {words}", HOUR, NOW)
        answers["uptime"] = calls("get_component_uptime", "api", words, HOUR, NOW)
        answers["deliveries"] = calls.rows("get_deliveries", "ops")
        answers["health"] = calls("get_automon_health", NOW)
        calls("update_queue_metrics", f"queue {words}", 1, p_at=NOW + SECOND)
        answers["resolved"] = calls("run_monitoring_checks", NOW + 3 * HOUR)
        answers["later messages"] = tell(calls)
        answers["stories"] = [calls("get_alert_story", row["id"]) for row in calls.ask("SELECT id FROM public.alerts")]
        answers["days"] = calls.ask("SELECT relname FROM pg_catalog.pg_class WHERE relispartition AND relkind = 'r'")
        answers["cleaned"] = clean_up(calls)
        answers["left"] = counted(calls)
        return {key: comparable(value) for key, value in answers.items()}


def clean_up(calls: Calls) -> dict[str, Any]:
    """Clean up until nothing is left to do; how much each call did depends on how fast it was."""
    while (answer := calls("cleanup_old_monitoring_data", NOW + 100 * DAY))["more"]:
        continue
    return {key: answer[key] for key in ("oldest_day", "past_term_days", "partitions_in_use", "another_runs")}


def comparable(value: Any, key: str = "") -> Any:
    """Return an answer without what the clock adds to it, and without the order that a collation gives it."""
    if isinstance(value, str) and ISO.match(value):
        return comparable(datetime.fromisoformat(value))
    if isinstance(value, datetime):
        return (value - NOW) / SECOND if value <= NOW else "by the clock"
    if AGES.match(key) and value is not None:
        return "an age"
    if isinstance(value, dict):
        return {name: comparable(part, name) for name, part in value.items() if name != "hour"}
    if isinstance(value, list):
        return sorted((comparable(part) for part in value), key=str)
    return value


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_both_ways_to_install_make_the_schema_that_they_make_elsewhere(
    make_database: MakeDatabase, kind: DatabaseKind
) -> None:
    usual, by_psql, by_automon = (make_database(one) for one in (USUAL, kind, kind))
    migrate(usual)

    migrate_with_psql(by_psql)
    migrate(by_automon)

    assert described(by_automon) == described(by_psql) == described(usual)
    assert migrate(by_psql) == []
    migrate_with_psql(by_automon)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_answer_from_facts_to_clean_up_is_the_one_of_a_usual_database(
    make_database: MakeDatabase, kind: DatabaseKind
) -> None:
    usual, unusual = make_database(USUAL), make_database(kind)
    migrate(usual)
    migrate_with_psql(unusual)

    assert whole_way(unusual, kind.words) == whole_way(usual, kind.words)


def test_several_at_once_install_once_where_transactions_are_serializable(make_database: MakeDatabase) -> None:
    url = make_database(KINDS["serializable"])

    def install(number: int) -> list[str]:
        if number % 2:
            return migrate(url)
        migrate_with_psql(url)
        return []

    with ThreadPoolExecutor(6) as pool:
        applied = list(pool.map(install, range(6)))

    assert sum(map(bool, applied)) <= 1
    assert migrate(url) == []


def test_a_schema_of_its_own_is_made_where_backslashes_escape(make_database: MakeDatabase) -> None:
    url = make_database(KINDS["backslashes escape"])

    migrate(url, schema="monitoring")

    with connect(url) as link:
        assert Calls(link, "monitoring")("run_monitoring_checks") == 0
        with pytest.raises(psycopg.errors.UndefinedTable):
            link.execute("SELECT FROM public.alerts")


def test_nothing_that_is_released_from_now_on_needs_more_than_ascii() -> None:
    """A database may have any encoding, and a psql any other."""
    beyond = [path.name for path in sorted(SQL_FOLDER.glob("*.sql")) if not path.read_bytes().isascii()]

    assert beyond == ["004_create_system_health.sql"]
