"""Those who look at a serial line: browsers, and the hubs of this machine's other console processes."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from typing import Protocol

from vms.consoles.pump import BROWSER_GONE, READABLE, Browser
from vms.consoles.sessions import Ending

QUEUE_LIMIT = 256 * 1024
INPUT_LIMIT = 64 * 1024
SKIPPED = b"\r\n[%d bytes of output skipped: this viewer was too slow]\r\n"


class Viewer(Protocol):
    """``is_waiting``: one that has not yet said whether it wants the past. All but ``close`` is the hub's thread's."""

    writable: bool
    is_waiting: bool

    @property
    def descriptor(self) -> int:
        """What to poll for ``mask``."""

    @property
    def wake(self) -> int | None:
        """A second descriptor, readable once ``check`` has something to say."""

    @property
    def has_room(self) -> bool:
        """Whether it keeps up; what is shown to one without room is dropped and counted."""

    def mask(self, *, reading: bool) -> int:
        """What to poll ``descriptor`` for."""

    def show(self, data: bytes | memoryview) -> None:
        """Send ``data`` and keep the rest for later, or drop it. Raises ``OSError`` at the viewer's end."""

    def serve(self, event: int) -> bytes:
        """Send what was kept, and return what it says. Raises ``OSError`` or ``Ended`` at the viewer's end."""

    def check(self) -> None:
        """Raise ``Ended`` when it must go."""

    def close(self, ending: Ending) -> None:
        """The hub has let go of it."""


class Seat:
    """A browser before a serial line. The hub's thread serves it; the console's own thread waits in ``wait``."""

    is_waiting = False

    def __init__(self, browser: Browser, *, writable: bool) -> None:
        self.writable = writable
        self.descriptor = browser.sock.fileno()
        self.wake: int | None = browser.session.wake
        self._browser = browser
        self._skipped = 0
        self._ending = BROWSER_GONE
        self._over = threading.Event()

    def wait(self) -> Ending:
        """Block until the hub has let go of this browser; why it did."""
        self._over.wait()
        return self._ending

    @property
    def has_room(self) -> bool:
        return not self._browser.sock.is_congested

    def mask(self, *, reading: bool) -> int:
        return self._browser.mask(reading=reading)

    def show(self, data: bytes | memoryview) -> None:
        if self._browser.sock.is_congested:
            self._skipped += len(data)
            return
        if data:
            self._browser.sock.push(data)

    def serve(self, event: int) -> bytes:
        data = self._browser.serve(event)
        if self._skipped and not self._browser.sock.has_waiting:
            self._browser.sock.push(SKIPPED % self._skipped)
            self._skipped = 0
        return data

    def check(self) -> None:
        self._browser.check()

    def close(self, ending: Ending) -> None:
        self._ending = ending
        self._over.set()


class Peer:
    """The hub of another console process, at the other end of a socket; the socket is made non-blocking."""

    wake: int | None = None

    def __init__(self, sock: socket.socket, *, writable: bool, is_waiting: bool = False) -> None:
        sock.setblocking(False)
        self.writable = writable
        self.is_waiting = is_waiting
        self.descriptor = sock.fileno()
        self._sock = sock
        self._queue = bytearray()
        self._skipped = 0

    @property
    def has_room(self) -> bool:
        return len(self._queue) < QUEUE_LIMIT

    def mask(self, *, reading: bool) -> int:
        return (select.POLLIN if reading else 0) | (select.POLLOUT if self._queue else 0)

    def show(self, data: bytes | memoryview) -> None:
        if not self.has_room:
            self._skipped += len(data)
            return
        if not self._queue:
            with suppress(BlockingIOError):
                data = data[self._sock.send(data) :]
        self._queue += data

    def serve(self, event: int) -> bytes:
        if event & select.POLLOUT:
            with suppress(BlockingIOError):
                del self._queue[: self._sock.send(self._queue)]
            if self._skipped and not self._queue:
                self._queue += SKIPPED % self._skipped
                self._skipped = 0
        if not event & READABLE:
            return b""
        data = self._sock.recv(INPUT_LIMIT)
        if not data:
            raise ConnectionResetError
        return data

    def check(self) -> None:
        """It comes and goes with its process."""

    def close(self, ending: Ending) -> None:
        self._sock.close()
