"""The sampler: what it records, when it begins and ends, and that it never harms the process it runs in."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitoring_client.sampler import HostSampler, OtherHostReader, ProcessReader, program_name
from monitoring_client.testing import RecordingClient

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Signalling(RecordingClient):
    """Says when a sample was recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.sampled = threading.Semaphore(0)

    def record_performance_metric(self, *args: Any, **kwargs: Any) -> bool:
        taken = super().record_performance_metric(*args, **kwargs)
        if args[0] == "process_open_files":
            self.sampled.release()
        return taken


@pytest.fixture
def monitor() -> Signalling:
    return Signalling()


@ON_LINUX
def test_a_sample_tells_of_the_host_and_of_the_process(monitor: Signalling) -> None:
    HostSampler(monitor, host="ops-1", component="shop").sample()

    (sample,) = monitor.host_samples
    assert sample.host == "ops-1"
    assert {"memory_percent", "load_per_core", "disks", "cpu"} <= sample.sample.keys()
    monitor.assert_metric("process_threads", metric_type="resource", component="shop", times=1)
    assert all(metric.value > 0 for metric in monitor.metrics)
    assert {metric.metric_name: metric.unit for metric in monitor.metrics} == {
        "process_memory": "bytes",
        "process_threads": "threads",
        "process_open_files": "files",
    }
    assert monitor.metrics[0].tags == {"host": "ops-1", "pid": os.getpid()}


@ON_LINUX
def test_a_host_or_a_process_may_be_left_out(monitor: Signalling) -> None:
    HostSampler(monitor, host="").sample()
    assert (len(monitor.host_samples), len(monitor.metrics)) == (0, 3)

    monitor.clear()
    HostSampler(monitor, component="").sample()
    assert (len(monitor.host_samples), len(monitor.metrics)) == (1, 0)


@pytest.mark.parametrize(
    ("argument", "name"),
    [("/srv/app/worker.py", "worker"), ("gunicorn", "gunicorn"), ("", "python"), ("-c", "python"), (None, "python")],
)
def test_a_program_is_named_without_its_folder(
    argument: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [] if argument is None else [argument])

    assert program_name() == name


def test_it_samples_until_it_is_stopped_and_may_begin_again(monitor: Signalling) -> None:
    sampler = HostSampler(monitor, every=3600)
    for _ in range(2):
        assert sampler.start() is sampler.start()
        assert monitor.sampled.acquire(timeout=10)
        assert [thread.name for thread in threading.enumerate()].count("automon-host-sampler") == 1
        sampler.stop()
        sampler.stop()
        assert "automon-host-sampler" not in [thread.name for thread in threading.enumerate()]

    assert len(monitor.host_samples) == 2


def test_it_samples_again_and_again(monitor: Signalling) -> None:
    sampler = HostSampler(monitor)
    sampler._every = 0.01
    with sampler:
        for _ in range(3):
            assert monitor.sampled.acquire(timeout=10)

    assert len(monitor.host_samples) >= 3
    monitor.assert_metric("process_cpu", unit="percent")


def test_it_does_not_keep_the_program_from_ending(monitor: Signalling) -> None:
    with HostSampler(monitor) as sampler:
        assert sampler._thread is not None
        assert sampler._thread.daemon


@pytest.mark.parametrize("every", ["often", None, 0, -5, float("nan"), float("inf")])
def test_a_wrong_interval_is_told_and_breaks_nothing(
    monitor: Signalling, every: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from monitoring_client import lenient

    lenient._warn.cache_clear()
    assert HostSampler(monitor, every=every)._every == 60
    assert "every must be a finite number of at least 1" in caplog.text


def test_what_goes_wrong_is_told_once_and_sampling_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    tries = threading.Semaphore(0)

    class Failing(RecordingClient):
        def record_host_sample(self, *args: Any, **kwargs: Any) -> bool:
            tries.release()
            raise RuntimeError("out of order")

    sampler = HostSampler(Failing())
    sampler._every = 0.01
    with caplog.at_level(logging.WARNING, "automon_client"), sampler:
        for _ in range(3):
            assert tries.acquire(timeout=10)

    assert caplog.text.count("the host was not sampled: RuntimeError: out of order") == 1


def test_a_system_without_threads_to_spare_breaks_nothing(
    monitor: Signalling, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        sampler = HostSampler(monitor).start()
    assert "the host is not sampled: can't start new thread" in caplog.text

    with sampler:
        assert monitor.sampled.acquire(timeout=10)


def in_a_child(work: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@ON_LINUX
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12: there are threads, on purpose
def test_a_forked_child_samples_only_if_it_asks_to(monitor: Signalling) -> None:
    sampler = HostSampler(monitor, every=3600).start()
    assert monitor.sampled.acquire(timeout=10)

    assert in_a_child(lambda: threading.active_count() == 1)
    assert in_a_child(lambda: sampler.start() is sampler and monitor.sampled.acquire(timeout=10))
    sampler.stop()


def test_the_share_of_a_core_is_that_since_the_look_before() -> None:
    process = ProcessReader()
    first = process.look(0.0)
    spent = time.process_time()
    while time.process_time() - spent < 0.02:
        pass
    share, unit = process.look(0.02)["process_cpu"]

    assert "process_cpu" not in first
    assert unit == "percent"
    assert share >= 100
    assert "process_cpu" not in process.look(0.02)


@ON_LINUX
def test_the_process_is_measured(tmp_path: Path) -> None:
    before = ProcessReader().look(0.0)
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        after = ProcessReader().look(0.0)

    assert after["process_open_files"][0] == before["process_open_files"][0] + 2
    assert 5e6 < after["process_memory"][0] < 5e9


def test_a_host_without_proc_tells_what_it_can() -> None:
    reader = OtherHostReader()
    first, second = reader.look(0.0), reader.look(60.0)

    assert {"cpu", "disks", "load", "load_per_core", "memory", "memory_percent", "uptime_seconds"} <= first.keys()
    assert first["disks"][0].keys() == {"mount", "percent", "free_bytes", "total_bytes"}
    assert ("cpu_percent" in first, "cpu_percent" in second) == (False, True)


def test_a_host_without_proc_and_psutil_tells_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)

    assert OtherHostReader().look(0.0).keys() == {"cpu", "disks", "load", "load_per_core"}
