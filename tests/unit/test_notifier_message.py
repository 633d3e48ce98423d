from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from automon.models import Guidance, Severity
from notifiers.message import Line, Message, MessageContext, compose, compose_test
from notifiers.plain import headline, plain_body, plain_lines, plain_text
from notifiers.text import Link, Moment
from notifiers.words import Label
from tests.support.notifications import (
    ACKNOWLEDGED,
    ALSO_OPEN,
    CONTEXT,
    EASED,
    ESCALATED,
    GUIDANCE,
    HOSTILE,
    LIFE,
    OPENED,
    OPENED_AT,
    REMINDED,
    RESOLVED,
    TOP,
    message,
)


def shown(said: Message, label: Label) -> list[str]:
    return [plain_text(line.text, said) for line in said.lines if line.label is label]


def footer(said: Message) -> str:
    return plain_text(said.footer, said)


@pytest.mark.parametrize("kind", LIFE)
def test_the_headline_tells_the_whole_story_within_80_characters(kind: str) -> None:
    said = message(LIFE[kind])
    assert len(headline(said)) <= 80
    assert said.headline.startswith(said.state)
    assert "invoice-sync" in said.headline
    assert LIFE[kind].summary in said.headline


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("opened", "✗ CRITICAL "),
        ("escalated", "✗ ESCALATED to CRITICAL "),
        ("reminded", "✗ STILL OPEN, CRITICAL "),
        ("acknowledged", "◐ ACKNOWLEDGED "),
        ("eased", "▲ EASED to MEDIUM "),
        ("resolved", "✓ RESOLVED "),
    ],
)
def test_a_state_is_a_word_and_a_shape(kind: str, start: str) -> None:
    assert headline(message(LIFE[kind])).startswith(start)


@pytest.mark.parametrize("severity", Severity)
def test_an_opened_alert_says_its_severity(severity: Severity) -> None:
    assert message(replace(OPENED, severity=severity)).state == severity.value.upper()


def test_an_opened_message_goes_from_impact_to_how_to_stop_it() -> None:
    labels = [line.label for line in message(OPENED).lines]
    assert labels == [
        Label.IMPACT,
        Label.SEEN,
        Label.TREND,
        Label.CAUSE,
        Label.CAUSE,
        Label.CAUSE,
        Label.NEXT,
        Label.ALSO,
        Label.ALSO,
        Label.STOP,
    ]


def test_an_identity_stays_the_same_over_the_life_of_an_alert() -> None:
    assert {message(one).identity for one in LIFE.values()} == {"invoice-sync: error rate (#41)"}


def test_guidance_is_never_invented() -> None:
    said = message(OPENED, Guidance())
    assert shown(said, Label.IMPACT) == []
    assert shown(said, Label.NEXT) == []


def test_an_address_in_the_guidance_is_a_link_and_its_full_stop_is_not() -> None:
    said = message(OPENED, Guidance(next_step="Look at https://wiki.acme.example/a. Then restart."))
    (line,) = [line for line in said.lines if line.label is Label.NEXT]
    assert line.text == ("Look at ", Link("https://wiki.acme.example/a"), ". Then restart.")


def test_a_runbook_that_is_no_address_is_shown_as_words() -> None:
    said = message(OPENED, Guidance(runbook="page 3 of the binder"))
    assert shown(said, Label.NEXT) == ["page 3 of the binder"]


def test_an_address_from_a_task_is_never_a_link() -> None:
    fragments = [fragment for line in message(HOSTILE, Guidance()).lines for fragment in line.text]
    assert fragments
    assert not [fragment for fragment in fragments if isinstance(fragment, Link)]


def test_what_was_measured_is_left_out_where_the_headline_has_said_it() -> None:
    said = message(replace(OPENED, evidence={"measured": "112 errors in the last hour"}))
    assert shown(said, Label.SEEN) == []


def test_a_summary_too_long_for_the_headline_is_told_in_full_below() -> None:
    summary = "the nightly export took " + "very " * 30 + "long"
    said = message(replace(OPENED, summary=summary))
    assert said.headline.endswith("…")
    assert len(said.headline) <= 110
    assert summary in shown(said, Label.SEEN)


def test_the_trend_is_drawn_and_told() -> None:
    assert shown(message(OPENED), Label.TREND) == ["errors ▁▁▁▁▁▁▁▁▂▅▆▇ 1 → 40 in 1 h"]


@pytest.mark.parametrize(
    "trend",
    [
        pytest.param(None, id="none"),
        pytest.param({"values": [1], "step_seconds": 300}, id="one number"),
        pytest.param({"values": "1234", "step_seconds": 300}, id="a text"),
        pytest.param({"values": [1, 2], "step_seconds": None}, id="no step"),
        pytest.param({"values": [float("nan"), True, 3], "step_seconds": 300}, id="nothing to compare"),
    ],
)
def test_a_trend_that_cannot_be_drawn_is_left_out(trend: object) -> None:
    assert shown(message(replace(OPENED, evidence={"trend": trend})), Label.TREND) == []


def test_a_cause_says_how_often_what_where_since_when_and_one_task_to_look_at() -> None:
    first = shown(message(OPENED), Label.CAUSE)[0]
    assert first == "101x ConnectionError: smtp.acme.example:587 refused, on ops-2, since 13:58, e.g. task-8812"


def test_more_than_three_causes_are_counted() -> None:
    causes = shown(message(replace(OPENED, evidence={"top": TOP + TOP})), Label.CAUSE)
    assert len(causes) == 3
    assert causes[-1].endswith("(+5 more)")


def test_more_than_three_other_alerts_are_counted() -> None:
    others = shown(message(replace(OPENED, also_open=ALSO_OPEN * 3)), Label.ALSO)
    assert len(others) == 3
    assert others[0] == "#40 HIGH mail: 1,204 pending (limit 200), 25 min, acknowledged by ana"
    assert others[-1].endswith("(+3 more)")


def test_it_says_how_to_stop_an_alert() -> None:
    assert shown(message(OPENED), Label.STOP) == [
        "automon ack 41 · automon silence invoice-sync 2h · automon explain 41"
    ]


def test_an_acknowledged_alert_needs_no_ack() -> None:
    assert shown(message(ACKNOWLEDGED), Label.STOP) == ["automon silence invoice-sync 2h · automon explain 41"]


def test_a_source_is_quoted_in_a_command_to_copy() -> None:
    (stop,) = shown(message(replace(OPENED, source="night run; rm -rf /")), Label.STOP)
    assert "automon silence 'night run; rm -rf /' 2h" in stop


def test_a_source_that_cannot_be_shown_as_it_is_gets_no_command_to_silence_it() -> None:
    (stop,) = shown(message(replace(OPENED, source="a\u202eb")), Label.STOP)
    assert stop == "automon ack 41 · automon explain 41"


def test_an_escalated_alert_says_what_it_was_before() -> None:
    assert shown(message(ESCALATED), Label.OPEN) == ["for 10 min, HIGH before, nobody has acknowledged it"]


def test_a_reminder_says_for_how_long_nobody_has_come() -> None:
    assert shown(message(REMINDED), Label.OPEN) == ["for 1 h, nobody has acknowledged it"]


def test_an_eased_alert_that_somebody_has_says_who() -> None:
    assert shown(message(EASED), Label.OPEN) == ["for 40 min, CRITICAL before"]
    assert shown(message(EASED), Label.WHO) == ['acknowledged by ana 14:35, "relay restarted"']


def test_a_resolved_alert_says_how_long_how_bad_what_is_left_and_who() -> None:
    said = message(RESOLVED)
    assert shown(said, Label.OPEN) == ["51 min, 14:02 → 14:53"]
    assert shown(said, Label.WORST) == ["CRITICAL at 14:31: 348 errors in the last hour (limit 100)"]
    assert shown(said, Label.LEFT) == ["61 failed tasks were not repeated"]
    assert shown(said, Label.WHO) == ['acknowledged by ana 14:35, "relay restarted"']
    assert shown(said, Label.ALSO) == ["#38 MEDIUM ops-2: 91 % of /var is used (limit 90 %), 3 h 51 min"]
    assert shown(said, Label.LOOK) == ["automon explain 41"]
    assert shown(said, Label.STOP) == []


def test_a_resolution_by_hand_says_by_whose() -> None:
    (who,) = shown(message(replace(RESOLVED, acknowledged_at=None, actor="bo", note="was a test")), Label.WHO)
    assert who == 'resolved by bo 14:53, "was a test"'


def test_a_message_that_may_be_a_repeat_says_so() -> None:
    assert shown(message(replace(OPENED, uncertain=True)), Label.REPEAT) == [
        "an earlier try may have arrived already (delivery 907)"
    ]
    assert shown(message(OPENED), Label.REPEAT) == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("opened", "automon on ops-1 · opened 14:02 CET · reminds hourly until acknowledged"),
        ("escalated", "automon on ops-1 · opened 14:02 · escalated 14:12 CET · reminds hourly until acknowledged"),
        ("acknowledged", "automon on ops-1 · opened 14:02 · acknowledged 14:35 CET"),
        ("eased", "automon on ops-1 · opened 14:02 · eased 14:42 CET"),
        ("resolved", "automon on ops-1 · opened 14:02 · resolved 14:53 CET"),
    ],
)
def test_the_footer_says_who_speaks_and_when_it_happened_with_the_zone(kind: str, expected: str) -> None:
    assert footer(message(LIFE[kind])) == expected


def test_only_a_critical_alert_promises_reminders() -> None:
    assert "reminds" not in footer(message(replace(OPENED, severity=Severity.HIGH)))


def test_no_reminders_are_promised_where_none_come() -> None:
    context = MessageContext(instance="ops-1", timezone=CONTEXT.timezone, remind_after=None)
    assert "reminds" not in footer(compose(OPENED, GUIDANCE, context))


def test_a_time_of_another_day_carries_its_date() -> None:
    said = message(replace(RESOLVED, at=OPENED_AT + timedelta(hours=20)))
    assert shown(said, Label.OPEN) == ["20 h, 23 Nov 14:02 → 10:02"]


@pytest.mark.parametrize(
    ("zone", "expected"), [("UTC", "13:02 UTC"), ("America/New_York", "08:02 EST"), ("Europe/Istanbul", "16:02 UTC+03")]
)
def test_a_zone_is_named_even_where_it_has_no_letters(zone: str, expected: str) -> None:
    context = MessageContext(instance="ops-1", timezone=ZoneInfo(zone))
    assert footer(compose(OPENED, GUIDANCE, context)).endswith(expected)


def test_no_label_is_wider_than_its_column() -> None:
    assert max(len(label) for label in Label) < 9


def test_hostile_text_stays_one_harmless_short_line_each() -> None:
    said = message(HOSTILE)
    for line in [headline(said), said.identity, *plain_lines(said)]:
        assert line.isprintable() or "\n" not in line
        assert not {"\x1b", "\r", "\n", "\u202e"} & set(line)
        assert len(line) < 600


def test_evidence_of_any_shape_makes_a_message() -> None:
    odd = {"measured": 7, "trend": [], "top": [None, "x", {"count": "many"}], "left": {"a": 1}}
    assert "automon ack 41" in plain_body(message(replace(OPENED, evidence=odd)))


def test_a_test_message_says_that_nothing_is_wrong() -> None:
    said = compose_test(CONTEXT, OPENED_AT)
    assert headline(said) == "✓ TEST automon: this is a test, nothing is wrong"
    assert said.lines[0] == Line(label=Label.SEEN, text=("this channel works: alerts will arrive here",))
    assert said.footer[-1] == Moment(OPENED_AT, zoned=True)
