"""The proxy that the fault tests rely on does what it says."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import HOST, TcpProxy


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # some tests cut
            while data := self.request.recv(4096):
                self.request.sendall(data)


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    with socketserver.ThreadingTCPServer((HOST, 0), _Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with TcpProxy(server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, proxy.port), timeout=5) as link:
        yield link


def _echo(link: socket.socket, data: bytes) -> bytes:
    link.sendall(data)
    return link.recv(4096)


def test_it_passes_everything_on_in_both_directions(client: socket.socket) -> None:
    assert _echo(client, b"one") == b"one"
    assert _echo(client, b"two") == b"two"


def test_it_passes_on_that_a_side_has_finished(client: socket.socket) -> None:
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)

    assert client.recv(4096) == b"last"
    assert client.recv(4096) == b""


def test_a_cut_resets_the_connections_and_new_ones_work(proxy: TcpProxy, client: socket.socket) -> None:
    assert _echo(client, b"before") == b"before"

    proxy.cut()

    with pytest.raises(ConnectionResetError):
        client.recv(4096)
    with socket.create_connection((HOST, proxy.port), timeout=5) as another:
        assert _echo(another, b"after") == b"after"
    assert proxy.accepted == 2


def test_a_deaf_proxy_accepts_and_says_nothing_until_it_is_allowed_again(
    proxy: TcpProxy, client: socket.socket
) -> None:
    assert _echo(client, b"before") == b"before"
    proxy.go_deaf()
    client.sendall(b"held")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(4096)
    with socket.create_connection((HOST, proxy.port), timeout=5) as another:
        another.settimeout(0.2)
        with pytest.raises(TimeoutError):
            _echo(another, b"anybody there")

    proxy.allow()

    client.settimeout(5)
    assert client.recv(4096) == b"held"


def test_a_refusing_proxy_resets_and_refuses_and_keeps_its_port(proxy: TcpProxy, client: socket.socket) -> None:
    assert _echo(client, b"before") == b"before"

    proxy.refuse()

    with pytest.raises(ConnectionResetError):
        client.recv(4096)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, proxy.port), timeout=5)
    proxy.allow()
    with socket.create_connection((HOST, proxy.port), timeout=5) as another:
        assert _echo(another, b"after") == b"after"


def test_a_delay_holds_data_back_each_way(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.delay(0.15)
    began = time.monotonic()

    assert _echo(client, b"slow") == b"slow"

    assert time.monotonic() - began >= 0.3


def test_a_target_that_is_away_resets_the_client() -> None:
    with socket.socket() as nobody:
        nobody.bind((HOST, 0))
        # Sometimes the reset comes before the client knows that it is connected.
        with (
            TcpProxy(nobody.getsockname()[1]) as proxy,
            pytest.raises(ConnectionResetError),
            socket.create_connection((HOST, proxy.port), timeout=5) as link,
        ):
            link.recv(4096)
