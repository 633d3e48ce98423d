"""The page about Prometheus and Grafana and the one about other machines, followed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automon.config import load_config
from automon.metrics import FAMILIES
from tests.acceptance.conftest import StartService
from tests.support.markdown import ROOT, page
from tests.support.prometheus import promtool, read_exposition
from tests.support.servers import CannotFetchError
from tests.support.service import make_config

GUIDE = page("docs/prometheus_grafana.md")
HOSTS = page("docs/hosts.md")
# What stands in them and is not run here.
NOT_RUN = {
    "sudo cp -r": "it needs a Grafana; the test of the dashboards asks all their queries",
    "sudo make install": "it needs root and a systemd",
    "automon run --only host": "it runs until it is stopped; tests/acceptance/test_host_only.py runs it",
}


def test_the_pages_are_asked_for_as_the_guide_says(start_service: StartService) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the guide's commands need curl")
    service = start_service(make_config(http={"listen": "127.0.0.1:0"}))
    service.wait_until_ready()
    address = service.wait_for_event("http_listening")["url"].removeprefix("http://")
    [commands] = [block.text for block in GUIDE.written_in("sh") if "curl" in block.text]
    assert "127.0.0.1:8484" in commands

    ready, metrics = (
        subprocess.run(
            command.replace("127.0.0.1:8484", address), shell=True, capture_output=True, text=True, check=True
        ).stdout
        for command in commands.splitlines()
    )

    assert json.loads(ready)["status"] == "ready"
    assert "automon_build_info" in read_exposition(metrics)


def test_every_command_is_run_or_said_why_not() -> None:
    texts = [block.text for guide in (GUIDE, HOSTS) for block in guide.written_in("sh")]
    run = [text for text in texts if "curl" in text or "promtool" in text]

    assert [text for text in texts if text not in run and not text.startswith(tuple(NOT_RUN))] == []


def test_the_scrape_config_is_the_example_and_prometheus_takes_it_and_the_rules() -> None:
    [config] = [block.text for block in GUIDE.written_in("yaml")]
    [commands] = [block.text for block in GUIDE.written_in("sh") if "promtool" in block.text]
    assert (ROOT / "examples/prometheus/prometheus.yml").read_text(encoding="utf-8").endswith(config)
    try:
        program = promtool()
    except CannotFetchError as reason:
        pytest.skip(str(reason))

    for command in commands.splitlines():
        assert command.startswith("promtool ")
        done = subprocess.run([program, *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_ask_for_metrics_that_there_are() -> None:
    named = set(re.findall(r"automon_[a-z_]+", re.sub(r"automon_rules", "", rules_text())))

    assert named - FAMILIES.keys() == set()
    assert {"automon_ready", "automon_job_last_success_timestamp_seconds"} <= named


def rules_text() -> str:
    return (ROOT / "examples/prometheus/automon_rules.yml").read_text(encoding="utf-8")


def test_the_config_that_the_guide_shows_is_accepted(tmp_path: Path) -> None:
    [shown] = [block.text for block in GUIDE.written_in("json")]
    path = tmp_path / "monitoring_config.json"
    path.write_text(shown, encoding="utf-8")

    assert str(load_config(path, {}).listen_address) == "127.0.0.1:8484"


@pytest.mark.parametrize(
    ("guide", "user", "allowed"),
    [
        pytest.param(GUIDE, "automon_grafana", "SELECT * FROM public.v_host_summary", id="Grafana"),
        pytest.param(HOSTS, "automon_sampler", "SELECT public.record_host_sample('ops-9', '{}')", id="a sampler"),
    ],
)
def test_the_users_that_the_guides_make_may_do_what_they_are_for(
    connection: psycopg.Connection[Any], guide: Any, user: str, allowed: str
) -> None:
    [statement] = [block.text for block in guide.written_in("sql")]
    assert user in statement

    with connection.transaction(force_rollback=True):
        connection.execute(statement.encode())
        connection.execute(f"SET LOCAL ROLE {user}".encode())
        connection.execute(allowed.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM public.alerts")


def test_the_environment_that_the_guide_sets_is_what_the_data_source_takes() -> None:
    source = (ROOT / "examples/grafana/provisioning/datasources/automon.yaml").read_text(encoding="utf-8")
    [unit] = [block.text for block in GUIDE.written_in("ini")]

    assert set(re.findall(r"^Environment=(AUTOMON_\w+)=", unit, re.MULTILINE)) == set(
        re.findall(r"\$\{(AUTOMON_\w+)\}", source)
    )
