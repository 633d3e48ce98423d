"""Read `smtp://user:password@host:587?from=a@x&to=b@x,c@x` into the fields of an email channel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from automon.errors import AutomonError
from automon.secrets import Secret

Security = Literal["starttls", "tls", "none"]

DEFAULT_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
EMAIL_URL_HELP = "smtp://user:password@host:587?from=a@example.org&to=b@example.org,c@example.org"

_SCHEMES: dict[str, Security] = {"smtp": "starttls", "smtps": "tls"}
_PARAMETERS = ("from", "to", "security")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\]?")
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


class EmailUrlError(AutomonError):
    """An email URL that cannot be used; neither message nor hint repeats any part of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmailServer:
    """Where mail goes, as whom, and to whom."""

    host: str
    port: int
    security: Security
    username: str | None
    password: Secret | None
    from_address: str
    to: tuple[str, ...]


def is_email_address(text: str) -> bool:
    """Say whether `text` is one plain address, `local@domain`, that every mail server accepts."""
    local, _, _ = text.rpartition("@")
    return len(text) <= 254 and len(local) <= 64 and _ADDRESS.fullmatch(text) is not None


def is_host(text: str) -> bool:
    return len(text) <= 253 and _HOST.fullmatch(text) is not None


def parse_email_url(url: str) -> EmailServer:
    """Take the URL apart and undo its percent-escapes; raises EmailUrlError."""
    parts = _split(url)
    query = _query(parts.query)
    security = _security(parts.scheme, query.get("security"))
    if (parts.username is None) != (parts.password is None):
        raise EmailUrlError("a user name and a password go together", hint=EMAIL_URL_HELP)
    return EmailServer(
        host=parts.hostname or "",
        port=_port(parts) or DEFAULT_PORTS[security],
        security=security,
        username=unquote(parts.username) if parts.username else None,
        password=Secret(unquote(parts.password)) if parts.password else None,
        from_address=_addresses("from", query, single=True)[0],
        to=_addresses("to", query),
    )


def _split(url: str) -> SplitResult:
    escapes = "in the user name and password write %40 for @, %2F for /, %3F for ?, %23 for #, %25 for %"
    try:
        parts = urlsplit(url)
    except ValueError:
        raise EmailUrlError("this is not a URL", hint=EMAIL_URL_HELP) from None
    if parts.scheme not in _SCHEMES:
        raise EmailUrlError("an email URL begins with smtp:// or smtps://", hint=EMAIL_URL_HELP)
    if _BAD_ESCAPE.search(url) or parts.fragment or re.search(r"\s", url):
        raise EmailUrlError("the URL holds a character that must be escaped", hint=escapes)
    if parts.path not in ("", "/"):
        raise EmailUrlError("nothing may stand between the host and the question mark", hint=escapes)
    if not parts.hostname or not is_host(parts.hostname):
        raise EmailUrlError("the URL names no valid host", hint=EMAIL_URL_HELP)
    return parts


def _port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise EmailUrlError("the port must be a number from 1 to 65535")
    return port


def _query(query: str) -> dict[str, str]:
    """Split the part behind the question mark. A plus stays a plus, as in ops+alerts@example.org."""
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _PARAMETERS:
            near = get_close_matches(name, _PARAMETERS, n=1)
            guess = f", did you mean '{near[0]}'?" if near else ""
            raise EmailUrlError(f"unknown parameter behind the question mark{guess}", hint="known: from, to, security")
        if name in found:
            raise EmailUrlError(f"'{name}' stands twice in the URL", hint="several addresses are separated by commas")
        found[name] = value
    return found


def _security(scheme: str, asked: str | None) -> Security:
    implied = _SCHEMES[scheme]
    if asked is None or asked == implied:
        return implied
    if asked == "none" and scheme == "smtp":
        return "none"
    raise EmailUrlError(
        "'security' in the URL does not fit", hint="smtp:// is starttls or ?security=none; smtps:// is tls"
    )


def _addresses(name: str, query: dict[str, str], *, single: bool = False) -> tuple[str, ...]:
    given = (unquote(part).strip() for part in query.get(name, "").split(","))
    addresses = tuple(dict.fromkeys(filter(None, given)))
    if not addresses:
        raise EmailUrlError(f"'{name}' is missing in the URL", hint=EMAIL_URL_HELP)
    if single and len(addresses) > 1:
        raise EmailUrlError(f"'{name}' in the URL must be one address", hint=EMAIL_URL_HELP)
    for number, address in enumerate(addresses, start=1):
        if not is_email_address(address):
            raise EmailUrlError(f"address {number} of '{name}' in the URL is not an email address", hint=EMAIL_URL_HELP)
    return addresses
