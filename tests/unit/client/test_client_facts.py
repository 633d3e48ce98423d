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

AT = datetime(2026, 11, 23, 15, 30, tzinfo=timezone(timedelta(hours=1)))


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
            lambda: facts.start_task("t", "", None, None, None), ValueError, "task_type", id="empty task type"
        ),
        pytest.param(lambda: facts.start_task("t", "x" * 513, None, None, None), ValueError, "512", id="long name"),
        pytest.param(lambda: facts.start_task("t", "x", -1, None, None), ValueError, "input_size", id="negative size"),
        pytest.param(lambda: facts.start_task("t", "x", 2**63, None, None), ValueError, "input_size", id="huge size"),
        pytest.param(lambda: facts.start_task("t", "x", 1.5, None, None), TypeError, "whole", id="broken size"),  # type: ignore[arg-type]
        pytest.param(lambda: facts.start_task(7, "x", 1, None, None), TypeError, "task_id", id="id is no text"),  # type: ignore[arg-type]
        pytest.param(
            lambda: facts.complete_task("t", "done", None, None, None, None), ValueError, "cancelled", id="status"
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

    assert (fact.at, fact.at_is_ours) == (datetime(2026, 11, 23, 14, 30, tzinfo=timezone.utc), False)


def test_a_moment_that_is_left_out_is_the_moment_of_the_call() -> None:
    before = datetime.now(timezone.utc)
    fact = an_error(at=None)

    assert fact.at is not None
    assert before <= fact.at <= datetime.now(timezone.utc)
    assert fact.at_is_ours


def test_text_that_postgresql_cannot_hold_is_replaced() -> None:
    assert an_error("a\x00b\ud800c").arguments["p_error_message"] == "a\ufffdb?c"


def test_an_exception_may_stand_for_its_message() -> None:
    assert an_error(KeyError("gone")).arguments["p_error_message"] == "'gone'"


def test_an_exception_whose_text_fails_is_recorded_all_the_same() -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ArithmeticError

    assert an_error(BrokenError()).arguments["p_error_message"] == "<BrokenError that cannot be shown>"


def test_a_long_message_keeps_its_beginning_and_a_long_stack_trace_its_end() -> None:
    fact = an_error("m" * 20_000, stack_trace="t" * 50_000 + "ValueError: last")

    assert len(str(fact.arguments["p_error_message"])) == facts.LONGEST_MESSAGE
    assert len(str(fact.arguments["p_stack_trace"])) == facts.LONGEST_STACK_TRACE
    assert str(fact.arguments["p_stack_trace"]).endswith("ValueError: last")


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
    stored = json.loads(str(an_error(context=context).arguments["p_context"]))

    assert stored.pop("stream").startswith("<list_iterator")
    assert stored == {
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

    assert "contains itself" in str(an_error(context=context).arguments["p_context"])


def test_a_text_enum_stands_for_its_value() -> None:
    class Level(str, Enum):
        HIGH = "high"

    stored = an_error(severity=Level.HIGH).arguments["p_severity"]

    assert (stored, type(stored)) == ("high", str)
