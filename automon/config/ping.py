"""Whom the service calls while it works, so that its end is noticed outside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from automon.config.email_url import is_host
from automon.config.types import Flag, Mistake, Seconds, SecretValue, Section, plain, raise_mistakes
from automon.secrets import Secret, Unavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class PingConfig:
    """The URL that is called and how often. Without a URL nobody is called, and `inactive_reason` says why."""

    url: Secret | None
    every: timedelta
    inactive_reason: str = ""

    def describe(self) -> str:
        """Say in one line whether the ping is on, or why it is off."""
        if self.url is None:
            return f"ping: off ({self.inactive_reason})"
        return f"ping: on, every {plain(self.every.total_seconds())} s"


class PingSection(Section):
    url: SecretValue = Field(default="$env:AUTOMON_PING_URL", validate_default=True)
    """The URL that is called, by POST: itself when all is well, URL/fail with the troubles as text, URL/start at a start. A secret: whoever knows it can call as automon."""
    optional: Flag = True
    """true: when the source of the URL is not there, nobody is called instead of the config being wrong."""
    every_seconds: Seconds = 60
    """Seconds from one call to the next. Whoever is called should wait a few times as long before an alarm."""

    @model_validator(mode="after")
    def check(self) -> Self:
        raise_mistakes(self._unavailable(self.url) if isinstance(self.url, Unavailable) else _mistakes(self.url))
        return self

    def _unavailable(self, url: Unavailable) -> list[Mistake]:
        if not url.absent:
            return [Mistake(keys=("url",), message=url.reason)]
        if not self.optional:
            allowed = 'provide it, or say "optional": true to run without the ping'
            return [Mistake(keys=("url",), message=url.reason, allowed=allowed)]
        return []

    def ping(self) -> PingConfig:
        every = timedelta(seconds=self.every_seconds)
        if isinstance(self.url, Unavailable):
            return PingConfig(url=None, every=every, inactive_reason=self.url.reason)
        return PingConfig(url=self.url, every=every)


def _mistakes(url: Secret) -> list[Mistake]:
    if is_ping_url(url.reveal()):
        return []
    allowed = "https://hc-ping.com/…, without a user name and without #"
    return [Mistake(keys=("url",), message="this is not a URL that can be called", allowed=allowed)]


def is_ping_url(url: str) -> bool:
    """Say whether this is an http or https URL that can be sent as it stands."""
    if not re.fullmatch(r'[!-"$-~]+', url):  # visible ASCII without #
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and _is_place(parts.hostname, parts.port) and parts.username is None
    except ValueError:
        return False


def _is_place(host: str | None, port: int | None) -> bool:
    return host is not None and is_host(host) and port != 0
