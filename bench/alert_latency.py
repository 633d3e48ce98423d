"""How long an alert takes from the check that finds it to the POST that arrives at Slack."""

from __future__ import annotations

import psycopg

from bench.harness import database, median_and_max, now, report, service, slack_and_mail

ALERTS = 20


def main() -> None:
    with (
        database() as url,
        slack_and_mail() as (slack, _mail, config, environment),
        service(url, config, environment),
        psycopg.connect(url, autocommit=True) as connection,
    ):
        times = []
        for number in range(ALERTS):
            connection.execute("SELECT public.update_queue_metrics(%s, 700)", [f"queue-{number}"])
            began = now()
            connection.execute("SELECT public.check_queue_backlog_alerts()")
            slack.wait_for(number + 1, 30)
            times.append(now() - began)
    report("check to Slack, first message", f"{times[0] * 1000:.0f} ms", "under 1 s")
    # Slack takes one message a second from a webhook, and so the later ones wait for their turn.
    report("check to Slack, the messages after it", median_and_max(times[1:], "ms", 1000), "1 s apart")


if __name__ == "__main__":
    main()
