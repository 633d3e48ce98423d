"""Facts of any kind in one document: what the single calls would have stored, in order, and each mistake by itself."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.integration.sql.conftest import NewSession
from tests.integration.sql.test_bulk import wait_for_blocked_session
from tests.integration.sql.test_facts import HOSTILE, SAMPLE
from tests.support.calls import DAY, NOON, SECOND, Calls, Row

Fact = dict[str, Any]
TABLES = ("processing_metrics", "system_health", "queue_monitoring", "host_metrics", "monitored_sources")
NOTHING = {"stored": 0, "known": 0, "refused": []}


@dataclass(frozen=True)
class Kind:
    """A kind of fact: the single form, what only an element of a document has besides `at`, and where it goes."""

    function: str
    fact: Fact
    table: str
    needed: frozenset[str]


KINDS = {
    "start": Kind(
        "start_task_tracking",
        {"task_id": "t", "task_type": "ocr", "input_size": 1024, "worker_id": "worker-1"},
        "processing_metrics",
        frozenset({"task_id", "task_type"}),
    ),
    "heartbeat": Kind(
        "record_task_heartbeat",
        {"task_id": "runs", "progress": 12.5, "step": "scan"},
        "processing_metrics",
        frozenset({"task_id"}),
    ),
    "end": Kind(
        "complete_task_tracking",
        {"task_id": "runs", "status": "failed", "output_size": 2048, "step_timings": {"scan": 1.2}, "error_message": "disk full"},
        "processing_metrics",
        frozenset({"task_id"}),
    ),
    "health": Kind(
        "update_system_health",
        {"component_type": "api", "component_name": "main", "status": "unhealthy", "response_time_ms": 12.5, "failure_reason": "timeout", "details": {"zone": "a"}},
        "system_health",
        frozenset({"component_type", "component_name", "status"}),
    ),
    "queue": Kind(
        "update_queue_metrics",
        {"queue_name": "mail", "pending": 5, "processing": 2, "completed": 7, "failed": 1, "oldest_pending_seconds": 12.5},
        "queue_monitoring",
        frozenset({"queue_name", "pending"}),
    ),
    "host": Kind("record_host_sample", {"host": "host-1", "sample": SAMPLE}, "host_metrics", frozenset({"host", "sample"})),
}  # fmt: skip
by_kind = pytest.mark.parametrize("kind", KINDS)


def fact(kind: str, at: datetime = NOON, **changed: Any) -> Fact:
    return {"fact": kind, "at": at.isoformat()} | KINDS[kind].fact | changed


def least(kind: str) -> Fact:
    return {name: value for name, value in fact(kind).items() if name in KINDS[kind].needed | {"fact", "at"}}


def record(calls: Calls, *facts: object) -> Row:
    answer: Row = calls("record_facts", Jsonb(list(facts)))
    return answer


def single(calls: Calls, said: Fact) -> bool:
    """Record the same fact by the call that a client makes when the database is there."""
    named = {f"p_{name}": value for name, value in said.items() if name not in {"fact", "at"}}
    stored: bool = calls(KINDS[said["fact"]].function, **named, p_at=datetime.fromisoformat(said["at"]))
    return stored


def run_a_task(calls: Calls) -> None:
    calls("start_task_tracking", "runs", "ocr", p_at=NOON - 90 * SECOND)


def contents(calls: Calls) -> list[str]:
    """What the rows say, but for the numbers that a sequence gave them."""
    return sorted(
        row["said"]
        for table in TABLES
        for row in calls.ask(
            f"SELECT (to_jsonb(t) - ARRAY['id', 'recorded_in'])::text AS said FROM public.{table} AS t"
        )
    )


def forget(calls: Calls) -> None:
    for table in TABLES:
        calls.ask(f"DELETE FROM public.{table}")


def refusals(answer: Row) -> list[tuple[int, str]]:
    return [(refused["index"], refused["code"]) for refused in answer["refused"]]


# What is stored ---------------------------------------------------------------------------------------------------


@by_kind
@pytest.mark.parametrize("of", [fact, least], ids=["all of it", "the least"])
def test_a_fact_is_stored_as_the_single_call_stores_it(calls: Calls, kind: str, of: Any) -> None:
    run_a_task(calls)
    assert single(calls, of(kind)) is True
    by_single_call = contents(calls)
    forget(calls)
    run_a_task(calls)

    assert record(calls, of(kind)) == NOTHING | {"stored": 1}
    assert contents(calls) == by_single_call


@by_kind
def test_null_says_the_same_as_leaving_out(calls: Calls, kind: str) -> None:
    run_a_task(calls)
    record(calls, least(kind))
    before = contents(calls)
    optional = fact(kind).keys() - KINDS[kind].needed - {"fact", "at", "status"}

    forget(calls)
    run_a_task(calls)
    assert record(calls, least(kind) | dict.fromkeys(optional))["stored"] == 1
    assert contents(calls) == before


def test_facts_are_applied_in_the_order_of_the_array(calls: Calls) -> None:
    answer = record(
        calls,
        fact("start"),
        fact("heartbeat", NOON + SECOND, task_id="t", progress=40),
        fact("heartbeat", NOON + 2 * SECOND, task_id="t", progress=80),
        fact("end", NOON + 3 * SECOND, task_id="t", status="completed"),
        fact("start", NOON + 4 * SECOND, task_type="again"),
    )

    assert answer == NOTHING | {"stored": 5}
    tasks = calls.ask("SELECT task_type, status, progress, duration_seconds FROM public.processing_metrics ORDER BY start_time")  # fmt: skip
    assert [tuple(row.values()) for row in tasks] == [("ocr", "completed", 80, 3), ("again", "running", None, None)]


def test_facts_of_days_without_partition_are_stored(calls: Calls) -> None:
    past = NOON - 1000 * DAY
    document = [fact("start", past), fact("end", past + DAY, task_id="t"), fact("queue", past), fact("host", past + 3 * DAY)]  # fmt: skip

    assert record(calls, *document) == NOTHING | {"stored": 4}


def test_an_empty_document_stores_nothing(calls: Calls) -> None:
    assert record(calls) == NOTHING


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_stored_as_text(calls: Calls, text: str) -> None:
    name = text[:100]
    document = [
        fact("start", task_id=name, task_type=name, worker_id=text),
        fact("heartbeat", NOON + SECOND, task_id=name, step=text),
        fact("end", NOON + 2 * SECOND, task_id=name, step_timings={name: text}, error_message=text),
        fact("health", component_type=name, component_name=name, failure_reason=text, details={name: text}),
        fact("queue", queue_name=name),
        fact("host", host=name, sample={name: text}),
    ]

    assert record(calls, *document)["stored"] == 6
    [row] = calls.ask("SELECT * FROM public.processing_metrics")
    assert [row[key] for key in ("task_id", "task_type", "worker_id", "current_step", "error_message")] == [name, name, text, text, text]  # fmt: skip
    [row] = calls.ask("SELECT * FROM public.system_health")
    assert [row[key] for key in ("component_name", "failure_reason", "details")] == [name, text, {name: text}]
    assert calls.one("SELECT sample FROM public.host_metrics") == {name: text}


# Nested tasks -------------------------------------------------------------------------------------------------------


def parents(calls: Calls) -> list[tuple[str, str, str | None]]:
    rows = calls.ask("SELECT task_id, status, parent_task_id FROM public.processing_metrics ORDER BY task_id")
    return [(row["task_id"], row["status"], row["parent_task_id"]) for row in rows]


def test_a_start_names_the_task_within_which_it_happens_and_the_end_keeps_it(calls: Calls) -> None:
    record(calls, *(fact("start", task_id=name, parent_task_id=f"p-{name}") for name in "abc"), fact("start", task_id="d"))  # fmt: skip
    assert parents(calls) == [(name, "running", f"p-{name}") for name in "abc"] + [("d", "running", None)]

    calls("complete_task_tracking", "a", p_at=NOON + SECOND)
    record(calls, fact("end", NOON + SECOND, task_id="b", status="completed"))
    ended = {"task_type": "ocr", "started_at": NOON.isoformat(), "ended_at": NOON.isoformat(), "parent_task_id": "other"}  # fmt: skip
    calls("record_tasks", Jsonb([ended | {"task_id": name} for name in "cde"]))

    # What the start said stands; of "e" there was none.
    expected = [("a", "p-a"), ("b", "p-b"), ("c", "p-c"), ("d", None), ("e", "other")]
    assert parents(calls) == [(name, "completed", parent) for name, parent in expected]


def test_a_replayed_start_does_not_change_the_parent(calls: Calls) -> None:
    record(calls, fact("start", parent_task_id="first"))

    assert record(calls, fact("start", parent_task_id="second")) == NOTHING | {"known": 1}
    assert parents(calls) == [("t", "running", "first")]


def test_a_parent_is_kept_in_days_that_were_there_before_and_in_days_to_come(calls: Calls) -> None:
    partitions = """
        SELECT c.relname, count(a.attname) AS columns FROM pg_partition_tree('public.processing_metrics') AS t
        JOIN pg_class c ON c.oid = t.relid LEFT JOIN pg_attribute a ON a.attrelid = t.relid AND a.attname = 'parent_task_id'
        GROUP BY c.relname"""
    calls("ensure_day_partition", "processing_metrics_history", NOON + 9999 * DAY)

    rows = calls.ask(partitions)
    assert len(rows) > 10
    assert {row["columns"] for row in rows} == {1}


# Once ---------------------------------------------------------------------------------------------------------------


def a_day_s_work() -> list[Fact]:
    return [
        fact("start"),
        fact("heartbeat", NOON + SECOND, task_id="t"),
        fact("health"),
        fact("end", NOON + 2 * SECOND, task_id="t"),
        fact("queue"),
        fact("host"),
        fact("start", NOON + 3 * SECOND),
        fact("heartbeat", NOON + 4 * SECOND, task_id="t"),
    ]


def test_a_replay_changes_nothing(calls: Calls) -> None:
    assert record(calls, *a_day_s_work()) == NOTHING | {"stored": 8}
    before = contents(calls)

    assert record(calls, *a_day_s_work()) == NOTHING | {"known": 8}
    assert record(calls, *a_day_s_work()[:3]) == NOTHING | {"known": 3}
    assert contents(calls) == before


def test_what_single_calls_have_stored_is_known_and_the_other_way_round(calls: Calls) -> None:
    for said in a_day_s_work()[:4]:
        single(calls, said)

    assert record(calls, *a_day_s_work()) == NOTHING | {"stored": 4, "known": 4}
    assert [single(calls, said) for said in a_day_s_work()] == [False] * 8


@by_kind
def test_a_fact_that_stands_twice_in_a_document_is_one(calls: Calls, kind: str) -> None:
    run_a_task(calls)

    assert record(calls, fact(kind), fact(kind)) == NOTHING | {"stored": 1, "known": 1}


# Refusals -----------------------------------------------------------------------------------------------------------

LONG = "x" * 513
MISTAKES: dict[str, Fact] = {
    "a start without a name": fact("start", task_id=None),
    "a start of a long name": fact("start", task_id=LONG),
    "a start without a type": fact("start", task_type=""),
    "a start of a negative size": fact("start", input_size=-5),
    "a heartbeat of an unknown task": fact("heartbeat", task_id="nobody"),
    "a heartbeat beyond the end": fact("heartbeat", progress=101),
    "an end of an unknown task": fact("end", task_id="nobody"),
    "an end of an unknown status": fact("end", status="done"),
    "an end without a status": fact("end", status=None),
    "an end before the start": fact("end", NOON - DAY),
    "an end of a negative size": fact("end", output_size=-1),
    "the health of no component": fact("health", component_name=None),
    "the health of an unknown status": fact("health", status="ill"),
    "a negative response time": fact("health", response_time_ms=-1),
    "a queue without a name": fact("queue", queue_name=""),
    "a queue of no length": fact("queue", pending=None),
    "a negative age": fact("queue", oldest_pending_seconds=-0.5),
    "a host without a name": fact("host", host=None),
    "a fact of the last century": fact("queue", NOON.replace(year=1999)),
}


@pytest.mark.parametrize("wrong", MISTAKES.values(), ids=MISTAKES.keys())
def test_it_refuses_with_the_words_of_the_single_form_and_stores_the_others(calls: Calls, wrong: Fact) -> None:
    run_a_task(calls)
    with pytest.raises(psycopg.Error) as raised:
        single(calls, wrong)
    said = raised.value.diag

    answer = record(calls, fact("queue", queue_name="a"), wrong, fact("queue", queue_name="b"))

    assert answer["refused"] == [{"index": 1, "code": said.sqlstate, "message": said.message_primary, "hint": said.message_hint}]  # fmt: skip
    assert (answer["stored"], answer["known"]) == (2, 0)
    assert calls.one("SELECT count(*) FROM public.queue_monitoring") == 2


DOCUMENT_MISTAKES: dict[str, tuple[object, str, str]] = {
    "no kind": ({"at": NOON.isoformat()}, "AM014", "invalid_document: fact is missing"),
    "an unknown kind": (fact("queue") | {"fact": "tail"}, "AM014", "invalid_document: unknown fact 'tail'"),
    "a long kind": ({"fact": LONG}, "AM014", f"invalid_document: unknown fact '{'x' * 60}...'"),
    "an unknown key": (fact("queue", waiting=1), "AM014", "invalid_document: unknown key 'waiting'"),
    "a key of another kind": (fact("end", progress=1), "AM014", "invalid_document: unknown key 'progress'"),
    "null": (None, "AM014", "invalid_document: a fact is an object, not null"),
    "a number": (7, "AM014", "invalid_document: a fact is an object, not a number"),
    "an array": ([fact("queue")], "AM014", "invalid_document: a fact is an object, not an array"),
    "no moment": ({"fact": "queue", "queue_name": "q", "pending": 1}, "AM005", "invalid_time: at is missing"),
    "a moment of null": (fact("queue") | {"at": None}, "AM005", "invalid_time: at is missing"),
    "a moment that is none": (fact("queue") | {"at": "2024-02-30T10:00:00Z"}, "AM005", "invalid_time: at is '2024-02-30T10:00:00Z'"),
    "a moment without a zone": (fact("queue") | {"at": "2024-05-14T12:00"}, "AM006", "naive_time: the moment was given without a time zone"),
    "a parent without a name": (fact("start", parent_task_id=""), "AM001", "invalid_name: parent_task_id is empty"),
    "a parent of a long name": (fact("start", parent_task_id=LONG), "AM001", "invalid_name: parent_task_id is 513 bytes long"),
    "a half": (fact("queue", pending=1.5), "AM004", "invalid_number: pending is 1.5"),
    "a count as text": (fact("start", input_size="12"), "AM004", 'invalid_number: input_size is "12"'),
    "a large count": (fact("queue", failed=2**63), "AM004", "invalid_number: failed is 9223372036854775808"),
    "progress as text": (fact("heartbeat", progress="12"), "AM004", 'invalid_number: progress is "12"'),
    "a time as an array": (fact("health", response_time_ms=[1]), "AM004", "invalid_number: response_time_ms is [1]"),
    "a long number": (fact("queue", oldest_pending_seconds=10**400), "AM004", f"invalid_number: oldest_pending_seconds is 1{'0' * 59}..."),
    "no sample": ({"fact": "host", "host": "h", "at": NOON.isoformat()}, "AM014", "invalid_document: sample is missing"),
    "a sample that is no object": (fact("host", sample=[1]), "AM014", "invalid_document: sample is [1]"),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "code", "message"), DOCUMENT_MISTAKES.values(), ids=DOCUMENT_MISTAKES.keys())
def test_what_only_a_document_can_get_wrong_is_refused(calls: Calls, wrong: object, code: str, message: str) -> None:
    run_a_task(calls)

    answer = record(calls, fact("host"), wrong, fact("host", NOON + SECOND))

    [refused] = answer["refused"]
    assert (refused["index"], refused["code"], refused["message"]) == (1, code, message)
    assert refused["hint"].startswith(("Give ", "Use "))
    assert answer["stored"] == 2


@by_kind
def test_the_hint_names_the_keys_of_the_kind(calls: Calls, kind: str) -> None:
    [refused] = record(calls, fact(kind, surprise=1))["refused"]

    assert refused["hint"].removeprefix("Use the keys ").removesuffix(".").split(", ") == calls("fact_keys", kind)


def test_whole_numbers_may_be_written_with_a_point(calls: Calls) -> None:
    assert record(calls, fact("start", input_size=1e3), fact("queue", pending=7.0))["stored"] == 2


def test_a_value_that_the_server_refuses_is_refused_alone(calls: Calls) -> None:
    answer = record(calls, fact("host", sample={"cpu_percent": "much"}), fact("host", sample={"disks": 3}), fact("host"))  # fmt: skip

    assert refusals(answer) == [(0, "22P02"), (1, "22023")]
    assert all(refused["message"] and refused["hint"] for refused in answer["refused"])
    assert answer["stored"] == 1


def test_what_a_rule_of_the_owner_forbids_is_refused_alone(calls: Calls) -> None:
    calls.ask("ALTER TABLE public.processing_metrics ADD CONSTRAINT ours CHECK (worker_id <> 'guest')")

    answer = record(calls, fact("start", worker_id="guest"), fact("start"))

    assert (refusals(answer), answer["stored"]) == ([(0, "23514")], 1)


def test_what_follows_a_refused_fact_meets_the_database_without_it(calls: Calls) -> None:
    document = [fact("start", task_type=""), fact("heartbeat", NOON + SECOND, task_id="t"), fact("start", NOON + 2 * SECOND)]  # fmt: skip

    answer = record(calls, *document)

    assert refusals(answer) == [(0, "AM001"), (1, "AM007")]
    assert calls.one("SELECT start_time FROM public.processing_metrics") == NOON + 2 * SECOND


def test_another_error_ends_the_call_and_stores_nothing(calls: Calls, new_session: NewSession) -> None:
    record(calls, fact("health"))
    other = new_session()
    other.ask("BEGIN")
    other("update_system_health", "api", "main", "healthy", p_at=NOON + SECOND)

    calls.ask("BEGIN")
    calls.ask("SET LOCAL lock_timeout = '20ms'")
    with pytest.raises(errors.LockNotAvailable):
        record(calls, fact("queue"), fact("health", NOON + 2 * SECOND))
    calls.ask("COMMIT")

    other.ask("ROLLBACK")
    assert calls.one("SELECT count(*) FROM public.queue_monitoring") == 0


@pytest.mark.parametrize(("document", "what"), [({"facts": []}, "an object"), ("[]", "a string"), (None, "null")])
def test_what_is_no_array_is_refused_as_a_whole(calls: Calls, document: object, what: str) -> None:
    with pytest.raises(psycopg.Error, match=f"invalid_document: the facts are {what}, not an array") as raised:
        calls("record_facts", Jsonb(document))

    assert raised.value.diag.sqlstate == "AM014"


def test_no_document_is_refused(calls: Calls) -> None:
    with pytest.raises(psycopg.Error, match="invalid_document: the facts are missing, not an array"):
        calls("record_facts", None)


# Many, and at once ---------------------------------------------------------------------------------------------------


def test_a_thousand_facts_with_mistakes_among_them_go_in_one_call(calls: Calls) -> None:
    wrong = {0, 1, 17, 500, 999}
    document = [fact("start", task_id="" if n in wrong else f"t-{n}") for n in range(1000)]

    answer = record(calls, *document)

    assert refusals(answer) == [(n, "AM001") for n in sorted(wrong)]
    assert (answer["stored"], answer["known"]) == (995, 0)
    assert record(calls, *document)["known"] == 995


def test_two_sessions_report_the_same_in_opposite_order_and_neither_fails(calls: Calls, new_session: NewSession) -> None:  # fmt: skip
    first, second = new_session(), new_session()
    document = [fact("health", component_name="a"), fact("queue"), fact("health", component_name="b"), fact("host")]
    first.ask("BEGIN")
    assert record(first, document[0], document[1])["stored"] == 2

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(record, second, *reversed(document))
        wait_for_blocked_session(calls)
        assert record(first, *document[2:])["stored"] == 2
        first.ask("COMMIT")

        assert answer.result(10) == NOTHING | {"known": 4}


# The same as single calls -------------------------------------------------------------------------------------------

some_facts = st.lists(
    st.builds(
        lambda kind, name, seconds, changed: {
            **{key: value for key, value in fact(kind, NOON + seconds * SECOND).items() if not isinstance(value, str) or key in {"fact", "at"}},
            **{"start": {"task_id": name, "task_type": changed}, "heartbeat": {"task_id": name}, "end": {"task_id": name}, "queue": {"queue_name": name},
               "health": {"component_type": "c", "component_name": name, "status": changed or "ill"}, "host": {"host": name}}[kind],
        },
        st.sampled_from(list(KINDS)), st.sampled_from(["a", "b"]), st.integers(0, 9), st.sampled_from(["healthy", "unhealthy", ""]),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=40, deadline=timedelta(seconds=10), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=some_facts, size=st.integers(1, 12))
def test_any_document_does_what_its_single_calls_do(calls: Calls, facts: list[Fact], size: int) -> None:
    forget(calls)
    answers = [outcome(calls, said) for said in facts]
    by_single_calls = contents(calls)

    forget(calls)
    documents = [facts[n : n + size] for n in range(0, len(facts), size)]
    assert [code for part in documents for code in outcomes(calls, part)] == [code for code in answers if code]
    assert contents(calls) == by_single_calls


def outcome(calls: Calls, said: Fact) -> str | None:
    """Record by the single call and answer the code with which it was refused."""
    try:
        single(calls, said)
    except psycopg.Error as error:
        return error.sqlstate
    return None


def outcomes(calls: Calls, part: Sequence[Fact]) -> list[str]:
    return [code for _, code in refusals(record(calls, *part))]
