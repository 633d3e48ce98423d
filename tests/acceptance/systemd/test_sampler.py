"""The sampler as systemd runs it, and the pages for monitors from within the hardened unit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.prometheus import read_exposition
from tests.support.systemd_lab import SystemdLab
from tests.support.systemd_service import InstalledAutomon, LabDatabase
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

UNIT = "automon-host.service"
ASK = "import sys, urllib.request as u; sys.stdout.write(u.urlopen('http://127.0.0.1:8484' + sys.argv[1], timeout=10).read().decode())"


@pytest.fixture
def sampler(automon: InstalledAutomon, database: LabDatabase) -> Iterator[SystemdLab]:
    """The lab with the sampler's unit, as installed beside the service, whose database has its schema."""
    lab = automon.lab
    automon.start()
    wait_until(lambda: automon.status == "checks run", seconds=30, what="a schema")
    yield lab
    lab.run("systemctl", "stop", UNIT)


def status(lab: SystemdLab) -> str:
    return lab.read("systemctl", "show", "--property", "StatusText", "--value", UNIT)


def test_the_sampler_works_within_its_limits(
    automon: InstalledAutomon, sampler: SystemdLab, database: LabDatabase
) -> None:
    sampler.run("systemctl", "stop", "automon")
    database.ask("DELETE FROM host_metrics")

    sampler.run("systemctl", "start", UNIT)
    wait_until(lambda: status(sampler).startswith("looks at "), seconds=20, what="a status")
    wait_until(lambda: database.ask("SELECT count(*) > 0 FROM host_metrics") == "t", seconds=20, what="a sample")

    assert "disks" in json.loads(database.ask("SELECT sample FROM host_metrics LIMIT 1"))
    sampler.run("systemctl", "reload", UNIT)
    verdict = sampler.read("systemd-analyze", "security", "--no-pager", UNIT).splitlines()[-1]
    found = re.search(rf"exposure level for {re.escape(UNIT)}: ([\d.]+)", verdict)
    assert found is not None, verdict
    assert float(found[1]) <= 2.0
    assert sampler.run("systemd-analyze", "verify", UNIT).stdout == ""


def test_monitors_are_answered_from_within_the_hardened_unit(automon: InstalledAutomon, sampler: SystemdLab) -> None:
    def ask(path: str) -> str:
        return sampler.read("/usr/bin/env", "python3", "-c", ASK, path) + "\n"

    assert json.loads(ask("/readyz"))["status"] == "ready"
    told = read_exposition(ask("/metrics"))
    assert told["automon_ready"].of() == 1
    assert "automon_host_last_sample_timestamp_seconds" in told
