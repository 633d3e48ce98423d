"""From a fact to a message and back: the real process, Slack behind its proxy, a mail server that wants a login."""

from __future__ import annotations

import time
from collections.abc import Callable

from monitoring_client import MonitoringClient
from tests.support.psql import psql
from tests.support.service import Look, ServiceProcess, channels_of, make_config
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

StartService = Callable[..., ServiceProcess]
ONLY_ONCE = {"schedule": {"alert_checks_seconds": 86400}}


def test_facts_become_messages_in_slack_and_in_mail(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    config = make_config(
        guidance={"error_rates": {"next": "restart the relay", "sources": {"invoice-sync": {"impact": "no invoices"}}}}
    )
    service = start_service(config, channels_of(slack, smtp))
    service.wait_until_ready()

    look.ask(
        # At one moment, lest a look with a moment between two of them counts the first alone.
        "SELECT public.record_error('job-' || n, 'smtp_error', 'high', 'connection refused by <!channel> mail', 'invoice-sync', p_at => now())"
        " FROM generate_series(1, 112) AS n"
    )

    [post] = slack.wait_for(1)
    [mail] = smtp.wait_for(1)
    story = "CRITICAL invoice-sync: 112 errors in the last hour (limit 100)"
    assert story in post.preview
    assert post.problems == ()
    assert "hooks.slack.com:443" in slack.connects
    for words in ("no invoices", "restart the relay", "112x smtp_error", "automon ack 1"):
        assert words in post.text
        assert words in mail.text
        assert words in mail.html
    assert "<!channel>" not in post.text
    assert mail.text.splitlines()[0].endswith(story)
    assert mail.message["Subject"] == "[CRITICAL] invoice-sync: error rate (#1)"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["References"] == mail.message["In-Reply-To"]
    assert mail.recipients == ("oncall@acme.example",)
    assert service.stop() == 0


def test_a_recovery_is_told_on_the_thread_of_its_alert(
    slack: FakeSlack, smtp: FakeSmtp, database_url: str, start_service: StartService
) -> None:
    start_service(make_config(), channels_of(slack, smtp)).wait_until_ready()
    with MonitoringClient(database_url, raise_errors=True) as monitor:
        monitor.queue("mail").report(pending=640, oldest_pending_seconds=90)
        smtp.wait_for(1)
        monitor.queue("mail").report(pending=3)
        opened_mail, resolved_mail = smtp.wait_for(2)
    opened, resolved = slack.wait_for(2)

    assert "CRITICAL mail: 640 waiting (limit 500)" in opened.preview
    assert "RESOLVED mail: 3 waiting" in resolved.preview
    assert "640 waiting" in resolved.text
    assert "3 tasks still wait" in resolved.text
    assert opened_mail.message["References"] == resolved_mail.message["References"]
    assert opened_mail.message["Message-ID"] != resolved_mail.message["Message-ID"]
    assert resolved_mail.message["Subject"] == "[RESOLVED] mail: queue backlog (#1)"


def test_work_reported_through_the_client_alone_is_judged(
    slack: FakeSlack, smtp: FakeSmtp, database_url: str, start_service: StartService
) -> None:
    start_service(make_config(), channels_of(slack, smtp)).wait_until_ready()

    with MonitoringClient(database_url, worker_id="worker-7", raise_errors=True) as monitor:
        monitor.update_system_health("api", "payments", "unhealthy", failure_reason="certificate expired")
        for _ in range(8):
            monitor.complete_task(monitor.start_task("ocr", 1024), "failed", error_message="disk full")

    previews = "\n".join(post.preview for post in slack.wait_for(2))
    assert "CRITICAL ocr: 100 % of tasks fail (limit 75 %)" in previews
    assert "CRITICAL api/payments: is unhealthy: certificate expired" in previews
    about_ocr = next(post for post in slack.posts if " ocr:" in post.preview)
    assert "8x failed: disk full" in about_ocr.text
    assert "worker-7" in about_ocr.text


def test_every_recipient_gets_a_mail_of_their_own(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    start_service(make_config(), channels_of(slack, smtp, to="ana@acme.example,ben@acme.example")).wait_until_ready()

    look("update_queue_metrics", "mail", 70)

    mails = smtp.wait_for(2)
    assert sorted(mail.recipients for mail in mails) == [("ana@acme.example",), ("ben@acme.example",)]
    assert sorted(str(mail.message["To"]) for mail in mails) == ["ana@acme.example", "ben@acme.example"]


def test_an_alert_that_somebody_raises_in_psql_arrives_at_once(
    slack: FakeSlack, smtp: FakeSmtp, database_url: str, look: Look, start_service: StartService
) -> None:
    service = start_service(make_config(**ONLY_ONCE), channels_of(slack, smtp))
    service.wait_until_ready()
    look.wait_for("SELECT count(*) = 1 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'")

    psql(database_url, "-c", "SELECT update_queue_metrics('mail', 250)")
    assert psql(database_url, "-Atc", "SELECT check_queue_backlog_alerts()").strip() == "1"
    raised_at = time.monotonic()

    [post] = slack.wait_for(1)
    [mail] = smtp.wait_for(1)
    # A sender that nobody wakes looks again after five seconds.
    assert post.arrived_at - raised_at < 3
    assert mail.arrived_at - raised_at < 3


def test_an_alert_that_was_raised_while_no_service_was_up_is_told_by_the_next(
    slack: FakeSlack, smtp: FakeSmtp, database_url: str, start_service: StartService
) -> None:
    psql(database_url, "-c", "SELECT update_queue_metrics('mail', 250)", "-c", "SELECT check_queue_backlog_alerts()")

    start_service(make_config(), channels_of(slack, smtp))

    [post] = slack.wait_for(1, deadline=30)
    assert "HIGH mail: 250 waiting (limit 200)" in post.preview
    smtp.wait_for(1)


def test_what_waits_in_the_outbox_of_a_stopped_service_is_sent_by_the_next(
    slack: FakeSlack, smtp: FakeSmtp, database_url: str, look: Look, start_service: StartService
) -> None:
    first = start_service(make_config(), channels_of(slack, smtp))
    first.wait_until_ready()
    assert first.stop() == 0
    look("update_queue_metrics", "mail", 250)
    assert look("check_queue_backlog_alerts") == 1
    assert look.one("SELECT count(*) FROM public.alert_deliveries WHERE status = 'pending'") == 2

    start_service(make_config(), channels_of(slack, smtp))

    slack.wait_for(1, deadline=30)
    smtp.wait_for(1)
    look.wait_for("SELECT count(*) = 2 FROM public.alert_deliveries WHERE status = 'sent'")
