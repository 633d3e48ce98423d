"""`automon run --embedded FOLDER`: one command with a database of its own, however it ended the last time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGINT

import psycopg
import pytest

from automon.embedded import find_running
from automon.embedded.postmaster import read_pid_file
from tests.support.service import Look, ServiceProcess, make_config, run_automon
from tests.support.waiting import wait_for_end

StartEmbedded = Callable[[], ServiceProcess]


@pytest.fixture
def folder(memory_path: Path) -> Path:
    return memory_path / "checkout"


@pytest.fixture
def start_embedded(folder: Path) -> Iterator[StartEmbedded]:
    with ExitStack() as stack:

        def start() -> ServiceProcess:
            environment = {"AUTOMON_LOG_FORMAT": "console"}
            arguments = ("run", "--embedded", ".automon")
            return stack.enter_context(ServiceProcess(folder, make_config(), environment, arguments=arguments))

        yield start


def server_pid(folder: Path) -> int:
    found = read_pid_file(folder / ".automon" / "data")
    assert found is not None
    return found.pid


def test_it_starts_again_with_its_data_and_ctrl_c_ends_both(folder: Path, start_embedded: StartEmbedded) -> None:
    first = start_embedded()
    banner = first.wait_for_output("Ctrl-C", seconds=60)
    assert "postgresql://automon@127.0.0.1:" in banner
    assert "(embedded; data in " in banner
    url = find_running(folder / ".automon")
    assert url is not None
    with psycopg.connect(url, autocommit=True) as connection:
        look = Look(connection)
        look("update_queue_metrics", "mail", 640)
        first.wait_for_output("CRITICAL mail: 640 waiting")
        look.wait_for("SELECT count(*) > 0 FROM public.job_runs WHERE job = 'alert_checks' AND outcome = 'succeeded'")
    status = run_automon(folder, "status")
    assert (status.returncode, status.stdout.splitlines()[0][:10]) == (2, "✗ PROBLEMS")
    pid = server_pid(folder)

    assert first.stop(SIGINT) == 0
    wait_for_end(pid)
    assert find_running(folder / ".automon") is None

    second = start_embedded()
    second.wait_for_output("Ctrl-C", seconds=60)
    status = run_automon(folder, "alerts")
    assert "640 waiting (limit 500)" in status.stdout
    assert second.stop() == 0


def test_a_kill_leaves_no_server_behind_and_nothing_that_blocks_the_next_start(
    folder: Path, start_embedded: StartEmbedded
) -> None:
    first = start_embedded()
    first.wait_for_output("Ctrl-C", seconds=60)
    pid = server_pid(folder)

    first.kill()

    second = start_embedded()
    second.wait_for_output("Ctrl-C", seconds=60)
    wait_for_end(pid)
    assert server_pid(folder) != pid
    assert second.stop() == 0


def test_a_second_service_in_the_same_folder_is_refused_with_the_first_ones_number(
    folder: Path, start_embedded: StartEmbedded
) -> None:
    first = start_embedded()
    first.wait_for_output("Ctrl-C", seconds=60)

    refused = run_automon(folder, "run", "--embedded", ".automon", environment={"AUTOMON_LOG_FORMAT": "console"})

    assert refused.returncode == 78
    assert f"is in use by process {first.pid}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert first.stop() == 0
