"""What the proxy says to those it does not let in."""

from __future__ import annotations

import socket

import pytest
from redis import Redis

from tests.lab.waiting import wait_until
from tests.vms.consoles.conftest import ORIGIN, Opener, closing, make_grant, run_proxy
from tests.vms.consoles.peers import Display, ProxyProcess, Stream
from vms.consoles import registry, tickets

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def ask(proxy: ProxyProcess, request: str) -> str:
    """Send raw bytes and return the whole answer, up to the end of the connection or of an upgrade's headers."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as connection:
        connection.sendall(request.encode("latin-1"))
        answer = b""
        while data := connection.recv(65536):
            answer += data
            if answer.startswith(b"HTTP/1.1 101") and b"\r\n\r\n" in answer:
                break
    return answer.decode("latin-1")


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1])


def upgrade(path: str, *headers: str) -> str:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"GET {path} HTTP/1.1\r\nHost: portal\r\n{UPGRADE}{lines}\r\n"


ORIGINS = {
    "foreign": ["http://evil.example"],
    "null": ["null"],
    "absent": [],
    "empty": [""],
    "prefix": ["http://127.0.0.1:8000.evil"],
    "other port": ["http://127.0.0.1:444"],
    "no port": ["http://127.0.0.1"],
    "other scheme": ["https://127.0.0.1:8000"],
    "upper case": ["HTTP://127.0.0.1:8000"],
    "trailing dot": ["http://127.0.0.1.:8000"],
    "trailing slash": ["http://127.0.0.1:8000/"],
    "userinfo": ["http://127.0.0.1:8000@evil.example"],
    "user at portal": ["http://evil@127.0.0.1:8000"],
    "twice the same": [ORIGIN, ORIGIN],
    "right, then wrong": [ORIGIN, "http://evil.example"],
    "wrong, then right": ["http://evil.example", ORIGIN],
    "list": [f"{ORIGIN}, http://evil.example"],
    "folded": [f"{ORIGIN}\r\n http://evil.example"],
}


@pytest.mark.parametrize("origins", ORIGINS.values(), ids=ORIGINS.keys())
def test_only_the_portals_own_pages_get_a_console(proxy: ProxyProcess, redis: Redis, origins: list[str]) -> None:
    """P-A1; a refused page does not use the ticket up."""
    ticket = tickets.issue(redis, make_grant())

    answer = ask(proxy, upgrade(f"/console/ws?ticket={ticket}", *(f"Origin: {origin}" for origin in origins)))

    assert status(answer) == 403
    assert tickets.redeem(redis, ticket) is not None


def test_the_portals_page_gets_one(proxy: ProxyProcess, redis: Redis, display: Display) -> None:
    ticket = tickets.issue(redis, make_grant(target=display.path))

    answer = ask(
        proxy, upgrade(f"/console/ws?ticket={ticket}", f"Origin: {ORIGIN}", "Sec-WebSocket-Protocol: a, binary")
    )

    assert status(answer) == 101
    assert "Sec-WebSocket-Protocol: binary\r\n" in answer


def test_a_ticket_may_stand_in_the_path(proxy: ProxyProcess, redis: Redis, display: Display) -> None:
    ticket = tickets.issue(redis, make_grant(target=display.path))

    assert status(ask(proxy, upgrade(f"/console/ws/{ticket}", f"Origin: {ORIGIN}"))) == 101


def test_a_ticket_opens_one_console_only(proxy: ProxyProcess, redis: Redis, display: Display) -> None:
    """P-A8."""
    request = upgrade(f"/?ticket={tickets.issue(redis, make_grant(target=display.path))}", f"Origin: {ORIGIN}")

    assert [status(ask(proxy, request)) for _ in range(3)] == [101, 403, 403]


def test_a_ticket_belongs_to_the_origin_it_was_issued_for(proxy: ProxyProcess, redis: Redis) -> None:
    ticket = tickets.issue(redis, make_grant(origin="http://other.example"))

    assert status(ask(proxy, upgrade(f"/?ticket={ticket}", f"Origin: {ORIGIN}"))) == 403


@pytest.mark.parametrize(
    "path",
    ["/", "/console/ws", "/?ticket=", "/?ticket=x", f"/?ticket={'a' * 43}", f"/?ticket={'a' * 43}&ticket={'b' * 43}",
     "/?token=x", "/%00", f"/{'a' * 43}", "/?ticket=%ff%fe"],
)  # fmt: skip
def test_without_a_good_ticket_there_is_no_console(proxy: ProxyProcess, path: str) -> None:
    assert status(ask(proxy, upgrade(path, f"Origin: {ORIGIN}"))) == 403


@pytest.mark.parametrize(
    "path",
    ["/", "/vnc.html", "//evil.example/%2e%2e", "///evil.example", "/\\evil.example", "/%2f%2fevil.example", "/..",
     "/.", "//evil.example//..", "/vms", "/etc/passwd", "http://evil.example/", "/healthz/", "/healthz?x"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_proxy_serves_no_files_and_sends_nobody_elsewhere(proxy: ProxyProcess, method: str, path: str) -> None:
    """P-A4."""
    answer = ask(proxy, f"{method} {path} HTTP/1.1\r\nHost: portal\r\n\r\n")

    assert status(answer) == 404
    assert "location" not in answer.lower()
    assert "evil" not in answer


@pytest.mark.parametrize(
    "request_line", ["POST / HTTP/1.1", "TRACE /secret HTTP/1.1", "<x>", "GET / HTTP/9.9", "\x00\xff"]
)
def test_nothing_of_a_strange_request_is_repeated(proxy: ProxyProcess, request_line: str) -> None:
    answer = ask(proxy, f"{request_line}\r\n\r\n")

    assert "secret" not in answer
    assert "<" not in answer


@pytest.mark.parametrize(
    ("proxies", "said", "address"),
    [
        (0, ["203.0.113.9"], "127.0.0.1"),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (1, ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (2, ["6.6.6.6, 203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        (2, ["203.0.113.9"], "127.0.0.1"),
        (1, [], "127.0.0.1"),
    ],
)
def test_a_watcher_is_shown_with_the_address_our_own_proxies_saw(
    private_redis: str, redis: Redis, display: Display, proxies: int, said: list[str], address: str
) -> None:
    """P-I8: what a browser says of itself is never believed."""
    grant = make_grant(target=display.path)
    request = upgrade(
        f"/?ticket={tickets.issue(redis, grant)}", f"Origin: {ORIGIN}", *(f"X-Forwarded-For: {one}" for one in said)
    )
    with (
        run_proxy(private_redis, display.folder, proxies=proxies) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as browser,
    ):
        browser.sendall(request.encode())
        (watcher,) = wait_until(lambda: registry.watchers(redis, grant.guest), timeout_s=5, what="the watcher")

    assert watcher.address == address


def test_health_is_redis_answering(proxy: ProxyProcess) -> None:
    answer = ask(proxy, "GET /healthz HTTP/1.1\r\nHost: portal\r\n\r\n")

    assert status(answer) == 200
    assert answer.endswith("\r\n\r\nok\n")


def test_caps_hold_per_guest_and_per_user(
    private_redis: str, redis: Redis, display: Display, open_console: Opener
) -> None:
    """P-A14: the display never sees more viewers than the cap."""
    with run_proxy(private_redis, display.folder, per_guest=2, per_user=3) as proxy:
        first = make_grant(target=display.path)
        same_guest = make_grant(target=display.path, guest=first.guest)
        same_user = make_grant(target=display.path, user=first.user)

        opened = [Stream(open_console(grant, at=proxy)) for grant in (first, same_guest)]
        for stream in opened:
            stream.shake_hands()
        assert closing(open_console(first, at=proxy)) == (4429, "Too many consoles are open.")
        for _ in range(2):
            Stream(open_console(same_user, at=proxy)).shake_hands()
        assert closing(open_console(make_grant(target=display.path, user=first.user), at=proxy))[0] == 4429

        opened[1].connection.close()
        wait_until(lambda: len(registry.watchers(redis, first.guest)) == 1, timeout_s=3, what="a free place")
        Stream(open_console(same_guest, at=proxy)).shake_hands()


def test_half_open_connections_are_hung_up_on(private_redis: str, folder: object) -> None:
    with run_proxy(private_redis, folder, connections=5) as proxy:  # type: ignore[arg-type]
        waiting = [socket.create_connection(("127.0.0.1", proxy.port), timeout=60) for _ in range(5)]
        waiting[0].sendall(b"GET / HT")
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as sixth:
            assert sixth.recv(1) == b""
        for connection in waiting:
            connection.close()
        wait_until(lambda: _answers(proxy), timeout_s=5, what="a place")


def _answers(proxy: ProxyProcess) -> bool:
    try:
        return status(ask(proxy, "GET /healthz HTTP/1.1\r\n\r\n")) == 200
    except (OSError, IndexError):
        return False
