"""How long an alert takes from the check that finds it to its arrival, at Slack and at a mail server, on an idle service."""

from __future__ import annotations

import time

import psycopg

from bench.harness import Connection, database, now, quantiles, report, service, slack_and_mail

ALERTS = 100
SLACK_PACE = 1.05  # Slack takes one message a second from a webhook: each alert comes when the one before has left


def raise_alert(connection: Connection, number: int) -> float:
    """Raise an alert as the service's own check does, and answer when that began."""
    connection.execute("SELECT public.update_queue_metrics(%s, 700)", [f"queue-{number}"])
    began = now()
    connection.execute("SELECT public.check_queue_backlog_alerts()")
    return began


# What is told together has a bench of its own.
UNGROUPED = {"resolve_after_minutes": 0, "messages_per_cause": 10_000, "messages_at_once": 10_000}


def main() -> None:
    with (
        database() as url,
        slack_and_mail() as (slack, mail, config, environment),
        service(url, config | {"alerts": UNGROUPED}, environment),
        psycopg.connect(url, autocommit=True) as connection,
    ):
        to_slack, to_mail = [], []
        for number in range(ALERTS):
            began = raise_alert(connection, number)
            to_slack.append(slack.wait_for(number + 1, 30)[-1].arrived_at - began)
            to_mail.append(mail.wait_for(number + 1, 30)[-1].arrived_at - began)
            time.sleep(SLACK_PACE)
    report("check to Slack, the very first message", f"{to_slack[0] * 1000:.0f} ms", "under 1 s")
    report("check to Slack, all", quantiles(to_slack, "ms", 1000), "median under 100 ms, p99 under 1 s")
    report("check to mail, all", quantiles(to_mail, "ms", 1000), "median under 100 ms, p99 under 1 s")


if __name__ == "__main__":
    main()
