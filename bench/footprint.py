"""What the service takes: memory after Slack, email and /metrics have been used, and CPU while nothing happens."""

from __future__ import annotations

import time
import urllib.request

import psutil
import psycopg

from bench.harness import database, report, service, slack_and_mail

IDLE_SECONDS = 60.0
PORT = 18484


def main() -> None:
    with (
        database() as url,
        slack_and_mail() as (slack, mail, config, environment),
        service(url, config | {"http": {"listen": f"127.0.0.1:{PORT}"}}, environment) as process,
    ):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT public.update_queue_metrics('mail', 700)")
            connection.execute("SELECT public.check_queue_backlog_alerts()")
        slack.wait_for(1, 30)
        mail.wait_for(1, 30)
        for _ in range(10):
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10).close()
        seen = psutil.Process(process.pid)
        before = seen.cpu_times()
        time.sleep(IDLE_SECONDS)
        after = seen.cpu_times()
        memory = seen.memory_full_info()
    used = after.user + after.system - before.user - before.system
    report(
        "memory; Slack, email and metrics in use",
        f"{memory.rss / 1e6:.1f} MB resident, {memory.pss / 1e6:.1f} MB proportional",
        "at most 70 MB",
    )
    report("CPU while idle", f"{100 * used / IDLE_SECONDS:.2f} % of a core over {IDLE_SECONDS:.0f} s", "below 0.3 %")


if __name__ == "__main__":
    main()
