"""An S3 service of a test's own, on loopback: every key opens every bucket, and one that is asked for is there."""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support import services


@contextlib.contextmanager
def own_s3() -> Iterator[str]:
    """The address of a service that forgets all when the context ends."""
    with tempfile.TemporaryDirectory(prefix="gh-s3-") as name:
        log = Path(name) / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with services.child(command, log=log, signal_name="KILL"):
            services.require(lambda: _answers(port), log)
            yield f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
