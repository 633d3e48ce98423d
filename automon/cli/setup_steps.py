"""The steps of `automon setup`: each asks for one thing, tries it out, and puts it into the draft of the files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import psycopg

from automon.cli.asking import Asker
from automon.cli.setup_files import Draft
from automon.cli.text import took
from automon.clock import SystemClock
from automon.config import EmailChannel
from automon.config.channels import EMAIL_FIELDS
from automon.config.email_url import DEFAULT_PORTS, is_email_address, is_host
from automon.database import describe_url, first_line, is_pooled, parse_url
from automon.database_failure import how_to_connect
from automon.errors import AutomonError
from automon.inspection import Pooling, Schema, Server, detect_pooling, look_at_schema, look_at_server
from automon.migrate import manifest, migrate
from automon.places import EMBEDDED_FOLDER, SYSTEM_CONFIG, SYSTEM_DATABASE_FOLDER
from notifiers.channel import DeliveryError
from notifiers.mail_probe import Trial, most_telling, probe, ways_to
from notifiers.message import MessageContext
from notifiers.notice import compose_test
from notifiers.slack import SlackChannel, is_webhook
from notifiers.smtp import Security
from notifiers.smtp import Server as MailServer

STEPS = 5
CONNECT_SECONDS = 8
DATABASE_UNIT = "automon-database.service"
UNIT_SECONDS = 120
OLDEST_SERVER, NEWEST_SERVER = 14, 18
PASSWORD_VARIABLE = "AUTOMON_SMTP_PASSWORD"  # noqa: S105  its name
WEBHOOK_HELP = "https://hooks.slack.com/services/T…/B…/…; Slack shows it under Apps, Incoming Webhooks, Add"

Answer = TypeVar("Answer")


def head(number: int, name: str, text: str) -> None:
    click.echo(f"{number}/{STEPS} {name:<12} {text}")


def say(text: str) -> None:
    click.echo(f"    {text}")


def until_it_works(asker: Asker, attempt: Callable[[], Answer]) -> Answer:
    """Let somebody answer again what did not work; without somebody, that is the end. Raises AutomonError."""
    while True:
        try:
            return attempt()
        except AutomonError as error:
            if asker.silent:
                raise
            click.echo(f"  ✗ {error}", err=True)


# The database ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """A database that answers and can be used."""

    url: str
    server: Server
    schema: Schema
    pooling: Pooling


@dataclass(frozen=True, slots=True)
class Chosen:
    """The database that automon will use; `folder` is that of an embedded one."""

    url: str
    folder: Path | None = None


def choose_database(asker: Asker, draft: Draft, given: str | None, embedded: Path | None, stack: ExitStack) -> Chosen:
    """Find the database and bring it to this version's schema; an embedded one runs until `stack` ends."""
    name = draft.value(("database", "schema")) or "public"
    kept = draft.secret(("database", "url"), "DATABASE_URL")
    tried = iter([given or ""])

    def attempt() -> Reached | None:
        url = next(tried, "") or asker.secret("PostgreSQL URL", is_kept=bool(kept), skip="use the embedded one") or kept
        return reach_database(url, name) if url else None

    reached = None if embedded else until_it_works(asker, attempt)
    folder = None
    if reached is None and draft.config_path.parent == SYSTEM_CONFIG.parent:
        if embedded is not None:
            raise AutomonError(
                "--embedded is for automon in a folder", hint=f"The service of this machine has {DATABASE_UNIT}."
            )
        reached = reach_database(_system_database(asker), name)
    if reached is None:
        folder = embedded or EMBEDDED_FOLDER
        reached = reach_database(_embedded_url(folder, stack), name)
    else:
        draft.put_secret(("database", "url"), "DATABASE_URL", reached.url)
        _tell_of_pooler(draft, reached)
    head(1, "database", f"{describe_url(reached.url)}: PostgreSQL {reached.server.version}")
    _bring_schema(asker, reached, name)
    return Chosen(reached.url, folder)


def reach_database(url: str, schema: str) -> Reached:
    """Connect and see whether automon can work there. Raises AutomonError with what mends it."""
    where = describe_url(url)
    try:
        with psycopg.connect(
            url, connect_timeout=CONNECT_SECONDS, prepare_threshold=None, autocommit=True
        ) as connection:
            reached = Reached(
                url=url,
                server=look_at_server(connection),
                schema=look_at_schema(connection, schema),
                pooling=detect_pooling(url),
            )
    except psycopg.OperationalError as error:
        reason = first_line(error)
        raise AutomonError(f"{where}: {reason}", hint=how_to_connect(reason)) from None
    server = reached.server
    if server.is_replica:
        raise AutomonError(
            f"{where} is a replica, where nothing can be written", hint="Name the server that it follows."
        )
    if server.major < OLDEST_SERVER:
        raise AutomonError(
            f"{where} is PostgreSQL {server.version}", hint=f"automon works on {OLDEST_SERVER} to {NEWEST_SERVER}."
        )
    if reached.schema.files is None:
        raise AutomonError(
            f"{server.role} may not use automon's tables there",
            hint=f"Connect as {reached.schema.owner}, whose they are.",
        )
    return reached


def _tell_of_pooler(draft: Draft, reached: Reached) -> None:
    configured = draft.value(("database", "pooled"))
    guessed = is_pooled(parse_url(reached.url))
    if reached.pooling is Pooling.TRANSACTION and not (guessed if configured is None else configured):
        say("a pooler in transaction mode stands in between; the config will say so")
        draft.put(("database", "pooled"), value=True)


def _embedded_url(folder: Path, stack: ExitStack) -> str:
    from automon.embedded import EmbeddedPostgres, find_running

    return find_running(folder) or stack.enter_context(EmbeddedPostgres(folder)).url


def _system_database(asker: Asker) -> str:
    """Start the unit of automon's own PostgreSQL, and answer the URL by which root and the service reach it."""
    from automon.embedded import find_running

    if not asker.confirm(f"No database is named. Start automon's own PostgreSQL ({DATABASE_UNIT})?"):
        raise AutomonError("automon needs a database", hint="Name one: automon setup --database-url postgresql://…")
    command = ["systemctl", "enable", "--now", DATABASE_UNIT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=UNIT_SECONDS)  # noqa: S603  no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AutomonError(
            f"systemctl gave no answer: {type(error).__name__}", hint=f"systemctl status {DATABASE_UNIT}"
        ) from None
    url = find_running(SYSTEM_DATABASE_FOLDER)
    if url is None:
        reason = done.stderr.strip().split("\n", 1)[0] or "it does not answer"
        raise AutomonError(
            f"{DATABASE_UNIT} did not start: {reason}",
            hint=f"Its reason: journalctl -u {DATABASE_UNIT} -n 20. Or name a database of yours: automon setup --database-url postgresql://…",
        )
    return url


def _bring_schema(asker: Asker, reached: Reached, name: str) -> None:
    missing = [file for file, _ in manifest() if file not in (reached.schema.files or ())]
    if not missing:
        say("its schema is at this version")
        return
    before = (
        "make automon's tables there" if len(missing) == len(manifest()) else f"apply {len(missing)} newer schema files"
    )
    if not asker.confirm(f"Shall I {before}?"):
        raise AutomonError("without its tables automon cannot work", hint="When it suits you: automon migrate")
    applied = migrate(reached.url, schema=name)
    say(f"applied {len(applied)} schema files")


# Slack ----------------------------------------------------------------------------------------------------------


def choose_slack(asker: Asker, draft: Draft, given: str, context: MessageContext) -> None:
    """Take a webhook, prove it by a message, and keep it; one that was kept is proved by the first alert."""
    name = draft.channel_of_type("slack")
    path = ("channels", name, "webhook_url")
    kept = draft.secret(path, "SLACK_WEBHOOK_URL")
    tried = iter([given])

    def attempt() -> tuple[str, str]:
        url = next(tried, "") or asker.secret("Slack webhook URL", is_kept=bool(kept))
        return url, _try_slack(url, context) if url else ""

    url, took_words = until_it_works(asker, attempt)
    if not url:
        head(2, "slack", "kept" if kept else "skipped")
        return
    head(2, "slack", f"sent a test message in {took_words}")
    if not asker.confirm("Did it arrive?"):
        raise AutomonError(
            "Slack took the message and nobody saw it",
            hint="Look for the channel that the webhook belongs to, and run this again.",
        )
    _enable(draft, name, {"type": "slack", "optional": True, "webhook_url": "$env:SLACK_WEBHOOK_URL"})
    draft.put_secret(path, "SLACK_WEBHOOK_URL", url)


def _try_slack(url: str, context: MessageContext) -> str:
    if not is_webhook(url):
        raise AutomonError("this is not the URL of a Slack incoming webhook", hint=WEBHOOK_HELP)
    channel = SlackChannel("slack", url)
    message = compose_test(context, SystemClock().now())
    return took(channel.send(message, channel.recipients[0]).duration.total_seconds())


def _enable(draft: Draft, name: str, section: dict[str, Any]) -> None:
    """Make sure that the channel is in the config and on."""
    if draft.value(("channels", name)) is None:
        draft.put(("channels", name), section)
    if draft.value(("channels", name, "enabled")) is False:
        draft.put(("channels", name, "enabled"), value=True)


# Email ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class MailAnswers:
    """What is known of the mail server and the addresses; empty where nothing is."""

    host: str = ""
    port: int | None = None
    security: str = ""
    username: str = ""
    password: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    ca_file: str = ""


def choose_email(asker: Asker, draft: Draft, given: MailAnswers, kept: EmailChannel | None) -> None:
    """Take a mail server and addresses, find out how the server is spoken to, and keep what works."""
    name = draft.channel_of_type("email")
    before = _kept_answers(kept)
    tried = iter([given])

    def attempt() -> MailAnswers | None:
        return _mail_that_works(asker, next(tried, MailAnswers()), before)

    answers = until_it_works(asker, attempt)
    if answers is None:
        head(3, "email", "kept" if kept else "skipped")
        return
    _put_mail(draft, name, answers)


def _kept_answers(kept: EmailChannel | None) -> MailAnswers:
    if kept is None:
        return MailAnswers()
    return MailAnswers(
        host=kept.host,
        port=kept.port,
        security=kept.security,
        username=kept.username or "",
        password=kept.password.reveal() if kept.password else "",
        sender=kept.from_address,
        to=kept.to,
        ca_file=str(kept.ca_file or ""),
    )


def _mail_that_works(asker: Asker, given: MailAnswers, kept: MailAnswers) -> MailAnswers | None:
    """Complete what is given by asking, and try it; None when nothing is wanted or changes."""
    host = given.host or asker.text("Mail server (host)", kept=kept.host)
    if not host:
        _refuse_lonely_answers(given)
        return None
    if not is_host(host):
        raise AutomonError(
            f"{host!r} is not the name of a host", hint="Give smtp.example.org, without smtp:// and port."
        )
    same_server = host == kept.host
    username = given.username or asker.text("User", kept=kept.username if same_server else "", skip="log in nowhere")
    password = given.password or (asker.secret("Password", is_kept=bool(kept.password)) if username else "")
    answers = MailAnswers(
        host=host,
        port=given.port or (kept.port if same_server else None),
        security=given.security or (kept.security if same_server and not given.port else ""),
        username=username,
        password=password or (kept.password if same_server else ""),
        sender=given.sender or asker.text("From (address)", kept=kept.sender or _likely_sender(username)),
        to=given.to or split_addresses(asker.text("To (addresses, with commas)", kept=", ".join(kept.to))),
        ca_file=given.ca_file or (kept.ca_file if same_server else ""),
    )
    if answers == kept:
        return None
    _refuse_wrong_addresses(answers)
    return _tried(answers)


def _refuse_lonely_answers(given: MailAnswers) -> None:
    if given != MailAnswers():
        raise AutomonError("an email channel needs a mail server", hint="Give --smtp-host too.")


def _likely_sender(username: str) -> str:
    return username if is_email_address(username) else ""


def split_addresses(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _refuse_wrong_addresses(answers: MailAnswers) -> None:
    if answers.username and not answers.password:
        raise AutomonError("a user has a password", hint="Give --smtp-password-file, or leave the user out.")
    for flag, addresses in (("--email-from", (answers.sender,)), ("--email-to", answers.to)):
        wrong = [address for address in addresses if not is_email_address(address)]
        if wrong or not addresses:
            raise AutomonError(
                f"{wrong[0]!r} is not an email address" if wrong and wrong[0] else "an address is missing",
                hint=f"Give {flag} name@example.org.",
            )


def _tried(answers: MailAnswers) -> MailAnswers:
    """Speak to the server in the ways that there are, until one works. Raises AutomonError with the most telling failure."""
    server = MailServer(
        host=answers.host,
        port=answers.port or DEFAULT_PORTS["starttls"],
        security=Security.STARTTLS,
        username=answers.username,
        password=answers.password,
        ca_file=answers.ca_file or None,
    )
    security = Security(answers.security) if answers.security else None
    trials: list[Trial] = []
    for trial in probe(
        server, answers.sender, answers.to, ways_to(answers.port, security, has_login=bool(answers.username))
    ):
        trials.append(trial)
        if trial.works:
            head(3, "email", f"{answers.host}:{trial.describe()}")
            return _as_tried(answers, trial)
    told = most_telling(trials).failure
    assert told is not None  # noqa: S101  none has worked
    raise AutomonError(_all_told(trials, told), hint=told.hint)


def _as_tried(answers: MailAnswers, trial: Trial) -> MailAnswers:
    return MailAnswers(
        host=answers.host,
        port=trial.server.port,
        security=trial.server.security.value,
        username=answers.username,
        password=answers.password,
        sender=answers.sender,
        to=answers.to,
        ca_file=answers.ca_file,
    )


def _all_told(trials: Sequence[Trial], told: DeliveryError) -> str:
    """Say the most telling failure first, and that of the other ways below it."""
    others = [trial.describe() for trial in trials if trial.failure is not told]
    return "\n    ".join([told.detail, *others])


def _put_mail(draft: Draft, name: str, answers: MailAnswers) -> None:
    path = ("channels", name)
    old = draft.value(path) or {}
    kept = {key: value for key, value in old.items() if key not in (*EMAIL_FIELDS, "url", "enabled", "ca_file")}
    fields: dict[str, Any] = {"host": answers.host, "port": answers.port, "security": answers.security}
    if answers.username:
        fields |= {"username": answers.username, "password": f"$env:{PASSWORD_VARIABLE}"}
        draft.keep_secret(PASSWORD_VARIABLE, answers.password)
    fields |= {"from": answers.sender, "to": list(answers.to)}
    if answers.ca_file:
        fields["ca_file"] = answers.ca_file
    draft.put_section(path, {"type": "email", **kept, **fields})
