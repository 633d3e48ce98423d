"""What the page about trouble quotes is said by the code, and by nobody else than it says."""

from __future__ import annotations

import re
from functools import cache

import pytest

from automon.cli.commands import CODES_OF_THEIR_OWN
from automon.errors import EXIT_CONFIG
from notifiers import http_failure
from tests.support.markdown import ROOT, page

GUIDE = page("docs/troubleshooting.md")
SAID_IN = ("automon/**/*.py", "jobs/**/*.py", "notifiers/**/*.py", "scheduler/**/*.py", "sql/*.sql")
# Said by others: PostgreSQL, psycopg, Slack.
FOREIGN = {
    "permission denied",
    "permission denied for table",
    "permission denied for schema public",
    "function start_task_tracking(…) does not exist",
    "too many clients already",
    "prepared statement … does not exist",
    "no_service",
}
NUMBERS = re.compile(r"\d{1,3}|AM\d{3}")


@cache
def said() -> str:
    """Return the program's text, with neighbouring parts of one message joined, whether they are formatted or not."""
    files = (path for pattern in SAID_IN for path in sorted(ROOT.glob(pattern)))
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r"\"\s*\n\s*f?\"", "", text)


def first_cells() -> list[str]:
    rows = re.findall(r"^\| (.+?) \|", GUIDE.prose, re.MULTILINE)
    return [
        cell for cell in rows if not cell.startswith(("---", "what you see", "what the log says", "code", "answer"))
    ]


QUOTED = sorted({span for cell in first_cells() for span in re.findall(r"`([^`]+)`", cell)})


@pytest.mark.parametrize("message", [span for span in QUOTED if not NUMBERS.fullmatch(span)])
def test_a_message_that_the_page_quotes_is_said_by_the_program(message: str) -> None:
    assert message in FOREIGN or message in said()


def test_what_counts_as_said_by_others_stands_in_the_page_and_not_in_the_program() -> None:
    assert set() == FOREIGN - set(QUOTED)


def test_the_page_has_every_trouble_of_slack() -> None:
    troubles = [value.words for value in vars(http_failure).values() if isinstance(value, http_failure._Trouble)]

    assert len(troubles) > 6
    assert set() == {words for words in troubles if words not in GUIDE.text}


def test_the_page_has_every_trouble_of_mail() -> None:
    source = (ROOT / "notifiers/mail_failure.py").read_text(encoding="utf-8")
    details = set(re.findall(r"\{where\}:? ([a-zA-Z ]+)", source))

    assert len(details) > 9
    assert [] == sorted(detail for detail in details if detail.strip() not in GUIDE.text)


def test_the_page_has_the_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", GUIDE.section("Exit codes"), re.MULTILINE)
    commands = {int(code): set(re.findall(r"`([a-z-]+)`", cell)) for code, cell in rows}

    assert {0, 1, 2, 3, 4, 64, EXIT_CONFIG} == set(commands)
    for code in set(CODES_OF_THEIR_OWN.values()):
        assert {name for name, own in CODES_OF_THEIR_OWN.items() if own == code} == commands[code]
