"""How long the service takes from its start to ready, with a database up."""

from __future__ import annotations

from bench.harness import database, median_and_max, now, report, service

STARTS = 5


def main() -> None:
    times = []
    with database() as url:
        for _ in range(STARTS):
            began = now()
            with service(url, {"channels": {"screen": {"type": "terminal"}}}, {}):
                times.append(now() - began)
    report("start to ready", median_and_max(times, "s"), "under 1 s")


if __name__ == "__main__":
    main()
