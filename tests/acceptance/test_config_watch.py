"""An edit of the config file takes effect by itself; a wrong one changes nothing and is told, once, everywhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from signal import SIGHUP
from typing import Any

import pytest

from tests.acceptance.conftest import StartService
from tests.support.service import CONFIG_NAME, Document, Look, ServiceProcess, channels_of, make_config, write_config
from tests.support.slack import FakeSlack

LOW_OF_BACKLOG = "SELECT low FROM public.monitoring_thresholds WHERE alert_type = 'queue_backlog' AND source = '*'"
LOWER = {"queue_backlog": {"low": 5, "medium": 100, "high": 200, "critical": 500}}
CHANGE = "alert_thresholds.queue_backlog.low: 50 -> 5 (line 4)"
WRONG = {"queue_backlog": {"low": 500, "medium": 100}}
JUDGED = "SELECT outcome, noticed_by, actor, changes, problems FROM public.config_changes ORDER BY id"


def text_of(config: Document) -> str:
    return json.dumps(config, indent=2)


def write_in_place(path: Path, text: str) -> None:
    """Write as nano does: the same file, emptied first."""
    with path.open("w", encoding="utf-8") as file:
        file.truncate(0)
        file.flush()
        os.fsync(file.fileno())
        file.write(text)


def write_by_rename(path: Path, text: str) -> None:
    """Write as vim does: the old file becomes a backup, the new one takes its name."""
    path.rename(path.with_name(f"{path.name}~"))
    path.write_text(text, encoding="utf-8")
    path.with_name(f"{path.name}~").unlink()


def write_over(path: Path, text: str) -> None:
    """Write as sed -i and configuration management do: a new file is moved over the old one."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@pytest.mark.parametrize("write", [write_in_place, write_by_rename, write_over])
def test_an_edit_is_in_force_within_seconds_however_it_is_written(
    write: Any, look: Look, start_service: StartService
) -> None:
    service = start_service()
    service.wait_until_ready()

    write(service.config_path, text_of(make_config(alert_thresholds=LOWER)))

    accepted = service.wait_for_event("config_accepted", noticed_by="watch", seconds=10)
    assert accepted["changes"] == [CHANGE]
    look.wait_for(f"SELECT ({LOW_OF_BACKLOG}) = 5")
    assert service.events_named("config_rejected") == []
    look.wait_for("SELECT count(*) = 2 FROM public.config_changes")
    first, edit = look.ask(JUDGED)
    assert (first["noticed_by"], first["changes"]) == ("start", [])
    assert (edit["outcome"], edit["noticed_by"], edit["actor"]) == ("accepted", "watch", owner(service.config_path))
    assert edit["changes"] == [{"key": CHANGE.partition(":")[0], "old": "50", "new": "5", "line": 4}]


def owner(path: Path) -> str:
    return path.owner()


def test_a_config_behind_links_that_are_turned_to_another_folder_is_loaded(
    tmp_path: Path, look: Look, start_service: StartService
) -> None:
    """As a ConfigMap of Kubernetes is changed: file -> ..data/file, ..data -> a folder of its own."""
    for name, config in (("one", make_config()), ("two", make_config(alert_thresholds=LOWER))):
        (tmp_path / name).mkdir()
        write_config(tmp_path / name, config)
    (tmp_path / "data").symlink_to("one")
    link = tmp_path / "mounted" / CONFIG_NAME
    link.parent.mkdir()
    link.symlink_to(f"../data/{CONFIG_NAME}")
    service = start_service(arguments=("run", "--config", str(link)), folder=tmp_path / "elsewhere")
    service.wait_until_ready()

    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(tmp_path / "data")

    assert service.wait_for_event("config_accepted", seconds=10)["changes"] == [CHANGE]
    look.wait_for(f"SELECT ({LOW_OF_BACKLOG}) = 5")


def test_a_wrong_edit_is_told_once_and_its_end_when_the_file_is_right_again(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    service = start_service(None, channels_of(slack))
    service.wait_until_ready()

    write_over(service.config_path, text_of(make_config(alert_thresholds=WRONG)))
    rejected = service.wait_for_event("config_rejected", level="error", seconds=10)
    [post] = slack.wait_for(1)
    reload_again(service)

    assert rejected["problem"].startswith("monitoring_config.json:5:")
    mistake = "queue_backlog.medium: is not above low (500)"
    assert f"config rejected, line 5: {mistake}" in post.preview
    assert f"alert_thresholds.{mistake}" in rejected["problem"]
    assert "the config before stays in force, a restart would fail; 1 mistake in /" in post.text
    assert look.one(LOW_OF_BACKLOG) == 50
    [alert] = look.ask("SELECT alert_type, severity, source FROM public.alerts")
    assert (alert["alert_type"], alert["severity"]) == ("automon_config", "high")

    write_over(service.config_path, text_of(make_config()))

    _, resolved = slack.wait_for(2)
    assert f"RESOLVED {alert['source']}: a right config is in force" in resolved.preview
    assert [row["outcome"] for row in look.ask(JUDGED)] == ["accepted", "rejected", "accepted"]
    assert len(slack.posts) == 2


def reload_again(service: ServiceProcess) -> None:
    seen = len(service.events_named("config_rejected"))
    service.send(SIGHUP)
    service.wait_for_event("config_rejected", count=seen + 1)


def test_a_file_that_is_gone_is_a_rejected_edit_and_its_return_an_accepted_one(
    look: Look, start_service: StartService
) -> None:
    service = start_service()
    service.wait_until_ready()
    away = service.config_path.with_suffix(".away")

    service.config_path.rename(away)
    rejected = service.wait_for_event("config_rejected", seconds=15)
    away.rename(service.config_path)

    assert rejected["problem"] == "monitoring_config.json:1:1: there is no such file"
    service.wait_for_event("config_accepted", seconds=10)
    look.wait_for(
        "SELECT count(*) = 1 FROM public.alerts WHERE alert_type = 'automon_config' AND resolved_at IS NOT NULL"
    )


def test_a_config_that_the_database_refuses_is_a_rejected_one_and_the_service_goes_on(
    slack: FakeSlack, look: Look, start_service: StartService
) -> None:
    service = start_service(None, channels_of(slack))
    service.wait_until_ready()
    # Nothing that the file may say is refused: so the database is made to know less than this version does.
    look.ask("ALTER TABLE public.monitoring_thresholds ADD CONSTRAINT not_so_low CHECK (low <> 5)")

    write_over(service.config_path, text_of(make_config(alert_thresholds=LOWER)))

    rejected = service.wait_for_event("config_rejected", seconds=10)
    assert "the database refuses the config" in rejected["problem"]
    [post] = slack.wait_for(1)
    assert "config rejected" in post.preview
    assert look.one(LOW_OF_BACKLOG) == 50
    look.raise_alert(60)
    slack.wait_for(2)
    look.ask("ALTER TABLE public.monitoring_thresholds DROP CONSTRAINT not_so_low")
    service.config_path.touch()
    look.wait_for(f"SELECT ({LOW_OF_BACKLOG}) = 5")
    assert service.stop() == 0


def test_what_was_edited_while_no_service_ran_is_kept_too(look: Look, start_service: StartService) -> None:
    service = start_service()
    service.wait_until_ready()
    look.wait_for("SELECT count(*) = 1 FROM public.config_changes")
    service.stop()

    again = start_service(make_config(alert_thresholds=LOWER))
    again.wait_until_ready()

    look.wait_for("SELECT count(*) = 2 FROM public.config_changes")
    row = look.ask(JUDGED)[1]
    assert (row["noticed_by"], row["changes"]) == (
        "start",
        [{"key": "alert_thresholds.queue_backlog.low", "old": "50", "new": "5", "line": 4}],
    )


def test_no_secret_is_in_what_is_kept_of_edits(slack: FakeSlack, look: Look, start_service: StartService) -> None:
    config = make_config(channels={"ops": {"type": "apprise", "url": "$literal:json://user:s3cret-w0rd@127.0.0.1/a"}})
    service = start_service(config, channels_of(slack))
    service.wait_until_ready()
    config["channels"]["ops"]["url"] = "$literal:json://user:an0ther-w0rd@127.0.0.1/a"
    write_over(service.config_path, text_of(config))
    service.wait_for_event("config_accepted", seconds=10)
    write_over(service.config_path, text_of(config).replace('"url":', ""))
    service.wait_for_event("config_rejected", seconds=10)
    look.wait_for("SELECT count(*) = 3 FROM public.config_changes")

    kept = str(look.ask("SELECT * FROM public.config_changes")) + str(look.ask("SELECT * FROM public.config_files"))
    assert "w0rd" not in kept + service.stderr
    assert "<secret> -> another <secret>" in str(service.events_named("config_accepted"))


def test_a_history_that_cannot_be_kept_stops_neither_the_edit_nor_the_service(
    look: Look, start_service: StartService
) -> None:
    service = start_service()
    service.wait_until_ready()
    look.wait_for("SELECT count(*) = 1 FROM public.config_changes")
    look.ask("DROP TABLE public.config_files")

    write_over(service.config_path, text_of(make_config(alert_thresholds=LOWER)))

    service.wait_for_event("config_history_not_kept", level="error", seconds=10)
    assert look.one(LOW_OF_BACKLOG) == 5
    assert service.stop() == 0
