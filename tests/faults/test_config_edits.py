"""The config file edited while the database is away: what was judged is told when it is back."""

from __future__ import annotations

from tests.faults.conftest import StartService
from tests.support.proxy import TcpProxy
from tests.support.service import Look, channels_of, make_config, write_config
from tests.support.slack import FakeSlack

LOWER = {"queue_backlog": {"low": 5, "medium": 100, "high": 200, "critical": 500}}
OUTCOMES = "SELECT array_agg(outcome ORDER BY id) = %s FROM public.config_changes"


def test_edits_while_the_database_is_away_are_kept_and_told_when_it_is_back(
    look: Look, line: TcpProxy, url_over_line: str, slack: FakeSlack, start_service: StartService
) -> None:
    service = start_service(None, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    service.wait_until_ready()
    look.wait_for(OUTCOMES, ["accepted"])
    line.refuse()
    service.wait_for_event("database_unavailable", level="error")

    write_config(service.folder, make_config(alert_thresholds=LOWER))
    service.wait_for_event("config_accepted", noticed_by="watch", seconds=10)
    write_config(service.folder, "{ this is no JSON")
    rejected = service.wait_for_event("config_rejected", seconds=10)
    assert look.one("SELECT count(*) FROM public.config_changes") == 1
    line.allow()

    look.wait_for(OUTCOMES, ["accepted", "accepted", "rejected"])
    [post] = slack.wait_for(1)
    assert "config rejected, line 1" in post.preview
    assert rejected["problem"].startswith("monitoring_config.json:1:3: ")
    assert (
        look.one("SELECT low FROM public.monitoring_thresholds WHERE alert_type = 'queue_backlog' AND source = '*'")
        == 5
    )
    judged = look.one("SELECT at FROM public.config_changes WHERE outcome = 'rejected'")
    assert look.one("SELECT %s < opened_at FROM public.alerts WHERE alert_type = 'automon_config'", judged)


def test_an_edit_that_was_wrong_and_mended_while_the_database_was_away_is_no_news(
    look: Look, line: TcpProxy, url_over_line: str, slack: FakeSlack, start_service: StartService
) -> None:
    service = start_service(None, {"DATABASE_URL": url_over_line, **channels_of(slack)})
    service.wait_until_ready()
    look.wait_for(OUTCOMES, ["accepted"])
    line.refuse()
    service.wait_for_event("database_unavailable", level="error")

    write_config(service.folder, make_config(alert_threshold=LOWER))
    service.wait_for_event("config_rejected", seconds=10)
    write_config(service.folder, make_config())
    service.wait_for_event("config_accepted", seconds=10)
    line.allow()

    look.wait_for(OUTCOMES, ["accepted", "rejected", "accepted"])
    assert look.one("SELECT count(*) FROM public.alerts WHERE alert_type = 'automon_config'") == 0
    assert slack.posts == []
