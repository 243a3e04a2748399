from __future__ import annotations

import contextlib
import dataclasses
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from redis import Redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.lab.waiting import wait_until
from tests.support import services
from tests.support.redis import private_redis  # noqa: F401 - a fixture
from tests.vms.consoles.peers import Beside, Display, ProxyProcess, Stream
from vms.consoles import registry, tickets
from vms.consoles.config import Config
from vms.consoles.tickets import Grant, Kind

ORIGIN = "http://127.0.0.1:8000"
_numbers = itertools.count()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: unix sockets end at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="gh-console-") as name:
        yield Path(name)


@pytest.fixture
def redis(private_redis: str) -> Iterator[Redis]:  # noqa: F811
    client = Redis.from_url(private_redis)
    yield client
    client.close()


def make_grant(**changes: object) -> Grant:
    """A grant nobody else in the run has: its guest, user, tenant and session are new."""
    number = next(_numbers)
    grant = Grant(
        user=f"user-{number}", tenant=f"tenant-{number}", guest=f"guest-{number}", generation=1, kind=Kind.VNC,
        target="/nowhere", password="geheim12", session=f"session-{number}", origin=ORIGIN,
        expires_at=time.time() + 3600, writable=True,
    )  # fmt: skip
    return dataclasses.replace(grant, **changes)  # type: ignore[arg-type]


@contextlib.contextmanager
def run_proxy(redis_url: str, folder: Path, **changes: object) -> Iterator[ProxyProcess]:
    """Start a proxy process; on leaving it gets SIGTERM and must end by itself."""
    config = Config(bind="127.0.0.1:0", redis_url=redis_url, origins=(ORIGIN,), name="test", run_dir=str(folder))
    config = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
    number = next(_numbers)
    log, words = folder / f"proxy-{number}.log", folder / f"config-{number}"
    words.write_text(config.to_json())
    with words.open("rb") as standard_input, log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "vms.consoles"],
            stdin=standard_input, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield ProxyProcess(process, log)
        process.terminate()
        assert process.wait(10) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    with services.private_directory() as name:
        yield Path(name)


@pytest.fixture(scope="session")
def shared_proxy(private_redis: str, session_folder: Path) -> Iterator[ProxyProcess]:  # noqa: F811
    with run_proxy(private_redis, session_folder) as process:
        yield process


@pytest.fixture
def proxy(shared_proxy: ProxyProcess, redis: Redis) -> ProxyProcess:
    """The suite's proxy on its private redis."""
    wait_until(lambda: registry.is_alive(redis), timeout_s=5, what="the proxy's heartbeat")
    return shared_proxy


@pytest.fixture
def display(folder: Path) -> Iterator[Display]:
    server = Display(folder / "vnc")
    yield server
    server.close()


@pytest.fixture
def line(folder: Path) -> Iterator[Beside]:
    server = Beside(folder / "line")
    yield server
    server.close()


Opener = Callable[..., ClientConnection]


@pytest.fixture
def open_console(proxy: ProxyProcess, redis: Redis) -> Iterator[Opener]:
    """Issue a ticket for a grant and connect with it, as the portal and a browser do."""
    with contextlib.ExitStack() as stack:

        def open_it(grant: Grant, *, at: ProxyProcess = proxy, through: Redis = redis) -> ClientConnection:
            url = tickets.address(f"ws://127.0.0.1:{at.port}/console/ws", tickets.issue(through, grant))
            return stack.enter_context(browse(url))

        yield open_it


@contextlib.contextmanager
def browse(url: str, *, origin: str | None = ORIGIN) -> Iterator[ClientConnection]:
    """Open ``url`` as the portal's page does."""
    with connect(
        url, origin=cast("Origin", origin), subprotocols=[Subprotocol("binary")], compression=None, max_size=None,
        max_queue=4, close_timeout=1, proxy=None, ping_interval=None,
    ) as connection:  # fmt: skip
        yield connection


@pytest.fixture
def screen(open_console: Opener, display: Display) -> Callable[..., Stream]:
    """Open the fake display's screen past the handshake."""

    def open_it(**changes: object) -> Stream:
        stream = Stream(open_console(make_grant(target=display.path, **changes)))
        assert stream.shake_hands() == (64, 48)
        return stream

    return open_it


def closing(connection: ClientConnection, timeout_s: float = 10) -> tuple[int, str]:
    """Read until the WebSocket closes; its code and reason."""
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012 - which of the reads it is does not matter
        while True:
            connection.recv(timeout=timeout_s)
    assert caught.value.rcvd is not None, "the connection broke without a close frame"
    return caught.value.rcvd.code, caught.value.rcvd.reason
