"""SIGHUP: a right config is in force at once, a wrong one changes nothing and says all that is wrong."""

from __future__ import annotations

import re
from signal import SIGHUP

from tests.acceptance.conftest import StartService
from tests.support.service import Look, channels_of, make_config
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp

LOW_OF_BACKLOG = "SELECT low FROM public.monitoring_thresholds WHERE alert_type = 'queue_backlog' AND source = '*'"
LOWER = {"queue_backlog": {"low": 5, "medium": 100, "high": 200, "critical": 500}}


def test_new_thresholds_are_in_force_at_once_and_the_log_says_what_changed(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    service = start_service(None, channels_of(slack))
    service.wait_until_ready()
    look("update_queue_metrics", "mail", 12)
    look.wait_for("SELECT count(*) >= 2 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'")
    assert slack.posts == []

    service.reload(make_config(alert_thresholds=LOWER))

    accepted = service.wait_for_event("config_accepted")
    assert accepted["changes"] == ["alert_thresholds.queue_backlog.low: 50 -> 5 (line 4)"]
    look.wait_for(f"SELECT ({LOW_OF_BACKLOG}) = 5")
    [post] = slack.wait_for(1)
    assert "LOW mail: 12 waiting (limit 5)" in post.preview


def test_a_wrong_config_changes_nothing_and_each_of_its_mistakes_is_told(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    service = start_service(None, channels_of(slack))
    service.wait_until_ready()

    service.reload(
        make_config(alert_threshold=LOWER, schedule={"alert_checks_seconds": "often", "timezone": "Mars/Base"})
    )

    service.wait_for_event("config_rejected", count=3, level="error")
    problems = [event["problem"] for event in service.events_named("config_rejected")]
    assert len(problems) == 3
    assert all(problem.startswith("monitoring_config.json:") for problem in problems)
    assert "did you mean 'alert_thresholds'" in "\n".join(problems)
    assert look.one(LOW_OF_BACKLOG) == 50
    look.raise_alert(60)
    slack.wait_for(1)


def test_a_mended_config_is_taken_after_a_wrong_one(look: Look, start_service: StartService) -> None:
    service = start_service()
    service.wait_until_ready()
    service.reload("{ this is no JSON")
    service.wait_for_event("config_rejected")

    service.reload(make_config(alert_thresholds=LOWER))

    service.wait_for_event("config_accepted")
    look.wait_for(f"SELECT ({LOW_OF_BACKLOG}) = 5")


def test_a_channel_that_is_added_is_used_and_one_that_is_taken_away_is_not(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    both = make_config()["channels"]
    service = start_service(make_config(channels={"slack": both["slack"]}), channels_of(slack, smtp))
    service.wait_until_ready()
    look.raise_alert(60, "one")
    slack.wait_for(1)

    service.reload(make_config(channels={"email": both["email"]}))
    service.wait_for_event("service_ready", count=2)
    look.raise_alert(60, "two")

    [mail] = smtp.wait_for(1)
    assert "two" in mail.message["Subject"]
    assert len(slack.posts) == 1
    assert look.ask("SELECT name FROM public.notification_channels ORDER BY name") == [
        {"name": "email"},
        {"name": "journal"},
    ]
    [changes] = [event["changes"] for event in service.events_named("config_accepted")]
    assert [re.sub(r" \(line \d+\)", "", change) for change in sorted(changes)] == [
        "channels.email: not there -> email",
        "channels.slack: slack -> not there",
    ]


def test_a_message_that_is_being_sent_while_the_config_is_reloaded_is_sent_once(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.slow(seconds=1))
    service = start_service(None, channels_of(slack))
    service.wait_until_ready()
    look.raise_alert(60)
    slack.wait_for(1)

    service.reload(make_config(alert_thresholds=LOWER))

    service.wait_for_event("service_ready", count=2)
    look.wait_for("SELECT status = 'sent' AND attempts = 1 AND NOT uncertain FROM public.alert_deliveries")
    look.raise_alert(300)
    _, escalated = slack.wait_for(2)
    assert "ESCALATED to HIGH mail" in escalated.preview
    assert len(slack.posts) == 2


def test_a_new_schedule_is_kept_from_now_on(look: Look, start_service: StartService) -> None:
    service = start_service(make_config(schedule={"alert_checks_seconds": 86400, "host_sampling_seconds": 86400}))
    service.wait_until_ready()
    own = "job IN ('alert_checks', 'host_sampling')"
    look.wait_for(f"SELECT count(*) = 2 FROM public.job_runs WHERE outcome = 'succeeded' AND {own}")

    service.reload(make_config())

    service.wait_for_event("config_accepted")
    look.wait_for("SELECT count(*) >= 3 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'")
    look.wait_for("SELECT count(*) >= 3 FROM public.job_runs WHERE job = 'host_sampling' AND outcome = 'succeeded'")


def test_a_reload_of_the_same_file_changes_nothing(look: Look, start_service: StartService) -> None:
    service = start_service()
    service.wait_until_ready()
    before = look.ask("SELECT * FROM public.monitoring_thresholds ORDER BY alert_type, source")

    service.send(SIGHUP)

    assert service.wait_for_event("config_accepted")["changes"] == []
    service.wait_for_event("service_ready", count=2)
    assert look.ask("SELECT * FROM public.monitoring_thresholds ORDER BY alert_type, source") == before
