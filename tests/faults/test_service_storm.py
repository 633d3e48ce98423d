"""Thousands of alerts at a time: a few messages to each channel, and every one of the alerts is accounted for."""

from __future__ import annotations

import psutil

from tests.faults.conftest import StartService
from tests.support.service import Look, channels_of, make_config
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

AS_SHIPPED = make_config(alerts={"messages_per_cause": 3, "messages_at_once": 5})
# A window of twenty seconds, in which nobody is told more than a few things, and what it takes to send the rest.
TOLD_WITHIN = 30
MOST_MEGABYTES = 120
# Of a type that no check judges, so that nothing resolves them meanwhile.
OPEN = """
SELECT public.apply_findings(ARRAY[%(type)s], ARRAY(
    SELECT (ROW(%(type)s, %(source)s || n, %(severity)s, 250, 200, 'tasks', '250 waiting (limit 200)', '{"measured": "250 waiting"}'::jsonb))::public.monitoring_finding
    FROM generate_series(1, %(until)s) AS n), clock_timestamp())
"""
UNTOLD = """
SELECT count(*) FROM public.alert_transitions t CROSS JOIN (VALUES ('slack'), ('email')) AS c (channel)
WHERE NOT EXISTS (
    SELECT FROM public.alert_deliveries d JOIN public.v_deliveries v ON v.id = d.id
    WHERE d.transition_id = t.id AND d.channel = c.channel AND v.status = 'sent' AND v.attempts = 1 AND NOT v.may_be_repeat)
"""
UNDER_WAY = "SELECT count(*) FROM public.alert_deliveries WHERE status IN ('pending', 'sending')"


def open_alerts(look: Look, until: int, *, kind: str = "storm", severity: str = "high") -> None:
    """Open the first so many alerts of a kind, as far as they are not open."""
    values = {"type": f"{kind}_of_test", "source": f"{kind}-", "severity": severity, "until": until}
    look.connection.execute(OPEN, values)


def assert_all_was_told_in_few_messages(look: Look, slack: FakeSlack, smtp: FakeSmtp, *, most: int) -> None:
    look.wait_for(f"SELECT ({UNDER_WAY}) = 0", seconds=TOLD_WITHIN)
    assert look.one(UNTOLD) == 0
    assert 1 <= len(slack.posts) <= most
    assert 1 <= len(smtp.mails) <= most
    assert [problem for post in slack.posts for problem in post.problems] == []


def first_alert_of(text: str) -> str:
    """Answer the first of the alerts that a digest names."""
    return next((line for line in text.splitlines() if "#" in line), "")


def is_seen_first(headline: str, text: str, words: str) -> bool:
    """Say whether a message is about that by itself, or names it first."""
    return words in headline or words in first_alert_of(text)


def test_ten_thousand_alerts_at_once_are_a_few_messages_and_hide_no_critical_one(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    service = start_service(AS_SHIPPED, channels_of(slack, smtp))
    service.wait_until_ready()

    with look.connection.transaction():
        open_alerts(look, 10_000)
        open_alerts(look, 1, kind="payments", severity="critical")

    assert_all_was_told_in_few_messages(look, slack, smtp, most=3)
    assert any(is_seen_first(post.preview, post.text, "CRITICAL payments-1") for post in slack.posts)
    assert any(is_seen_first(mail.text.splitlines()[0], mail.text, "CRITICAL payments-1") for mail in smtp.mails)
    assert any("10,000 alerts opened: storm of test" in post.preview for post in slack.posts)
    assert any("10,000 alerts opened: storm of test" in mail.text for mail in smtp.mails)
    assert (
        look.one(
            "SELECT count(*) FROM public.v_deliveries WHERE channel = 'slack' AND status = 'sent' AND subject = 'transition'"
        )
        == 10_001
    )
    assert psutil.Process(service.pid).memory_info().rss < MOST_MEGABYTES * 1e6


def test_two_thousand_alerts_within_seconds_are_a_few_messages(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    service = start_service(AS_SHIPPED, channels_of(slack, smtp))
    service.wait_until_ready()
    # A shorter wait than is shipped, to be waited for here.
    look("set_setting", "delivery.window_seconds", 8)

    for tenth in range(1, 11):
        passed = look.one("SELECT clock_timestamp() + interval '0.4 seconds'")
        open_alerts(look, 200 * tenth)
        look.wait_for("SELECT clock_timestamp() >= %s", passed)

    # Three of the cause, and what came after them as one.
    assert_all_was_told_in_few_messages(look, slack, smtp, most=4)
    assert psutil.Process(service.pid).memory_info().rss < MOST_MEGABYTES * 1e6
