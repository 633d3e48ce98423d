"""What the documentation names exists: commands, options, targets, functions, tables, keys, variables, codes, paths, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from automon.cli import main as automon
from docs.generate.cli import PAGE_FILE, reference_page
from tests.support.markdown import ROOT, Page

PAGES = [
    Page(path)
    for pattern in ("*.md", "docs/**/*.md", "client/*.md", "examples/*.md", "bench/*.md")
    for path in sorted(ROOT.glob(pattern))
]
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
SOURCES = (
    "sql/*.sql",
    *(f"{folder}/**/*.py" for folder in ("automon", "jobs", "notifiers", "scheduler", "client", "examples", "bench")),
    "systemd/*",
    "Makefile",
    "pyproject.toml",
    "monitoring_config*.json",
    "client/pyproject.toml",
)
# Names of PostgreSQL, systemd, Slack and others that the pages mention.
FOREIGN = {
    "HTTPS_PROXY",
    "pg_cron",
    "pg_ctl",
    "lock_timeout",
    "pg_terminate_backend",
    "no_service",
    "invalid_token",
    "channel_is_archived",
    "work_mem",
    "pg_read_all_data",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "date_trunc",
    # put together by the host reader from their two halves
    "user_percent",
    "system_percent",
    "iowait_percent",
    "steal_percent",
}
# What a newcomer sees and PostgreSQL or Slack said.
FOREIGN_MESSAGES = {
    "permission denied for schema public",
    "permission denied for table",
    "function start_task_tracking(…) does not exist",
    "no_service",
    "invalid_token",
}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@cache
def source_text() -> str:
    files = (path for pattern in SOURCES for path in sorted(ROOT.glob(pattern)) if path.is_file())
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@cache
def known_words() -> frozenset[str]:
    return frozenset(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", source_text())) | FOREIGN


@cache
def defined_functions() -> frozenset[str]:
    in_sql = re.findall(r"CREATE OR REPLACE FUNCTION (\w+)", source_text())
    in_python = re.findall(r"\b(?:def|class) (\w+)", source_text())
    return frozenset(in_sql) | frozenset(in_python)


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def shell_text(page: Page) -> str:
    """What a reader would type: shell blocks, and what stands in backquotes."""
    commands = [span for span in page.spans if not span.startswith("automon needs ")]  # a message of the Makefile
    return "\n".join([*(block.text for block in page.written_in("sh")), *commands])


@pages
def test_every_make_target_that_a_page_names_exists(page: Page) -> None:
    named = {
        word
        for command in re.findall(r"(?:^|\s)make((?: [\w-]+(?:=\S+)?)+)", shell_text(page))
        for word in command.split()
        if "=" not in word
    }

    assert set() == named - make_targets()


def named_commands(page: Page) -> Iterator[tuple[str, list[str]]]:
    """Find `automon COMMAND …` where a command must stand: at the beginning of a line, after a path, or in a sudo or $(…)."""
    for found in re.finditer(r"(?:^|[\s(/·])automon ([a-z][a-z-]*)([^\n·|)]*)", shell_text(page)):
        yield found[1], re.findall(r"(?<!\S)(--[a-z-]+)", found[2])


def find_command(name: str) -> click.Command | None:
    assert isinstance(automon, click.Group)
    return automon.get_command(click.Context(automon), name)


def known_options(command: click.Command) -> set[str]:
    """Give the options of a command, and those of its own commands."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {word for option in command.params for word in option.opts} | {"--help"}
    return own.union(*map(known_options, below))


@pages
def test_every_automon_command_and_option_that_a_page_names_exists(page: Page) -> None:
    for name, options in named_commands(page):
        command = find_command(name)
        assert command is not None, f"automon {name}"
        assert set(options) <= known_options(command), f"automon {name}"


def test_commands_are_found_in_the_pages() -> None:
    found = {name for page in PAGES if page.name == "docs/monitoring_setup.md" for name, _ in named_commands(page)}

    assert {"migrate", "check-config", "send-test", "status", "ack", "silence", "resolve", "explain"} <= found


@pages
def test_every_error_code_that_a_page_names_is_raised(page: Page) -> None:
    named = set(re.findall(r"\bAM\d{3}\b", page.text))

    assert set() == {code for code in named if f"'{code}'" not in source_text()}


def test_the_setup_guide_lists_every_error_code_with_its_name() -> None:
    raised = set(re.findall(r"'(AM\d{3})', (?:format\()?'(\w+):", source_text()))
    raised |= {(code, name) for name, code in re.findall(r"'(\w+): [^']*'[^;]*?ERRCODE = '(AM\d{3})'", source_text())}
    guide = (ROOT / "docs/monitoring_setup.md").read_text(encoding="utf-8")

    assert 12 <= len(raised)
    assert set(re.findall(r"^\| `(AM\d{3})` \| (\w+) \|", guide, re.MULTILINE)) == raised


def test_every_message_that_the_setup_guide_explains_is_one_that_is_said() -> None:
    troubles = Page(ROOT / "docs/monitoring_setup.md").section("16. The first hour")
    seen = [row.split(" | ")[0] for row in troubles.splitlines() if row.startswith("| ")]
    messages = {message for cell in seen for message in re.findall(r"`([^`]+)`", cell)} - FOREIGN_MESSAGES
    codes = {message for message in messages if re.fullmatch(r"AM\d{3}", message)}
    said_in_parts = {"slack: off", "SLACK_WEBHOOK_URL is not set"}  # by the name of the channel and of the variable

    assert len(messages - codes) > 5
    assert set() == {message for message in messages - codes - said_in_parts if message not in source_text()}


@pages
def test_every_function_that_a_page_calls_exists(page: Page) -> None:
    called = {name for span in page.spans for name in re.findall(r"(\w*_\w+)\(", span)}

    assert set() == called - defined_functions() - FOREIGN


@pages
def test_every_name_with_an_underscore_that_a_page_shows_exists(page: Page) -> None:
    """Tables, views, columns, keys of the config, settings, events, variables: whatever they are, some source has them."""
    spans = [span for span in page.spans if re.fullmatch(r"[A-Za-z_][\w.]*", span)]
    named = {word for span in spans for word in span.split(".") if "_" in word.strip("_")}

    assert set() == named - known_words() - set(file_words())


def file_words() -> Iterator[str]:
    """Names of files without their ends, and of folders."""
    for path in ROOT.glob("*"):
        yield from path.name.split(".")
    for path in ROOT.glob("*/*.*"):
        yield from path.name.split(".")


def named_paths(page: Page) -> Iterator[str]:
    for span in page.spans:
        if re.fullmatch(r"\.?[A-Za-z_][\w./-]*/[\w./-]*|[\w-]+\.(?:py|sql|md|json|toml|lock)", span):
            yield span


MADE_LATER = (".venv", ".automon", "wrong.json", "playground.json", "work.py")  # by make, and by the reader


@pages
def test_every_path_that_a_page_names_exists(page: Page) -> None:
    places = (ROOT, page.path.parent, ROOT / "sql", ROOT / "examples", ROOT / "systemd", ROOT / "scheduler")
    missing = [
        path
        for path in named_paths(page)
        if not path.startswith(MADE_LATER) and not any((place / path).exists() for place in places)
    ]

    # An example of a name that users give (component type and name) looks like a path.
    assert [] == [path for path in missing if not re.fullmatch(r"(?:api|worker|job|type)/\w+", path)]


OWN_FOLDERS = ("/etc/automon/", "/opt/automon/", "/var/lib/automon/")


@pages
def test_every_system_path_that_a_page_names_is_one_that_automon_uses(page: Page) -> None:
    pattern = r"/(?:etc|opt|var|usr/local)/[\w./-]*automon[\w./-]*"
    named = {span.rstrip("/") for span in page.spans if re.fullmatch(pattern, span)}

    assert set() == {path for path in named if path not in source_text() and not path.startswith(OWN_FOLDERS)}


@pages
def test_every_link_within_the_repository_leads_somewhere(page: Page) -> None:
    for link in page.links:
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), link
        if anchor and path.suffix == ".md":
            assert anchor in Page(path).anchors, link


def test_the_index_links_every_page_of_the_documentation() -> None:
    index = Page(ROOT / "docs/index.md")
    linked = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}

    assert set() == {path for path in ROOT.glob("docs/**/*.md") if path != index.path} - linked


def test_decisions_are_numbered_without_gaps() -> None:
    assert [f"{number:04}" for number in range(1, len(DECISIONS) + 1)] == [path.name[:4] for path in DECISIONS]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_says_context_choice_what_was_rejected_and_what_follows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert text.startswith(f"# {path.name[:4]} ")
    assert ["Context", "Choice", "Rejected", "What follows"] == re.findall(r"^\*\*([\w ]+)\.\*\*", text, re.MULTILINE)


def test_the_record_about_dependencies_has_every_runtime_dependency() -> None:
    text = (ROOT / "docs/decisions/0007-dependencies.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^dependencies = (\[.*?^\])", project, re.MULTILINE | re.DOTALL)
    assert found is not None
    names = [re.split(r"[\[<>=~]", requirement)[0] for requirement in ast.literal_eval(found[1])]

    assert 10 == len(names)
    assert [] == [name for name in names if f"`{name}`" not in text]


def test_the_changelog_begins_with_the_version_of_the_project() -> None:
    found = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    headings = re.findall(r"^## (\S+?),", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)

    assert found is not None
    assert found[1] == headings[0]


def test_the_command_line_page_is_that_of_the_commands() -> None:
    assert reference_page() == (ROOT / PAGE_FILE).read_text(encoding="utf-8")


def test_the_table_of_contents_fits_a_terminal_a_line_for_each_command() -> None:
    assert isinstance(automon, click.Group)
    shown = CliRunner().invoke(automon, ["--help"], terminal_width=80).output.splitlines()

    assert max(map(len, shown)) <= 80
    assert [
        line.split()[0] for line in shown if line.startswith("  ") and line[2:3].islower()
    ] == automon.list_commands(click.Context(automon))


def test_every_command_says_in_one_imperative_sentence_what_it_does() -> None:
    assert isinstance(automon, click.Group)
    for name in automon.list_commands(click.Context(automon)):
        command = find_command(name)
        assert command is not None, name
        assert re.match(r"[A-Z][a-z]+ .*\.", command.help or ""), name
