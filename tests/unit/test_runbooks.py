"""Each alert type has a runbook and nothing else has: in one form, with keys that exist, readable in a terminal and shipped."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from automon.cli import main as automon
from automon.cli.markdown import terminal_page
from automon.cli.text import cells
from automon.config import load_config
from automon.config.settings import ALERT_TYPES as TYPE_OF_KEY
from automon.runbook import runbooks
from notifiers.words import ALERT_TYPES, runbook_command
from scheduler.configuration import make_desks
from tests.support.markdown import ROOT, Block, Page

PAGES = {path.stem: Page(path) for path in sorted((ROOT / "docs/runbooks").glob("*.md"))}
HEADINGS = ["What it means", "How bad it is", "First looks", "Usual causes", "Thresholds, silence, off", "How it ends"]
OWN = {alert_type for alert_type in ALERT_TYPES if alert_type.startswith("automon_")}
ALERT = "41"  # in all commands
LONGEST_LINE = 150  # of a query, in a terminal that somebody widens for it

each_page = pytest.mark.parametrize("alert_type", PAGES)


def section(page: Page, heading: str) -> str:
    """Return all that stands below a heading, blocks included."""
    return re.split(rf"^## {re.escape(heading)}\n", page.text, flags=re.MULTILINE)[1].split("\n## ")[0]


def shell_lines(page: Page) -> list[str]:
    return [line for block in page.written_in("sh") for line in block.text.splitlines()]


def test_every_alert_type_has_a_runbook_and_no_runbook_is_left_over() -> None:
    assert set(ALERT_TYPES) == set(PAGES)


def test_every_alert_type_that_the_database_raises_has_a_runbook() -> None:
    sql = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "sql").glob("0*.sql")))
    lists = re.findall(r"apply_findings\(ARRAY\[([^\]]+)\]|SELECT ARRAY\[('error_rate'[^\]]+)\]", sql)
    raised = {name for pair in lists for names in pair for name in re.findall(r"'(\w+)'", names)}

    assert {"error_rate", "host_silence", "automon_storage"} <= raised
    assert set() == raised - set(PAGES)


@each_page
def test_a_runbook_is_written_in_the_form_of_all(alert_type: str) -> None:
    page = PAGES[alert_type]
    lines = page.text.splitlines()

    assert re.fullmatch(rf"# {alert_type}: [a-z].{{10,70}}[^.]", lines[0])
    assert re.fullmatch(r"`[^`]+: [^`]+`", lines[2])  # as the message says it
    assert HEADINGS == re.findall(r"^## (.+)$", page.text, re.MULTILINE)
    assert set() == {block.language for block in page.blocks} - {"sh", "sql", "json"}
    assert "\n|" not in page.text  # a table does not fit a terminal


@each_page
def test_a_runbook_begins_with_explain_and_says_how_to_be_left_alone(alert_type: str) -> None:
    page = PAGES[alert_type]

    assert f"automon explain {ALERT}" in section(page, "First looks")
    acknowledges = f"automon ack {ALERT} --note" in section(page, "Thresholds, silence, off")
    # Blindness is over when it is told, and nobody holds a channel's mending up.
    assert acknowledges or alert_type in {"automon_blind", "automon_channel"}


@each_page
def test_a_runbook_names_the_key_that_sets_its_levels(alert_type: str) -> None:
    text = section(PAGES[alert_type], "What it means")
    keys = {of: key for key, of in TYPE_OF_KEY.items()}

    if alert_type in keys:
        assert f"`alert_thresholds.{keys[alert_type]}`" in text
        assert f'`"{keys[alert_type]}": {{}}`' in section(PAGES[alert_type], "Thresholds, silence, off")
    else:
        assert alert_type in OWN | {"component_health"}


@each_page
def test_what_a_runbook_says_of_shipped_levels_is_what_is_shipped(alert_type: str, tmp_path: Path) -> None:
    text = " ".join(section(PAGES[alert_type], "What it means").split())
    row = next((row for row in shipped_levels(tmp_path) if row[0] == alert_type), None)
    said = re.search(r"as shipped ([\d (a-z),]+)", text)

    if row and said:
        assert [level for level in row[1] if level is not None] == [float(n) for n in re.findall(r"\d+", said[1])]
    assert said or alert_type in OWN | {"component_health", "critical_errors"}


def shipped_levels(folder: Path) -> list[tuple[str, list[float | None]]]:
    file = folder / "config.json"
    file.write_text("{}", encoding="utf-8")
    rows = load_config(file, {}).threshold_rows()
    return [(row.alert_type, [row.low, row.medium, row.high, row.critical]) for row in rows if row.source == "*"]


@pytest.mark.parametrize("block", [block for page in PAGES.values() for block in page.written_in("json")], ids=str)
def test_a_config_in_a_runbook_loads(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(block.text, encoding="utf-8")
    mail = "smtp://automon:choose-one@mail.example.org?from=automon@example.org&to=ops@example.org"
    secrets = {"SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x", "AUTOMON_EMAIL_URL": mail}

    assert json.loads(file.read_text(encoding="utf-8"))
    assert load_config(file, secrets)


@each_page
def test_every_automon_command_in_a_runbook_can_be_called_so(alert_type: str) -> None:
    for line in (line for line in shell_lines(PAGES[alert_type]) if line.startswith("automon ")):
        group: click.Command = automon
        context = click.Context(automon)
        words = shlex.split(line)[1:]
        while isinstance(group, click.Group) and words and group.get_command(context, words[0]) is not None:
            group = group.get_command(context, words.pop(0)) or group
        group.make_context("automon", words)  # raises for what it does not take
        if "--type" in words:
            assert alert_type == words[words.index("--type") + 1]


@each_page
def test_a_silence_in_a_runbook_is_for_the_source_that_it_shows(alert_type: str) -> None:
    page = PAGES[alert_type]
    shown = page.text.splitlines()[2].strip("`").partition(": ")[0]
    silenced = {
        shlex.split(line)[2]
        for line in shell_lines(page)
        if line.startswith("automon silence ") and alert_type != "automon_job"
    }

    assert set() == silenced - {shown}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        pytest.param({}, "", id="as shipped"),
        pytest.param({"runbooks_url": "https://wiki.example.org/rb"}, "https://wiki.example.org/rb", id="published"),
    ],
)
def test_every_channel_is_told_where_the_runbooks_are(section: dict[str, str], expected: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"alerts": section}), encoding="utf-8")

    desks = make_desks(load_config(file, {}), "ops-1")

    assert ["terminal", "journal"] == [desk.channel.name for desk in desks]
    assert {expected} == {desk.message_context.runbooks for desk in desks}


# In a terminal -----------------------------------------------------------------------------------------------------


@each_page
def test_the_command_prints_a_runbook_that_a_terminal_can_show(alert_type: str) -> None:
    done = CliRunner().invoke(automon, runbook_command(alert_type).split()[1:])

    assert (0, "") == (done.exit_code, done.stderr)
    lines = done.stdout.splitlines()
    assert lines[0] == PAGES[alert_type].text.splitlines()[0].removeprefix("# ")
    assert [heading.upper() for heading in HEADINGS] == [line for line in lines if line.isupper() and line[0] != " "]
    assert max(cells(line) for line in lines if not line.startswith("    ")) <= 80
    assert max(map(cells, lines)) <= LONGEST_LINE
    assert "](" not in done.stdout
    assert "**" not in done.stdout


def test_without_a_name_the_command_lists_all_with_what_they_are_about() -> None:
    done = CliRunner().invoke(automon, ["runbook"])

    assert 0 == done.exit_code
    assert list(runbooks()) == [line.split()[0] for line in done.stdout.splitlines()]
    assert "a component records many errors" in done.stdout
    assert max(map(cells, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("eror_rate", "Did you mean error_rate?", id="misspelt"),
        pytest.param("zzz", "lists all", id="nothing like it"),
    ],
)
def test_a_runbook_that_there_is_not_is_a_wrong_call(name: str, words: str) -> None:
    done = CliRunner().invoke(automon, ["runbook", name])

    assert (64, "") == (done.exit_code, done.stdout)
    assert words in done.stderr


def test_a_type_may_be_written_with_hyphens() -> None:
    assert 0 == CliRunner().invoke(automon, ["runbook", "error-rate"]).exit_code


def test_as_json_a_runbook_is_its_markdown() -> None:
    page = json.loads(CliRunner().invoke(automon, ["runbook", "error_rate", "--json"]).stdout)
    listed = json.loads(CliRunner().invoke(automon, ["runbook", "--json"]).stdout)

    assert 1 == page["schema_version"] == listed["schema_version"]
    assert PAGES["error_rate"].text == page["runbook"]["text"]
    assert list(PAGES) == [one["alert_type"] for one in listed["runbooks"]]


def test_the_wheel_brings_the_runbooks(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")

    elsewhere = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    called = [sys.executable, "-m", "automon", "runbook", "error_rate"]
    done = subprocess.run(called, cwd=tmp_path, env=elsewhere, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert "error_rate: a component records many errors" == done.stdout.splitlines()[0]
    assert (tmp_path / "installed/automon/runbooks/error_rate.md").exists()


def test_a_page_keeps_its_blocks_and_wraps_its_prose() -> None:
    page = "# a: b\n\nOne `two` [three](x.md)\nfour.\n\n## C d\n\n- **e**: f\n  g h\n- i\n\n```sql\nSELECT  1;\n\nSELECT 2;\n```\nj\n"

    assert terminal_page(page, 14) == [
        "a: b", "", "  One `two`", "  three four.", "", "C D", "", "  - e: f g h", "  - i", "",
        "    SELECT  1;", "    ", "    SELECT 2;", "  j",
    ]  # fmt: skip
