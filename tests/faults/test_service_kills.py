"""A service that is killed in the middle of a message: the next one repeats it and says that it may be a repeat."""

from __future__ import annotations

from tests.faults.conftest import StartService
from tests.support.service import Look, channels_of
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp


def end_lease(look: Look) -> None:
    """Let the two minutes pass that a sender may take."""
    look.ask("UPDATE public.alert_deliveries SET lease_until = clock_timestamp() WHERE status = 'sending'")


def test_a_message_whose_sender_was_killed_is_repeated_after_its_lease_and_says_so(
    slack: FakeSlack, smtp: FakeSmtp, look: Look, start_service: StartService
) -> None:
    slack.script(Answer.slow(seconds=60))
    first = start_service(None, channels_of(slack, smtp))
    first.wait_until_ready()
    look.raise_alert()
    smtp.wait_for(1)
    slack.wait_for(1)
    look.wait_for("SELECT status = 'sent' FROM public.alert_deliveries WHERE channel = 'email'")

    first.kill()
    assert look.one("SELECT status FROM public.alert_deliveries WHERE channel = 'slack'") == "sending"
    second = start_service(None, channels_of(slack, smtp))
    second.wait_until_ready()
    assert len(slack.posts) == 1
    end_lease(look)

    _, repeated = slack.wait_for(2, deadline=20)
    assert "an earlier try may have arrived already" in repeated.text
    look.wait_for(
        "SELECT status = 'sent' AND uncertain AND attempts = 2 FROM public.alert_deliveries WHERE channel = 'slack'"
    )
    assert len(smtp.mails) == 1


def test_nothing_of_what_waits_is_lost_or_told_twice_when_the_service_is_killed(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    queues = [f"queue-{number}" for number in range(4)]
    slack.script(Answer(), Answer.slow(seconds=60))
    first = start_service(None, channels_of(slack))
    first.wait_until_ready()
    for queue in queues:
        look.raise_alert(queue=queue)
    slack.wait_for(2)

    first.kill()
    look.wait_for("SELECT count(*) = 4 FROM public.alert_deliveries")
    start_service(None, channels_of(slack)).wait_until_ready()
    end_lease(look)

    look.wait_for("SELECT count(*) = 4 FROM public.alert_deliveries WHERE status = 'sent'", seconds=30)
    told = [queue for queue in queues for post in slack.posts if f" {queue}:" in post.preview]
    assert len(slack.posts) == 5
    assert set(told) == set(queues)
    assert sum("may have arrived already" in post.text for post in slack.posts) == 1


def test_a_run_that_was_killed_can_be_seen_as_started_and_never_finished(
    look: Look, database_url: str, start_service: StartService
) -> None:
    first = start_service()
    first.wait_until_ready()
    look.wait_for("SELECT count(*) > 0 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'")
    with look.connection.transaction():
        # A check waits for whoever is changing alerts.
        look.ask("SELECT pg_advisory_xact_lock(hashtextextended('automon alerts', 0))")
        look.wait_for("SELECT count(*) = 1 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'running'")
        first.kill()

    running = look.ask(
        "SELECT instance, finished_at FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'running'"
    )
    assert [(row["finished_at"], row["instance"].rpartition(":")[2]) for row in running] == [(None, str(first.pid))]
