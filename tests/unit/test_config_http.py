"""Where metrics and health may be answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from automon.config import ListenAddress, load_config
from automon.config.http import parse_listen_address
from automon.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:8484", "127.0.0.1", 8484, True),
        ("localhost:0", "127.0.0.1", 0, True),
        ("[::1]:65535", "::1", 65535, True),
        ("0.0.0.0:8484", "0.0.0.0", 8484, False),
        ("[::]:8484", "::", 8484, False),
        ("192.0.2.7:80", "192.0.2.7", 80, False),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int, is_loopback: bool) -> None:
    address = parse_listen_address(text)

    assert address == ListenAddress(host=host, port=port)
    assert address.is_loopback == is_loopback
    assert str(address) == text.replace("localhost", "127.0.0.1")


@pytest.mark.parametrize(
    "text",
    ["", "8484", ":8484", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:08", "127.0.0.1:-1", "256.0.0.1:80", "::1:80", "[::1]", "ops-1:80",
     "http://127.0.0.1:80", "127.0.0.1:80/metrics", " 127.0.0.1:80", "127.0.0.1:８０", "127.0.0.1:80\n"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "monitoring_config.json"
    path.write_text(json.dumps({"http": {"listen": text}}, indent=1))

    assert parse_listen_address(text) is None
    with pytest.raises(ConfigError) as refusal:
        load_config(path, {})
    [problem] = refusal.value.problems
    assert (problem.line, problem.key, problem.message) == (3, "http.listen", "is no address to listen on")
    assert "127.0.0.1:8484" in problem.allowed


def test_loopback_is_the_default_and_null_is_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "monitoring_config.json"
    path.write_text("{}")
    assert load_config(path, {}).listen_address == ListenAddress(host="127.0.0.1", port=8484)

    path.write_text('{"http": {"listen": null}}')
    assert load_config(path, {}).listen_address is None
