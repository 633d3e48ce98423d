"""Where the service answers monitors of this machine: /metrics, /healthz and /readyz."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from automon.config.types import Section, wrong

ALLOWED = 'an IP address or localhost, and a port, as in "127.0.0.1:8484" or "[::1]:8484"'


@dataclass(frozen=True, kw_only=True, slots=True)
class ListenAddress:
    """`host` is an IP address; port 0 means any that is free."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen_address(text: str) -> ListenAddress | None:
    """Read `host:port`; None when it is none. A name other than localhost would have to be looked up, and is none."""
    found = re.fullmatch(r"(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\]):(0|[1-9][0-9]{0,4})", text, re.ASCII)
    if found is None or int(found[2]) > 65535:
        return None
    host = "127.0.0.1" if found[1] == "localhost" else found[1].strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return ListenAddress(host=host, port=int(found[2]))


def _listen(value: object) -> object:
    if isinstance(value, str) and parse_listen_address(value) is None:
        raise wrong("is no address to listen on", ALLOWED)
    return value


Listen = Annotated[str | None, BeforeValidator(_listen), WithJsonSchema({"type": ["string", "null"]})]


class HttpSection(Section):
    listen: Listen = "127.0.0.1:8484"
    """Address and port that answer `/metrics`, `/healthz` and `/readyz`, to whoever reaches them and without a password. An address other than loopback is reached from outside. null: nothing is answered."""

    def address(self) -> ListenAddress | None:
        return None if self.listen is None else parse_listen_address(self.listen)
