"""However many requests there were, of whatever kind, as many connections are open afterwards as the threads hold."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice

import pytest
from django.db import connection

from portal.asgi import THREADS
from tests.live.stage import Stage
from tests.support.crowd import together

REQUESTS, LONG_REQUESTS = 300, 10_000
HELD_BY_A_THREAD = 3
"""Redis: rates, cache and consoles have a connection each."""


def raw(stage: Stage, text: str) -> None:
    """Say something to the web process and hang up, whatever it answers."""
    with socket.create_connection(("127.0.0.1", stage.port), timeout=20) as line:
        line.sendall(text.replace("\n", "\r\n").encode())


UPGRADE = """GET /ws/t/x/events HTTP/1.1
Host: 127.0.0.1
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==

"""


def kinds(stage: Stage) -> list[Callable[[], object]]:
    """Requests of every sort: answered, refused, wrong, broken off, and of WebSockets."""
    return [
        lambda: stage.ask("GET", "guests"),
        lambda: stage.ask("GET", "events"),
        lambda: stage.ask("GET", "guests/not-an-id"),
        lambda: stage.ask("POST", "networks", {"unknown": 1}),
        lambda: stage.ask("GET", "/api/v1/me"),
        lambda: stage.ask("GET", "/readyz"),
        lambda: stage.ask("GET", "quota"),
        lambda: raw(stage, "POST /api/v1/tenants HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 100\n\nhalf"),
        lambda: raw(stage, "GET /account/login/ HTTP/1.1\nHost: 127.0.0.1\n\n"),
        lambda: raw(stage, UPGRADE),
    ]


def opened(stage: Stage) -> tuple[int, int]:
    """Sessions of the database and clients of Redis."""
    stage.look_again()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        (sessions,) = cursor.fetchone()
    return sessions, len(stage.redis().client_list())


def test_connections_stay_flat(stage: Stage, request: pytest.FixtureRequest) -> None:
    """P-G8: CVE-2026-59654; one connection lost in twenty requests would show."""
    total = LONG_REQUESTS if request.config.getoption("--long") else REQUESTS
    sorts = kinds(stage)
    for ask in sorts:
        ask()
    sessions, clients = opened(stage)

    def some(number: int) -> None:
        for ask in islice(cycle(sorts), number, number + total // THREADS):
            ask()

    outcomes = together([partial(some, number) for number in range(THREADS)])

    assert outcomes == [None] * THREADS

    after, clients_after = opened(stage)
    assert after <= sessions + THREADS
    assert clients_after <= clients + HELD_BY_A_THREAD * THREADS
