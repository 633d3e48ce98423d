"""The server behind /metrics, over real sockets: what it answers, and whom it cuts off."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse

import pytest
from structlog.testing import capture_logs

from automon.config.http import ListenAddress
from scheduler.endpoint import MOST_CONNECTIONS, PATIENCE, Endpoint, Response, Server, is_local_name
from tests.support.waiting import wait_until

ANY_PORT = ListenAddress(host="127.0.0.1", port=0)
HUGE = b"x" * 8_000_000


class Late:
    """A page that comes when the test says so."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.ready = threading.Event()

    def __call__(self) -> Response:
        self.asked.release()
        self.ready.wait(10)
        return in_words("at last")


def in_words(text: str) -> Response:
    return Response(status=HTTPStatus.OK, parts=(f"{text}\n".encode(),))


def broken() -> Response:
    raise ZeroDivisionError


@pytest.fixture
def late() -> Late:
    return Late()


@pytest.fixture
def endpoint(late: Late) -> Iterator[Endpoint]:
    endpoint = Endpoint(
        {
            "/page": lambda: in_words("a page"),
            "/huge": lambda: Response(status=HTTPStatus.OK, parts=(HUGE,)),
            "/late": late,
            "/broken": broken,
        }
    )
    endpoint.listen(ANY_PORT)
    wait_until(lambda: endpoint.url, what="an address")
    yield endpoint
    late.ready.set()
    endpoint.end()


Ask = Callable[..., tuple[HTTPResponse, bytes]]


def port_of(endpoint: Endpoint) -> int:
    return int(endpoint.url.rpartition(":")[2])


def connect(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(endpoint)), timeout=10)


def server_of(endpoint: Endpoint) -> Server:
    assert endpoint._server is not None
    return endpoint._server


def connect_slow(endpoint: Endpoint, sent: bytes) -> socket.socket:
    """Call and say that much, with half a second until the time is up; whoever calls later has the usual time."""
    endpoint.patience = 0.5
    before = len(server_of(endpoint).callers)
    link = connect(endpoint)
    link.sendall(sent)
    wait_until(lambda: len(server_of(endpoint).callers) > before or endpoint.dropped, what="a caller")
    endpoint.patience = PATIENCE
    return link


def is_cut_off(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except ConnectionError:  # something that it said was never read
        return True


@pytest.fixture
def ask(endpoint: Endpoint) -> Ask:
    def ask(path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
        with closing(HTTPConnection("127.0.0.1", port_of(endpoint), timeout=10)) as connection:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()

    return ask


def all_of(link: socket.socket) -> bytes:
    return b"".join(iter(lambda: link.recv(65536), b""))


def test_a_page_is_answered_and_the_connection_closed(ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    response, body = ask("/page?x=1")

    assert (response.status, body) == (200, b"a page\n")
    assert response.headers["Content-Length"] == "7"
    assert response.headers["Connection"] == "close"
    assert response.headers["Cache-Control"] == "no-store"
    assert "Server" not in response.headers
    assert "GET" not in "".join(capfd.readouterr())


def test_a_head_is_answered_as_a_get_without_its_body(ask: Ask) -> None:
    response, body = ask("/page", "HEAD")

    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "7")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_nothing_can_be_done_but_to_read(ask: Ask, method: str) -> None:
    response, _ = ask("/page", method)

    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


def test_a_path_that_there_is_not_is_answered_by_those_that_there_are(ask: Ask, endpoint: Endpoint) -> None:
    response, body = ask("/secret/path")

    assert response.status == 404
    assert b"/page, /huge" in body
    assert endpoint.requests == {("other", 404): 1}


def test_a_page_that_is_broken_is_told_in_the_log_and_costs_the_others_nothing(ask: Ask) -> None:
    with capture_logs() as lines:
        response, body = ask("/broken")

    assert response.status == 500
    assert b"ZeroDivisionError" not in body
    assert [line["event"] for line in lines] == ["http_page_failed"]
    assert ask("/page")[0].status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET http://127.0.0.1/page HTTP/1.1\r\n\r\n", b"400", id="a proxy's"),
        pytest.param(b"GET /page HTTP/2.0\r\n\r\n", b"505", id="another version"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\n\n", b"400", id="TLS"),
        pytest.param(b"GET /page\r\n\r\n", b"200", id="the oldest version"),
        pytest.param(b"GET /page HTTP/1.0\n\n", b"200", id="the old version, with bare line feeds"),
        pytest.param(b"GET /page HTTP/1.1\r\nA: " + b"x" * 9000, b"431", id="a head without an end"),
        pytest.param(b"GET /page HTTP/1.1\r\nA: " + b"x" * 9000 + b"\r\n\r\n", b"431", id="a long head"),
        pytest.param(b"GET /page HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431", id="a head of many lines"),
        pytest.param(b"GET /page HTTP/1.1\r\n" + b"A: b\r\n" * 2000 + b"\r\n", b"431", id="a long head of many lines"),
    ],
)
def test_what_is_no_request_is_refused(endpoint: Endpoint, sent: bytes, status: bytes) -> None:
    with connect(endpoint) as link:
        link.sendall(sent)

        assert all_of(link).startswith(b"HTTP/1.1 " + status)
    assert sum(endpoint.requests.values()) == 1


def test_who_sends_nothing_but_an_empty_line_is_let_go(endpoint: Endpoint) -> None:
    with connect(endpoint) as link:
        link.sendall(b"\r\n\r\n")

        assert all_of(link) == b""


def test_a_request_may_come_in_pieces(endpoint: Endpoint) -> None:
    with connect(endpoint) as link:
        for byte in b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n":
            link.sendall(bytes([byte]))

        assert all_of(link).endswith(b"\r\n\r\na page\n")


def test_a_body_that_nobody_reads_does_not_take_the_answer_away(endpoint: Endpoint) -> None:
    with connect(endpoint) as link:
        link.sendall(b"GET /huge HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"y" * 100_000)

        assert all_of(link).endswith(b"\r\n\r\n" + HUGE)


# Names by which it is called --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1:8484", True), ("localhost", True), ("LOCALHOST:8484", True), ("[::1]:8484", True), ("[::1]", True), ("192.0.2.7:80", True), ("", True),
        ("evil.example", False), ("evil.example:8484", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("ops-1:8484", False),
    ],
)  # fmt: skip
def test_a_name_that_anybody_could_point_at_loopback_is_not_local(host: str, is_local: bool) -> None:
    assert is_local_name(host) == is_local


def test_a_web_page_that_points_its_own_name_here_reads_nothing(ask: Ask) -> None:
    response, body = ask("/page", Host="evil.example:8484")

    assert response.status == 421
    assert b"a page" not in body


def test_on_an_address_that_others_reach_any_name_will_do(endpoint: Endpoint, ask: Ask) -> None:
    server_of(endpoint).only_local_names = False

    assert ask("/page", Host="ops-1.example:8484")[0].status == 200


# Who is slow, and who are many ------------------------------------------------------------------------------------


def test_who_does_not_send_a_request_is_cut_off_and_the_others_are_served_meanwhile(
    endpoint: Endpoint, ask: Ask
) -> None:
    with connect_slow(endpoint, b"GET /page HTT") as slow:
        assert ask("/page")[0].status == 200

        assert is_cut_off(slow)
    assert endpoint.dropped == 1
    assert endpoint.requests == {("/page", 200): 1}


def test_a_byte_now_and_then_gives_no_more_time(endpoint: Endpoint) -> None:
    with connect_slow(endpoint, b"GET /page HTTP/1.1\r\nA: ") as slow:
        wait_until(lambda: is_cut_off_at_another_byte(slow), what="an end")
    assert endpoint.dropped == 1


def is_cut_off_at_another_byte(link: socket.socket) -> bool:
    try:
        link.sendall(b"b")
    except ConnectionError:
        return True
    return False


def test_who_does_not_take_the_answer_is_cut_off(endpoint: Endpoint, ask: Ask) -> None:
    server = server_of(endpoint)
    with connect(endpoint) as slow:
        slow.sendall(b"GET /huge HTTP/1.1\r\n\r\n")
        assert slow.recv(1) == b"H"
        assert ask("/page")[0].status == 200
        wait_until(lambda: len(server.callers) == 1, what="the slow one alone")
        server.callers = dict.fromkeys(server.callers, 0.0)
        ask("/page")
        wait_until(lambda: endpoint.dropped == 1, what="an end")

        assert len(all_of(slow)) < len(HUGE)


def test_who_does_not_hang_up_is_forgotten_all_the_same(endpoint: Endpoint) -> None:
    with connect(endpoint) as link:
        link.sendall(b"GET /page HTTP/1.1\r\n\r\n")
        assert all_of(link).endswith(b"a page\n")

        wait_until(lambda: not server_of(endpoint).callers, what="nobody")
    assert endpoint.dropped == 0


def test_a_crowd_that_asks_for_nothing_keeps_nobody_out(endpoint: Endpoint, ask: Ask) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS + 8):
            stack.enter_context(connect(endpoint))

        assert ask("/page")[0].status == 200
        assert endpoint.dropped >= 8
        assert 0 < sum("process_request" in thread.name for thread in threading.enumerate()) <= MOST_CONNECTIONS


def test_a_crowd_that_asks_for_nothing_does_not_push_out_who_waits_for_a_page(endpoint: Endpoint, late: Late) -> None:
    with connect(endpoint) as monitor, ExitStack() as stack:
        monitor.sendall(b"GET /late HTTP/1.1\r\n\r\n")
        assert late.asked.acquire(timeout=10)
        for _ in range(MOST_CONNECTIONS + 8):
            stack.enter_context(connect(endpoint))
        wait_until(lambda: endpoint.dropped >= 9, what="a crowd")
        late.ready.set()

        assert all_of(monitor).endswith(b"at last\n")


def test_a_crowd_that_takes_no_answers_keeps_nobody_out(endpoint: Endpoint, ask: Ask) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS):
            stack.enter_context(connect(endpoint)).sendall(b"GET /huge HTTP/1.1\r\n\r\n")
        wait_until(lambda: endpoint.requests["/huge", 200] == MOST_CONNECTIONS, what="answers")

        assert ask("/page")[0].status == 200
        assert endpoint.dropped == 1


def test_whoever_hangs_up_is_forgotten(endpoint: Endpoint, late: Late) -> None:
    with connect(endpoint) as asking, connect(endpoint) as waiting:
        asking.sendall(b"GET /page")
        waiting.sendall(b"GET /late HTTP/1.1\r\n\r\n")
        assert late.asked.acquire(timeout=10)
    late.ready.set()

    wait_until(lambda: not server_of(endpoint).callers, what="nobody")
    assert endpoint.dropped == 0
    assert endpoint.requests == {("/late", 200): 1}


def test_while_nobody_calls_the_thread_sleeps_without_end(endpoint: Endpoint, ask: Ask) -> None:
    ask("/page")
    wait_until(lambda: not server_of(endpoint).callers, what="nobody")
    endpoint.patience = 0.01
    with connect(endpoint):
        wait_until(lambda: endpoint.dropped == 1, what="an end")

    wait_until(lambda: server_of(endpoint).timeout is None, what="sleep")


def test_a_page_that_takes_its_time_holds_up_nobody_else(endpoint: Endpoint, ask: Ask, late: Late) -> None:
    with connect(endpoint) as link:
        link.sendall(b"GET /late HTTP/1.1\r\n\r\n")
        assert late.asked.acquire(timeout=10)
        assert ask("/page")[0].status == 200
        late.ready.set()

        assert all_of(link).endswith(b"at last\n")


# Where it listens -------------------------------------------------------------------------------------------------


def test_an_address_that_is_taken_is_told_once_and_taken_when_it_is_free() -> None:
    endpoint = Endpoint({"/page": lambda: in_words("a page")})
    endpoint.pause = 0.01
    with capture_logs() as lines:
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = ListenAddress(host="127.0.0.1", port=other.getsockname()[1])
            endpoint.listen(taken)
            wait_until(lambda: endpoint.problem, what="a problem")
            assert endpoint.problem == f"cannot listen on {taken}: Address already in use"
            endpoint.problem = "the last one"
            wait_until(lambda: endpoint.problem != "the last one", what="another try")
        wait_until(lambda: endpoint.url == f"http://{taken}", what="the address")

    assert [line["event"] for line in lines] == ["http_cannot_listen", "http_listening"]
    assert endpoint.problem == ""
    endpoint.end()


def test_another_address_is_taken_instead_and_none_ends_it(endpoint: Endpoint, ask: Ask) -> None:
    before = port_of(endpoint)
    endpoint.listen(ListenAddress(host="::1", port=0) if has_ipv6() else ListenAddress(host="127.0.0.2", port=0))
    wait_until(lambda: endpoint.url and port_of(endpoint) != before, what="another address")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", before), timeout=5)

    endpoint.listen(None)
    wait_until(lambda: not endpoint.url, what="no address")


def test_whoever_has_called_an_address_that_is_left_is_cut_off(endpoint: Endpoint) -> None:
    with connect(endpoint) as silent:
        wait_until(lambda: server_of(endpoint).callers, what="a caller")
        endpoint.listen(None)

        assert silent.recv(1) == b""
    assert endpoint.dropped == 1


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_what_nobody_asks_for_has_no_thread() -> None:
    endpoint = Endpoint({})
    endpoint.listen(None)

    assert endpoint._thread is None
    endpoint.end()
