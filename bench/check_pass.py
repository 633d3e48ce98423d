"""How long one pass of all checks takes on a fresh database."""

from __future__ import annotations

import psycopg

from bench.harness import database, median_and_max, now, report

PASSES = 50


def main() -> None:
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        times = []
        for _ in range(PASSES):
            began = now()
            connection.execute("SELECT public.run_monitoring_checks()")
            times.append(now() - began)
    report("check pass, fresh database, first", f"{times[0] * 1000:.1f} ms", "under 50 ms")
    report("check pass, fresh database", median_and_max(times, "ms", 1000), "under 50 ms")


if __name__ == "__main__":
    main()
