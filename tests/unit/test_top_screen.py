"""`automon top` without a terminal: what keys do, what is asked before anything changes, and that every frame fits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.cli.status_screen import Status
from automon.cli.terminal import KEYS, keys_of
from automon.cli.text import cells
from automon.cli.theme import PLAIN
from automon.cli.top_screen import Action, Target, Top
from automon.cli.verdict import status_verdict
from tests.support.screens import NOW, alert, component, failing_task, host, queue, report, task

pytestmark = pytest.mark.usefixtures("utc")
ALERTS = [alert("critical", id=41), alert("low", id=42, source="ops-1 /var", summary="disk is 81 % full")]


def live(**parts: Any) -> Top:
    found = report(alerts=ALERTS, tasks=[failing_task(), task()], **parts)
    status = Status(report=found, alerts=ALERTS, left_out=0, verdict=status_verdict(found["summary"], ALERTS), now=NOW)
    top = Top(by="ana", status=status)
    frame(top)
    return top


def frame(top: Top, columns: int = 80, height: int = 24) -> list[str]:
    return PLAIN.finish(top.lines(columns, height, PLAIN)).split("\n")


def press(top: Top, *keys: str) -> Action | None:
    """Press keys one after the other, drawing in between as the program does; answer what the last one asks for."""
    asked = None
    for key in keys:
        asked = top.press(key)
        frame(top)
    return asked


@pytest.mark.parametrize(
    ("key", "head", "chosen"),
    [
        ("1", "ALERTS (worst first)", "✗>#41 mail"),
        ("2", "TASKS, last 24h", "✗>invoice-sync"),
        ("3", "QUEUES", "✓>mail"),
        ("4", "HOSTS", "✓>ops-1"),
        ("0", "ALERTS (worst first)", "✗>#41 mail"),
    ],
)
def test_a_number_chooses_what_is_shown(key: str, head: str, chosen: str) -> None:
    top = live()

    press(top, key)

    lines = frame(top)
    assert any(line.startswith(head) for line in lines)
    assert any(line.startswith(chosen) for line in lines)
    assert lines[0].startswith("✗ PROBLEMS")
    assert lines[-1].startswith("1 alerts  2 tasks")


def test_a_row_is_chosen_with_the_arrows_and_never_beyond_the_ends() -> None:
    top = live()

    press(top, "1", "down", "down", "page down")
    assert top.target == Target(source="ops-1 /var", alert_id=42)
    press(top, "up", "k", "page up")
    assert top.target == Target(source="mail", alert_id=41)
    press(top, "4", "down")
    assert top.target == Target(source="api/main")


def test_components_stand_below_the_hosts_with_what_is_wrong() -> None:
    ill = component("worker/relay", severity="critical", status="unhealthy", failure_reason="gone", alert_id=50)
    silent = component("worker/x", is_silent=True, severity="high")

    top = live(components=[ill, silent], hosts=[host(disks=host()["disks"] * 2)])
    press(top, "4", "down")

    lines = frame(top)
    assert any(line.startswith("✗>worker/relay") and line.endswith("gone") for line in lines)
    assert any(line.startswith("✗ worker/x") and "SILENT" in line for line in lines)
    assert top.target == Target(source="worker/relay", alert_id=50)


def test_enter_explains_y_copies_and_q_leaves() -> None:
    top = live()

    assert press(top, "1", "down", "enter") == Action(name="explain", target=Target(source="ops-1 /var", alert_id=42))
    assert press(top, "y") == Action(name="copy", target=Target(source="ops-1 /var", alert_id=42))
    assert press(top, "q") == Action(name="quit")
    assert press(top, "end") == Action(name="quit")


@pytest.mark.parametrize("answer", ["n", "q", "enter", " ", "escape", "a"])
def test_only_y_acknowledges(answer: str) -> None:
    top = live()

    press(top, "a")
    assert frame(top)[-1] == "Acknowledge #41 mail as ana? y/N"

    assert press(top, answer) is None
    assert top.prompt is None
    assert press(top, "a", "y") == Action(name="ack", target=Target(source="mail", alert_id=41))


def test_a_source_without_an_alert_is_not_acknowledged() -> None:
    top = live()

    assert press(top, "3", "a") is None
    assert frame(top)[-1] == "mail has no open alert to acknowledge"


def test_a_silence_needs_its_end_a_reason_and_a_yes() -> None:
    top = live()

    press(top, "s", "backspace", "backspace", *"soon", "enter")
    assert frame(top)[-1] == "'soon' is not a duration: write 30m, 2h or 7d"
    press(top, *["backspace"] * 4, *"30m")
    assert frame(top)[-1] == "Silence mail for (30m, 2h, 7d): 30m_"
    assert press(top, "enter", *"deploying", "enter") == Action(
        name="preview", target=Target(source="mail", alert_id=41)
    )
    top.tell_preview("would have hidden 4 messages in 7 days")
    assert frame(top)[-1] == "Silence mail for 30 min? (would have hidden 4 messages in 7 days) y/N"

    asked = press(top, "y")

    assert asked == Action(
        name="silence",
        target=Target(source="mail", alert_id=41),
        duration=timedelta(minutes=30),
        reason="deploying",
    )
    assert press(top, "s", "enter", "enter", "n") is None
    assert frame(top)[-1] == "nothing was changed"


def test_a_filter_keeps_what_has_its_letters_and_is_taken_back() -> None:
    top = live(queues=[queue("mail"), queue("exports")])

    press(top, "3", "/", *"expo", "enter")
    assert next(line for line in frame(top) if "exports" in line).startswith("✓>exports")
    assert not any(line.startswith(("✓ mail", "✓>mail")) for line in frame(top))
    assert frame(top)[-1].startswith("filter: expo  ")
    press(top, "/", *["backspace"] * 4, *"nothing", "enter")
    assert "  nothing to show" in frame(top)
    assert press(top, "enter") is None
    assert frame(top)[-1] == "nothing is chosen"
    press(top, "escape")
    assert any(line.startswith("✓>mail") for line in frame(top))


def test_pause_is_shown_and_help_is_a_page() -> None:
    top = live()

    press(top, "p")
    assert (top.is_paused, frame(top)[-1][:6]) == (True, "PAUSED")
    press(top, "p", "?")
    assert frame(top)[0].startswith("automon top: ")
    press(top, "down", "page down", "up")
    assert not frame(top)[0].startswith("automon top: ")
    press(top, "x")
    assert frame(top)[0].startswith("✗ PROBLEMS")


def test_before_the_first_answer_and_without_a_database_it_says_so() -> None:
    top = Top(by="ana")
    assert frame(top)[0] == "asking the database"
    top.trouble = "since 12:00:00 the database does not answer"
    assert frame(top)[0] == top.trouble

    known = live()
    known.trouble = "since 12:00:00 the database does not answer; shown is what was known at 11:59:58"
    assert frame(known)[0].startswith("✗ PROBLEMS")
    assert frame(known)[-1].startswith("since 12:00:00 the database does not answer")


@given(
    st.lists(st.sampled_from([*"0123456789ajksypq?/n ", *KEYS.values(), "é"]), max_size=12),
    st.integers(40, 200),
    st.integers(10, 60),
)
def test_whatever_is_pressed_every_frame_fits(keys: list[str], columns: int, height: int) -> None:
    top = live()

    for key in keys:
        top.press(key)
        lines = frame(top, columns, height)
        assert len(lines) == height
        assert max(map(cells, lines)) <= max(columns, 80)


@pytest.mark.parametrize(
    ("read", "keys"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[Bj", ["up", "down", "j"]),
        (b"\x1bOA\r", ["up", "enter"]),
        (b"\x1b", ["escape"]),
        (b"\x7f\x08", ["backspace", "backspace"]),
        (b"\x1b[15~\x1b[1;5Cq", ["q"]),
        ("é".encode(), ["é"]),
        (b"\x01\xff", []),
        (b"", []),
        (None, ["end"]),
    ],
)
def test_what_a_terminal_sends_becomes_keys(read: bytes | None, keys: list[str]) -> None:
    assert list(keys_of(read)) == keys


@given(st.binary(max_size=40))
def test_any_bytes_become_keys(read: bytes) -> None:
    assert all(key in KEYS.values() or (len(key) == 1 and key.isprintable()) for key in keys_of(read))
