"""What mends a connection to PostgreSQL that was not had, read from the reason that the driver or the server gave."""

from __future__ import annotations

import re

CHECK_ALL = "Is it running, and is its URL right?"

# The first that fits counts. The words are libpq's and the server's, which have kept them for many releases.
_MENDING = (
    ("unsupported startup parameter", 'A pooler stands in between: write "pooled": true in the section "database".'),
    (
        "password authentication failed|no password supplied|empty password",
        "Correct user and password in DATABASE_URL; special characters of a password are written as %XX.",
    ),
    (
        "(peer|ident) authentication failed",
        "Connect by host and password: postgresql://user:password@127.0.0.1:5432/database",
    ),
    (
        "no pg_hba.conf entry|no encryption|ssl connection is required|connection is insecure",
        "Add ?sslmode=require to DATABASE_URL, or let this host and user in (pg_hba.conf on the server).",
    ),
    ('role "[^"]*" does not exist', "Create the role (createuser --pwprompt NAME), or correct the user in DATABASE_URL."),
    ('database "[^"]*" does not exist', "Create it (createdb --owner ROLE NAME), or correct the name in DATABASE_URL."),
    ("could not translate host name|name or service not known|nodename nor servname", "Correct the host in DATABASE_URL, or this machine's DNS."),
    ("timeout expired|timed out", "Correct host and port in DATABASE_URL; a firewall in between drops what it does not let pass."),
    ("connection refused|no such file or directory", "Start it (systemctl start postgresql), or correct host and port in DATABASE_URL."),
    ("too many (clients|connections)|remaining connection slots", "Free connections on the server, or raise its max_connections."),
    ("starting up|recovery mode|shutting down", "Wait until it has started, then run this again."),
    ("certificate|server does not support ssl", "Correct sslmode and sslrootcert in DATABASE_URL."),
)  # fmt: skip


def how_to_connect(reason: str) -> str:
    """Say in one sentence what to do about a connection that failed for this reason."""
    return next((fix for sign, fix in _MENDING if re.search(sign, reason, re.IGNORECASE)), CHECK_ALL)
