"""The command that sets automon up: few questions, each tried out at once, and a real alert in the end."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from automon.cli.options import quiet_logs
from automon.errors import AutomonError

if TYPE_CHECKING:
    from automon.cli.asking import Asker
    from automon.cli.setup_files import Draft
    from automon.cli.setup_steps import MailAnswers
    from automon.config import EmailChannel
    from automon.store import Store

UNIT_SECONDS = 5
RESTART_SECONDS = 45
PASSWORDS_ARE_SEEN = "every user of this machine sees the words of a command; a file is safer"

_FILE = click.Path(path_type=Path, dir_okay=False)
_READABLE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.option("--config", "config_path", type=_FILE, help="Config file to write instead of the one that automon finds.")
@click.option(
    "--env-file", "environment_path", type=_FILE, help="File for the secrets instead of automon.env beside the config."
)
@click.option("--database-url", help="postgresql://user:password@host:5432/database (also: DATABASE_URL).")
@click.option(
    "--embedded",
    type=click.Path(path_type=Path, file_okay=False),
    help="Use an embedded PostgreSQL with its data in this folder.",
)
@click.option("--slack-webhook", help=f"Incoming webhook of Slack; {PASSWORDS_ARE_SEEN}.")
@click.option("--slack-webhook-file", type=_READABLE, help="File that holds the webhook.")
@click.option("--email-to", help="Who gets mail; several addresses with commas between.")
@click.option("--email-from", help="The sender's address.")
@click.option("--smtp-host", help="The mail server.")
@click.option("--smtp-port", type=click.IntRange(1, 65535), help="Its port. Without one 587, 465 and 25 are tried.")
@click.option(
    "--smtp-security",
    type=click.Choice(["starttls", "tls", "none"]),
    help="How it is encrypted. Without one it is found out.",
)
@click.option("--smtp-user", help="Login at the mail server.")
@click.option("--smtp-password-file", type=_READABLE, help="File that holds the password of the login.")
@click.option(
    "--smtp-ca-file",
    type=_READABLE,
    help="Certificate authority of the mail server, where the system does not know it.",
)
@click.option("--skip-alert", is_flag=True, help="Leave out the alert at the end.")
@click.option("--yes", "silent", is_flag=True, help="Ask nothing: take the flags and what is there, and say yes.")
def setup(
    *,
    config_path: Path | None,
    environment_path: Path | None,
    database_url: str | None,
    embedded: Path | None,
    slack_webhook: str | None,
    slack_webhook_file: Path | None,
    email_to: str | None,
    email_from: str | None,
    smtp_host: str | None,
    smtp_port: int | None,
    smtp_security: str | None,
    smtp_user: str | None,
    smtp_password_file: Path | None,
    smtp_ca_file: Path | None,
    skip_alert: bool,
    silent: bool,
) -> None:
    """Set automon up: database, Slack, email, config; and prove it by a real alert.

    Asks for what no flag says, tries each answer out, and writes nothing before all of them are right. Run again it
    shows what there is, keeps secrets and comments, and says what it changes. Secrets go to automon.env beside the
    config, never into it.

    Example: automon setup --database-url postgresql://user:password@host:5432/db --slack-webhook-file webhook.txt --yes
    """
    from automon.cli.asking import Asker
    from automon.cli.setup_steps import MailAnswers, split_addresses

    quiet_logs()
    if not silent and not sys.stdin.isatty():
        raise click.UsageError("Nobody can answer here: stdin is no terminal. Give the flags and --yes.")
    if slack_webhook and slack_webhook_file:
        raise click.UsageError("--slack-webhook and --slack-webhook-file say the same; give one.")
    if database_url and embedded:
        raise click.UsageError("--database-url and --embedded exclude each other.")
    mail = MailAnswers(
        host=smtp_host or "",
        port=smtp_port,
        security=smtp_security or "",
        username=smtp_user or "",
        password=_line_of(smtp_password_file),
        sender=email_from or "",
        to=split_addresses(email_to or ""),
        ca_file=str(smtp_ca_file.resolve()) if smtp_ca_file else "",
    )
    with ExitStack() as stack:
        code = _Setup(Asker(silent=silent), config_path, environment_path, stack).run(
            database_url=database_url,
            embedded=embedded,
            webhook=slack_webhook or _line_of(slack_webhook_file),
            mail=mail,
            skip_alert=skip_alert,
        )
    sys.exit(code)


def _line_of(path: Path | None) -> str:
    """Return the one line that a file holds; empty without a file. Raises AutomonError."""
    from automon.secrets import Secret, resolve

    if path is None:
        return ""
    found = resolve(f"$file:{path.resolve()}", os.environ)
    if not isinstance(found, Secret):
        raise AutomonError(found.reason, hint="It must hold the secret and nothing else, in one line.")
    return found.reveal()


class _Setup:
    def __init__(self, asker: Asker, config_path: Path | None, environment_path: Path | None, stack: ExitStack) -> None:
        from automon.cli.setup_files import Draft, require_writable
        from automon.places import adopt_environment, environment_file

        self._began = time.monotonic()
        self._asker = asker
        self._stack = stack
        path = (config_path or _usual_config()).absolute()
        secrets_path = (environment_path or environment_file(path)).absolute()
        require_writable([path, secrets_path])
        adopt_environment(path)
        self._draft: Draft = Draft.of_what_is_there(path, secrets_path)

    def run(
        self, *, database_url: str | None, embedded: Path | None, webhook: str, mail: MailAnswers, skip_alert: bool
    ) -> int:
        import socket

        from automon.cli import setup_steps
        from notifiers.message import MessageContext

        draft = self._draft
        click.echo(f"{'edits' if draft.old_text is not None else 'writes'} {draft.config_path}")
        database = setup_steps.choose_database(self._asker, draft, database_url, embedded, self._stack)
        zone = draft.check().schedule.timezone
        setup_steps.choose_slack(
            self._asker, draft, webhook, MessageContext(instance=socket.gethostname(), timezone=zone)
        )
        setup_steps.choose_email(self._asker, draft, mail, _email_in_force(draft))
        changed = self._write()
        code = 0 if skip_alert else self._alert(database.url, changed=changed)
        self._end(start_command(draft.config_path, database.folder))
        return code

    def _write(self) -> bool:
        """Show what changes, ask, and write it; answer whether anything did."""
        from automon.cli.setup_steps import head, say

        self._draft.check()
        changes = self._draft.changes
        if not changes:
            head(4, "files", "nothing to change")
            return False
        head(4, "files", "these change:" if self._draft.old_text is not None else "these are written:")
        for line in changes:
            say(line)
        if not self._asker.confirm("Write them?"):
            raise AutomonError("nothing was written", hint="The schema of the database stays as it is now.")
        self._draft.write()
        return True

    def _alert(self, url: str, *, changed: bool) -> int:
        from automon.cli.first_alert import FirstAlert, InThisProcess, NoAlertError, RunningService, Worker, all_arrived
        from automon.cli.setup_steps import head, say
        from automon.clock import SystemClock
        from automon.database import Database
        from automon.store import Store

        config, clock = self._draft.check(), SystemClock()
        database = Database(url, clock, pooled=config.database.pooled, size=2)
        database.open()
        self._stack.callback(database.close)
        store = Store(database, config.database.schema_)
        services = store.dashboard_summary(clock.now())["automon"]["services"]
        where = "by the running service" if services else "by the service's own parts, in this process"
        head(5, "first alert", f"a pretended component fails; checked and told {where}")
        if services and changed:
            self._take_over(store)
        worker: Worker = RunningService() if services else InThisProcess(store, config, clock)
        try:
            told = FirstAlert(store, worker, clock, say).play()
        except NoAlertError as error:
            say(f"✗ {error}")
            return 1
        if not told:
            say("✗ nobody was told: no channel takes a critical alert that opens (min_severity, notify_on)")
        return 0 if all_arrived(told) else 1

    def _take_over(self, store: Store) -> None:
        """Have the running service work with what was written."""
        from automon.cli.setup_steps import say

        if (
            unit_is_active()
            and os.geteuid() == 0
            and self._asker.confirm("Restart automon.service, so that it takes this over?")
        ):
            before = _instances(store)
            subprocess.run(["systemctl", "restart", "automon.service"], check=False, timeout=RESTART_SECONDS)  # noqa: S607
            wait_for_another(store, before)
            return
        say("the running service still has what it started with; restart it to take this over")

    def _end(self, start: str) -> None:
        from automon.places import environment_file

        seconds = time.monotonic() - self._began
        click.echo(f"\nDone: {seconds:.0f} s from the first question to the end.")
        if self._draft.environment_path != environment_file(self._draft.config_path):
            click.echo(
                f"First:     set -a; . {shlex.quote(str(self._draft.environment_path))}; set +a   (nobody else looks there)"
            )
        click.echo(f"Start it:  {start}\nLook:      automon status\nMend:      automon doctor")


def _usual_config() -> Path:
    """Return the config that automon finds, and where there is none yet, the place where its service looks."""
    from automon.places import SYSTEM_CONFIG, find_config

    found = find_config(None, os.environ)
    return SYSTEM_CONFIG if not found.exists() and SYSTEM_CONFIG.parent.is_dir() else found


def _email_in_force(draft: Draft) -> EmailChannel | None:
    """Return the email channel that the files describe as they are; None where there is none, or it is off."""
    from automon.config import EmailChannel

    name = draft.channel_of_type("email")
    channels = [channel for channel in draft.check().channels if channel.name == name]
    return next((channel for channel in channels if isinstance(channel, EmailChannel)), None)


def unit_is_active() -> bool:
    """Say whether systemd runs the service here."""
    command = ["systemctl", "--quiet", "is-active", "automon.service"]
    try:
        return subprocess.run(command, check=False, timeout=UNIT_SECONDS).returncode == 0  # noqa: S603  no shell
    except (OSError, subprocess.TimeoutExpired):
        return False


def _instances(store: Store) -> set[str]:
    from automon.clock import SystemClock

    return {service["instance"] for service in store.dashboard_summary(SystemClock().now())["automon"]["services"]}


def wait_for_another(store: Store, before: set[str]) -> None:
    """Wait until a service that was not there before says that it lives. Raises AutomonError when none comes."""
    deadline = time.monotonic() + RESTART_SECONDS
    while not _instances(store) - before:
        if time.monotonic() > deadline:
            raise AutomonError(
                "the service did not come back", hint="Its reason: journalctl -u automon -p warning -n 20"
            )
        time.sleep(0.1)


def start_command(config_path: Path, embedded: Path | None) -> str:
    """Write the command that starts the service from here, with the embedded database if that is in that folder."""
    from automon.places import CONFIG_NAME, EMBEDDED_FOLDER, SYSTEM_CONFIG

    if config_path.parent == SYSTEM_CONFIG.parent:
        return "sudo systemctl enable --now automon"
    is_here = config_path == Path(CONFIG_NAME).absolute()
    if (
        is_here
        and embedded in (None, EMBEDDED_FOLDER)
        and Path("Makefile").exists()
        and Path(sys.prefix).name == ".venv"
    ):
        return "make run"
    config = "" if is_here else f" --config {shlex.quote(str(config_path))}"
    return f"automon run{config}" + (f" --embedded {shlex.quote(str(embedded))}" if embedded else "")
