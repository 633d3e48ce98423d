"""The README's session, pasted into two terminals."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import RunningService, make_checkout, newcomers_environment, running, shell
from tests.support.markdown import page
from tests.support.waiting import wait_until

README = page("README.md")
START, REPORT, LOOK = (block.text for block in README.written_in("sh"))
[MESSAGE] = (block.text for block in README.written_in("text"))
CHANGING = (
    (r"opened \d\d:\d\d", "opened TIME"),
    (r"since \d\d:\d\d", "since TIME"),
    (r"on [\w.-]+:\d+", "on WORKER"),
    (r"automon on \S+", "automon on HOST"),
    (r"e\.g\. [0-9a-f-]{36}", "e.g. TASK"),
    (r"[ \t]+$", ""),
)


def without_what_changes(text: str) -> str:
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text


@pytest.fixture
def checkout(memory_path: Path) -> Path:
    return make_checkout(memory_path)


@pytest.fixture
def service(checkout: Path) -> Iterator[RunningService]:
    """What the first terminal of the README runs, ready."""
    with running(START, checkout, newcomers_environment()) as service:
        service.wait_for("is running")
        yield service


def printed_address(service: RunningService) -> str:
    found = re.search(r"postgresql://automon@127\.0\.0\.1:(\d+)/automon", service.wait_for("passfile="))
    assert found is not None
    return found[1]


def report(checkout: Path, port: str) -> subprocess.CompletedProcess[str]:
    assert ":54329/" in REPORT
    return shell(REPORT.replace(":54329/", f":{port}/"), checkout, newcomers_environment())


def wait_until_checked(checkout: Path, status: str) -> None:
    """Wait for the service's own first check, two seconds after its start: nobody who types would be faster."""
    not_checking = 3
    wait_until(lambda: shell(status, checkout, newcomers_environment()).returncode != not_checking, what="a check")


def test_the_readmes_first_alert_arrives_and_reads_as_the_readme_shows_it(
    checkout: Path, service: RunningService
) -> None:
    reported = report(checkout, printed_address(service))

    assert (0, "") == (reported.returncode, reported.stderr)
    output = service.wait_for("reminds hourly until acknowledged")
    assert without_what_changes(MESSAGE) in without_what_changes(output)


def test_the_readmes_commands_show_the_alert_and_take_it_in_hand(checkout: Path, service: RunningService) -> None:
    report(checkout, printed_address(service))
    service.wait_for("reminds hourly until acknowledged")

    wait_until_checked(checkout, LOOK.splitlines()[0])
    status, explain, ack, runbook = (shell(line, checkout, newcomers_environment()) for line in LOOK.splitlines())

    assert 2 == status.returncode, status.stderr
    assert "#1 invoice_sync" in status.stdout
    assert (0, "") == (explain.returncode, explain.stderr)
    assert "8 of 8 tasks failed" in explain.stdout
    assert (0, "") == (ack.returncode, ack.stderr)
    assert "acked #1" in ack.stdout
    assert (0, "") == (runbook.returncode, runbook.stderr)
    assert runbook.stdout.startswith("failure_rate: ")


def test_ctrl_c_ends_what_the_readme_started_and_its_database(checkout: Path) -> None:
    with running(START, checkout, newcomers_environment()) as service:
        service.wait_for("is running")
        postmaster = checkout / ".automon/data/postmaster.pid"
        assert postmaster.exists()

    wait_until(lambda: not postmaster.exists(), seconds=20, what="the database is down")
    assert "service_stopped" in service.output
