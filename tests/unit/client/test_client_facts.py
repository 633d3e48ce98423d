"""What the client checks and cleans before a fact leaves the process."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from monitoring_client import facts
from monitoring_client.rows import encode

AT = datetime(2026, 11, 23, 15, 30, tzinfo=timezone(timedelta(hours=1)))


def stored(fact: facts.Fact) -> Any:
    """The fact as the database gets it."""
    ((_, _, _, _, body),) = encode([fact])
    return json.loads(body)


def an_error(message: Any = "boom", **changes: Any) -> facts.Fact:
    given: dict[str, Any] = {
        "task_id": None,
        "error_type": "E",
        "severity": "low",
        "error_message": message,
        "component": "c",
        "stack_trace": None,
        "context": None,
        "at": AT,
    }
    return facts.record_error(**{**given, **changes})


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        pytest.param(
            lambda: facts.start_task("t", "", None, None, None, None), ValueError, "task_type", id="empty task type"
        ),
        pytest.param(
            lambda: facts.start_task("t", "x" * 513, None, None, None, None), ValueError, "512", id="long name"
        ),
        pytest.param(
            lambda: facts.start_task("t", "x", -1, None, None, None), ValueError, "input_size", id="negative size"
        ),
        pytest.param(
            lambda: facts.start_task("t", "x", 2**63, None, None, None), ValueError, "input_size", id="huge size"
        ),
        pytest.param(lambda: facts.start_task("t", "x", 1.5, None, None, None), TypeError, "whole", id="broken size"),  # type: ignore[arg-type]
        pytest.param(lambda: facts.start_task(7, "x", 1, None, None, None), TypeError, "task_id", id="id is no text"),  # type: ignore[arg-type]
        pytest.param(
            lambda: facts.complete_task(None, "t", "done", None, None, None, None), ValueError, "cancelled", id="status"
        ),
        pytest.param(lambda: an_error(severity="fatal"), ValueError, "critical", id="severity"),
        pytest.param(lambda: an_error(severity=3), TypeError, "severity", id="severity is no text"),
        pytest.param(lambda: an_error(at=AT.replace(tzinfo=None)), ValueError, "time zone", id="naive moment"),
        pytest.param(lambda: an_error(at=1_700_000_000), TypeError, "datetime", id="moment is a number"),
        pytest.param(lambda: an_error(context=["a"]), TypeError, "mapping", id="context is a list"),
        pytest.param(
            lambda: facts.update_system_health("a", "b", "up", None, None, None, None),
            ValueError,
            "degraded",
            id="state",
        ),
        pytest.param(lambda: facts.heartbeat("t", 101, None, None), ValueError, "100", id="progress"),
        pytest.param(lambda: facts.heartbeat("t", math.nan, None, None), ValueError, "finite", id="progress is NaN"),
        pytest.param(
            lambda: facts.update_queue_metrics("q", None, None, None, None, None, None),  # type: ignore[arg-type]
            TypeError,
            "pending",
            id="nothing pending",
        ),
        pytest.param(
            lambda: facts.record_performance_metric("m", "gauge", "fast", None, None, None, None),  # type: ignore[arg-type]
            TypeError,
            "value",
            id="value is no number",
        ),
    ],
)
def test_a_wrong_argument_is_refused_and_named(make: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


def test_a_moment_that_is_given_is_kept_in_utc() -> None:
    fact = an_error(at=AT)

    assert (fact.body["at"], fact.at_is_ours) == (datetime(2026, 11, 23, 14, 30, tzinfo=timezone.utc), False)


def test_a_moment_that_is_left_out_is_the_moment_of_the_call() -> None:
    before = datetime.now(timezone.utc)
    fact = an_error(at=None)

    assert before <= fact.body["at"] <= datetime.now(timezone.utc)
    assert fact.at_is_ours


def test_text_that_postgresql_cannot_hold_is_replaced() -> None:
    assert stored(an_error("a\x00b\ud800c"))["error_message"] == "a\ufffdb?c"


def test_an_exception_may_stand_for_its_message() -> None:
    assert stored(an_error(KeyError("gone")))["error_message"] == "'gone'"


def test_an_exception_whose_text_fails_is_recorded_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ArithmeticError

    assert stored(an_error(BrokenError()))["error_message"] == "<BrokenError that cannot be shown>"


def test_a_long_message_keeps_its_beginning_and_a_long_stack_trace_its_end() -> None:
    said = stored(an_error("m" * 20_000, stack_trace="t" * 50_000 + "ValueError: last"))

    assert len(said["error_message"]) == facts.LONGEST_MESSAGE
    assert len(said["stack_trace"]) == facts.LONGEST_STACK_TRACE
    assert said["stack_trace"].endswith("ValueError: last")


def test_a_context_becomes_json_that_jsonb_accepts() -> None:
    stream = iter(["the application's own"])
    context = {
        1: {"nested": (1, 2)},
        "nan": math.nan,
        "when": AT,
        "price": Decimal("1.10"),
        "ok": True,
        "nul": "\x00",
        "stream": stream,
    }
    said = stored(an_error(context=context))["context"]

    assert said.pop("stream").startswith("<list_iterator")
    assert said == {
        "1": {"nested": [1, 2]},
        "nan": "nan",
        "when": "2026-11-23 15:30:00+01:00",
        "price": "1.10",
        "ok": True,
        "nul": "\ufffd",
    }
    assert next(stream) == "the application's own"


def test_a_context_that_contains_itself_does_not_cost_the_fact() -> None:
    context: dict[str, object] = {}
    context["self"] = context

    assert "contains itself" in str(stored(an_error(context=context))["context"])


def test_a_text_enum_stands_for_its_value() -> None:
    class Level(str, Enum):
        HIGH = "high"

    severity = an_error(severity=Level.HIGH).body["severity"]

    assert (severity, type(severity)) == ("high", str)
