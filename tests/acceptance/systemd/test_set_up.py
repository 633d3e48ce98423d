"""`automon setup` and `automon doctor` on a machine where systemd runs the service."""

from __future__ import annotations

import json

import pytest

from tests.support.systemd_service import ENVIRONMENT, WORKING, InstalledAutomon, LabDatabase

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(300)]

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


def test_root_sets_up_the_service_of_the_machine(automon: InstalledAutomon, database: LabDatabase) -> None:
    done = automon.lab.run("sh", "-c", "cd / && automon setup --yes", check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("edits /etc/automon/monitoring_config.json\n")
    assert "Start it:  sudo systemctl enable --now automon" in done.stdout
    assert automon.lab.read("stat", "--format", "%A %U %G", ENVIRONMENT) == "-rw-r----- root automon"


def test_others_than_root_are_told_so_before_any_question(automon: InstalledAutomon) -> None:
    done = automon.lab.run("sh", "-c", f"cd / && {' '.join(NOBODY)} automon setup --yes", check=False)

    assert done.returncode == 1
    assert "may not be written by this user" in done.stderr
    assert "sudo automon setup" in done.stderr


def test_the_doctor_looks_at_the_unit(automon: InstalledAutomon, database: LabDatabase) -> None:
    automon.start()
    automon.wait_for_status(WORKING)

    done = automon.lab.run("sh", "-c", "cd / && automon doctor --json", check=False)

    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    # It was started and not enabled: it works, and would not come back.
    assert (found["systemd"]["state"], found["systemd"]["fix"]) == ("warning", "sudo systemctl enable automon")
    assert (found["database"]["state"], found["service"]["state"], found["secrets"]["state"]) == ("ok", "ok", "ok")
