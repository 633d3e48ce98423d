"""The tutorial, from top to bottom in two terminals: what it tells to write is written, to type is typed, and to see is seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.checkout import RunningService, make_checkout, newcomers_environment, running, shell
from tests.support.markdown import Block, page
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp
from tests.support.waiting import wait_until

TUTORIAL = page("docs/tutorial.md")
PORT = ":54329/"
MAIL_SERVER = "mail.example.org:587"
START, AROUND = TUTORIAL.written_in("sh")[:2]
SECRETS = "export SLACK_WEBHOOK_URL"
# Of lines whose exit code says something else than that they failed.
SEEN_CODES = {"automon status": (0, 2), "automon alerts": (0, 1, 2)}


class Terminal:
    """The second terminal: what it was told to export stays, as in a shell that lives on."""

    def __init__(self, checkout: Path, environment: dict[str, str]) -> None:
        self._checkout = checkout
        self._environment = environment
        self._exported: list[str] = []

    def type(self, text: str) -> str:
        """Type a block line by line and return what is printed. Raises AssertionError for a line that fails."""
        printed = []
        for line in text.splitlines():
            if line.startswith("export "):
                self._exported.append(line)
                continue
            done = shell("\n".join([*self._exported, line]), self._checkout, self._environment)
            assert done.returncode in SEEN_CODES.get(line, (0,)), f"{line}\n{done.stdout}{done.stderr}"
            printed.append(done.stdout)
        return "".join(printed)


@pytest.fixture
def checkout(memory_path: Path) -> Path:
    return make_checkout(memory_path)


@contextmanager
def first_terminal(checkout: Path, environment: dict[str, str]) -> Iterator[tuple[RunningService, str]]:
    """Start the service as the tutorial does; answer it and the port of its database."""
    with running(START.text, checkout, environment) as service:
        service.wait_for("is running")
        found = re.search(r"postgresql://automon@127\.0\.0\.1:(\d+)/automon", service.wait_for("passfile="))
        assert found is not None
        yield service, found[1]


def follow(blocks: list[Block], terminal: Terminal, service: RunningService, checkout: Path) -> None:
    """Do what each block says. A text is what the first terminal, or the command before, shows."""
    last = ""
    for block in blocks:
        match block.language:
            case "json":
                (checkout / "playground.json").write_text(block.text, encoding="utf-8")
            case "python":
                (checkout / "work.py").write_text(block.text, encoding="utf-8")
            case "sh":
                last = terminal.type(block.text)
            case "text":
                if block.text.strip() not in last:
                    service.wait_for(block.text.strip(), seconds=30)
            case _:
                raise AssertionError(f"{block} is in no language that this test knows")


@pytest.mark.timeout(300)  # two starts of a service, and some twenty commands as somebody would type them
def test_the_first_hour_goes_as_the_tutorial_says(checkout: Path) -> None:
    blocks = TUTORIAL.blocks
    secrets = next(index for index, block in enumerate(blocks) if block.text.startswith(SECRETS))
    with FakeSlack() as slack, FakeSmtp(username="automon", password="choose-one") as smtp:
        around = newcomers_environment(slack.environment() | {"SSL_CERT_FILE": smtp.ca_file})
        own_secrets = {name: around.pop(name) for name in list(around) if name == "SLACK_WEBHOOK_URL"}
        terminal = Terminal(checkout, around)
        (checkout / "playground.json").write_text(blocks[0].text, encoding="utf-8")
        with first_terminal(checkout, around) as (service, port):
            in_place = AROUND.text.replace(PORT, f":{port}/")
            terminal.type("\n".join(line for line in in_place.splitlines() if line.startswith("export ")))
            # Who types is slower than the first check, which comes two seconds after the start.
            first_words = blocks[3].text.strip()
            wait_until(lambda: first_words in terminal.type("automon status || true"), what="a first check")
            follow(blocks[4 : secrets - 1], terminal, service, checkout)

        (checkout / "playground.json").write_text(blocks[secrets - 1].text, encoding="utf-8")
        exported = blocks[secrets].text.replace(MAIL_SERVER, f"127.0.0.1:{smtp.port}")
        values = dict(re.findall(r"export (\w+)='(.*)'", exported)) | own_secrets
        again = Terminal(checkout, around | values)
        with first_terminal(checkout, around | values) as (service, port):
            again.type("\n".join(line for line in in_place.splitlines() if line.startswith("export ")))
            tried, cleaned = blocks[secrets + 1 :]
            printed = again.type(tried.text)

        assert "✓ slack: arrived in" in printed
        assert "✓ email: arrived in" in printed
        slack.wait_for(2)
        smtp.wait_for(2)
        terminal.type(cleaned.text)
        assert not (checkout / ".automon").exists()


def test_every_block_of_the_tutorial_is_in_a_language_that_is_followed() -> None:
    assert {"sh", "json", "python", "text"} == {block.language for block in TUTORIAL.blocks}
    assert START.text.startswith("AUTOMON_CONFIG=")
    assert AROUND.text.startswith("export PATH")
    assert [START, AROUND] == TUTORIAL.blocks[1:3]
