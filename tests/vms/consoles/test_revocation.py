"""Open consoles die within two seconds of losing their reason, and with redis."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from tests.lab.waiting import wait_until
from tests.support.redis import own_redis
from tests.vms.consoles.conftest import Opener, browse, closing, make_grant, run_proxy
from tests.vms.consoles.peers import Beside, Display, ProxyProcess, Stream
from vms.consoles import registry, tickets
from vms.consoles.tickets import Kind


@pytest.fixture(params=["screen", "screen in handshake", "serial"])
def any_console(
    request: pytest.FixtureRequest, open_console: Opener, display: Display, line: Beside
) -> Callable[..., Stream]:
    def open_it(**changes: object) -> Stream:
        if request.param == "serial":
            stream = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path, **changes)))
            wait_until(lambda: line.clients, timeout_s=3, what="the hub")
            line.say(b"login:")
            assert stream.read(6) == b"login:"
            return stream
        stream = Stream(open_console(make_grant(target=display.path, **changes)))
        if request.param == "screen":
            stream.shake_hands()
        else:
            stream.read(12)
        return stream

    return open_it


@pytest.mark.parametrize("hit", [("user",), ("tenant",), ("guest",), ("session",), ("user", "tenant")], ids="+".join)
def test_a_revocation_closes_what_it_hits_within_two_seconds(
    any_console: Callable[..., Stream], redis: Redis, hit: tuple[str, ...]
) -> None:
    """P-A7, P-A9."""
    names = {name: f"{name}-{time.time_ns()}" for name in hit}
    victim, bystander = any_console(**names), any_console()

    started = time.monotonic()
    registry.revoke(redis, reason="signed_out", **names)

    assert closing(victim.connection) == (4401, "signed_out")
    assert time.monotonic() - started < 2
    bystander.connection.ping().wait(1)


def test_a_reader_that_is_stuck_is_closed_all_the_same(
    open_console: Opener, redis: Redis, display: Display, proxy: ProxyProcess
) -> None:
    grant = make_grant(target=display.path)
    browser = Stream(open_console(grant))
    browser.shake_hands()
    display.clients[-1].setblocking(False)
    flood(display)

    registry.revoke(redis, reason="guest_deleted", guest=grant.guest)

    wait_until(lambda: not registry.watchers(redis, grant.guest), timeout_s=2, what="the console to close")


def flood(beside: Beside) -> None:
    """Write until nothing more fits on the way to the browser: until nobody has made room for a third of a second."""
    client = beside.clients[-1]
    while select.select([], [client], [], 0.3)[1]:
        with contextlib.suppress(BlockingIOError):
            client.send(bytes(65536))


def test_who_is_watching_is_known(open_console: Opener, redis: Redis, display: Display) -> None:
    grant = make_grant(target=display.path)
    browser = Stream(open_console(grant))
    browser.shake_hands()

    (watcher,) = registry.watchers(redis, grant.guest)

    assert (watcher.user, watcher.tenant, watcher.session) == (grant.user, grant.tenant, grant.session)
    assert (watcher.kind, watcher.generation, watcher.address) == ("vnc", 1, "127.0.0.1")
    assert abs(watcher.since - time.time()) < 5
    browser.connection.close()
    wait_until(lambda: not registry.watchers(redis, grant.guest), timeout_s=2, what="the watcher to leave")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "frozen"])
def test_without_redis_every_console_closes_and_none_opens(folder: Path, display: Display, how: signal.Signals) -> None:
    with own_redis() as server, run_proxy(server.url, folder) as proxy:
        redis = Redis.from_url(server.url)
        wait_until(lambda: registry.is_alive(redis), timeout_s=5, what="the proxy's heartbeat")
        issued = [tickets.issue(redis, make_grant(target=display.path)) for _ in range(2)]
        with browse(tickets.address(f"ws://127.0.0.1:{proxy.port}", issued[0])) as connection:
            Stream(connection).shake_hands()

            os.kill(server.process.pid, how)

            assert closing(connection, timeout_s=20)[0] == 4503
        with (
            pytest.raises(Exception, match="HTTP 503"),
            browse(tickets.address(f"ws://127.0.0.1:{proxy.port}", issued[1])),
        ):
            pass
        redis.close()


def test_redis_losing_its_memory_closes_every_console(folder: Path, display: Display) -> None:
    with own_redis() as server, run_proxy(server.url, folder) as proxy:
        redis = Redis.from_url(server.url)
        wait_until(lambda: registry.is_alive(redis), timeout_s=5, what="the proxy's heartbeat")
        ticket = tickets.issue(redis, make_grant(target=display.path))
        with browse(tickets.address(f"ws://127.0.0.1:{proxy.port}", ticket)) as connection:
            Stream(connection).shake_hands()

            redis.flushall()

            assert closing(connection)[0] == 4503
        wait_until(lambda: registry.is_alive(redis), timeout_s=5, what="the proxy to recover")
        redis.close()


def test_a_proxy_that_stops_says_so(private_redis: str, redis: Redis, folder: Path, display: Display) -> None:
    with run_proxy(private_redis, folder) as proxy:
        wait_until(lambda: "listening" in proxy.log, timeout_s=5, what="the proxy")
        ticket = tickets.issue(redis, make_grant(target=display.path))
        with browse(tickets.address(f"ws://127.0.0.1:{proxy.port}", ticket)) as connection:
            Stream(connection).shake_hands()

            proxy.process.terminate()

            assert closing(connection) == (1001, "The console service is restarting.")


def test_a_heartbeat_is_believed_for_a_while_only() -> None:
    with own_redis() as server, Redis.from_url(server.url) as redis:
        assert not registry.is_alive(redis)

        registry.beat(redis, "console", ttl_s=1)

        assert registry.is_alive(redis)
        wait_until(lambda: not registry.is_alive(redis), timeout_s=3, what="the heartbeat to age")
