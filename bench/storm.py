"""Ten thousand alerts within a minute: how many messages they become, when the last arrives, and what that takes."""

from __future__ import annotations

import argparse

import psutil
import psycopg

from bench.harness import database, now, report, service, slack_and_mail
from tests.support.waiting import wait_until

BATCHES = 20
# Of a type that no check judges, so that nothing resolves them meanwhile.
ONE_BATCH = """
SELECT public.apply_findings(ARRAY['backlog_of_bench'], ARRAY(
    SELECT (ROW('backlog_of_bench', 'queue-' || n, 'high', 250, 200, 'tasks', '250 waiting (limit 200)', '{"measured": "250 waiting"}'::jsonb))::public.monitoring_finding
    FROM generate_series(1, %s) AS n), clock_timestamp())
"""
OPEN = """
SELECT NOT EXISTS (SELECT FROM public.alert_deliveries WHERE status IN ('pending', 'sending'))
    AND (SELECT count(*) FROM public.v_deliveries WHERE alert_type = 'backlog_of_bench' AND subject = 'transition' AND status = 'sent') = %s
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=10_000)
    alerts = parser.parse_args().alerts
    with (
        database() as url,
        slack_and_mail() as (slack, mail, config, environment),
        service(url, config, environment) as process,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        seen = psutil.Process(process.pid)
        began = now()
        for batch in range(1, BATCHES + 1):
            connection.execute(ONE_BATCH, [alerts * batch // BATCHES])
        opened = now()
        # Each alert is told to Slack and by mail.
        wait_until(lambda: connection.execute(OPEN, [2 * alerts]).fetchone() == (True,), seconds=120, what="all told")
        told = now()
        last = max(slack.posts[-1].arrived_at, mail.mails[-1].arrived_at)
        memory = seen.memory_info().rss / 1e6
    report(f"{alerts:,} alerts opened in {BATCHES} passes", f"{opened - began:.1f} s", "within a minute")
    report("messages at Slack, mails", f"{len(slack.posts)}, {len(mail.mails)}", "a few")
    report("last message after the last alert", f"{last - opened:.1f} s", "under 30 s")
    report("all accounted for after the last alert", f"{told - opened:.1f} s", "")
    report("memory of the service after it", f"{memory:.0f} MB", "below 120 MB")


if __name__ == "__main__":
    main()
