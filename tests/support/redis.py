"""Redis servers of a test's own, for what may not disturb the suite's: emptying, stopping and freezing it."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.processes import redis_server
from tests.support import services


@dataclass(frozen=True, slots=True)
class OwnRedis:
    """A running server and its ``unix://`` address."""

    url: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def own_redis() -> Iterator[OwnRedis]:
    """A server that keeps nothing on disk and ends with the context, unless the test ended it before."""
    with tempfile.TemporaryDirectory(prefix="gh-redis-") as name:
        directory, log = Path(name), Path(name) / "log"
        socket = directory / "redis.sock"
        command = [redis_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", name]
        with services.child(command, log=log, signal_name="KILL") as process:
            services.require(socket.is_socket, log)
            yield OwnRedis(f"unix://{socket}", process)


@pytest.fixture(scope="session")
def private_redis() -> Iterator[str]:
    """The ``unix://`` address of a Redis that only the tests asking for it use."""
    with own_redis() as server:
        yield server.url
