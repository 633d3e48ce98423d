"""`automon config`, on a database into which a service has brought a config; and what works while the file is wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import StartService
from tests.support.markdown import Block, page
from tests.support.service import Look, make_config, run_automon, write_config

Automon = Callable[..., subprocess.CompletedProcess[str]]
GUIDE = page("docs/configuration.md")
EDITS = "sudoedit"  # an editor, which the tests of the watch stand in for
CONFIG = make_config(overrides={"queue_backlog": {"mail": {"low": 10}}})


@pytest.fixture
def automon(tmp_path: Path, database_url: str) -> Automon:
    """Run a command in the folder of the service, on its database."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_automon(tmp_path, *arguments, environment={"DATABASE_URL": database_url, **environment})

    return run


@pytest.fixture
def brought(start_service: StartService, look: Look) -> None:
    """A service that has put its config in force, and ended."""
    service = start_service(CONFIG)
    service.wait_until_ready()
    look.wait_for("SELECT count(*) = 1 FROM public.config_changes")
    service.stop()


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_show_names_the_line_that_sets_each_value(brought: None, automon: Automon) -> None:
    done = automon("config", "show")

    assert (done.returncode, done.stderr) == (0, "")
    lines = squeezed(done.stdout)
    assert "alert_thresholds.queue_backlog.low 50 monitoring_config.json:4" in lines
    assert "alert_thresholds.error_rates.low 25 default" in lines
    assert any(line.startswith("database.url $env:DATABASE_URL monitoring_config.json:") for line in lines)


def test_show_of_a_source_names_its_override_what_it_inherits_and_what_sql_has_set(
    brought: None, look: Look, automon: Automon
) -> None:
    look("update_queue_metrics", "mail", 1)
    look("set_threshold", "queue_backlog", "mail", 10, 120, 200, 500)

    done = automon("config", "show", "mail")

    assert (done.returncode, done.stderr) == (0, "")
    lines = squeezed(done.stdout)
    user = look.one("SELECT session_user::text")
    [override] = [line for line in lines if line.startswith("overrides.queue_backlog.mail.low")]
    [by_sql] = [line for line in lines if line.startswith("overrides.queue_backlog.mail.medium")]
    assert override.startswith("overrides.queue_backlog.mail.low 10 monitoring_config.json:")
    assert f"120 database (set by {user} " in by_sql
    assert "alert_thresholds.queue_backlog.high 200 monitoring_config.json:6" in lines
    assert not any("error_rates" in line for line in lines)


def test_show_in_json_has_raw_values(brought: None, automon: Automon) -> None:
    done = automon("config", "show", "mail", "--json")

    document = json.loads(done.stdout)
    assert (document["schema_version"], document["source"], document["kinds"]) == (1, "mail", [])
    assert document["in_force_since"]
    assert {"key", "value", "origin", "line", "file_value", "changed_by", "changed_at"} == set(document["settings"][0])
    assert "Nothing has reported as mail" in done.stderr


def test_show_without_a_database_says_what_the_file_says(tmp_path: Path) -> None:
    write_config(tmp_path, CONFIG)

    done = run_automon(tmp_path, "config", "show")

    assert done.returncode == 0
    assert "alert_thresholds.queue_backlog.low" in done.stdout
    assert done.stderr.startswith("The database was not asked (no database")


def test_drift_is_empty_until_somebody_uses_sql(brought: None, look: Look, automon: Automon) -> None:
    before = automon("config", "drift")
    look.ask("UPDATE public.monitoring_thresholds SET low = 7 WHERE alert_type = 'queue_backlog' AND source = 'mail'")
    after = automon("config", "drift")
    status = automon("status").stdout.splitlines()
    document = json.loads(automon("config", "drift", "--json").stdout)

    assert (before.returncode, before.stdout) == (0, "")
    assert before.stderr.startswith("No drift")
    assert "CONFIG     ▲ 1 value changed by SQL, not in the file: automon config drift" in status
    user = look.one("SELECT session_user::text")
    [line] = squeezed(after.stdout)
    assert line.startswith(f"overrides.queue_backlog.mail.low file 10 in force 7 set by {user} ")
    assert [(row["file_value"], row["database_value"], row["origin"]) for row in document["drift"]] == [(10, 7, "sql")]


def test_history_lists_edits_and_changes_by_sql_newest_first(brought: None, look: Look, automon: Automon) -> None:
    look("set_setting", "retention.queue_days", 9)

    done = automon("config", "history")
    document = json.loads(automon("config", "history", "--json", "--limit", "1").stdout)

    assert (done.returncode, done.stderr) == (0, "")
    first, change, start = squeezed(done.stdout)
    assert " by SQL " in first
    assert change == "settings.retention.queue_days: 7 -> 9"
    assert " accepted " in start
    assert " at a start: " in start
    [row] = document["changes"]
    assert (row["noticed_by"], row["changes"]) == (
        "sql",
        [{"key": "settings.retention.queue_days", "old": 7, "new": 9}],
    )


def test_the_plain_forms_are_records_of_one_line(brought: None, look: Look, automon: Automon) -> None:
    look("set_setting", "retention.queue_days", 9)

    shown, drifted, changed = (
        automon("config", word, "--plain").stdout.splitlines() for word in ("show", "drift", "history")
    )

    assert "alert_thresholds.queue_backlog.low\t50\tfile\t4\t\t\t" in shown
    assert [line.split("\t")[:7] for line in drifted] == [["setting", "retention.queue_days", "", "", "7", "9", "sql"]]
    assert [line.split("\t")[6:] for line in changed] == [["settings.retention.queue_days", "7", "9", ""], []]


def test_history_of_a_database_that_no_service_has_seen_is_empty(tmp_path: Path, automon: Automon) -> None:
    write_config(tmp_path, CONFIG)

    done = automon("config", "history")

    assert (done.returncode, done.stdout) == (0, "")
    assert "No change is known" in done.stderr


@pytest.mark.parametrize("wrong", ['{"alerts": 5}', '{"alerts": 5'], ids=["a mistake", "no JSON"])
def test_what_only_reads_works_while_the_file_is_wrong(
    wrong: str, tmp_path: Path, look: Look, automon: Automon
) -> None:
    look("finish_job_run", look("begin_job_run", "alert_checks", "test:1"), "succeeded")
    write_config(tmp_path, wrong)

    done = automon("status")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("✓ ALL OK")
    assert done.stderr.startswith("monitoring_config.json is wrong (")
    assert done.stderr.endswith("): see automon check-config\n")
    assert automon("config", "history").returncode == 0
    assert automon("check-config").returncode == 1
    assert automon("config", "show").returncode == 1


def test_what_acts_works_while_the_file_is_wrong_unless_its_database_is_unknown(
    tmp_path: Path, look: Look, automon: Automon
) -> None:
    look.raise_alert(60)
    number = str(look.one("SELECT id FROM public.alerts"))

    for wrong, code in (('{"alerts": 5', 1), ('{"database": {"schema": 5}}', 1), ('{"alerts": 5}', 0)):
        write_config(tmp_path, wrong)
        assert automon("ack", number).returncode == code, wrong
    assert look.one("SELECT acknowledged_at IS NOT NULL FROM public.alerts")


@pytest.mark.parametrize("block", [block for block in GUIDE.written_in("sh") if EDITS not in block.text], ids=str)
def test_the_guides_commands_work(block: Block, brought: None, automon: Automon) -> None:
    for command in block.text.splitlines():
        done = automon(*command.split()[1:])
        assert done.returncode == 0, done.stderr


def test_the_guides_sql_is_drift_until_the_service_starts_again(
    brought: None, look: Look, start_service: StartService, automon: Automon
) -> None:
    [block] = GUIDE.written_in("sql")
    for statement in block.text.splitlines():
        look.ask(f"SET search_path = public; {statement}")

    lines = automon("config", "drift").stdout.splitlines()
    start_service(CONFIG).wait_until_ready()

    assert [line.split()[0] for line in lines] == [
        *(f"overrides.queue_backlog.mail.{level}" for level in ("low", "medium", "high", "critical")),
        "alerts.resolve_after_minutes",
    ]
    assert automon("config", "drift").stdout == ""
    assert " put back " in automon("config", "history").stdout
