"""The hot queries on ten days of history: the index they use, the days they leave out, the rows they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.support.calls import DAY, NOON, Calls, channel
from tests.support.postgres import PostgresUnderTest
from tests.support.sessions import connect

ROWS = 200_000
DAYS = 10

SEED = [
    "SELECT count(public.ensure_day_partition(t, %(noon)s - d * interval '1 day')) FROM public.day_partitioned_tables() AS t CROSS JOIN generate_series(0, 10) AS d",
    """INSERT INTO public.processing_metrics_history (task_id, task_type, worker_id, status, start_time, end_time, duration_seconds)
       SELECT 'task-' || n, 'type-' || n %% 10, 'worker-' || n %% 5, CASE WHEN n %% 50 = 0 THEN 'failed' ELSE 'completed' END, e.at - interval '20 seconds', e.at, 20
       FROM generate_series(1, %(rows)s) AS n CROSS JOIN LATERAL (SELECT %(noon)s - n * %(days)s * interval '1 day' / %(rows)s AS at) AS e""",
    """INSERT INTO public.processing_metrics_running (task_id, task_type, start_time) SELECT 'running-' || n, 'type-' || n %% 10, %(noon)s FROM generate_series(1, 2000) AS n""",
    """INSERT INTO public.error_tracking (fact_id, occurred_at, component, error_type, severity, error_message)
       SELECT gen_random_uuid(), %(noon)s - n * %(days)s * interval '1 day' / %(rows)s, 'component-' || n %% 20, 'timeout', 'low', 'no answer' FROM generate_series(1, %(rows)s) AS n""",
    "INSERT INTO public.monitored_sources SELECT 'queue', 'queue-' || n, %(noon)s FROM generate_series(0, 19) AS n",
    """INSERT INTO public.queue_monitoring (queue_name, recorded_at, pending)
       SELECT 'queue-' || n %% 20, %(noon)s - n * %(days)s * interval '1 day' / %(rows)s, n %% 40 FROM generate_series(1, %(rows)s) AS n""",
    "SELECT public.roll_up(1000000)",
    "ANALYZE",
]


@pytest.fixture(scope="module")
def history(postgres_server: PostgresUnderTest, template_database: str) -> Iterator[Calls]:
    """A session on a database with ten days of tasks, errors and queue reports; its tests leave the facts as they are."""
    name = postgres_server.create_database(template_database)
    with connect(postgres_server.address.socket_url(name)) as connection:
        for statement in SEED:
            connection.execute(
                statement.encode(), {"noon": NOON, "rows": ROWS, "days": DAYS} if "%(" in statement else None
            )
        yield Calls(connection)
    postgres_server.drop_database(name)


@dataclass(frozen=True)
class Plan:
    relations: set[str]
    indexes: set[str]
    scans: set[str]
    rows_read: int


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def plan_of(calls: Calls, query: str, *values: object) -> Plan:
    """Run the query and say what it read; a partition that was never looked into is left out."""
    with calls.connection.transaction(force_rollback=True):
        [explained] = calls.one(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}", *values)
    executed = [node for node in nodes(explained["Plan"]) if node.get("Actual Loops", 0) > 0]
    return Plan(
        relations={node["Relation Name"] for node in executed if "Relation Name" in node},
        indexes={node["Index Name"] for node in executed if "Index Name" in node},
        scans={node["Node Type"] for node in executed if "Relation Name" in node},
        rows_read=round(
            sum(
                (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                for node in executed
                if "Relation Name" in node
            )
        ),
    )


def last_days(table: str, count: int) -> set[str]:
    return {f"{table}_{NOON - day * DAY:%Y%m%d}" for day in range(count)}


def rows_of_tables(calls: Calls, query: str, *values: object) -> dict[str, int]:
    """How many rows of which table a call reads, functions included, as the statistics of this session count them."""
    counted = """
        SELECT relname, (seq_tup_read + COALESCE(idx_tup_fetch, 0)) AS n FROM pg_stat_xact_user_tables WHERE schemaname = 'public'
    """
    with calls.connection.transaction(force_rollback=True):
        before = {row["relname"]: row["n"] for row in calls.ask(counted)}
        calls.ask(query, *values)
        after = {row["relname"]: row["n"] for row in calls.ask(counted)}
    return {name: n - before.get(name, 0) for name, n in after.items() if n > before.get(name, 0)}


def test_completing_a_task_finds_it_by_its_index(history: Calls) -> None:
    plan = plan_of(
        history, "DELETE FROM public.processing_metrics_running r WHERE r.task_id = %s RETURNING r.*", "running-1000"
    )

    assert (plan.relations, plan.rows_read) == ({"processing_metrics_running"}, 2)
    assert plan.indexes == {"one_running_row_per_task"}


def test_completing_a_task_reads_nothing_of_the_history(history: Calls) -> None:
    read = rows_of_tables(
        history, "SELECT public.complete_task_tracking(%s, p_at => %s)", "running-1000", NOON + timedelta(minutes=1)
    )

    assert read == {"processing_metrics_running": 1}


def test_completing_a_task_locks_one_day_of_the_history(history: Calls) -> None:
    locked = "SELECT DISTINCT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE l.pid = pg_backend_pid() AND c.relkind IN ('r', 'p') AND c.relname LIKE 'processing%%'"
    with history.connection.transaction(force_rollback=True):
        history("complete_task_tracking", "running-1001", p_at=NOON + timedelta(minutes=1))
        found = {row["relname"] for row in history.ask(locked)}

    # The root may be among them: a session that meets a leaf for the first time looks up what it belongs to.
    assert found - {"processing_metrics"} == {
        "processing_metrics_running",
        "processing_metrics_history",
        *last_days("processing_metrics_history", 1),
    }


def test_the_newest_fifty_by_start_come_from_the_index_on_it(history: Calls) -> None:
    plan = plan_of(history, "SELECT * FROM public.processing_metrics_history ORDER BY start_time DESC LIMIT 50")

    assert "Seq Scan" not in plan.scans
    assert plan.rows_read <= 50 + 2 * 20
    assert {index.rsplit("_start_time", 1)[0] for index in plan.indexes} >= last_days("processing_metrics_history", 1)


def test_the_newest_fifty_of_all_tasks_read_the_running_ones_and_few_others(history: Calls) -> None:
    plan = plan_of(history, "SELECT * FROM public.processing_metrics ORDER BY start_time DESC LIMIT 50")

    assert plan.rows_read <= 2000 + 50 + 2 * 20


IN_A_MINUTE = ROWS / DAYS / 24 / 60
IN_THE_HOUR = 60 * IN_A_MINUTE
# While it plans, the server looks at the ends of indexes: a row or two of a day for each query.
PLANNING = 100
CALM = {"error_rate": 1000, "failure_rate": 50}
FACTS = ("error_tracking", "processing_metrics_history")
HOURLY = ["evaluate_error_rate", "evaluate_critical_errors", "evaluate_failure_rate", "evaluate_processing_time"]


def facts_read(read: dict[str, int]) -> int:
    return sum(n for name, n in read.items() if name.startswith(FACTS))


@pytest.mark.parametrize("function", HOURLY)
def test_a_check_of_an_hour_reads_its_minutes_and_of_the_facts_two_parts_of_a_minute(
    history: Calls, function: str
) -> None:
    for alert_type, limit in CALM.items():
        history("set_threshold", alert_type, "*", limit, None, None, None)

    read = rows_of_tables(history, f"SELECT * FROM public.{function}(%s)", NOON - timedelta(seconds=30))

    assert facts_read(read) <= 2 * IN_A_MINUTE + PLANNING
    assert sum(n for name, n in read.items() if "_minutes_" in name) <= 1.1 * IN_THE_HOUR


@pytest.mark.parametrize("function", ["evaluate_error_rate", "evaluate_failure_rate"])
def test_the_evidence_about_a_source_reads_its_hour_at_the_most(history: Calls, function: str) -> None:
    history("set_threshold", "error_rate", "*", 1, None, None, None)
    history("set_threshold", "failure_rate", "*", 1, None, None, None)

    read = rows_of_tables(history, f"SELECT * FROM public.{function}(%s)", NOON)

    # Ten task types look through the hour for what failed, twenty components each at their own errors, twice.
    assert facts_read(read) <= 11 * IN_THE_HOUR + PLANNING
    assert {name for name, n in read.items() if name.startswith(FACTS) and n > PLANNING} <= {
        day for table in FACTS for day in last_days(table, 1)
    }


def test_a_day_of_errors_is_read_by_the_hour(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT * FROM public.errors_between(%s, %s)", NOON - DAY, NOON)

    assert facts_read(read) <= PLANNING
    assert sum(n for name, n in read.items() if "_minutes_" in name) <= PLANNING
    assert 0 < read["error_hours"] <= 24 * 20 + PLANNING


def test_what_was_recorded_since_is_found_by_its_transaction(history: Calls) -> None:
    with history.connection.transaction(force_rollback=True):
        history.record_errors(3, "component-1")
        read = rows_of_tables(history, "SELECT * FROM public.errors_between(%s, %s)", NOON - 2 * DAY, NOON)
        rolled = rows_of_tables(history, "SELECT public.roll_up()")

    assert facts_read(read) <= PLANNING
    assert facts_read(rolled) <= PLANNING


def test_looking_for_what_cannot_wait_reads_no_history(history: Calls) -> None:
    for alert_type, limit in CALM.items():
        history("set_threshold", alert_type, "*", limit, None, None, None)
    rows_of_tables(history, "SELECT public.watch_facts(%s)", NOON)  # plans, and looks at each day for that

    read = rows_of_tables(history, "SELECT public.watch_facts(%s)", NOON)

    assert facts_read(read) <= PLANNING
    assert sum(n for name, n in read.items() if "_minutes_" in name) <= 1.1 * IN_THE_HOUR


def test_the_errors_of_an_hour_are_found_by_their_moment(history: Calls) -> None:
    plan = plan_of(
        history,
        "SELECT e.component, count(*) FROM public.error_tracking e WHERE e.occurred_at > %s - interval '1 hour' AND e.occurred_at <= %s GROUP BY 1",
        NOON,
        NOON,
    )

    assert plan.relations == last_days("error_tracking", 1)
    assert plan.indexes
    assert "Seq Scan" not in plan.scans


def test_what_runs_too_long_is_found_without_the_history(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT * FROM public.evaluate_running_time(%s)", NOON)

    assert sum(n for name, n in read.items() if name.startswith("processing_metrics_history")) <= PLANNING
    assert read["processing_metrics_running"] <= 2 * 2000


def test_the_latest_report_of_each_queue_reads_five_rows_of_it(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT * FROM public.queue_reports_at(%s)", NOON)
    facts = {name: n for name, n in read.items() if name.startswith("queue_monitoring")}

    assert set(facts) <= last_days("queue_monitoring", 2)
    assert sum(facts.values()) <= 20 * 5


def test_all_checks_together_read_minutes_and_hardly_a_fact(history: Calls) -> None:
    for alert_type, limit in CALM.items():
        history("set_threshold", alert_type, "*", limit, None, None, None)

    read = rows_of_tables(history, "SELECT * FROM public.evaluate_all(%s)", NOON)

    assert facts_read(read) <= 10 * PLANNING
    assert sum(read.values()) <= 4 * 1.1 * IN_THE_HOUR + 2000 + 20 * 5 + 10 * PLANNING


def test_a_replayed_start_looks_only_where_it_could_have_ended(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT public.start_task_tracking('task-77', 'ocr', p_at => %s)", NOON - DAY)

    assert sum(n for name, n in read.items() if name.startswith("processing_metrics_history")) <= 2


def outbox_of(calls: Calls, sent: int) -> None:
    """One channel, as many open alerts as that whose messages were sent, and one whose message waits."""
    calls.configure(channels=[channel()])
    finding = "ROW('error_rate', 's' || n, 'high', 1, 1, '', 'bad', '{}')::public.monitoring_finding"
    calls.ask(
        f"SELECT public.apply_findings(ARRAY['error_rate'], ARRAY(SELECT {finding} FROM generate_series(1, %s) AS n))", sent
    )  # fmt: skip
    calls.ask("UPDATE public.alert_deliveries SET status = 'sent', attempts = 1, finished_at = now(), first_attempt_at = now() - interval '1 hour'")  # fmt: skip
    calls.ask("ANALYZE public.alerts, public.alert_deliveries, public.alert_transitions")
    calls.ask("SELECT public.apply_findings(ARRAY['host_cpu'], ARRAY[ROW('host_cpu', 'it', 'high', 1, 1, '', 'bad', '{}')::public.monitoring_finding])")  # fmt: skip


@pytest.mark.parametrize(
    "call",
    ["claim_delivery('ops', 'me')", "next_delivery_in('ops')", "hand_on_deliveries()", "get_automon_health()"],
    ids=["claim", "sleep", "hand on", "health"],
)
def test_the_outbox_reads_what_waits_and_not_what_was_sent(calls: Calls, call: str) -> None:
    outbox_of(calls, 2000)

    assert 1 <= rows_of_tables(calls, f"SELECT public.{call}")["alert_deliveries"] <= 20


def test_a_message_names_the_worst_of_what_else_is_open_without_reading_all_of_it(calls: Calls) -> None:
    outbox_of(calls, 2000)

    assert rows_of_tables(calls, "SELECT public.claim_delivery('ops', 'me')")["alerts"] <= 60


# What people read ---------------------------------------------------------------------------------------------------

A_TRENDS_TYPES = {"error_rate": "component-1", "failure_rate": "type-1", "processing_time": "type-1"}


def minutes_read(read: dict[str, int]) -> int:
    return sum(n for name, n in read.items() if "_minutes_" in name)


def test_a_day_of_task_types_is_read_by_the_hour_and_of_the_facts_one_failure_each(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT * FROM public.get_task_report(p_now => %s)", NOON)

    assert facts_read(read) <= PLANNING + 10
    assert 0 < read["task_hours"] <= 24 * 10 * 2 + PLANNING
    assert read["processing_metrics_running"] <= 2000 + PLANNING


def test_one_task_type_is_told_without_a_look_at_the_others_facts(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT public.get_task_details('type-0', '10 days', %s)", NOON)

    assert facts_read(read) <= 3 * PLANNING
    assert minutes_read(read) <= 5 * IN_THE_HOUR


def test_causes_are_read_from_the_newest_errors_of_each_component_whatever_the_window(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT * FROM public.get_error_causes(p_window => '10 days', p_now => %s)", NOON)

    assert facts_read(read) <= 20 * 2000 + 10 * PLANNING


@pytest.mark.parametrize("alert_type", A_TRENDS_TYPES)
def test_a_trend_of_twelve_hours_reads_their_sums_and_the_minutes_of_one(history: Calls, alert_type: str) -> None:
    source = A_TRENDS_TYPES[alert_type]

    read = rows_of_tables(
        history, "SELECT public.get_alert_trend(%s, %s, %s)", alert_type, source, NOON - timedelta(seconds=30)
    )

    assert facts_read(read) <= 2 * IN_A_MINUTE + PLANNING
    assert minutes_read(read) <= 1.1 * IN_THE_HOUR


def test_a_trend_of_a_queue_reads_a_report_an_hour(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT public.get_alert_trend('queue_backlog', 'queue-1', %s)", NOON)

    assert sum(n for name, n in read.items() if name.startswith("queue_monitoring")) <= 12 + PLANNING


def test_each_queue_is_told_from_its_newest_sixty_reports(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT * FROM public.get_queue_report(p_now => %s)", NOON)

    assert sum(n for name, n in read.items() if name.startswith("queue_monitoring")) <= 20 * (5 + 60) + PLANNING


def test_the_status_reads_sums_and_hardly_a_fact(history: Calls) -> None:
    read = rows_of_tables(history, "SELECT public.get_status(6, %s)", NOON)

    # The summary asks for the newest message of each kind of error, and so does the report of task types.
    assert facts_read(read) <= 10 * PLANNING
    assert minutes_read(read) <= 6 * IN_THE_HOUR
