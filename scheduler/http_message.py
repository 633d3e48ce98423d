"""What goes over the wire to a monitor and back: as much of HTTP/1.1 as reading a page needs."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

_REQUEST_LINE = re.compile(rb"([!-~]{1,20}) ([!-~]+) HTTP/1\.[01]")
_HOST = re.compile(rb"^host:[ \t]*([^\n]*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_PORT = re.compile(r":\d*$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """`parts` make up the body; they are never copied, so that many slow readers of one text hold it once."""

    status: HTTPStatus
    content_type: str = "text/plain; charset=utf-8"
    parts: tuple[bytes, ...] = ()
    more_headers: tuple[str, ...] = ()

    def head(self) -> bytes:
        lines = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {sum(map(len, self.parts))}",
            "Connection: close",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            *self.more_headers,
        )
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    path: str
    wants_body: bool


def in_words(status: HTTPStatus, text: str, *more_headers: str) -> Response:
    return Response(status=status, parts=(f"{text}\n".encode(),), more_headers=more_headers)


def in_json(status: HTTPStatus, document: Mapping[str, object]) -> Response:
    return Response(status=status, content_type="application/json", parts=(json.dumps(document).encode() + b"\n",))


def read_request(head: bytes, *, only_local_names: bool) -> Request | Response:
    """Understand the head of a request (lines end in a single line feed), or say why it is refused.

    A web page of somebody else's can have a name of its own point at 127.0.0.1, and its script then reads what answers
    there; it cannot do so with an address. Hence `only_local_names`.
    """
    first, _, headers = head.partition(b"\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None or not found[2].startswith(b"/"):
        return in_words(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1.1")
    if found[1] not in (b"GET", b"HEAD"):
        return in_words(HTTPStatus.METHOD_NOT_ALLOWED, "there is only GET and HEAD", "Allow: GET, HEAD")
    host = _HOST.search(headers)
    if only_local_names and host is not None and not is_local_name(host[1].decode(errors="replace")):
        return in_words(HTTPStatus.MISDIRECTED_REQUEST, "call this by localhost or an address")
    return Request(path=found[2].partition(b"?")[0].decode(), wants_body=found[1] == b"GET")


def is_local_name(host: str) -> bool:
    """Say whether the value of a Host header is localhost or an IP address, with or without a port."""
    name = host.removesuffix("]") if host.endswith("]") else _PORT.sub("", host).removesuffix("]")
    name = name.removeprefix("[")
    if name.lower() in ("", "localhost"):
        return True
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False
