"""The channels of the config file, and what the senders get to know about each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from automon.config.email_url import (
    DEFAULT_PORTS,
    EMAIL_URL_HELP,
    EmailServer,
    EmailUrlError,
    Security,
    is_email_address,
    is_host,
    parse_email_url,
)
from automon.config.types import Flag, Minutes, Mistake, Port, SecretValue, Section, TimeZone, raise_mistakes, wrong
from automon.models import Severity, TransitionKind
from automon.secrets import Secret, Unavailable

NOTIFIED = (TransitionKind.OPENED, TransitionKind.ESCALATED, TransitionKind.REMINDED, TransitionKind.RESOLVED)
DEFAULT_NOTIFY_ON = frozenset(NOTIFIED)
EMAIL_FIELDS = ("host", "port", "security", "username", "password", "from", "to")

_SLACK_WEBHOOK = re.compile(r"https://hooks\.slack(-gov)?\.com/services/[A-Za-z0-9]+/[A-Za-z0-9]+/[A-Za-z0-9]+/?")
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChannelConfig:
    """A named place that messages go to. `inactive_reason` is empty when the channel is active.

    `fallback` is the channel that is told instead when this one has failed for `fallback_after`; None: the journal.
    """

    name: str
    type: str
    inactive_reason: str = ""
    min_severity: Severity = Severity.LOW
    notify_on: frozenset[TransitionKind] = DEFAULT_NOTIFY_ON
    timezone: ZoneInfo | None = None
    fallback: str | None = None
    fallback_after: timedelta = timedelta(minutes=10)

    @property
    def active(self) -> bool:
        return not self.inactive_reason

    def describe(self) -> str:
        """Say in one line whether the channel is on and from which severity, or why it is off."""
        if self.active:
            return f"{self.name}: on, from severity {self.min_severity}"
        return f"{self.name}: off ({self.inactive_reason})"


@dataclass(frozen=True, kw_only=True, slots=True)
class InactiveChannel(ChannelConfig):
    """A channel that is switched off or whose secret is not there: it has no address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlackChannel(ChannelConfig):
    webhook_url: Secret


@dataclass(frozen=True, kw_only=True, slots=True)
class EmailChannel(ChannelConfig):
    host: str
    port: int
    security: Security
    username: str | None
    password: Secret | None
    from_address: str
    to: tuple[str, ...]
    ca_file: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AppriseChannel(ChannelConfig):
    url: Secret


@dataclass(frozen=True, kw_only=True, slots=True)
class TerminalChannel(ChannelConfig):
    """Messages are printed where the service runs."""


def _email_address(value: str) -> str:
    if not is_email_address(value):
        raise wrong("is not an email address", "name@example.org")
    return value


def _host(value: str) -> str:
    if not is_host(value):
        raise wrong("is not the name of a host", "smtp.example.org, without smtp:// and without a port")
    return value


EmailAddress = Annotated[str, AfterValidator(_email_address)]
HostName = Annotated[str, AfterValidator(_host)]


class AnyChannelSection(Section):
    """What every channel has, whatever its type."""

    type: str
    enabled: Flag = True
    """false switches the channel off."""
    optional: Flag = False
    """true: when the source of a secret is not there, the channel is off instead of the config being wrong."""
    min_severity: Severity = Severity.LOW
    """Alerts below this severity are not sent here."""
    # A set has no order of its own; the schema must not differ from run to run.
    notify_on: frozenset[TransitionKind] = Field(
        default=DEFAULT_NOTIFY_ON, min_length=1, json_schema_extra={"default": list(NOTIFIED)}
    )
    """Which changes of an alert are sent here."""
    timezone: TimeZone | None = None
    """The time zone of the times in messages, by its IANA name. null: that of `schedule.timezone`."""
    # Any text: what is wrong with it is found beside the other channels, in `fallback.py`.
    fallback: str | None = None
    """The channel that is told instead when this one has failed for `fallback_after_minutes`. null, or a channel that is off: the journal, at error priority."""
    fallback_after_minutes: Minutes = 10
    """For how long this channel must have failed before its fallback is told."""

    def secrets(self) -> Iterator[tuple[str, Secret | Unavailable]]:
        """Give the key and the value of each secret that the section names."""
        return iter(())

    def mistakes(self) -> Iterator[Mistake]:
        """Find what is wrong between the keys of this section, or inside its secrets."""
        return iter(())

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.enabled:
            raise_mistakes([*self._missing_secrets(), *self.mistakes()])
        return self

    def _missing_secrets(self) -> Iterator[Mistake]:
        for key, value in self.secrets():
            if isinstance(value, Unavailable) and not value.absent:
                yield Mistake(keys=(key,), message=value.reason)
            elif isinstance(value, Unavailable) and not self.optional:
                allowed = 'provide it, or say "optional": true to run without this channel'
                yield Mistake(keys=(key,), message=value.reason, allowed=allowed)

    def inactive_reason(self) -> str:
        if not self.enabled:
            return "enabled is false"
        return "; ".join(value.reason for _, value in self.secrets() if isinstance(value, Unavailable))

    def channel(self, name: str) -> ChannelConfig:
        """Return what the sender of this channel needs to know."""
        common: dict[str, Any] = {
            "name": name,
            "type": self.type,
            "min_severity": self.min_severity,
            "notify_on": self.notify_on,
            "timezone": self.timezone,
            "fallback": self.fallback,
            "fallback_after": timedelta(minutes=self.fallback_after_minutes),
        }
        if reason := self.inactive_reason():
            return InactiveChannel(inactive_reason=reason, **common)
        return self.active_channel(common)

    def active_channel(self, common: dict[str, Any]) -> ChannelConfig:
        raise NotImplementedError


class SlackSection(AnyChannelSection):
    type: Literal["slack"]
    """A Slack channel, by an incoming webhook."""
    webhook_url: SecretValue
    """The URL that Slack shows for the incoming webhook."""

    def secrets(self) -> Iterator[tuple[str, Secret | Unavailable]]:
        yield "webhook_url", self.webhook_url

    def mistakes(self) -> Iterator[Mistake]:
        if isinstance(self.webhook_url, Secret) and not _SLACK_WEBHOOK.fullmatch(self.webhook_url.reveal()):
            yield Mistake(
                keys=("webhook_url",),
                message="this is not the URL of a Slack incoming webhook",
                allowed="https://hooks.slack.com/services/T…/B…/…",
            )

    def active_channel(self, common: dict[str, Any]) -> ChannelConfig:
        return SlackChannel(webhook_url=_available(self.webhook_url), **common)


class AppriseSection(AnyChannelSection):
    type: Literal["apprise"]
    """Any service that apprise knows."""
    url: SecretValue
    """The apprise URL of the service."""

    def secrets(self) -> Iterator[tuple[str, Secret | Unavailable]]:
        yield "url", self.url

    def mistakes(self) -> Iterator[Mistake]:
        if isinstance(self.url, Secret) and not _ANY_URL.fullmatch(self.url.reveal()):
            yield Mistake(keys=("url",), message="this is not an apprise URL", allowed="service://…, in one line")

    def active_channel(self, common: dict[str, Any]) -> ChannelConfig:
        return AppriseChannel(url=_available(self.url), **common)


class TerminalSection(AnyChannelSection):
    type: Literal["terminal"]
    """The terminal or journal that the service writes to."""

    def active_channel(self, common: dict[str, Any]) -> ChannelConfig:
        return TerminalChannel(**common)


class EmailSection(AnyChannelSection):
    type: Literal["email"]
    """Email, one mail to each recipient."""
    url: SecretValue | None = None
    """Server, login and addresses in one URL; smtp:// is STARTTLS on port 587, smtps:// is TLS on port 465."""
    host: HostName | None = None
    """The mail server, when there is no `url`."""
    port: Port | None = None
    """Its port. null: 587 for starttls, 465 for tls, 25 for none."""
    security: Security | None = None
    """How the connection is encrypted. null: starttls."""
    username: str | None = None
    """The login name, together with `password`."""
    password: SecretValue | None = None
    """The password of the login."""
    from_address: EmailAddress | None = Field(default=None, alias="from")
    """The sender's address."""
    to: tuple[EmailAddress, ...] | None = Field(default=None, min_length=1)
    """The recipients' addresses."""
    ca_file: Path | None = None
    """A file with the certificate authority of the mail server, when the system does not know it."""

    def secrets(self) -> Iterator[tuple[str, Secret | Unavailable]]:
        if self.url is not None:
            yield "url", self.url
        if self.password is not None:
            yield "password", self.password

    def mistakes(self) -> Iterator[Mistake]:
        yield from self._field_mistakes() if self.url is None else self._url_mistakes(self.url)
        if self.ca_file and not self.ca_file.is_absolute():
            yield Mistake(keys=("ca_file",), message="must be an absolute path", allowed="/etc/ssl/certs/mail-ca.pem")
        elif self.ca_file and not _is_file(self.ca_file):
            yield Mistake(keys=("ca_file",), message="there is no such file")

    def _url_mistakes(self, url: Secret | Unavailable) -> Iterator[Mistake]:
        for key, value in self.model_dump(by_alias=True).items():
            if key in EMAIL_FIELDS and value is not None:
                yield Mistake(keys=(key,), message="cannot stand beside 'url'", allowed="either 'url' or the fields")
        if isinstance(url, Secret):
            try:
                parse_email_url(url.reveal())
            except EmailUrlError as error:
                yield Mistake(keys=("url",), message=error.message, allowed=error.hint)

    def _field_mistakes(self) -> Iterator[Mistake]:
        if not (self.host or self.from_address or self.to):
            yield Mistake(keys=("url",), message="is missing, or host, from and to", allowed=EMAIL_URL_HELP)
        else:
            given = {"host": self.host, "from": self.from_address, "to": self.to}
            for key in (key for key, value in given.items() if value is None):
                yield Mistake(keys=(key,), message="is missing", allowed="an email channel needs host, from and to")
        if (self.username is None) != (self.password is None):
            absent, given_one = ("password", "username") if self.password is None else ("username", "password")
            yield Mistake(keys=(absent,), message=f"is missing beside '{given_one}'", allowed="both, or neither")

    def _server(self) -> EmailServer:
        if self.url is not None:
            return parse_email_url(_available(self.url).reveal())
        security: Security = self.security or "starttls"
        return EmailServer(
            host=self.host or "",
            port=self.port or DEFAULT_PORTS[security],
            security=security,
            username=self.username,
            password=None if self.password is None else _available(self.password),
            from_address=self.from_address or "",
            to=tuple(dict.fromkeys(self.to or ())),
        )

    def active_channel(self, common: dict[str, Any]) -> ChannelConfig:
        server = self._server()
        return EmailChannel(
            host=server.host,
            port=server.port,
            security=server.security,
            username=server.username,
            password=server.password,
            from_address=server.from_address,
            to=server.to,
            ca_file=self.ca_file,
            **common,
        )


ChannelSection = SlackSection | EmailSection | AppriseSection | TerminalSection

CHANNEL_TYPES: dict[str, type[AnyChannelSection]] = {
    "slack": SlackSection,
    "email": EmailSection,
    "apprise": AppriseSection,
    "terminal": TerminalSection,
}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or none at all
        return False


def _available(value: Secret | Unavailable) -> Secret:
    """Narrow a secret that `check` has already found to be there."""
    if isinstance(value, Unavailable):
        raise TypeError(value.reason)
    return value
