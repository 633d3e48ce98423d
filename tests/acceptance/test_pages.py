"""Security and troubleshooting, tried: their SQL on a database with something wrong in it, their commands as they stand."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.calls import JOURNAL, channel
from tests.support.checkout import newcomers_environment, shell
from tests.support.markdown import ROOT, Block, page
from tests.support.psql import psql_program
from tests.support.service import Look, make_config, write_config

PAGES = [page("docs/security.md"), page("docs/troubleshooting.md")]
SQL = [block for page in PAGES for block in page.written_in("sql")]
SHELL = [block for page in PAGES for block in page.written_in("sh")]
# What a line begins with, and why it is not run here.
NOT_RUN = {
    "systemctl ": "it needs a systemd; its own tests have one",
    "journalctl ": "it needs a systemd; its own tests have one",
    "automon canary": "it waits for a service; the setup guide's test has one",
    "export DATABASE_URL": "it needs a server with a certificate; it is parsed below",
}


@pytest.fixture
def troubled_database(look: Look, database_url: str) -> str:
    """A database with alert 41 open, silence 3, and a message that failed."""
    look.configure(channels=[channel("slack", recipients=["webhook"]), JOURNAL])
    look.ask("SELECT setval('public.alerts_id_seq', 40), setval('public.alert_silences_id_seq', 2)")
    look("silence_alerts", "elsewhere", look.one("SELECT interval '1 hour'"))
    look.raise_alert(700)
    return database_url


@pytest.mark.parametrize("block", SQL, ids=str)
def test_the_sql_of_a_page_runs(block: Block, troubled_database: str) -> None:
    with psycopg.connect(troubled_database, autocommit=True) as owner:
        for statement in filter(str.strip, block.text.split(";\n")):
            owner.execute(statement.encode())


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_the_commands_of_a_page_run(block: Block, troubled_database: str, tmp_path: Path) -> None:
    write_config(tmp_path, make_config())
    around = newcomers_environment({"DATABASE_URL": troubled_database})
    around["PATH"] = f"{ROOT / '.venv/bin'}:{Path(psql_program()).parent}:{around['PATH']}"
    lines = [line for line in block.text.splitlines() if not line.startswith(tuple(NOT_RUN))]

    # 1 and 2 are what `alerts` and `status` answer while something is wrong, and something is.
    script = "\n".join(f"{line} || [ $? -le 3 ]" for line in lines)
    done = shell(f"set -e\n{script}", tmp_path, around)

    assert (0, "") == (done.returncode, "".join(line for line in done.stderr.splitlines() if "Error" in line)), (
        done.stderr
    )
    assert done.stdout or not lines or "--trouble" in block.text


@pytest.mark.parametrize("beginning", NOT_RUN)
def test_what_is_not_run_stands_in_a_page(beginning: str) -> None:
    assert any(line.startswith(beginning) for block in SHELL for line in block.text.splitlines())


def test_the_address_that_checks_certificates_is_one_that_postgresql_understands() -> None:
    [line] = [line for block in SHELL for line in block.text.splitlines() if line.startswith("export DATABASE_URL")]

    assert "verify-full" == conninfo_to_dict(line.split("'")[1])["sslmode"]


def test_on_an_old_server_nobody_else_creates_beside_the_tables_after_what_the_page_says(database_url: str) -> None:
    [revoke] = [block.text for block in SQL if block.text.startswith("REVOKE")]
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")  # as PostgreSQL 14 has it
        owner.execute(revoke.encode())
        row = owner.execute("SELECT has_schema_privilege('automon_writer', 'public', 'CREATE')").fetchone()

    assert (False,) == row
