"""What the service tells monitors: whether it lives, whether it is ready, and its metrics."""

from __future__ import annotations

import json
import platform
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import psutil

from automon import __version__
from automon.clock import Clock
from automon.metrics import CONTENT_TYPE, Own, Process, database_series, own_series, render
from scheduler.endpoint import Endpoint, Response
from scheduler.health import MENDED_BY_RESTART, NOT_READY, Trouble, Vitals, troubles_of
from scheduler.readings import Readings


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigState:
    """Whether the file was accepted when it was last read; when the config in force was read, in Unix time; how often both."""

    accepted: bool
    loaded_at: float
    reloads: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """Where this looks at the service, at each request. `read` asks the database, `database_is_up` does not."""

    vitals: Callable[[], Vitals]
    is_ending: Callable[[], bool]
    database_is_up: Callable[[], bool]
    config: Callable[[], ConfigState]
    attempts: Callable[[], Mapping[tuple[str, str], int]]
    read: Callable[[], Mapping[str, Any]]


class Exposition:
    """The pages of the endpoint. None of them waits for the database, but for the first to ask for metrics after a pause."""

    def __init__(self, clock: Clock, views: Views) -> None:
        self._clock = clock
        self._views = views
        self._process = psutil.Process()
        self._readings = Readings(clock, lambda: render(database_series(views.read())))
        self.endpoint = Endpoint({"/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz})

    def end(self) -> None:
        self._readings.end()
        self.endpoint.end()

    def _healthz(self) -> Response:
        troubles = troubles_of(self._views.vitals())
        return _verdict("ok", "failing", MENDED_BY_RESTART.intersection(troubles), troubles)

    def _readyz(self) -> Response:
        troubles = troubles_of(self._views.vitals())
        reasons = [*NOT_READY.intersection(troubles), *(["the service ends"] if self._views.is_ending() else [])]
        return _verdict("ready", "not ready", reasons, troubles)

    def _metrics(self) -> Response:
        self._readings.ask()
        if self._views.database_is_up():
            self._readings.wait()
        is_up = self._views.database_is_up()
        reading = self._readings.newest() if is_up else None
        now = self._clock.monotonic()
        own = self._own(
            database_up=is_up,
            reading_age=None if reading is None else now - reading.at,
            reading_seconds=None if reading is None else reading.seconds,
        )
        parts = (render(own_series(own)), b"" if reading is None else reading.text)
        return Response(status=HTTPStatus.OK, content_type=CONTENT_TYPE, parts=parts)

    def _own(self, *, database_up: bool, reading_age: float | None, reading_seconds: float | None) -> Own:
        vitals, config = self._views.vitals(), self._views.config()
        troubles = troubles_of(vitals)
        return Own(
            version=__version__,
            python_version=platform.python_version(),
            healthy=not MENDED_BY_RESTART.intersection(troubles),
            ready=not NOT_READY.intersection(troubles) and not self._views.is_ending(),
            troubles={trouble.name.lower(): trouble in troubles for trouble in Trouble},
            config_accepted=config.accepted,
            config_loaded_at=config.loaded_at,
            reloads=config.reloads,
            database_up=database_up,
            scheduler_age=vitals.scheduler.total_seconds(),
            heartbeat_age=vitals.heartbeat.total_seconds(),
            sender_age=vitals.slowest_sender.total_seconds(),
            attempts=self._views.attempts(),
            requests=dict(self.endpoint.requests),
            dropped=self.endpoint.dropped,
            readings=self._readings.counts,
            reading_age=reading_age,
            reading_seconds=reading_seconds,
            process=look_at(self._process),
        )


def _verdict(good: str, bad: str, reasons: object, troubles: list[Trouble]) -> Response:
    document = {
        "schema_version": 1,
        "status": bad if reasons else good,
        "troubles": [str(trouble) for trouble in troubles],
        "version": __version__,
    }
    return Response(
        status=HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK,
        content_type="application/json",
        parts=(json.dumps(document).encode() + b"\n",),
    )


def look_at(process: psutil.Process) -> Process:
    times = process.cpu_times()
    return Process(
        cpu_seconds=times.user + times.system,
        resident_bytes=process.memory_info().rss,
        open_files=process.num_fds(),
        most_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        threads=process.num_threads(),
        started_at=process.create_time(),
    )
