"""Finds out how a mail server wants to be spoken to: which port, which encryption, and whether it takes our mail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from notifiers.channel import DeliveryError, DeliveryReason
from notifiers.smtp import PORTS, Security, Server, try_out

PATIENCE = timedelta(seconds=6)
# How a port is usually spoken to comes first. Never without encryption where a login is given: it would be readable.
_USUAL = {587: Security.STARTTLS, 465: Security.TLS, 25: Security.STARTTLS}
_ALL_WAYS = ((587, Security.STARTTLS), (465, Security.TLS), (25, Security.STARTTLS), (25, Security.NONE))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One way that was tried; without a failure it works."""

    server: Server
    failure: DeliveryError | None = None

    @property
    def works(self) -> bool:
        return self.failure is None

    def describe(self) -> str:
        """Say what came of it in one line: "587 answers STARTTLS, certificate valid"."""
        if self.failure is not None:
            return self.failure.detail
        how = {
            Security.STARTTLS: "STARTTLS, certificate valid",
            Security.TLS: "TLS, certificate valid",
            Security.NONE: "without encryption",
        }
        login = ", login taken" if self.server.username else ""
        return f"{self.server.port} answers {how[self.server.security]}{login}"


def ways_to(port: int | None, security: Security | None, *, has_login: bool) -> list[tuple[int, Security]]:
    """List the ports and encryptions to try, the likeliest first; what is given is not varied."""
    if security is not None:
        return [(port or PORTS[security], security)]
    ways: Sequence[tuple[int, Security]] = _ALL_WAYS
    if port is not None:
        first = _USUAL.get(port, Security.STARTTLS)
        ways = [(port, first), *((port, other) for other in Security if other is not first)]
    return [(one, how) for one, how in ways if how is not Security.NONE or not has_login]


def probe(
    server: Server, sender: str, recipients: Sequence[str], ways: Sequence[tuple[int, Security]]
) -> Iterator[Trial]:
    """Try the ways in turn until one works: connect, encrypt, log in, name sender and recipients, hand no mail in.

    What the server itself refuses, as a login or a recipient, it would refuse the other ways too: then the search ends.
    """
    for port, security in ways:
        attempt = replace(server, port=port, security=security, timeout=PATIENCE)
        try:
            try_out(attempt, sender, recipients)
        except DeliveryError as error:
            yield Trial(server=attempt, failure=error)
            if error.permanent and not _is_about_the_way(error):
                return
        else:
            yield Trial(server=attempt)
            return


def _is_about_the_way(error: DeliveryError) -> bool:
    return "offers no" in error.detail


def most_telling(trials: Sequence[Trial]) -> Trial:
    """Choose the failure to tell of: what the server itself refused, else where anybody answered, else the first."""
    return min(trials, key=lambda trial: 3 if trial.failure is None else _distance(trial.failure))


def _distance(failure: DeliveryError) -> int:
    """Say how far from a mail that is taken an attempt ended: 0 for one that the server understood and refused."""
    if failure.reason in (DeliveryReason.UNREACHABLE, DeliveryReason.TIMED_OUT):
        return 2
    return 0 if failure.permanent and not _is_about_the_way(failure) else 1
