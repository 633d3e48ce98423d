"""The real process, the servers that it talks to, and what makes them fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.auditor import Audit, table
from tests.support.facts_audit import FactsAudit
from tests.support.postgres import PostgresUnderTest
from tests.support.proxy import TcpProxy
from tests.support.service import Document, Look, ServiceProcess, make_config
from tests.support.slack import FakeSlack
from tests.support.smtp import FakeSmtp

StartService = Callable[..., ServiceProcess]
KeepAudit = Callable[[Audit], None]
KeepFactsAudit = Callable[[FactsAudit], None]
AUDITS = pytest.StashKey[list[Audit]]()
FACTS_AUDITS = pytest.StashKey[list[FactsAudit]]()


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as fake:
        yield fake


@pytest.fixture
def smtp() -> Iterator[FakeSmtp]:
    with FakeSmtp(security="starttls", username="automon", password="pass-w0rd-of-smtp") as fake:
        yield fake


@pytest.fixture
def look(database_url: str) -> Iterator[Look]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Look(connection)


@pytest.fixture
def line(postgres_server: PostgresUnderTest) -> Iterator[TcpProxy]:
    """The line between the service and its database."""
    with TcpProxy(postgres_server.address.port) as proxy:
        yield proxy


@pytest.fixture
def url_over_line(postgres_server: PostgresUnderTest, database_url: str, line: TcpProxy) -> str:
    """The URL of this test's database over the line, with the password in it."""
    name = database_url.partition("://")[2].partition("/")[2].partition("?")[0]
    password = postgres_server.password_file.read_text(encoding="utf-8").strip()
    return f"postgresql://automon:{password}@127.0.0.1:{line.port}/{name}"


@pytest.fixture
def start_service(tmp_path: Path, database_url: str) -> Iterator[StartService]:
    """Start the service on this test's database; `config` and `environment` are added to what makes it run."""
    with ExitStack() as stack:

        def start(
            config: Document | str | None = None, environment: dict[str, str] | None = None, **options: Any
        ) -> ServiceProcess:
            values = {"DATABASE_URL": database_url, **(environment or {})}
            return stack.enter_context(ServiceProcess(tmp_path, config or make_config(), values, **options))

        yield start


@pytest.fixture
def keep_audit(pytestconfig: pytest.Config) -> KeepAudit:
    """Keep what an auditor has found for the table at the end of the run."""
    return pytestconfig.stash.setdefault(AUDITS, []).append


@pytest.fixture
def keep_facts_audit(pytestconfig: pytest.Config) -> KeepFactsAudit:
    """Keep what an auditor of facts has found for the table at the end of the run."""
    return pytestconfig.stash.setdefault(FACTS_AUDITS, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables; with several workers they stay with them."""
    if audits := config.stash.get(AUDITS, []):
        terminalreporter.section("what became of the alerts")
        terminalreporter.write_line("\n".join(table(audits)))
    if facts_audits := config.stash.get(FACTS_AUDITS, []):
        terminalreporter.section("what became of the facts")
        terminalreporter.write_line("\n".join(table(facts_audits)))
