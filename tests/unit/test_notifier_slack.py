from __future__ import annotations

import re
from dataclasses import replace

import pytest

from automon.errors import AutomonError
from automon.models import Guidance
from notifiers import slack
from notifiers.message import Message
from notifiers.slack import SlackChannel, defused, is_webhook
from tests.support.notifications import GUIDANCE, HOSTILE, HOSTILES, MESSAGES, OPENED, message
from tests.support.slack import WEBHOOK

DATE_TOKEN = r"<!date\^\d+\^\{date_short_pretty\} \{time\}\|[^<>|]+>"
LINK = r"<https://wiki\.acme\.example/[^<>|]*\|runbook>"


def unfolded(said_title: str, said_body: str) -> str:
    """What Slack shows before "Show more": up to five line breaks, with times and links as the reader sees them."""
    text = "\n".join([said_title, *said_body.split("\n")[:5]])
    return re.sub(LINK, "runbook", re.sub(DATE_TOKEN, "today at 14:02", text))


def as_read(visible: str) -> str:
    for written, read in (("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("\u200b", "")):
        visible = visible.replace(written, read)
    return visible


@pytest.mark.parametrize("name", MESSAGES)
def test_the_headline_and_five_lines_stand_alone(name: str) -> None:
    said = MESSAGES[name]
    assert len(unfolded(slack.title(said), slack.body(said))) <= 700


def test_the_next_step_is_not_folded_away_below_three_causes() -> None:
    said = message(OPENED)
    shown = unfolded(slack.title(said), slack.body(said))
    for label in ("*Impact*", "*Seen*", "*Trend*", "*Cause?*", "*Next*"):
        assert label in shown
    assert slack.body(said).count("*Cause?*") == 3


def test_the_first_lines_of_a_talkative_task_stay_short() -> None:
    said = message(HOSTILE, replace(GUIDANCE, impact="Customers wait. " * 20, next_step="Restart it. " * 30))
    visible = as_read(unfolded(slack.title(said), slack.body(said)))
    assert len(visible) <= 700
    assert "runbook" in visible


def test_a_digest_says_before_the_fold_how_bad_it_is_why_and_how_to_stop_it() -> None:
    said = MESSAGES["digest-repeated"]
    shown = unfolded(slack.title(said), slack.body(said))
    for label in ("*Open*", "*Alerts*", "*Cause?*", "*Instead*", "*Stop*"):
        assert label in shown


def test_the_first_lines_of_a_digest_of_talkative_tasks_stay_short() -> None:
    said = HOSTILES["digest"]
    assert len(as_read(unfolded(slack.title(said), slack.body(said)))) <= 700
    assert 0 < len(slack.body(said)) <= 2800


@pytest.mark.parametrize("name", HOSTILES)
def test_text_from_tasks_keeps_no_power(name: str) -> None:
    said = HOSTILES[name]
    text = "\n".join([slack.title(said), slack.body(said), slack.foot(said)])
    ours = re.sub(DATE_TOKEN, "", re.sub(LINK, "", text))
    assert "<" not in ours
    assert ">" not in ours
    assert "://" not in ours
    assert not re.search(r"@\w", ours)


def test_a_body_of_any_length_fits_into_a_section_with_its_markup_whole() -> None:
    said = message(replace(HOSTILE, source="&" * 5000, summary="&" * 5000), Guidance(impact="<" * 400))
    assert len(slack.title(said)) < 3000
    assert 0 < len(slack.body(said)) <= 2800
    for line in slack.body(said).split("\n"):
        assert re.match(r"\*[A-Z][a-z]+\?? *\*", line)
        assert re.fullmatch(r"[^&]*((&amp;|&lt;|&gt;)[^&]*)*", line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a & b < c > d", "a &amp; b &lt; c &gt; d", id="control characters"),
        pytest.param("<!channel>", "&lt;!channel&gt;", id="a mention of everybody"),
        pytest.param("@here", "@\u200bhere", id="a bare mention"),
        pytest.param("https://x.example", "https:\u200b//x.example", id="a bare address"),
        pytest.param("*b* ~s~ `c`", "\u2217b\u2217 \u223cs\u223c \u02cbc\u02cb", id="markup"),
        pytest.param("_it_ and __init__", "\u02cdit\u02cd and \u02cd\u02cdinit\u02cd\u02cd", id="underscores around"),
        pytest.param("document_processing", "document_processing", id="an underscore within a name"),
        pytest.param(":fire: at 12:30:45", ":\u200bfire: at 12:\u200b30:45", id="an emoji's name"),
    ],
)
def test_it_defuses_what_slack_would_act_on(text: str, expected: str) -> None:
    assert defused(text) == expected


def test_a_time_is_a_token_for_the_readers_own_zone() -> None:
    assert slack.foot(message(OPENED)) == (
        "automon on ops-1 · opened <!date^1795438920^{date_short_pretty} {time}|14:02 CET>"
        " · reminds hourly until acknowledged · delivery 907"
    )


def test_a_link_keeps_to_its_brackets() -> None:
    said = message(OPENED, Guidance(runbook="https://wiki.acme.example/a|b?x=1&y=2"))
    assert "*Next* <https://wiki.acme.example/a%7Cb?x=1&amp;y=2|runbook>" in slack.body(said).split("\n")


@pytest.mark.parametrize("said", [message(HOSTILE, Guidance()), HOSTILES["digest"]], ids=list(HOSTILES))
def test_the_legacy_form_has_no_markup_and_no_powers(said: Message) -> None:
    text = slack.legacy_body(said)
    assert "://" not in text
    assert not re.search(r"@\w", text)
    assert "<!date" not in text
    assert "evil.\u200bexample" in text


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (WEBHOOK, True),
        (f"{WEBHOOK}/", True),
        ("https://hooks.slack-gov.com/services/T1/B1/abc", True),
        ("http://hooks.slack.com/services/T1/B1/abc", False),
        ("https://hooks.slack.com/services/T1/B1", False),
        ("https://hooks.slack.com/triggers/T1/B1/abc", False),
        ("https://hooks.slack.com.evil.example/services/T1/B1/abc", False),
        ("xoxb-1234", False),
    ],
)
def test_it_knows_an_incoming_webhook(url: str, expected: bool) -> None:
    assert is_webhook(url) is expected


def test_an_address_that_is_no_webhook_is_refused_without_being_shown() -> None:
    with pytest.raises(AutomonError) as caught:
        SlackChannel("slack", "https://hooks.slack.com/s3cret")
    assert "channel slack" in str(caught.value)
    assert "Incoming Webhooks" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_channel_does_not_show_its_webhook() -> None:
    channel = SlackChannel("slack", WEBHOOK)
    assert WEBHOOK.rpartition("/")[2] not in f"{channel!r} {channel.name} {channel.recipients}"
