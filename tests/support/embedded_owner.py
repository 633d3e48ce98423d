"""Owns an embedded server until told to end: a second process for the tests that kill one.

It prints the server's process number, then executes each line that it reads and prints the first row or the status.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psycopg

from tests.support.postgres import PostgresUnderTest


def main() -> None:
    signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
    with PostgresUnderTest(Path(sys.argv[1])) as server:
        print(server.pid, flush=True)
        for query in sys.stdin:
            with psycopg.connect(server.url) as link:
                answer = link.execute(query.encode())
                said = answer.fetchone() if answer.description else answer.statusmessage
            print(said, flush=True)  # not before the commit


if __name__ == "__main__":
    main()
