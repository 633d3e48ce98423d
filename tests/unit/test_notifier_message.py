from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automon.models import Digest, DigestCause, DigestEntry, Guidance, Severity, TransitionKind
from notifiers import slack, words
from notifiers.digest import compose_digest
from notifiers.message import Line, Message, MessageContext
from notifiers.notice import compose_canary, compose_outage, compose_test
from notifiers.plain import headline, plain_body, plain_lines, plain_text
from notifiers.text import Code, Link, Moment, Text
from notifiers.transition import compose
from notifiers.words import Label
from tests.support.notifications import (
    ACKNOWLEDGED,
    ALSO_OPEN,
    BLIND,
    CANARY,
    CHANNEL_FAILS,
    CONTEXT,
    DIGEST,
    DIGEST_OF_CAUSES,
    DIGEST_REPEATED,
    DIGEST_RESOLVED,
    DIGESTS,
    EASED,
    ESCALATED,
    GUIDANCE,
    HOSTILE,
    HOSTILES,
    LIFE,
    OPENED,
    OPENED_AT,
    OUTAGE,
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


def test_guidance_is_never_invented_beyond_automons_own_runbook() -> None:
    said = message(OPENED, Guidance())
    assert shown(said, Label.IMPACT) == []
    assert next_line(said) == (Code("automon runbook error_rate"),)


def next_line(said: Message) -> Text:
    (line,) = [line for line in said.lines if line.label is Label.NEXT]
    return line.text


@pytest.mark.parametrize("alert_type", words.ALERT_TYPES)
@pytest.mark.parametrize("base", ["https://wiki.acme.example/runbooks", "https://wiki.acme.example/runbooks/"])
def test_a_message_links_to_the_runbook_of_its_alert_type_where_they_are_published(base: str, alert_type: str) -> None:
    context = replace(CONTEXT, runbooks=base)
    said = compose(replace(OPENED, alert_type=alert_type, evidence={}), Guidance(), context)
    assert next_line(said) == (Link(f"https://wiki.acme.example/runbooks/{alert_type}", "runbook"),)


def test_a_runbook_of_the_guidance_goes_before_automons_own_and_a_next_step_does_not() -> None:
    context = replace(CONTEXT, runbooks="https://wiki.acme.example/runbooks")
    assert next_line(compose(OPENED, Guidance(runbook="page 3"), context)) == ("page 3",)
    assert next_line(message(OPENED, Guidance(next_step="Call Bo."))) == (
        "Call Bo.",
        " · ",
        Code("automon runbook error_rate"),
    )


def test_an_alert_type_of_a_later_version_has_no_runbook_here() -> None:
    said = message(replace(OPENED, alert_type="moon_phase"), Guidance())
    assert shown(said, Label.NEXT) == []


def test_news_about_automon_itself_that_are_no_open_alert_name_the_runbook_too() -> None:
    context = replace(CONTEXT, runbooks="https://wiki.acme.example/runbooks")
    page = Link("https://wiki.acme.example/runbooks/automon_blind", "runbook")
    assert next_line(compose_outage(OUTAGE, context))[-1] == page
    assert compose(BLIND, Guidance(), context).lines[-1].text[-1] == page
    assert page not in compose(RESOLVED, Guidance(), context).lines[-1].text


def test_an_address_in_the_guidance_is_a_link_and_its_full_stop_is_not() -> None:
    said = message(OPENED, Guidance(next_step="Look at https://wiki.acme.example/a. Then restart."))
    assert next_line(said)[:3] == ("Look at ", Link("https://wiki.acme.example/a"), ". Then restart.")


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
        ("opened", "automon on ops-1 · opened 14:02 CET · reminds hourly until acknowledged · delivery 907"),
        (
            "escalated",
            "automon on ops-1 · opened 14:02 · escalated 14:12 CET · reminds hourly until acknowledged · delivery 907",
        ),
        ("acknowledged", "automon on ops-1 · opened 14:02 · acknowledged 14:35 CET · delivery 907"),
        ("eased", "automon on ops-1 · opened 14:02 · eased 14:42 CET · delivery 907"),
        ("resolved", "automon on ops-1 · opened 14:02 · resolved 14:53 CET · delivery 907"),
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
    assert expected in footer(compose(OPENED, GUIDANCE, context)).split(" · ")[1]


def test_no_label_is_wider_than_its_column() -> None:
    assert max(len(label) for label in Label) < 9


@pytest.mark.parametrize("name", HOSTILES)
def test_hostile_text_stays_one_harmless_short_line_each(name: str) -> None:
    said = HOSTILES[name]
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
    assert "delivery" not in footer(said)


def test_a_message_that_was_meant_for_another_channel_says_so_before_how_to_stop_it() -> None:
    said = message(replace(OPENED, instead_of="slack", uncertain=True))
    assert shown(said, Label.INSTEAD) == ["of slack, which could not deliver this"]
    assert [line.label for line in said.lines][-3:] == [Label.INSTEAD, Label.STOP, Label.REPEAT]
    assert [line.label for line in message(replace(RESOLVED, instead_of="slack")).lines][-1] is Label.LOOK
    assert shown(message(OPENED), Label.INSTEAD) == []


def test_automon_knows_a_next_step_about_itself() -> None:
    said = next_line(message(CHANNEL_FAILS, Guidance()))
    assert said == (Code("automon channels resume slack"), " · ", Code("automon runbook automon_channel"))


def test_what_the_config_says_to_do_goes_before_what_automon_knows() -> None:
    step = message(CHANNEL_FAILS, Guidance(next_step="Call Bo."))
    assert shown(step, Label.NEXT) == ["Call Bo. · automon runbook automon_channel"]
    runbook = message(CHANNEL_FAILS, Guidance(runbook="https://wiki.acme.example/slack"))
    assert shown(runbook, Label.NEXT) == ["automon channels resume slack · https://wiki.acme.example/slack"]


@pytest.mark.parametrize(
    ("alert_type", "command"),
    [
        pytest.param("error_rate", "rm -rf /", id="about a task"),
        pytest.param("automon_channel", "automon channels resume a\u202eb", id="cannot be shown as it is"),
        pytest.param("automon_channel", "automon channels resume " + "x" * 200, id="too long"),
        pytest.param("automon_channel", ["automon"], id="no text"),
    ],
)
def test_no_other_command_becomes_a_next_step(alert_type: str, command: object) -> None:
    said = message(replace(CHANNEL_FAILS, alert_type=alert_type, evidence={"next": command}), Guidance())
    assert shown(said, Label.NEXT) == [f"automon runbook {alert_type}"]


def test_the_end_of_blindness_says_how_long_what_is_unknown_and_what_comes_late() -> None:
    said = message(replace(BLIND, also_open=()), Guidance())
    assert headline(said) == "✓ RESOLVED automon: was blind for 3 h 30 min: no service ran"
    assert plain_lines(said) == [
        "Open     3 h 30 min, 14:02 → 17:32",
        "Seen     about 420 reports of 7 sources are unknown",
        "Left     what is recorded late is judged late",
        "Look     automon explain 44 · automon runbook automon_blind",
    ]


def digest(of: Digest = DIGEST) -> Message:
    return compose_digest(of, CONTEXT)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digest", "✗ CRITICAL 812 alerts opened: ConnectionError smtp.acme.example:587 refused"),
        (
            "digest-causes",
            "✗ CRITICAL 10,000 alerts changed: 14 causes, most of all ConnectionError smtp.acme.example:587 refused",
        ),
        ("digest-resolved", "✓ RESOLVED 812 alerts: ConnectionError smtp.acme.example:587 refused"),
        (
            "digest-repeated",
            "✗ CRITICAL 500 alerts opened, 200 resolved: 2 causes, most of all ConnectionError smtp.acme.example:587 refused",
        ),
    ],
)
def test_the_headline_of_a_digest_is_the_whole_story(name: str, expected: str) -> None:
    assert headline(digest(DIGESTS[name])) == expected


@pytest.mark.parametrize(
    ("kinds", "severities", "start"),
    [
        pytest.param({TransitionKind.OPENED: 1}, {Severity.LOW: 1}, "▲ LOW 1 alert opened: ", id="one"),
        pytest.param({TransitionKind.EASED: 3}, {Severity.MEDIUM: 3}, "▲ MEDIUM 3 alerts eased: ", id="eased"),
        pytest.param({TransitionKind.REMINDED: 3}, {Severity.CRITICAL: 3}, "✗ CRITICAL 3 alerts still open: ", id="on"),
        pytest.param({TransitionKind.ACKNOWLEDGED: 3}, {Severity.CRITICAL: 3}, "◐ ACKNOWLEDGED 3 alerts: ", id="taken"),
        pytest.param(
            {TransitionKind.RESOLVED: 2, TransitionKind.ACKNOWLEDGED: 3},
            {Severity.CRITICAL: 3},
            "◐ ACKNOWLEDGED 3 alerts, 2 resolved: ",
            id="taken or over",
        ),
        pytest.param(
            {TransitionKind.RESOLVED: 2_000, TransitionKind.OPENED: 0}, {}, "✓ RESOLVED 2,000 alerts: ", id="over"
        ),
        pytest.param({}, {}, "✓ RESOLVED 812 alerts changed: ", id="nothing known"),
    ],
)
def test_the_state_of_a_digest_is_that_of_what_is_not_over(
    kinds: dict[TransitionKind, int], severities: dict[Severity, int], start: str
) -> None:
    assert headline(digest(replace(DIGEST, kinds=kinds, severities=severities))).startswith(start)


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        pytest.param([], "worst at invoice-sync: 46 % of tasks fail (limit 5 %)", id="none known"),
        pytest.param([("", 812)], "worst at invoice-sync: 46 % of tasks fail (limit 5 %)", id="one without words"),
        pytest.param(
            [("a", 406), ("b", 406)], "2 causes, worst at invoice-sync: 46 % of tasks fail (limit 5 %)", id="equal"
        ),
        pytest.param([("a", 500), ("b", 312)], "2 causes, most of all a", id="one ahead"),
    ],
)
def test_a_digest_names_the_cause_that_stands_out_or_else_the_worst_alert(
    causes: list[tuple[str, int]], expected: str
) -> None:
    found = tuple(DigestCause(words=said, count=count) for said, count in causes)
    assert digest(replace(DIGEST, causes=found)).headline == f"CRITICAL 812 alerts opened: {expected}"


def test_a_digest_lists_the_worst_alerts_and_counts_the_rest() -> None:
    assert shown(digest(DIGEST_OF_CAUSES), Label.ALERTS) == [
        "#41 CRITICAL invoice-sync: 46 % of tasks fail (limit 5 %), 4 min",
        "#40 ESCALATED to CRITICAL mail: 2,610 waiting (limit 1,000), 39 min",
        "#43 HIGH receipts: 81 errors in the last hour (limit 75)",
        "#38 STILL OPEN, MEDIUM ops-2 /var: disk is 91 % full (limit 90 %), 3 h",
        "+9,996 more",
    ]


def test_a_digest_that_names_every_alert_counts_no_rest() -> None:
    assert len(shown(digest(replace(DIGEST, alerts=3)), Label.ALERTS)) == 3


def test_a_resolved_alert_in_a_digest_says_since_when_it_was_open_and_not_for_how_long() -> None:
    first = shown(digest(DIGEST_RESOLVED), Label.ALERTS)[0]
    assert first == "#41 RESOLVED invoice-sync: 2 % of tasks fail (limit 5 %), opened 13:30"


def test_a_digest_counts_kinds_severities_and_causes() -> None:
    said = digest(DIGEST_OF_CAUSES)
    assert shown(said, Label.SEEN) == ["9,500 opened, 400 escalated, 100 still open"]
    assert shown(said, Label.OPEN) == ["1,200 CRITICAL, 300 HIGH, 8,500 LOW"]
    assert shown(said, Label.CAUSE) == [
        "6,402 alerts: ConnectionError smtp.acme.example:587 refused",
        "2,811 alerts: host ops-2",
        "640 alerts: queue silence",
        "+11 more causes",
    ]


def test_the_only_cause_is_told_below_where_the_headline_has_no_room_for_it() -> None:
    assert shown(digest(), Label.CAUSE) == []
    cause = "ConnectionError " + "very " * 25 + "long"
    said = digest(replace(DIGEST, causes=(DigestCause(words=cause, count=812),)))
    assert shown(said, Label.CAUSE) == [f"812 alerts: {cause}"]


def test_a_cause_without_words_is_said_to_be_unknown() -> None:
    said = digest(replace(DIGEST, causes=(DigestCause(words="\x00", count=812),)))
    assert shown(said, Label.CAUSE) == ["812 alerts: cause unknown"]
    assert said.identity == "812 alerts (digest 907)"


def test_a_digest_says_how_to_see_all_of_it_and_how_to_stop_it() -> None:
    assert shown(digest(), Label.STOP) == ["automon alerts · automon deliveries --digest 907 · automon silence '*' 2h"]
    assert shown(digest(DIGEST_RESOLVED), Label.STOP) == []
    assert shown(digest(DIGEST_RESOLVED), Label.LOOK) == ["automon alerts · automon deliveries --digest 915"]


def test_a_repeated_digest_says_for_whom_it_was_and_that_it_may_be_a_repeat() -> None:
    said = digest(DIGEST_REPEATED)
    assert [line.label for line in said.lines][-3:] == [Label.INSTEAD, Label.STOP, Label.REPEAT]
    assert shown(said, Label.INSTEAD) == ["of slack, which could not deliver this"]
    assert shown(said, Label.REPEAT) == ["an earlier try may have arrived already (delivery 907)"]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        pytest.param(DIGEST, "automon on ops-1 · 13:58 → 14:02 CET · delivery 907", id="a while"),
        pytest.param(replace(DIGEST, first_at=OPENED_AT), "automon on ops-1 · 14:02 CET · delivery 907", id="at once"),
        pytest.param(
            replace(DIGEST, first_at=OPENED_AT - timedelta(hours=20)),
            "automon on ops-1 · 22 Nov 18:02 → 14:02 CET · delivery 907",
            id="since yesterday",
        ),
        pytest.param(
            DIGEST_REPEATED, "automon on ops-1 · 1,450 changes 13:58 → 14:02 CET · delivery 907", id="several changes"
        ),
    ],
)
def test_the_footer_of_a_digest_says_from_when_to_when(of: Digest, expected: str) -> None:
    assert footer(digest(of)) == expected


def test_a_canary_says_that_nothing_is_wrong_and_who_asked() -> None:
    said = compose_canary(replace(CANARY, uncertain=True), CONTEXT)
    assert headline(said) == "✓ TEST automon: canary, nothing is wrong"
    assert shown(said, Label.WHO) == ["asked for by ana 14:02"]
    assert shown(said, Label.REPEAT) == ["an earlier try may have arrived already (delivery 908)"]
    assert footer(said) == "automon on ops-1 · 14:02 CET · delivery 908"


def test_an_outage_says_why_what_it_means_and_that_it_ends_by_itself() -> None:
    said = compose_outage(OUTAGE, CONTEXT)
    assert headline(said) == "✗ CRITICAL automon: the database has not answered for 2 min: Connection refused"
    assert plain_body(said).split("\n") == [
        "Impact   nothing is checked, and no alert can be raised or delivered until it is back",
        'Seen     connection failed: connection to server at "10.0.0.5", port 5432 failed: Connection refused',
        f"Next     {words.OUTAGE_NEXT} · automon runbook automon_blind",
        "",
        "automon on ops-1 · since 14:00 CET",
    ]


@pytest.mark.parametrize(
    ("reason", "end"), [("timed out", "for 2 min: timed out"), ("", "for 2 min"), ("\x00", "for 2 min")]
)
def test_a_reason_that_the_headline_has_said_is_not_said_again(reason: str, end: str) -> None:
    said = compose_outage(replace(OUTAGE, reason=reason), CONTEXT)
    assert said.headline.endswith(end)
    assert shown(said, Label.SEEN) == []


counts = st.integers(min_value=0, max_value=10_000)
entries = st.builds(
    DigestEntry,
    alert_id=counts,
    alert_type=st.text(max_size=60),
    source=st.text(max_size=200),
    kind=st.sampled_from(TransitionKind),
    severity=st.sampled_from(Severity),
    summary=st.text(max_size=400),
    opened_at=st.timedeltas(timedelta(days=-1), timedelta(days=1000)).map(lambda age: OPENED_AT - age),
)
digests = st.builds(
    Digest,
    delivery_id=st.integers(min_value=1, max_value=10**12),
    attempt=st.just(1),
    uncertain=st.booleans(),
    at=st.just(OPENED_AT),
    first_at=st.just(OPENED_AT - timedelta(minutes=4)),
    alerts=counts,
    transitions=counts,
    kinds=st.dictionaries(st.sampled_from(TransitionKind), counts),
    severities=st.dictionaries(st.sampled_from(Severity), counts),
    entries=st.lists(entries, max_size=12).map(tuple),
    causes=st.lists(st.builds(DigestCause, words=st.text(max_size=300), count=counts), max_size=6).map(tuple),
    more_causes=counts,
    instead_of=st.text(max_size=80),
)


@given(digests)
def test_a_digest_of_anything_is_short_and_ends_with_a_command(of: Digest) -> None:
    said = digest(of)
    assert len(said.headline) <= 110
    assert said.headline.startswith(said.state)
    assert said.identity.endswith(f"(digest {of.delivery_id})")
    assert f"automon deliveries --digest {of.delivery_id}" in plain_body(said)
    assert len(said.lines) <= 20
    assert not [one for one in "".join(plain_lines(said)) if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")]
    assert len(slack.body(said)) <= 2800
    assert "*Stop*" in slack.body(said) or "*Look*" in slack.body(said)
