"""How soon after an outage of the database the first message leaves that was raised as it came back."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from automon.embedded import EmbeddedPostgres
from automon.migrate import migrate
from bench.harness import now, report, service, slack_and_mail
from tests.support.proxy import TcpProxy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the database is away")
    away = parser.parse_args().seconds
    with (
        TemporaryDirectory(prefix="automon-bench-") as folder,
        EmbeddedPostgres(Path(folder), port=0) as server,
        TcpProxy(server.address.port) as line,
        slack_and_mail() as (slack, mail, config, environment),
    ):
        migrate(server.url)
        password = server.password_file.read_text(encoding="utf-8").strip()
        over_line = f"postgresql://automon:{password}@127.0.0.1:{line.port}/automon"
        with service(over_line, config, environment), psycopg.connect(server.url, autocommit=True) as connection:
            line.refuse()
            time.sleep(away)
            connection.execute("SELECT public.update_queue_metrics('mail', 700)")
            connection.execute("SELECT public.check_queue_backlog_alerts()")
            line.allow()
            back = now()
            first = min(slack.wait_for(1, 60)[0].arrived_at, mail.wait_for(1, 60)[0].arrived_at)
    report(f"first message after {away:.0f} s without a database", f"{first - back:.2f} s", "within 2 s")


if __name__ == "__main__":
    main()
