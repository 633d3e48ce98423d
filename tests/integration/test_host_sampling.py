from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from automon.clock import Clock, SystemClock
from automon.database import Database
from automon.errors import AutomonError
from automon.models import HostSample
from automon.store import Store
from jobs.host_reader import HostReader
from jobs.host_sampling import HostSampling
from jobs.job import Context
from tests.support.waiting import wait_until

HOST = "ops-1"
Rows = list[tuple[Any, ...]]


class ClockAhead(SystemClock):
    """A clock that is an hour fast."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


def context_of(database: Database, *, clock: Clock | None = None, schema: str = "public") -> Context:
    return Context(
        store=Store(database, schema), clock=clock or SystemClock(), instance="tests:1", stop=threading.Event()
    )


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = Database(url, SystemClock())
    database.open()
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with opened(database_url) as database:
        yield database


@pytest.fixture
def context(database: Database) -> Context:
    return context_of(database)


@pytest.fixture
def away(database_url: str) -> Context:
    """A context whose database cannot be had, and says so at once."""
    return context_of(Database(database_url, SystemClock()))


@pytest.fixture
def sampling() -> HostSampling:
    return HostSampling(HOST, HostReader(), keep=3)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else listens there, and refuses connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


def stored(connection: psycopg.Connection[Any], columns: bytes = b"sampled_at") -> Rows:
    return connection.execute(b"SELECT " + columns + b" FROM public.host_metrics ORDER BY sampled_at").fetchall()


# The real host ---------------------------------------------------------------------------------------------------


def busy_look(reader: HostReader) -> dict[str, Any]:
    """Look until there was something to see between two looks."""
    reader.look(time.monotonic())
    sample: dict[str, Any] = {}

    def something_was_seen() -> bool:
        sample.update(reader.look(time.monotonic()))
        return "cpu_percent" in sample

    wait_until(something_was_seen, what="a CPU share")
    return sample


def test_this_host_can_be_looked_at() -> None:
    with capture_logs() as lines:
        sample = busy_look(HostReader())

    assert lines == []
    assert json.loads(json.dumps(sample, allow_nan=False)) == sample
    assert all(0 <= sample[name] <= 100 for name in ("cpu_percent", "memory_percent"))
    assert 0 < sample["cpu"]["effective_cores"] <= sample["cpu"]["cores"]
    assert "/" in [disk["mount"] for disk in sample["disks"]]
    assert all(0 <= disk["percent"] <= 100 and disk["total_bytes"] > 0 for disk in sample["disks"])
    assert sample["uptime_seconds"] > 0


LOOK_BESIDE_A_HANGING_MOUNT = """
import ctypes, json, os, sys, threading
from jobs.host_reader import HostReader

channel = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={channel},rootmode=40000,user_id=0,group_id=0"
if ctypes.CDLL(None).mount(b"nas:/export", sys.argv[1].encode(), b"fuse", 0, options.encode()):
    sys.exit(77)
hanging = threading.Thread(target=os.statvfs, args=(sys.argv[1],), daemon=True)
hanging.start()
hanging.join(0.3)
print(json.dumps({"hangs": hanging.is_alive(), "mounted": sys.argv[1] in open("/proc/self/mountinfo").read(),
                  "disks": [disk["mount"] for disk in HostReader().look(0.0)["disks"]]}), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="only root may mount a file system")
def test_a_file_system_whose_server_is_gone_does_not_hold_up_a_look(tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", LOOK_BESIDE_A_HANGING_MOUNT, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if ended.returncode in {1, 77} and "HostReader" not in ended.stderr:
        pytest.skip(f"nothing may be mounted here: {ended.stderr.strip()}")

    seen = json.loads(ended.stdout)

    assert seen["mounted"]
    assert seen["hangs"]
    assert "/" in seen["disks"]
    assert str(tmp_path) not in seen["disks"]


# The job and the database ----------------------------------------------------------------------------------------


def test_a_sample_is_stored_as_it_was_taken(
    sampling: HostSampling, context: Context, connection: psycopg.Connection[Any]
) -> None:
    before = context.clock.now()

    result = sampling.run_once(context)

    assert result.counts == {"sampled": 1, "stored": 1, "waiting": 0, "dropped": 0}
    columns = b"host, sampled_at, cpu_percent, memory_percent, disk_percent, load_per_core, sample"
    [(host, at, cpu, memory, disk, load, sample)] = stored(connection, columns)
    assert host == HOST
    assert before <= at <= context.clock.now()
    assert cpu is None
    assert (memory, load) == (sample["memory_percent"], sample["load_per_core"])
    assert disk == max(disk["percent"] for disk in sample["disks"])


def test_the_checks_understand_what_was_sampled(database: Database, connection: psycopg.Connection[Any]) -> None:
    sample = busy_look(HostReader())
    now = SystemClock().now()
    for minute in range(5):
        at = now - timedelta(minutes=minute)
        assert Store(database).record_host_sample(HostSample(host=HOST, sampled_at=at, values=sample))

    findings = connection.execute("SELECT alert_type, source, value FROM public.evaluate_hosts(%s)", [now]).fetchall()

    found = {(alert_type, source): value for alert_type, source, value in findings}
    assert found["host_cpu", HOST] == pytest.approx(sample["cpu_percent"])
    assert found["host_memory", HOST] == sample["memory_percent"]
    assert {source for alert_type, source in found if alert_type == "host_disk"} == {
        f"{HOST} {disk['mount']}" for disk in sample["disks"]
    }


def test_samples_of_an_outage_are_stored_after_it_oldest_first(
    sampling: HostSampling, context: Context, connection: psycopg.Connection[Any], closed_port: int
) -> None:
    sampling.run_once(context)
    with opened(f"postgresql://automon@127.0.0.1:{closed_port}/automon") as gone:
        during = sampling.run_once(context_of(gone))
    ended_at = context.clock.now()
    assert len(stored(connection)) == 1

    after = sampling.run_once(context)

    assert during.counts == {"sampled": 1, "stored": 0, "waiting": 1, "dropped": 0}
    assert after.counts == {"sampled": 1, "stored": 2, "waiting": 0, "dropped": 0}
    times = [at for (at,) in stored(connection)]
    assert times[1] < ended_at < times[2]
    in_order_of_arrival = connection.execute("SELECT sampled_at FROM public.host_metrics ORDER BY ctid").fetchall()
    assert [at for (at,) in in_order_of_arrival] == times


def test_a_run_without_any_database_from_the_start_fails_in_nothing(sampling: HostSampling, away: Context) -> None:
    waiting = [sampling.run_once(away).counts["waiting"] for _ in range(3)]

    assert waiting == [1, 2, 3]


def test_in_a_long_outage_the_oldest_samples_give_way(
    sampling: HostSampling, context: Context, away: Context, connection: psycopg.Connection[Any]
) -> None:
    runs = [sampling.run_once(away) for _ in range(4)]
    fifth_at = context.clock.now()
    runs.append(sampling.run_once(away))
    with capture_logs() as lines:
        runs.append(sampling.run_once(context))
        runs.append(sampling.run_once(context))

    assert [run.counts["dropped"] for run in runs] == [0, 0, 0, 1, 2, 3, 0]
    assert [run.counts["waiting"] for run in runs] == [1, 2, 3, 3, 3, 0, 0]
    assert [run.counts["stored"] for run in runs] == [0, 0, 0, 0, 0, 3, 1]
    assert [(line["event"], line["stored"], line["dropped"]) for line in lines if line["event"].startswith("host")] == [
        ("host_samples_caught_up", 3, 3)
    ]
    times = [at for (at,) in stored(connection)]
    assert len(times) == 4
    assert times[0] < fifth_at < times[1]


def test_samples_wait_for_a_schema_that_is_not_there_yet(sampling: HostSampling, empty_database_url: str) -> None:
    with opened(empty_database_url) as database:
        contexts = [context_of(database), context_of(database, schema="not_there")]
        waiting = [sampling.run_once(context).counts["waiting"] for context in contexts]

    assert waiting == [1, 2]


def test_a_sample_that_is_sent_twice_is_there_once(database: Database, connection: psycopg.Connection[Any]) -> None:
    sample = HostSample(host=HOST, sampled_at=SystemClock().now(), values=HostReader().look(0.0))
    store = Store(database)

    answers = [store.record_host_sample(sample) for _ in range(2)]

    assert answers == [True, False]
    assert stored(connection) == [(sample.sampled_at,)]


def test_a_sample_that_the_database_refuses_holds_up_no_other(
    sampling: HostSampling, context: Context, away: Context, connection: psycopg.Connection[Any]
) -> None:
    fast = Context(store=away.store, clock=ClockAhead(), instance=away.instance, stop=away.stop)
    sampling.run_once(fast)
    sampling.run_once(away)

    with pytest.raises(AutomonError, match="refused 1 of this host's samples: invalid_time") as refusal:
        sampling.run_once(context)

    assert "NTP" in refusal.value.hint
    assert len(stored(connection)) == 2
    assert sampling.run_once(context).counts == {"sampled": 1, "stored": 1, "waiting": 0, "dropped": 0}


def test_an_error_that_is_not_about_the_sample_loses_none(
    sampling: HostSampling, context: Context, connection: psycopg.Connection[Any]
) -> None:
    connection.execute("ALTER TABLE public.host_metrics RENAME COLUMN sample TO taken_away")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        sampling.run_once(context)
    connection.execute("ALTER TABLE public.host_metrics RENAME COLUMN taken_away TO sample")

    assert sampling.run_once(context).counts["stored"] == 2


def test_a_service_that_ends_does_not_wait_for_samples_to_be_stored(
    sampling: HostSampling, context: Context, connection: psycopg.Connection[Any]
) -> None:
    context.stop.set()

    assert sampling.run_once(context).counts == {"sampled": 1, "stored": 0, "waiting": 1, "dropped": 0}
    assert stored(connection) == []
