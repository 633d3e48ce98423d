"""Print what a look at this host costs: time per look, and its share of a core at one look a minute.

Run: .venv/bin/python bench/host_sample.py
"""

from __future__ import annotations

import statistics
import time

from jobs.host_reader import HostReader

LOOKS = 200
SECONDS_BETWEEN_LOOKS = 60


def time_of_a_look(reader: HostReader, number: int) -> tuple[float, float]:
    """Look once; answer with the milliseconds that passed and the milliseconds of CPU time."""
    started, cpu_started = time.perf_counter(), time.process_time()
    reader.look(float(number))
    return 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - cpu_started)


def main() -> None:
    reader = HostReader()
    passed, busy = zip(*(time_of_a_look(reader, number) for number in range(LOOKS)), strict=True)
    share = statistics.mean(busy) / 1000 / SECONDS_BETWEEN_LOOKS
    print(f"a look at the host, of {LOOKS}: median {statistics.median(passed):.2f} ms, max {max(passed):.2f} ms")
    print(f"CPU time of one a minute: {statistics.mean(busy):.2f} ms, {share:.5%} of a core")


if __name__ == "__main__":
    main()
