"""What screens have in common, and the lists of messages and channels: what they say, and that they fit a terminal of 80 by 24 whatever is in the database."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.cli.canary import Answer, Patience, answer_of
from automon.cli.delivery_screens import (
    Filter,
    channel_lines,
    channels_code,
    delivery_lines,
    delivery_mark,
    nothing_found,
    resumed,
    state_in_words,
)
from automon.cli.text import (
    PAINT_END,
    age,
    cells,
    clip,
    clock,
    clock_or_day,
    cut,
    folded,
    number,
    printable,
    rate,
    span,
    spread,
    time_with_zone,
    took,
    wrapped,
)
from tests.support.screens import DAY, HOUR, MINUTE, NOW, ago, canary, channel, delivery, failing, stopped, waiting

pytestmark = pytest.mark.usefixtures("utc")


@given(st.text(), st.integers(min_value=1, max_value=100))
def test_a_line_is_cut_at_its_width_and_only_when_it_must_be(text: str, width: int) -> None:
    shown = clip(text, width)

    assert cells(shown) <= width
    if cells(text) <= width:
        assert shown == text
    else:
        kept = shown.removesuffix(chr(PAINT_END))
        assert kept.endswith("…")
        assert text.startswith(kept[:-1])


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert cells("請求書") == 6
    assert cells(unicodedata.normalize("NFD", "é")) == 1
    assert cut("請求書 同期", 7) == "請求書…"


def test_what_a_terminal_would_obey_is_not_passed_on() -> None:
    assert printable("a\x1b]0;title\x07b\r\nc\u202ed") == "a]0;titleb  cd"
    assert cut("  two\n\tlines ", 20) == "two lines"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172799, "47h"), (172800, "2d")],
)
def test_an_age_is_short(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (0.34, "340ms"), (4.2, "4.2s"), (41, "41s"), (119.9, "2m"), (2280, "38m"), (3720, "1h 02m"), (97_200, "27h"), (260_000, "3d")],
)  # fmt: skip
def test_a_duration_is_short(seconds: float | None, words: str) -> None:
    assert span(seconds) == words
    assert cells(words) <= 6


@given(st.floats(min_value=0, max_value=10**8))
def test_a_duration_fits_its_column(seconds: float) -> None:
    assert cells(span(seconds)) <= 6


def test_a_rate_has_a_decimal_only_while_that_says_something() -> None:
    assert [rate(value) for value in (None, 0, 0.26, 9.96, 42.4, 1204)] == ["–", "0", "0.3", "10.0", "42", "1,204"]


@pytest.mark.parametrize(
    ("zone", "words"),
    [("UTC", "12:00 UTC"), ("Europe/Berlin", "14:00 CEST (UTC+2)"), ("America/St_Johns", "09:30 NDT (UTC-2:30)")],
)
def test_the_zone_of_the_reader_is_named(zone: str, words: str, in_zone: Callable[[str], None]) -> None:
    in_zone(zone)

    assert time_with_zone(NOW) == words


@given(st.text(max_size=120), st.text(max_size=30))
def test_what_stands_to_the_right_keeps_its_room(left: str, right: str) -> None:
    left, right = printable(left), printable(right)

    line = spread(left, right)

    assert cells(line) <= 80
    assert line.endswith(right)


@given(st.text(max_size=300), st.integers(min_value=20, max_value=120))
def test_a_long_line_is_folded_into_the_width_and_loses_nothing_but_what_is_cut(text: str, width: int) -> None:
    text = printable(text)

    lines = folded(text, width)

    assert max(map(cells, lines)) <= width
    if not any(line.endswith("…") for line in lines):
        assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_number_that_is_not_known_is_a_dash() -> None:
    assert (number(None), number(12.6)) == ("-", "13")


# Deliveries ---------------------------------------------------------------------------------------------------


def test_each_message_is_a_line_and_why_it_has_not_arrived_a_second_one() -> None:
    found = [
        canary(number=911),
        delivery(910, channel="email", recipient="ana@acme.example", instead_of="slack", latency_seconds=75),
        delivery(909, channel="email", recipient="ben@acme.example", status="failed", latency_seconds=None,
                 attempts=2, handed_on_at=ago(MINUTE), why="refused: 550 no such user"),
        waiting(908, kind="escalated", attempts=1, why="unreachable: no route to host"),
        waiting(9, status="silenced", source="backup"),
    ]  # fmt: skip

    assert delivery_lines(found, Filter(), NOW) == [
        "   ID  UTC       CHANNEL                   MESSAGE                  TRIES   TOOK",
        "✓ 911  11:59:00  slack                     canary for ana               1  0.2 s",
        "✓ 910  11:59:00  email (ana@acme.example)  #41 opened invoice-sync      1   75 s",
        "       instead of slack",
        "✗ 909  11:59:00  email (ben@acme.example)  #41 opened invoice-sync      2",
        "       fallback told; refused: 550 no such user",
        "◌ 908  11:59:00  slack                     #41 escalated invoice-…      1",
        "       unreachable: no route to host",
        "–   9  11:59:00  slack                     #41 opened backup",
    ]


def test_a_reason_that_is_that_of_the_line_above_is_not_repeated() -> None:
    stuck = [waiting(number, why="the channel is stopped: gone") for number in (912, 911, 910)]

    assert [line[:5] for line in delivery_lines([*stuck, waiting(909, why="gone")], Filter(), NOW)] == [
        "   ID", "◌ 912", "     ", "◌ 911", "◌ 910", "◌ 909", "     ",
    ]  # fmt: skip


def test_what_was_told_in_a_digest_is_counted_and_listed_on_request() -> None:
    members = [delivery(number, digest_id=907, attempts=2, alert_id=number) for number in (906, 905, 904)]
    summary = "812 messages as one: connection refused"
    digest = delivery(907, subject="digest", alert_id=None, source=None, kind=None, summary=summary, attempts=2)

    assert delivery_lines([digest, *members], Filter(), NOW)[1:] == [
        "✓ 907  11:59:00  slack    digest of 812: connection refused             2  0.2 s",
        "–      11:59:00  slack    3 in digest 907",
        "       automon deliveries --digest 907",
    ]
    assert delivery_lines(members, Filter(digest_id=907), NOW)[1:3] == [
        "– 906  11:59:00  slack    #906 opened invoice-sync",
        "– 905  11:59:00  slack    #905 opened invoice-sync",
    ]
    assert delivery_lines(members[:1], Filter(alert_id=906), NOW)[1:] == [
        "– 906  11:59:00  slack    #906 opened invoice-sync",
        "       in digest 907",
    ]


def test_the_days_stand_beside_the_times_where_they_differ() -> None:
    lines = delivery_lines([delivery(2), delivery(1, created_at=ago(3 * DAY))], Filter(), NOW)

    assert [line[6:18] for line in lines] == ["UTC         ", "14 May 11:59", "11 May 12:00"]


def test_an_alert_about_automon_itself_says_so() -> None:
    [_, line] = delivery_lines([delivery(alert_type="automon_channel", source="email")], Filter(), NOW)

    assert "#41 opened email (automon channel)" in line


def test_a_message_that_may_have_arrived_twice_says_so() -> None:
    assert delivery_lines([delivery(may_be_repeat=True)], Filter(), NOW)[2].strip() == "may have arrived twice"


@pytest.mark.parametrize(
    ("status", "digest_id", "mark"),
    [
        ("sent", None, "✓"), ("sent", 907, "–"), ("pending", None, "◌"), ("pending", 907, "◌"), ("sending", None, "◌"),
        ("failed", None, "✗"), ("failed", 907, "✗"), ("expired", None, "✗"), ("silenced", None, "–"), ("grouped", None, "–"),
    ],
)  # fmt: skip
def test_a_delivery_is_known_by_its_shape(status: str, digest_id: int | None, mark: str) -> None:
    assert delivery_mark({"status": status, "digest_id": digest_id}) == mark


@given(st.text(max_size=90), st.text(max_size=90), st.text(max_size=90), st.integers(1, 10**15))
def test_a_list_of_deliveries_fits_a_terminal_whatever_they_say(
    source: str, recipient: str, why: str, number: int
) -> None:
    found = [waiting(number, source=source, recipient=recipient, why=why), delivery(1, latency_seconds=10**7)]

    lines = delivery_lines(found, Filter(), NOW)

    assert max(map(cells, lines)) <= 80
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (Filter(), "No message yet. Try the channels: automon canary"),
        (Filter(channel="slack"), "No message through slack. All messages: automon deliveries"),
        (Filter(in_trouble=True), "No message in trouble. All messages: automon deliveries"),
        (Filter(alert_id=41, digest_id=7), "No message of alert 41 in digest 7. Its story: automon explain 41"),
    ],
)
def test_an_empty_list_names_the_filter_and_the_next_command(wanted: Filter, sentence: str) -> None:
    assert nothing_found(wanted) == sentence


# Channels -----------------------------------------------------------------------------------------------------


def test_channels_in_trouble_come_first_with_their_reason_and_the_way_back() -> None:
    sent = {"last_sent_at": ago(3 * DAY), "waiting": 84, "failed_24h": 3, "expired_24h": 2, "fallback": "slack"}

    shown = channel_lines([channel(), failing("ops-team"), stopped("email", **sent)], NOW)

    assert shown == [
        "  CHANNEL   STATE                  SENT  WAITING  FAILED  EXPIRED  FALLBACK",
        "✗ email     STOPPED since 10:00  11 May       84       1        2  slack",
        "            gone: Slack answered 404 no_service",
        "            slack is told instead",
        "            repair it, then: automon channels resume email",
        "▲ ops-team  failing since 11:55   11:59        0       0        0  journal",
        "            unreachable: no route",
        "            next try 12:02; the journal is told instead from 12:05",
        "✓ slack     working               11:59        0       0        0  journal",
    ]


def test_a_reason_is_shown_to_its_end() -> None:
    lines = channel_lines([stopped(last_error="bad_credentials: " + "word " * 30 + "end")], NOW)

    assert max(map(cells, lines)) <= 80
    assert " ".join(lines).count("word") == 30
    assert lines[-3].endswith("end")


@pytest.mark.parametrize(
    ("channels", "code"),
    [([], 1), ([channel()], 0), ([channel(failed_24h=3)], 0), ([channel(), failing()], 1), ([stopped()], 1)],
    ids=["none known", "working", "working now", "failing", "stopped"],
)
def test_the_exit_code_says_whether_all_channels_work(channels: list[dict[str, Any]], code: int) -> None:
    assert channels_code(channels) == code


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (channel(), "working"),
        (failing(), "failing since 11:55, next try 12:02"),
        (failing(next_attempt_at=ago(-MINUTE)), "failing since 11:55, next try in 60s"),
        (failing(next_attempt_at=ago(MINUTE)), "failing since 11:55, next try now"),
        (stopped(since=ago(3 * DAY)), "STOPPED since 11 May 12:00"),
    ],
    ids=["working", "failing", "soon tried", "about to try", "stopped for days"],
)
def test_the_state_of_a_channel_in_words(state: dict[str, Any], words: str) -> None:
    assert state_in_words(state, NOW) == words


@given(st.text(max_size=90), st.text(max_size=90), st.text(max_size=90))
def test_the_list_of_channels_fits_a_terminal(name: str, error: str, fallback: str) -> None:
    lines = channel_lines([stopped(name, last_error=error, fallback=fallback), failing(name, last_error=error)], NOW)

    assert max(map(cells, lines)) <= 80
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("waiting", "was_in_trouble", "sentence"),
    [
        (0, True, "slack is taken up again; nothing waits"),
        (1, True, "slack is taken up again; 1 message waits and is tried now"),
        (1200, True, "slack is taken up again; 1,200 messages wait and are tried now"),
        (2, False, "slack was working; 2 messages wait and are tried now"),
    ],
)
def test_taking_up_a_channel_says_what_waits(waiting: int, was_in_trouble: bool, sentence: str) -> None:
    assert resumed("slack", waiting, was_in_trouble=was_in_trouble) == sentence


# Canaries -----------------------------------------------------------------------------------------------------

ONE_MINUTE = Patience(span=MINUTE, until=NOW + MINUTE)
IT_IS_OVER = Patience(span=MINUTE, until=NOW)


@pytest.mark.parametrize(
    ("delivery", "channel", "patience", "lines"),
    [
        pytest.param(canary(latency_seconds=0.3124), channel(), ONE_MINUTE,
                     ["✓ slack: arrived in 312 ms (delivery 908)"], id="arrived"),
        pytest.param(canary(latency_seconds=4.2), channel(), IT_IS_OVER,
                     ["✓ slack: arrived in 4.2 s (delivery 908)"], id="arrived late"),
        pytest.param(canary("failed", why="refused: 550 no such user"), channel(), ONE_MINUTE,
                     ["✗ slack: refused: 550 no such user (delivery 908)", "  what mends it: automon send-test slack"],
                     id="refused"),
        pytest.param(canary("pending", why="gone: 404"), stopped(), ONE_MINUTE,
                     ["✗ slack: STOPPED since 10:00: gone: Slack answered 404 no_service (delivery 908)",
                      "  what mends it: automon send-test slack",
                      "  repair it, then: automon channels resume slack"], id="stopped"),
        pytest.param(canary("pending", why="unreachable: no route"), failing(), ONE_MINUTE,
                     ["◌ slack: failing since 11:55, next try 12:02: unreachable: no route (delivery",
                      "  908)", "  try it now: automon channels resume slack"], id="rests for too long"),
        pytest.param(canary("pending", why="unreachable: no route", attempts=2), channel(), IT_IS_OVER,
                     ["◌ slack: not arrived within 60 s, 2 attempts: unreachable: no route (delivery", "  908)"],
                     id="tried again and again"),
        pytest.param(canary("sending"), {}, IT_IS_OVER,
                     ["◌ slack: no answer yet after 60 s (delivery 908)"], id="no answer"),
        pytest.param(canary("pending"), channel(), Patience(span=timedelta(0), until=NOW),
                     ["◌ slack: waits to be sent (delivery 908)"], id="nobody sends"),
    ],
)  # fmt: skip
def test_a_canary_says_what_became_of_it(
    delivery: dict[str, Any], channel: dict[str, Any], patience: Patience, lines: list[str]
) -> None:
    answer = answer_of(delivery, channel, "slack", now=NOW, patience=patience)

    assert answer is not None
    assert answer.lines == lines


def test_a_canary_that_may_still_arrive_is_waited_for() -> None:
    soon = failing(next_attempt_at=ago(-30 * MINUTE / 60))

    for state in (channel(), soon, {}):
        assert answer_of(canary("pending", why="timed_out"), state, "slack", now=NOW, patience=ONE_MINUTE) is None


@given(st.text(max_size=300))
def test_an_answer_fits_a_terminal_whatever_the_other_side_has_said(text: str) -> None:
    lines = Answer(mark="✗", text=text, next_steps=("automon canary",)).lines

    assert max(map(cells, lines)) <= 80
    assert all(line.isprintable() for line in lines)


# Words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "moment", "short"),
    [(HOUR, "11:00", "11:00"), (-HOUR, "13:00", "13:00"), (15 * HOUR, "21:00", "21:00"), (3 * DAY, "11 May 12:00", "11 May")],
)  # fmt: skip
def test_a_moment_has_its_day_beside_it_when_it_is_not_near(span: timedelta, moment: str, short: str) -> None:
    assert (clock(ago(span), NOW), clock_or_day(ago(span), NOW)) == (moment, short)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.034, "34 ms"), (0.21, "0.2 s"), (2, "2 s"), (9.96, "10 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d")],
)  # fmt: skip
def test_how_long_it_took_is_short(seconds: float, words: str) -> None:
    assert took(seconds) == words


@given(st.text(max_size=200), st.integers(min_value=2, max_value=60))
def test_a_text_is_broken_between_words_and_none_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width)

    assert max(map(cells, lines), default=0) <= width
    words, shown = printable(text).split(), " ".join(lines).split()
    assert len(words) == len(shown)
    assert all(word == part or part.endswith("…") for word, part in zip(words, shown, strict=True))
