"""One reader per serial line, many viewers.

QEMU's serial socket serves one client, so a hub thread opens it once, remembers the recent past, hands all output to
every viewer and takes the input of those who may write. A viewer is one end of a socket pair: its kernel buffer and a
small queue are all that a slow one can fill. The line runs at the pace of its fastest viewer; one that falls further
behind loses output and is told so, and when none reads for ``STALL_S`` the guest is not kept waiting.

Of several console processes on a machine, the one that holds the line's lock reads it, and the hubs of the others are
viewers of that one; when it goes, another takes over.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

log = structlog.get_logger()

SCROLLBACK = 64 * 1024
QUEUE_LIMIT = 256 * 1024
INPUT_LIMIT = 64 * 1024
CHUNK = 128 * 1024
STALL_S = 2.0
LINGER_S = 30.0
RECONNECT_S = 0.3
GIVE_UP_S = 10.0
SKIPPED = b"\r\n[%d bytes of output skipped: this viewer was too slow]\r\n"
# The first byte a hub sends to the hub that reads the line.
WITH_PAST, WITHOUT_PAST = b"+", b"-"


@dataclass(slots=True, eq=False)
class _Viewer:
    """``is_waiting``: another process's hub that has not yet said whether it wants the past."""

    sock: socket.socket
    writable: bool
    is_waiting: bool = False
    queue: bytearray = field(default_factory=bytearray)
    skipped: int = 0

    @property
    def has_room(self) -> bool:
        return len(self.queue) < QUEUE_LIMIT

    def show(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data`` and queue the rest; drop it when the queue is full. Raises ``OSError`` at the viewer's end."""
        if not self.has_room:
            self.skipped += len(data)
            return
        if not self.queue:
            with suppress(BlockingIOError):
                data = data[self.sock.send(data) :]
        self.queue += data

    def send(self) -> None:
        """Send what is queued, and then how much was dropped."""
        with suppress(BlockingIOError):
            del self.queue[: self.sock.send(self.queue)]
        if self.skipped and not self.queue:
            self.queue += SKIPPED % self.skipped
            self.skipped = 0


class Hubs:
    """All serial lines this process has open; ``folder`` is shared with the other console processes of the machine."""

    def __init__(self, folder: Path, *, linger_s: float = LINGER_S) -> None:
        self._folder = folder
        self._linger_s = linger_s
        self._lock = threading.Lock()
        self._hubs: dict[str, _Hub] = {}

    def attach(self, target: str, *, writable: bool, log_path: str = "") -> socket.socket:
        """Join the line at the unix socket ``target``; the socket returned speaks its raw bytes, the past first.

        It ends when the line has not been reachable for ``GIVE_UP_S`` since its first viewer; a line that was lost
        later, as when its guest is restarted, is opened again for as long as anybody watches.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
        with self._lock:
            hub = self._hubs.get(target)
            if hub is None or not hub.add(_Viewer(ours, writable)):
                hub = _Hub(_Line(target, self._folder), log_path=log_path, linger_s=self._linger_s)
                hub.add(_Viewer(ours, writable))
                self._hubs[target] = hub
                hub.start()
            for gone in [path for path, other in self._hubs.items() if other.is_over]:
                del self._hubs[gone]
        return theirs


class _Line:
    """The way to the guest: its own socket for the process that holds the lock, that process's hub for the others."""

    def __init__(self, target: str, folder: Path) -> None:
        self._target = target
        name = hashlib.sha256(target.encode()).hexdigest()[:16]
        self._hub_path = folder / f"serial-{name}.sock"
        self._lock = (folder / f"serial-{name}.lock").open("w")
        self.listener: socket.socket | None = None

    def connect(self, *, with_past: bool) -> socket.socket:
        """Connect, as the reader if there is none yet; ``with_past`` asks another one for it. Raises ``OSError``."""
        if self.listener is None and not self._become_reader():
            line = _connect(str(self._hub_path))
            line.send(WITH_PAST if with_past else WITHOUT_PAST)
            return line
        return _connect(self._target)

    def close(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self._hub_path.unlink(missing_ok=True)
        self._lock.close()

    def _become_reader(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._hub_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        os.fchmod(listener.fileno(), 0o600)
        listener.setblocking(False)
        listener.bind(str(self._hub_path))
        listener.listen(16)
        self.listener = listener
        return True


class _Hub(threading.Thread):
    def __init__(self, way: _Line, *, log_path: str, linger_s: float) -> None:
        super().__init__(name="console-serial", daemon=True)
        self.is_over = False
        self._way = way
        self._log_path = log_path
        self._linger_s = linger_s
        self._scrollback = bytearray()
        self._line: socket.socket | None = None
        self._was_open = False
        self._input = bytearray()
        self._viewers: dict[int, _Viewer] = {}
        self._arrivals: list[_Viewer] = []
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._begun_at = self._watched_at = self._moved_at = time.monotonic()
        self._retry_at = 0.0
        self._room = memoryview(bytearray(CHUNK))

    def add(self, viewer: _Viewer) -> bool:
        """Take a viewer in; False when this hub has already ended."""
        with self._lock:
            if self.is_over:
                return False
            self._arrivals.append(viewer)
            os.eventfd_write(self._wake, 1)
            return True

    def run(self) -> None:
        """Serve the line until nobody has watched it for a while, or it never came."""
        try:
            while not self._may_end():
                self._open_line()
                self._welcome()
                self._serve()
        finally:
            with self._lock:
                self.is_over = True
                os.close(self._wake)
            for viewer in [*self._viewers.values(), *self._arrivals]:
                viewer.sock.close()
            if self._line is not None:
                self._line.close()
            self._way.close()

    def _may_end(self) -> bool:
        now = time.monotonic()
        with self._lock:
            if self._viewers or self._arrivals:
                self._watched_at = now
            given_up = not self._was_open and now - self._begun_at > GIVE_UP_S
            self.is_over = given_up or now - self._watched_at > self._linger_s
            return self.is_over

    def _welcome(self) -> None:
        with self._lock:
            arrivals, self._arrivals = self._arrivals, []
        for viewer in arrivals:
            self._viewers[viewer.sock.fileno()] = viewer
            self._show(viewer, bytes(self._scrollback))

    def _open_line(self) -> None:
        now = time.monotonic()
        if self._line is not None or now < self._retry_at:
            return
        self._retry_at = now + RECONNECT_S
        try:
            self._line = self._way.connect(with_past=not self._was_open)
        except OSError as error:
            log.debug("console_serial_unreachable", error=type(error).__name__)
            return
        if not self._was_open and self._way.listener is not None:
            self._scrollback += tail(self._log_path)
        self._was_open = True
        self._input.clear()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        line, listener = -1, -1
        if self._line is not None:
            line = self._line.fileno()
            mask = (select.POLLIN if self._may_read() else 0) | (select.POLLOUT if self._input else 0)
            if mask:
                poll.register(line, mask)
        if self._way.listener is not None:
            listener = self._way.listener.fileno()
            poll.register(listener, select.POLLIN)
        for descriptor, viewer in self._viewers.items():
            reading = select.POLLIN if len(self._input) < INPUT_LIMIT else 0
            poll.register(descriptor, reading | (select.POLLOUT if viewer.queue else 0))
        for descriptor, event in poll.poll(RECONNECT_S * 1000):
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
            elif descriptor == line:
                self._serve_line(event)
            elif descriptor == listener:
                self._accept()
            elif descriptor in self._viewers:
                self._serve_viewer(self._viewers[descriptor], event)

    def _may_read(self) -> bool:
        viewers = self._viewers.values()
        if not viewers or any(viewer.has_room for viewer in viewers):
            return True
        return time.monotonic() - self._moved_at > STALL_S

    def _accept(self) -> None:
        listener = self._way.listener
        if listener is None:
            return
        try:
            sock, _ = listener.accept()
        except OSError as error:
            log.info("console_serial_peer_lost", error=type(error).__name__)
            return
        sock.setblocking(False)
        self._viewers[sock.fileno()] = _Viewer(sock, writable=True, is_waiting=True)

    def _serve_line(self, event: int) -> None:
        line = self._line
        if line is None:
            return
        try:
            if event & select.POLLOUT and self._input:
                del self._input[: line.send(self._input)]
            if event & ~select.POLLOUT:
                size = line.recv_into(self._room)
                if not size:
                    raise ConnectionResetError
                self._hand_out(self._room[:size])
        except BlockingIOError:
            return
        except OSError:
            line.close()
            self._line = None

    def _hand_out(self, data: memoryview) -> None:
        self._scrollback += data[-SCROLLBACK:]
        del self._scrollback[:-SCROLLBACK]
        for viewer in list(self._viewers.values()):
            if not viewer.is_waiting:
                self._show(viewer, data)

    def _serve_viewer(self, viewer: _Viewer, event: int) -> None:
        try:
            if event & select.POLLOUT:
                viewer.send()
                self._moved_at = time.monotonic()
            if event & ~select.POLLOUT:
                self._hear(viewer, viewer.sock.recv(INPUT_LIMIT))
        except BlockingIOError:
            return
        except OSError:
            self._drop(viewer)

    def _hear(self, viewer: _Viewer, data: bytes) -> None:
        """Take a viewer's input; raises ``OSError`` at its end."""
        if not data:
            raise ConnectionResetError
        if viewer.is_waiting:
            viewer.is_waiting = False
            if data[:1] == WITH_PAST:
                viewer.show(self._scrollback)
            data = data[1:]
        if viewer.writable and self._line is not None:
            self._input += data

    def _show(self, viewer: _Viewer, data: bytes | memoryview) -> None:
        if viewer.has_room:
            self._moved_at = time.monotonic()
        try:
            viewer.show(data)
        except OSError:
            self._drop(viewer)

    def _drop(self, viewer: _Viewer) -> None:
        del self._viewers[viewer.sock.fileno()]
        viewer.sock.close()


def tail(path: str, limit: int = SCROLLBACK) -> bytes:
    """The last ``limit`` bytes of a serial log; nothing when there is none or it may not be read."""
    if not path:
        return b""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
            return file.read(limit)
    except OSError as error:
        log.info("console_serial_log_unreadable", error=type(error).__name__)
        return b""


def _connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
