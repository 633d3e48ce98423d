"""Channels that fail, each in its own way: what is tried again, what is given up, and who must not feel it."""

from __future__ import annotations

from pathlib import Path
from signal import SIGHUP

import pytest

from tests.faults.conftest import StartService
from tests.support.service import Look, channels_of, make_config
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp

STATUS = "SELECT status FROM public.alert_deliveries WHERE channel = %s"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer.broken(), id="a server error"),
        pytest.param(Answer.rate_limited(seconds=60), id="a rate limit"),
        pytest.param(Answer.no_service(), id="a webhook that is gone"),
    ],
)
def test_a_slack_that_fails_does_not_hold_up_mail(
    answer: Answer, slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    slack.script(*[answer] * 20)
    service = start_service(None, channels_of(slack, smtp))
    service.wait_until_ready()

    look.raise_alert()

    smtp.wait_for(1)
    slack.wait_for(1)
    look.wait_for("SELECT count(*) = 1 FROM public.delivery_attempts WHERE outcome = 'failed'")
    look.wait_for("SELECT status = 'sent' FROM public.alert_deliveries WHERE channel = 'email' ORDER BY id LIMIT 1")
    assert look.one(STATUS, "slack") == "pending"


def test_what_a_broken_slack_refused_is_tried_again_after_growing_pauses_until_it_is_taken(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.broken(), Answer.broken())
    service = start_service(None, channels_of(slack))
    service.wait_until_ready()

    look.raise_alert()
    look.wait_for("SELECT count(*) = 1 FROM public.delivery_attempts")
    look.wait_for("SELECT status = 'sent' FROM public.alert_deliveries")

    attempts = look.ask("SELECT attempt, outcome, reason, detail FROM public.delivery_attempts ORDER BY id")
    assert [(row["attempt"], row["outcome"], row["reason"]) for row in attempts] == [
        (1, "failed", "refused"),
        (2, "failed", "refused"),
        (3, "sent", None),
    ]
    assert attempts[0]["detail"] == "Slack answered 500 rollup_error"
    first, second, third = (post.arrived_at for post in slack.posts)
    assert 0.8 <= second - first < third - second
    assert [event["attempt"] for event in service.events_named("delivery_failed")] == [1, 2]
    service.wait_for_event("delivery_sent", attempt=3, channel="slack")


def test_a_rate_limit_is_respected(slack: FakeSlack, look: Look, start_service: StartService) -> None:
    slack.script(Answer.rate_limited(seconds=30))
    start_service(None, channels_of(slack)).wait_until_ready()

    look.raise_alert()

    look.wait_for("SELECT count(*) = 1 FROM public.delivery_attempts WHERE reason = 'rate_limited'")
    pause = look.one(
        "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::float8 FROM public.alert_deliveries"
    )
    assert 20 < pause <= 30


def test_a_webhook_that_is_gone_stops_its_channel_and_the_journal_says_what_it_could_not(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.no_service())
    service = start_service(None, channels_of(slack))
    service.wait_until_ready()

    look.raise_alert()

    told = service.wait_for_event("channel_stopped", level="error", channel="slack")
    assert (told["reason"], told["detail"]) == ("gone", "Slack answered 404 no_service")
    message = service.wait_for_event("alert_message", level="error", state="opened")
    assert message["headline"] == "HIGH mail: 250 waiting (limit 200)"
    assert "Instead  of slack" in message["text"]
    look.raise_alert(900)
    service.wait_for_event("alert_message", level="error", state="escalated")
    assert len(slack.posts) == 1
    waiting = "SELECT status, attempts FROM public.alert_deliveries WHERE channel = 'slack' ORDER BY id"
    assert look.ask(waiting) == [{"status": "pending", "attempts": 1}, {"status": "pending", "attempts": 0}]


def test_a_stopped_channel_is_told_of_on_the_others_and_says_what_it_missed_when_it_is_resumed(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.no_service())
    service = start_service(None, channels_of(slack, smtp))
    service.wait_until_ready()

    look.raise_alert()

    subjects = [str(mail.message["Subject"]) for mail in smtp.wait_for(2)]
    assert [subject.partition(" (#")[0] for subject in subjects] == [
        "[HIGH] mail: queue backlog",
        "[CRITICAL] slack: automon channel",
    ]
    assert "automon channels resume slack" in smtp.mails[1].text
    service.wait_for_event("channel_stopped", channel="slack")

    assert look("resume_channel", "slack") is True

    _, told_late = slack.wait_for(2)
    assert "HIGH mail: 250 waiting" in told_late.preview
    look.wait_for("SELECT status = 'sent' FROM public.alert_deliveries WHERE channel = 'slack' ORDER BY id LIMIT 1")
    smtp.wait_for(3)
    assert "[RESOLVED] slack: automon channel" in str(smtp.mails[2].message["Subject"])


def test_what_a_failing_channel_cannot_say_goes_down_the_chain_of_fallbacks_to_the_journal(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    slack.always(Answer.broken())
    soon = {"fallback_after_minutes": 0.02}
    channels = make_config()["channels"]
    chain = {
        "slack": {**channels["slack"], **soon, "fallback": "email"},
        "email": {**channels["email"], **soon, "min_severity": "critical"},
    }
    service = start_service(make_config(channels=chain), channels_of(slack, smtp))
    service.wait_until_ready()

    look.raise_alert()

    [mail] = smtp.wait_for(1)
    assert "[HIGH] mail: queue backlog" in str(mail.message["Subject"])
    assert "Instead of slack" in " ".join(mail.text.split())
    assert service.events_named("alert_message") == []

    smtp.answer_with("451 4.3.0 try again later")
    look.raise_alert(queue="exports")
    message = service.wait_for_event("alert_message", level="error", state="opened")
    assert message["headline"] == "HIGH exports: 250 waiting (limit 200)"


def test_a_channel_with_another_secret_is_taken_up_again_by_itself(
    smtp: FakeSmtp, look: Look, tmp_path: Path, start_service: StartService
) -> None:
    right = smtp.environment()["AUTOMON_EMAIL_URL"]
    secret = tmp_path / "email-url"
    secret.write_text(right.replace("pass-w0rd", "wr0ng-one"), encoding="utf-8")
    channels = {"email": {"type": "email", "url": f"$file:{secret}"}}
    service = start_service(make_config(channels=channels), smtp.environment())
    service.wait_until_ready()
    look.raise_alert()
    service.wait_for_event("channel_stopped", channel="email", reason="bad_credentials")

    secret.write_text(right, encoding="utf-8")
    service.send(SIGHUP)

    smtp.wait_for(1)
    look.wait_for("SELECT status = 'sent' FROM public.alert_deliveries WHERE channel = 'email' ORDER BY id LIMIT 1")


def test_a_mail_server_that_hangs_does_not_delay_slack(
    look: Look, slack: FakeSlack, start_service: StartService
) -> None:
    with FakeSmtp(silent_after_data=True) as hanging:
        service = start_service(None, channels_of(slack, hanging))
        service.wait_until_ready()

        look.raise_alert()
        hanging.wait_for(1)
        slack.wait_for(1)
        look.raise_alert(3)

        _, resolved = slack.wait_for(2)
        assert "RESOLVED" in resolved.preview
        assert look.ask("SELECT status FROM public.alert_deliveries WHERE channel = 'email' ORDER BY id") == [
            {"status": "sending"},
            {"status": "pending"},
        ]


def test_wrong_mail_credentials_stop_the_channel_without_the_password_in_any_word(
    smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    wrong = {
        **smtp.environment(),
        "AUTOMON_EMAIL_URL": smtp.environment()["AUTOMON_EMAIL_URL"].replace("pass-w0rd", "wr0ng-one"),
    }
    service = start_service(None, wrong)
    service.wait_until_ready()

    look.raise_alert()

    told = service.wait_for_event("channel_stopped", channel="email")
    assert told["reason"] == "bad_credentials"
    assert "wr0ng" not in str(look.ask("SELECT detail FROM public.delivery_attempts"))
    assert smtp.mails == []


def test_messages_of_one_alert_arrive_in_their_order_also_when_the_first_has_to_be_repeated(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.broken())
    start_service(make_config(), channels_of(slack)).wait_until_ready()

    look.raise_alert()
    slack.wait_for(1)
    look.raise_alert(3)

    refused, opened, resolved = slack.wait_for(3, deadline=20)
    assert "HIGH mail" in refused.preview
    assert "HIGH mail" in opened.preview
    assert "RESOLVED mail" in resolved.preview
