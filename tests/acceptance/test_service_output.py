"""What the service says where: messages and a banner for people, one JSON object a line for machines, a secret nowhere."""

from __future__ import annotations

import json
from datetime import datetime

from tests.acceptance.conftest import StartService
from tests.support.postgres import PostgresUnderTest
from tests.support.service import Look, channels_of, make_config, secrets_in
from tests.support.slack import Answer, FakeSlack
from tests.support.smtp import FakeSmtp

CONSOLE = {"AUTOMON_LOG_FORMAT": "console"}


def test_without_a_channel_people_read_the_messages_on_stdout(look: Look, start_service: StartService) -> None:
    service = start_service(None, CONSOLE)
    service.wait_for_output("is running")

    look("update_system_health", "api", "payments", "unhealthy", None, "certificate expired")
    service.wait_for_output("✗ CRITICAL api/payments: is unhealthy: certificate expired")
    look("update_system_health", "api", "payments", "healthy")
    told = service.wait_for_output("✓ RESOLVED api/payments: is healthy")

    assert "automon ack 1" in told
    assert "\x1b" not in told


def test_the_banner_says_where_everything_is(look: Look, slack: FakeSlack, start_service: StartService) -> None:
    config = make_config(schedule={"alert_checks_seconds": 300})
    service = start_service(config, {**CONSOLE, **channels_of(slack)})

    banner = service.wait_for_output("Ctrl-C")

    database = look.connection.info.dbname
    assert f"database  {database} at socket" in banner
    assert "config    monitoring_config.json" in banner
    assert "channels  slack: on, from severity low" in banner
    assert "email: off (AUTOMON_EMAIL_URL is not set)" in banner
    assert "checks    every 5 min, the first at once" in banner


def test_without_a_channel_and_without_a_reader_each_message_is_one_line_at_error_priority(
    look: Look, start_service: StartService
) -> None:
    service = start_service()
    service.wait_until_ready()

    look.raise_alert(640)
    told = service.wait_for_event("alert_message", level="error", state="opened")
    look.raise_alert(0)
    service.wait_for_event("alert_message", state="resolved")

    assert told["headline"] == "CRITICAL mail: 640 waiting (limit 500)"
    assert "automon ack 1" in told["text"]
    assert service.stop() == 0
    assert service.stdout == ""


def test_every_line_is_json_with_time_level_and_event_and_those_of_libraries_are_too(
    look: Look, slack: FakeSlack, smtp: FakeSmtp, start_service: StartService
) -> None:
    slack.script(Answer.no_service())
    service = start_service(None, channels_of(slack, smtp))
    service.wait_until_ready()
    look.raise_alert(640)
    service.wait_for_event("channel_stopped")
    look.ask("DROP TABLE public.host_metrics CASCADE")
    service.wait_for_event("job_failed", job="host_sampling")
    assert service.stop() == 0

    lines = [json.loads(line) for line in service.stderr.splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
        assert line["level"] in {"debug", "info", "warning", "error", "critical"}
        assert line["event"]
        assert line["logger"].split(".")[0] in {"automon", "apscheduler", "psycopg"}


def test_no_failure_tells_a_secret(
    look: Look, slack: FakeSlack, smtp: FakeSmtp, postgres_server: PostgresUnderTest, start_service: StartService
) -> None:
    slack.script(Answer.hang_up(), Answer(status=400, body="bad fakeWebhookToken00000000"), Answer.no_service())
    password = postgres_server.password_file.read_text(encoding="utf-8").strip()
    database = f"postgresql://automon:{password}@127.0.0.1:{postgres_server.address.port}/{look.connection.info.dbname}"
    environment = {"DATABASE_URL": database, **channels_of(slack, smtp)}
    # Nobody listens on port 9, and what the server calls itself is not what the CA signed.
    environment["AUTOMON_EMAIL_URL"] = environment["AUTOMON_EMAIL_URL"].replace(f":{smtp.port}?", ":9?")
    service = start_service(None, environment)
    service.wait_until_ready()

    for queue in ("one", "two"):
        look.raise_alert(640, queue)
    service.wait_for_event("delivery_failed", channel="email")
    service.wait_for_event("delivery_failed", channel="slack")
    look.wait_for("SELECT count(*) >= 3 FROM public.delivery_attempts")
    assert service.stop() == 0

    secrets = secrets_in(environment)
    assert len(secrets) == 4
    stored = str(look.ask("SELECT * FROM public.delivery_attempts")) + str(
        look.ask("SELECT * FROM public.alert_deliveries")
    )
    for secret in secrets:
        assert secret not in stored
        assert secret not in service.stdout + service.stderr
