"""Facts by the document: what single calls would have stored, once, and each mistake by itself."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.integration.sql.conftest import NewSession
from tests.integration.sql.test_facts import HOSTILE
from tests.support.calls import DAY, HOUR, NOON, SECOND, Calls, Row
from tests.support.waiting import wait_until

Fact = dict[str, Any]
NAIVE_HINT = "Give a timestamp with time zone: an aware datetime in Python, '2026-01-31 14:02:00+01' in SQL."
LATER = NOON + 90 * SECOND


def task(task_id: str = "t", **changed: Any) -> Fact:
    fact = {
        "task_id": task_id,
        "task_type": "ocr",
        "started_at": NOON.isoformat(),
        "ended_at": LATER.isoformat(),
        "status": "failed",
        "input_size": 1024,
        "output_size": 2048,
        "worker_id": "worker-1",
        "step_timings": {"scan": 1.2},
        "error_message": "disk full",
    }
    return fact | changed


def error(task_id: str | None = "t", **changed: Any) -> Fact:
    fact = {
        "task_id": task_id,
        "error_type": "timeout",
        "severity": "high",
        "error_message": "no answer",
        "component": "api",
        "stack_trace": "File a.py",
        "context": {"page": 3},
        "at": NOON.isoformat(),
    }
    return fact | changed


def metric(metric_name: str = "duration", **changed: Any) -> Fact:
    fact = {
        "metric_name": metric_name,
        "metric_type": "response_time",
        "value": 1.25,
        "unit": "seconds",
        "component": "api",
        "tags": {"zone": "a"},
        "at": NOON.isoformat(),
    }
    return fact | changed


@dataclass(frozen=True)
class Kind:
    """One of the bulk forms, with what it takes and where that goes."""

    function: str
    make: Callable[..., Fact]
    table: str
    moment: str


KINDS = [
    Kind("record_tasks", task, "processing_metrics", "started_at"),
    Kind("record_errors", error, "error_tracking", "at"),
    Kind("record_performance_metrics", metric, "performance_monitoring", "at"),
]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.function for kind in KINDS])


def bulk(calls: Calls, kind: Kind, facts: Sequence[object]) -> Row:
    answer: Row = calls(kind.function, Jsonb(list(facts)))
    return answer


def stored(calls: Calls, table: str) -> list[Row]:
    return calls.ask(f"SELECT * FROM public.{table} ORDER BY id")


def contents(calls: Calls, *tables: str) -> list[str]:
    """What the rows say, but for the numbers that a sequence gave them."""
    return sorted(
        row["said"]
        for table in tables or [kind.table for kind in KINDS]
        for row in calls.ask(
            f"SELECT (to_jsonb(t) - ARRAY['id', 'recorded_in'])::text AS said FROM public.{table} AS t"
        )
    )


def the_refusal(answer: Row, *, index: int = 0) -> tuple[str, str, str]:
    [refused] = answer["refused"]
    assert refused["index"] == index
    return refused["code"], refused["message"], refused["hint"]


def single(calls: Calls, kind: Kind, fact: Fact) -> None:
    """Record the same fact by the calls that a client makes when the database is there."""
    if kind.function == "record_tasks":
        calls(
            "start_task_tracking", fact.get("task_id"), fact.get("task_type"), fact.get("input_size"), fact.get("worker_id"),
            datetime.fromisoformat(fact["started_at"]),
        )  # fmt: skip
        calls(
            "complete_task_tracking", fact.get("task_id"), fact.get("status", "completed"), fact.get("output_size"), fact.get("step_timings"),
            fact.get("error_message"), datetime.fromisoformat(fact["ended_at"]),
        )  # fmt: skip
    else:
        arguments = {f"p_{name}": value for name, value in fact.items() if name not in {"at", "value"}}
        if "value" in fact:
            arguments["p_value"] = None if fact["value"] is None else float(fact["value"])
        calls(kind.function.removesuffix("s"), **arguments, p_at=datetime.fromisoformat(fact["at"]))


# What is stored ---------------------------------------------------------------------------------------------------


def test_a_task_is_stored_as_it_was_given(calls: Calls) -> None:
    assert bulk(calls, KINDS[0], [task()]) == {"stored": 1, "known": 0, "refused": []}

    [row] = stored(calls, "processing_metrics")
    assert (row["task_id"], row["task_type"], row["worker_id"], row["status"]) == ("t", "ocr", "worker-1", "failed")
    assert (row["start_time"], row["end_time"], row["duration_seconds"]) == (NOON, LATER, 90)
    assert (row["input_size"], row["output_size"]) == (1024, 2048)
    assert (row["step_timings"], row["error_message"]) == ({"scan": 1.2}, "disk full")
    assert row["id"] is not None


@by_kind
def test_a_fact_is_stored_as_the_single_calls_store_it(calls: Calls, kind: Kind) -> None:
    fact = kind.make()
    single(calls, kind, fact)
    by_single_calls = contents(calls, kind.table)
    calls.ask(f"DELETE FROM public.{kind.table}")

    assert bulk(calls, kind, [fact])["stored"] == 1
    assert contents(calls, kind.table) == by_single_calls


@pytest.mark.parametrize(
    ("kind", "fact"),
    [
        (KINDS[0], {"task_id": "t", "task_type": "ocr", "started_at": NOON.isoformat(), "ended_at": NOON.isoformat()}),
        (
            KINDS[1],
            {
                "task_id": None,
                "error_type": "timeout",
                "severity": "low",
                "error_message": None,
                "at": NOON.isoformat(),
            },
        ),
        (KINDS[2], {"metric_name": "temperature", "metric_type": None, "value": -3.5, "at": NOON.isoformat()}),
    ],
    ids=[kind.function for kind in KINDS],
)
def test_what_a_fact_leaves_out_is_what_a_single_call_leaves_out(calls: Calls, kind: Kind, fact: Fact) -> None:
    single(calls, kind, fact)
    by_single_calls = contents(calls, kind.table)
    calls.ask(f"DELETE FROM public.{kind.table}")

    assert bulk(calls, kind, [fact])["stored"] == 1
    assert contents(calls, kind.table) == by_single_calls


@by_kind
def test_null_says_the_same_as_leaving_out(calls: Calls, kind: Kind) -> None:
    needed = {
        "task_id",
        "task_type",
        "started_at",
        "ended_at",
        "status",
        "error_type",
        "severity",
        "metric_name",
        "value",
        "at",
    }
    short = {name: value for name, value in kind.make().items() if name in needed}
    bulk(calls, kind, [short])
    before = contents(calls, kind.table)

    assert bulk(calls, kind, [kind.make(**dict.fromkeys(kind.make().keys() - needed, None))])["known"] == 1
    assert contents(calls, kind.table) == before


@pytest.mark.parametrize("parent", ["", "x" * 513])
def test_a_parent_needs_a_name(calls: Calls, parent: str) -> None:
    code, message, _ = the_refusal(bulk(calls, KINDS[0], [task("a"), task(parent_task_id=parent)]), index=1)

    assert (code, message.split(" is ")[0]) == ("AM001", "invalid_name: parent_task_id")


def test_a_number_of_a_name_is_taken_as_its_text(calls: Calls) -> None:
    bulk(calls, KINDS[0], [task() | {"task_id": 4711}])

    assert stored(calls, "processing_metrics")[0]["task_id"] == "4711"


@by_kind
def test_an_empty_document_stores_nothing(calls: Calls, kind: Kind) -> None:
    assert bulk(calls, kind, []) == {"stored": 0, "known": 0, "refused": []}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_stored_as_text(calls: Calls, text: str) -> None:
    name = text[:100]
    bulk(calls, KINDS[0], [task(name, task_type=name, worker_id=text, error_message=text, step_timings={name: text})])
    bulk(calls, KINDS[1], [error(name, error_type=name, error_message=text, component=name, stack_trace=text, context={"text": text})])  # fmt: skip
    bulk(calls, KINDS[2], [metric(name, metric_type=text, unit=text, component=name, tags={name: text})])

    [row] = stored(calls, "processing_metrics")
    assert [row[name] for name in ("task_id", "task_type", "worker_id", "error_message")] == [name, name, text, text]
    assert row["step_timings"] == {name: text}
    [row] = stored(calls, "error_tracking")
    assert [row[name] for name in ("task_id", "error_type", "component", "error_message", "stack_trace")] == [name, name, name, text, text]  # fmt: skip
    assert row["context"] == {"text": text}
    [row] = stored(calls, "performance_monitoring")
    assert [row[name] for name in ("metric_name", "metric_type", "unit", "component", "tags")] == [name, text, text, name, {name: text}]  # fmt: skip


@by_kind
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_in_the_wrong_place_is_refused_and_shown_shortly(calls: Calls, kind: Kind, text: str) -> None:
    wrong = [kind.make(**{kind.moment: text}), kind.make(**{text: text}), text]

    answer = bulk(calls, kind, [*wrong, kind.make()])

    assert (answer["stored"], [refused["index"] for refused in answer["refused"]]) == (1, [0, 1, 2])
    assert max(len(refused["message"]) for refused in answer["refused"]) < 200


@by_kind
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns", "UTC"])
def test_the_session_s_time_zone_and_date_style_change_nothing(calls: Calls, kind: Kind, zone: str) -> None:
    calls.ask(f"SET TimeZone = '{zone}'")
    calls.ask("SET DateStyle = 'German, DMY'")
    midnight = NOON.replace(hour=0)
    moments = [midnight - SECOND, midnight]

    assert bulk(calls, kind, [kind.make(**{kind.moment: m.isoformat(), **({"ended_at": m.isoformat()} if kind is KINDS[0] else {})}) for m in moments])["stored"] == 2  # fmt: skip
    days = calls.ask(f"SELECT right(tableoid::regclass::text, 8) AS day FROM public.{kind.table} ORDER BY 1")
    assert [row["day"] for row in days] == ["20240513", "20240514"]


# Once ---------------------------------------------------------------------------------------------------------------


@by_kind
def test_a_replay_changes_nothing(calls: Calls, kind: Kind) -> None:
    facts = [kind.make(f"f-{number}") for number in range(5)]
    bulk(calls, kind, facts)
    before = stored(calls, kind.table)

    assert bulk(calls, kind, facts) == {"stored": 0, "known": 5, "refused": []}
    assert bulk(calls, kind, facts[1:3]) == {"stored": 0, "known": 2, "refused": []}
    assert stored(calls, kind.table) == before


@by_kind
def test_a_document_that_is_partly_known_adds_the_rest(calls: Calls, kind: Kind) -> None:
    bulk(calls, kind, [kind.make("a"), kind.make("b")])

    assert bulk(calls, kind, [kind.make("b"), kind.make("c")]) == {"stored": 1, "known": 1, "refused": []}
    assert len(stored(calls, kind.table)) == 3


@by_kind
def test_a_fact_that_stands_twice_in_a_document_is_one(calls: Calls, kind: Kind) -> None:
    assert bulk(calls, kind, [kind.make(), kind.make()]) == {"stored": 1, "known": 1, "refused": []}
    assert len(stored(calls, kind.table)) == 1


@by_kind
def test_what_single_calls_have_stored_is_known_and_the_other_way_round(calls: Calls, kind: Kind) -> None:
    single(calls, kind, kind.make("a"))
    assert bulk(calls, kind, [kind.make("a"), kind.make("b")]) == {"stored": 1, "known": 1, "refused": []}
    before = stored(calls, kind.table)

    single(calls, kind, kind.make("b"))

    assert stored(calls, kind.table) == before


@by_kind
def test_the_same_at_another_moment_is_another_fact(calls: Calls, kind: Kind) -> None:
    facts = [kind.make(**{kind.moment: (NOON - n * SECOND).isoformat()}) for n in range(3)]

    assert bulk(calls, kind, facts)["stored"] == 3


@pytest.mark.parametrize("kind", KINDS[1:], ids=[kind.function for kind in KINDS[1:]])
def test_an_id_of_the_client_s_tells_facts_apart_whatever_they_say(calls: Calls, kind: Kind) -> None:
    first, second = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
    facts = [kind.make(id=first), kind.make(id=second), kind.make("other", id=second), kind.make()]

    assert bulk(calls, kind, facts) == {"stored": 3, "known": 1, "refused": []}
    assert bulk(calls, kind, facts) == {"stored": 0, "known": 4, "refused": []}
    assert {str(row["fact_id"]) for row in stored(calls, kind.table)} >= {first, second}
    assert "other" not in {row.get("task_id", row.get("metric_name")) for row in stored(calls, kind.table)}


# Runs of tasks ------------------------------------------------------------------------------------------------------


def test_a_task_that_runs_is_completed_and_what_its_start_said_stands(calls: Calls) -> None:
    calls("start_task_tracking", "t", "scan", 1, "worker-9", NOON)
    calls("record_task_heartbeat", "t", 50.0, "page 3", NOON + SECOND)
    number = calls.one("SELECT id FROM public.processing_metrics")

    assert bulk(calls, KINDS[0], [task(), task(status="cancelled")]) == {"stored": 1, "known": 1, "refused": []}

    [row] = stored(calls, "processing_metrics")
    assert (row["id"], row["task_type"], row["input_size"], row["worker_id"]) == (number, "scan", 1, "worker-9")
    assert (row["heartbeat_at"], row["progress"], row["current_step"]) == (NOON + SECOND, 50, "page 3")
    assert (row["status"], row["end_time"], row["duration_seconds"], row["output_size"]) == ("failed", LATER, 90, 2048)
    assert calls.one("SELECT count(*) FROM public.processing_metrics_running") == 0


def test_a_task_that_ended_at_another_moment_than_told_is_left_alone(calls: Calls) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)
    calls("complete_task_tracking", "t")
    before = stored(calls, "processing_metrics")

    assert bulk(calls, KINDS[0], [task()]) == {"stored": 0, "known": 1, "refused": []}
    assert stored(calls, "processing_metrics") == before


@pytest.mark.parametrize("start", [NOON - HOUR, NOON + SECOND], ids=["an earlier run", "a later run"])
def test_another_run_of_a_task_that_runs_leaves_it_running(calls: Calls, start: datetime) -> None:
    calls("start_task_tracking", "t", "ocr", p_at=NOON)

    assert bulk(calls, KINDS[0], [task(started_at=start.isoformat())])["stored"] == 1
    rows = calls.ask("SELECT status, start_time FROM public.processing_metrics ORDER BY status")
    assert rows == [{"status": "failed", "start_time": start}, {"status": "running", "start_time": NOON}]


def test_two_runs_of_a_task_in_one_document_are_two(calls: Calls) -> None:
    runs = [task(), task(started_at=LATER.isoformat(), ended_at=(LATER + SECOND).isoformat())]

    assert bulk(calls, KINDS[0], runs)["stored"] == 2
    assert [row["duration_seconds"] for row in stored(calls, "processing_metrics")] == [90, 1]


def test_a_run_that_ended_days_after_its_start_is_known(calls: Calls) -> None:
    long = task(started_at=(NOON - 3 * DAY).isoformat())
    bulk(calls, KINDS[0], [long])

    assert bulk(calls, KINDS[0], [long]) == {"stored": 0, "known": 1, "refused": []}


# Refusals -----------------------------------------------------------------------------------------------------------

LONG = "x" * 513
MISTAKES: list[tuple[str, Kind, Fact]] = [
    ("a task without a name", KINDS[0], {"task_id": None}),
    ("a task with an empty name", KINDS[0], {"task_id": ""}),
    ("a task with a long name", KINDS[0], {"task_id": LONG}),
    ("a task without a type", KINDS[0], {"task_type": None}),
    ("a task of an unknown status", KINDS[0], {"status": "done"}),
    ("a task without a status", KINDS[0], {"status": None}),
    ("a task of a negative input", KINDS[0], {"input_size": -5}),
    ("a task of a negative output", KINDS[0], {"output_size": -12345678901234567}),
    ("a task that ends before it starts", KINDS[0], {"ended_at": (NOON - SECOND).isoformat()}),
    ("a task of the last century", KINDS[0], {"started_at": "1970-01-20T10:00:00+00:00"}),
    ("an error of an empty task", KINDS[1], {"task_id": ""}),
    ("an error without a type", KINDS[1], {"error_type": None}),
    ("an error of a long component", KINDS[1], {"component": "ä" * 257}),
    ("an error of an unknown severity", KINDS[1], {"severity": "it's bad"}),
    ("an error without a severity", KINDS[1], {"severity": None}),
    ("an error of the last century", KINDS[1], {"at": "1999-12-31T23:59:59+00:00"}),
    ("a metric without a name", KINDS[2], {"metric_name": ""}),
    ("a metric of a long component", KINDS[2], {"component": LONG}),
    ("a metric without a value", KINDS[2], {"value": None}),
    ("a metric of no number", KINDS[2], {"value": "NaN"}),
    ("a metric without end", KINDS[2], {"value": "Infinity"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changed"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_it_refuses_with_the_words_of_the_single_form_and_stores_the_others(
    calls: Calls, kind: Kind, changed: Fact
) -> None:
    wrong = kind.make(**changed)
    with pytest.raises(psycopg.Error) as raised:
        single(calls, kind, wrong)
    calls.ask("DELETE FROM public.processing_metrics")  # the start of a task was right
    said = raised.value.diag

    answer = bulk(calls, kind, [kind.make("a"), wrong, kind.make("b")])

    assert the_refusal(answer, index=1) == (said.sqlstate, said.message_primary, said.message_hint)
    assert (answer["stored"], answer["known"]) == (2, 0)
    assert len(stored(calls, kind.table)) == 2


@by_kind
def test_a_time_that_lies_ahead_is_refused(calls: Calls, kind: Kind) -> None:
    ahead = calls.one("SELECT clock_timestamp() + interval '2 minutes'").isoformat()

    code, message, hint = the_refusal(bulk(calls, kind, [kind.make(**{kind.moment: ahead})]))

    assert (code, hint) == ("AM005", "Record what has happened; if the clocks differ, set the clock of the reporting machine (NTP).")  # fmt: skip
    assert "lies in the future of the database, where it is " in message


@by_kind
def test_a_clock_that_is_half_a_minute_ahead_is_borne_with(calls: Calls, kind: Kind) -> None:
    ahead = calls.one("SELECT clock_timestamp() + interval '30 seconds'").isoformat()

    fact = kind.make(**{kind.moment: ahead, **({"ended_at": ahead} if kind is KINDS[0] else {})})
    assert bulk(calls, kind, [fact, fact]) == {"stored": 1, "known": 1, "refused": []}
    assert bulk(calls, kind, [fact]) == {"stored": 0, "known": 1, "refused": []}


NAIVE = ["2024-05-14 12:00", "2024-05-14T12:00:00", "2024-05-14T12:00:00.123456", "2024-05-14"]


@by_kind
def test_a_time_without_a_zone_is_refused(calls: Calls, kind: Kind) -> None:
    answer = bulk(calls, kind, [kind.make("a"), *(kind.make(**{kind.moment: moment}) for moment in NAIVE)])

    assert answer["refused"] == [
        {"index": index, "code": "AM006", "message": "naive_time: the moment was given without a time zone", "hint": NAIVE_HINT}
        for index in range(1, len(NAIVE) + 1)
    ]  # fmt: skip
    assert answer["stored"] == 1


NO_MOMENTS = [
    "", "now", "infinity", "-infinity", "yesterday+01", "epoch", "2024-02-30T10:00:00Z", "2023-02-29T10:00:00Z", "2024-04-31T10:00:00+00:00", "2024-13-01T10:00:00Z",
    "2024-05-14T24:00:01Z", "2024-05-14T12:60:00Z", "2024-05-14T12:00:61Z", "2024-05-14T12:00:00+16:00", "2024-05-14T12:00:00+01:60", "2024-05-14T12:00:00 Europe/Berlin",
    "14.05.2024 12:00:00Z", "0000-01-01T00:00:00Z", "2024-05-14T12:00:00.Z", "2024-05-14T12:00:00Z\n2024-05-14T12:00:00Z", '2024-05-14T12:00:00Z", "2024-05-14T12:00:00Z',
    "x" * 1000, 1715688000, 1715688000.5, True, [NOON.isoformat()], {"at": NOON.isoformat()},
]  # fmt: skip


@by_kind
def test_what_is_no_moment_is_refused(calls: Calls, kind: Kind) -> None:
    answer = bulk(calls, kind, [kind.make("a"), *(kind.make(**{kind.moment: moment}) for moment in NO_MOMENTS)])

    hint = f"Give {kind.moment} as ISO 8601 with its time zone, such as 2026-01-31T14:02:00+01:00."
    said = [(refused["index"], refused["code"], refused["hint"]) for refused in answer["refused"]]
    assert said == [(index, "AM005", hint) for index in range(1, len(NO_MOMENTS) + 1)]
    assert {refused["message"].split(" is ")[0] for refused in answer["refused"]} == {f"invalid_time: {kind.moment}"}
    assert answer["stored"] == 1


@by_kind
def test_a_moment_is_needed(calls: Calls, kind: Kind) -> None:
    fact = kind.make()
    del fact[kind.moment]

    assert the_refusal(bulk(calls, kind, [fact]))[:2] == ("AM005", f"invalid_time: {kind.moment} is missing")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments=st.data())
def test_every_text_that_looks_like_a_moment_is_read_without_an_error(calls: Calls, moments: st.DataObject) -> None:
    pattern = f"(?a)\\A{calls('moment_pattern')}\\Z"
    texts = moments.draw(st.lists(st.from_regex(pattern), min_size=20, max_size=20))

    answer = bulk(calls, KINDS[1], [error(at=text) for text in texts])

    assert {refused["code"] for refused in answer["refused"]} <= {"AM005"}


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=3, minutes=30))]
)
@pytest.mark.parametrize("form", ["isoformat", "seconds", "minutes", "Z", "blank", "no colon"])
def test_a_moment_may_be_written_in_any_form_of_iso_8601(calls: Calls, zone: timezone, form: str) -> None:
    at = NOON + timedelta(microseconds=123456) if form == "isoformat" else NOON
    text = at.astimezone(zone).isoformat(timespec="minutes" if form == "minutes" else "auto")
    text = {"blank": text.replace("T", " "), "no colon": text[:-3] + text[-2:], "Z": f"{at:%Y-%m-%dT%H:%M:%SZ}"}.get(form, text)  # fmt: skip

    assert bulk(calls, KINDS[1], [error(at=text)])["stored"] == 1
    assert stored(calls, "error_tracking")[0]["occurred_at"] == at


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        (KINDS[0], {"input_size": 1.5}, "invalid_number: input_size is 1.5"),
        (KINDS[0], {"input_size": "12"}, 'invalid_number: input_size is "12"'),
        (KINDS[0], {"output_size": 2**63}, "invalid_number: output_size is 9223372036854775808"),
        (KINDS[0], {"output_size": [1]}, "invalid_number: output_size is [1]"),
        (KINDS[2], {"value": "12"}, "invalid_number: the value of 'duration' is 12"),
        (KINDS[2], {"value": 10**400}, "invalid_number: the value of 'duration' is 1" + 59 * "0" + "..."),
        (KINDS[2], {"value": {}}, "invalid_number: the value of 'duration' is {}"),
    ],
)
def test_what_is_no_such_number_is_refused(calls: Calls, kind: Kind, changed: Fact, message: str) -> None:
    code, said, hint = the_refusal(bulk(calls, kind, [kind.make("a"), kind.make(**changed)]), index=1)

    assert (code, said) == ("AM004", message)
    assert hint.startswith("Give ")


@pytest.mark.parametrize("value", [0, -0.0, 5e-324, -1.7976931348623157e308, 2**64, 0.1])
def test_every_number_that_the_column_holds_is_taken(calls: Calls, value: float) -> None:
    assert bulk(calls, KINDS[2], [metric(value=value)])["stored"] == 1
    assert stored(calls, "performance_monitoring")[0]["value"] == value


def test_the_largest_size_is_taken(calls: Calls) -> None:
    assert bulk(calls, KINDS[0], [task(input_size=2**63 - 1, output_size=1e3)])["stored"] == 1


@by_kind
def test_an_unknown_key_is_refused(calls: Calls, kind: Kind) -> None:
    code, message, hint = the_refusal(bulk(calls, kind, [kind.make("a"), kind.make(componnent="x")]), index=1)

    assert (code, message) == ("AM014", "invalid_document: unknown key 'componnent'")
    assert hint.removeprefix("Use the keys ").removesuffix(".").split(", ") == calls(f"{kind.make.__name__}_keys")


@by_kind
@pytest.mark.parametrize(
    ("fact", "what"),
    [(None, "null"), (1, "a number"), ("x", "a string"), (True, "a boolean"), ([{}], "an array")],
)
def test_what_is_no_object_is_no_fact(calls: Calls, kind: Kind, fact: object, what: str) -> None:
    answer = bulk(calls, kind, [kind.make(), fact])

    assert the_refusal(answer, index=1)[:2] == ("AM014", f"invalid_document: a fact is an object, not {what}")


@pytest.mark.parametrize("kind", KINDS[1:], ids=[kind.function for kind in KINDS[1:]])
@pytest.mark.parametrize("wrong", ["", "4711", 4711, "z" * 32])
def test_an_id_that_is_no_uuid_is_refused(calls: Calls, kind: Kind, wrong: object) -> None:
    code, message, _ = the_refusal(bulk(calls, kind, [kind.make(id=wrong)]))

    assert (code, message) == ("AM014", f"invalid_document: the id '{wrong}' is not a UUID")


@by_kind
@pytest.mark.parametrize(
    ("document", "what"),
    [({"facts": []}, "an object"), ("[]", "a string"), (7, "a number"), (None, "null")],
    ids=["an object", "a string", "a number", "null"],
)
def test_what_is_no_array_is_refused_as_a_whole(calls: Calls, kind: Kind, document: object, what: str) -> None:
    with pytest.raises(psycopg.Error) as raised:
        calls(kind.function, Jsonb(document))

    said = raised.value.diag
    assert (said.sqlstate, said.message_primary, said.message_hint) == (
        "AM014",
        f"invalid_document: the facts are {what}, not an array",
        "Give a JSON array of objects, [] for none.",
    )


@by_kind
def test_no_document_is_refused(calls: Calls, kind: Kind) -> None:
    with pytest.raises(psycopg.Error, match="invalid_document: the facts are missing, not an array"):
        calls(kind.function, None)


# Many ---------------------------------------------------------------------------------------------------------------


@by_kind
def test_five_thousand_facts_of_three_days_go_in_one_call(calls: Calls, kind: Kind) -> None:
    moments = [NOON - n * timedelta(seconds=50) for n in range(5000)]
    facts = [kind.make(f"f-{n}", **{kind.moment: moment.isoformat()}) for n, moment in enumerate(moments)]
    wrong = [kind.make(surprise=1) for _ in range(5)]

    answer = bulk(calls, kind, facts[:2500] + wrong + facts[2500:])

    assert (answer["stored"], answer["known"]) == (5000, 0)
    assert [refused["index"] for refused in answer["refused"]] == [2500, 2501, 2502, 2503, 2504]
    assert bulk(calls, kind, facts) == {"stored": 0, "known": 5000, "refused": []}
    assert len(contents(calls, kind.table)) == 5000


def test_a_replay_looks_up_each_task_where_it_could_have_ended(calls: Calls) -> None:
    calls.ask("SELECT count(public.ensure_day_partition('processing_metrics_history', %s - n * interval '1 day')) FROM generate_series(0, 20) AS n", NOON)  # fmt: skip
    calls.ask(
        "INSERT INTO public.processing_metrics_history (task_id, task_type, status, start_time, end_time, duration_seconds)"
        " SELECT 'old-' || n, 'ocr', 'completed', e.at, e.at, 0 FROM generate_series(1, 20000) AS n CROSS JOIN LATERAL (SELECT %s - n * interval '1 minute' AS at) AS e", NOON
    )  # fmt: skip
    calls.ask("ANALYZE")
    facts = [task(f"t-{n}") for n in range(100)]
    bulk(calls, KINDS[0], facts)
    read = "SELECT sum(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE relname LIKE 'processing_metrics%%'"

    with calls.connection.transaction():
        before = calls.one(read)
        assert bulk(calls, KINDS[0], facts)["known"] == 100
        assert calls.one(read) - before <= 300


# At once ------------------------------------------------------------------------------------------------------------


@by_kind
def test_two_sessions_with_the_same_facts_in_opposite_order_store_them_once_and_neither_fails(
    calls: Calls, new_session: NewSession, kind: Kind
) -> None:
    sessions = [new_session(), new_session()]
    days = [NOON - n * DAY for n in range(3)]
    gate = threading.Barrier(2)

    def catch_up(number: int) -> int:
        recorded = 0
        for turn, day in enumerate(days):
            moment = {kind.moment: day.isoformat(), **({"ended_at": day.isoformat()} if kind is KINDS[0] else {})}
            facts = [kind.make(f"{turn}-{n}", **moment) for n in range(300)]
            gate.wait(30)
            recorded += bulk(sessions[number], kind, facts[:200] if number == 0 else facts[:99:-1])["stored"]
        return recorded

    with ThreadPoolExecutor(2) as pool:
        recorded = list(pool.map(catch_up, range(2)))

    assert sum(recorded) == 900
    assert len(contents(calls, kind.table)) == 900
    assert len(set(contents(calls, kind.table))) == 900


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers


@by_kind
@pytest.mark.parametrize("first_commits", [True, False], ids=["the first commits", "the first gives up"])
def test_a_document_waits_for_the_same_facts_of_another_session(
    calls: Calls, new_session: NewSession, kind: Kind, *, first_commits: bool
) -> None:
    first, second = new_session(), new_session()
    first.ask("BEGIN")
    assert bulk(first, kind, [kind.make("a"), kind.make("b")])["stored"] == 2

    thread, answers = in_thread(lambda: bulk(second, kind, [kind.make("b"), kind.make("a"), kind.make("c")]))
    wait_for_blocked_session(calls)
    first.ask("COMMIT" if first_commits else "ROLLBACK")
    thread.join(10)

    assert [answer["stored"] for answer in answers] == [1 if first_commits else 3]
    assert len(stored(calls, kind.table)) == 3


@pytest.mark.parametrize("first_commits", [True, False], ids=["the first commits", "the first gives up"])
def test_a_task_that_a_single_call_completes_meanwhile_is_known(
    calls: Calls, new_session: NewSession, *, first_commits: bool
) -> None:
    first, second = new_session(), new_session()
    calls("start_task_tracking", "t", "ocr", p_at=NOON)
    first.ask("BEGIN")
    assert first("complete_task_tracking", "t", "cancelled", p_at=LATER) is True

    thread, answers = in_thread(lambda: bulk(second, KINDS[0], [task()]))
    wait_for_blocked_session(calls)
    first.ask("COMMIT" if first_commits else "ROLLBACK")
    thread.join(10)

    assert [answer["stored"] for answer in answers] == [0 if first_commits else 1]
    assert [row["status"] for row in stored(calls, "processing_metrics")] == ["cancelled" if first_commits else "failed"]  # fmt: skip


def wait_for_blocked_session(calls: Calls) -> None:
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    wait_until(lambda: calls.one(blocked) == 1, what="a session that waits for another")


# The same as single calls -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """Facts in the order in which they happened, and the tasks among them that the database saw starting."""

    facts: list[tuple[Kind, Fact]]
    started: list[Fact]


runs = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2), st.integers(0, 2), st.sampled_from(["completed", "failed"]), st.none() | st.integers(0, 9)),
    max_size=8,
)  # fmt: skip
errors = st.builds(
    lambda task_id, severity, second, named: (KINDS[1], error(task_id, severity=severity, at=(NOON + second * SECOND).isoformat(), component=named)),
    st.sampled_from(["a", None]), st.sampled_from(["low", "high"]), st.integers(0, 2), st.sampled_from([None, "", "api"]),
)  # fmt: skip
metrics = st.builds(
    lambda value, second, tags: (KINDS[2], metric(value=value, at=(NOON + second * SECOND).isoformat(), tags=tags)),
    st.sampled_from([1, 1.5, -3, 1e300]), st.integers(0, 2), st.sampled_from([None, {}, {"b": 1, "a": [1.0]}]),
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> History:
    facts: list[tuple[Kind, Fact]] = []
    last: dict[str, Fact] = {}
    moment = {"a": NOON, "b": NOON}
    for task_id, pause, seconds, status, size in draw(runs):
        start = moment[task_id] + (pause + 1) * SECOND  # a task starts when its run before has ended
        moment[task_id] = start + seconds * SECOND
        fact = task(task_id, started_at=start.isoformat(), ended_at=moment[task_id].isoformat(), status=status, input_size=size)  # fmt: skip
        last[task_id] = fact
        facts.append((KINDS[0], fact))
    facts += draw(st.lists(errors | metrics, max_size=8))
    return History(facts, [fact for fact in last.values() if draw(st.booleans())])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), data=st.data())
def test_any_split_in_any_order_and_with_any_repetition_is_the_same_as_single_calls(
    calls: Calls, history: History, data: st.DataObject
) -> None:
    forget(calls)
    for kind, fact in history.facts:
        single(calls, kind, fact)
    by_single_calls = contents(calls)

    forget(calls)
    for fact in history.started:
        calls("start_task_tracking", fact["task_id"], fact["task_type"], fact["input_size"], fact["worker_id"], datetime.fromisoformat(fact["started_at"]))  # fmt: skip
    rest = data.draw(st.permutations(history.facts + data.draw(st.lists(st.sampled_from(history.facts))) if history.facts else []))  # fmt: skip
    stored_by_documents = 0
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        document, rest = rest[:size], rest[size:]
        for kind in KINDS:
            stored_by_documents += bulk(calls, kind, [fact for of, fact in document if of is kind])["stored"]

    assert contents(calls) == by_single_calls
    assert stored_by_documents == len(by_single_calls)


def forget(calls: Calls) -> None:
    for kind in KINDS:
        calls.ask(f"DELETE FROM public.{kind.table}")
