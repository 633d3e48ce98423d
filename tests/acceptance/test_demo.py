"""The newcomer's minute, played to its end with a Slack and a mailbox at the other side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notifiers.words import ALERT_TYPES, OWN_TYPES
from tests.support.service import ServiceProcess, channels_of
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

DEMO = Path("examples/demo.py").resolve()
# A demo does not wear the newcomer's processor out, and does not let a host die.
NOT_PLAYED = {"host_cpu", "host_memory", "host_silence", "host_disk", *OWN_TYPES}


@pytest.fixture
def demo(memory_path: Path, slack: FakeSlack, smtp: FakeSmtp) -> Iterator[ServiceProcess]:
    environment = {**channels_of(slack, smtp), "AUTOMON_LOG_FORMAT": "json"}
    with ServiceProcess(memory_path, "", environment, program=(str(DEMO),), arguments=()) as process:
        yield process


@pytest.mark.timeout(240)
def test_the_demo_shows_every_kind_of_trouble_and_its_end_in_slack_and_in_mail(
    demo: ServiceProcess, slack: FakeSlack, smtp: FakeSmtp
) -> None:
    demo.wait_for_output("That was the demo.", seconds=180)
    assert demo.wait(30) == 0

    subjects = [str(mail.message["Subject"]) for mail in smtp.mails]
    opened = {subject.partition("] ")[2] for subject in subjects if "RESOLVED" not in subject}
    resolved = {subject.partition("] ")[2] for subject in subjects if "RESOLVED" in subject}
    for kind in ALERT_TYPES.keys() - NOT_PLAYED:
        assert any(f": {ALERT_TYPES[kind]} (#" in subject for subject in opened), f"no message of {kind}"
        assert any(f": {ALERT_TYPES[kind]} (#" in subject for subject in resolved), f"no end of {kind}"
    assert resolved <= opened
    assert all(post.problems == () for post in slack.posts)
    assert any("RESOLVED" in post.preview for post in slack.posts)
    assert not list(demo.folder.glob(".automon/demo-*"))
