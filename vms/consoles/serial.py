"""One reader per serial line, many viewers.

QEMU's serial socket serves one client, so a hub thread opens it once, remembers the recent past, hands all output to
every viewer and takes the input of those who may write. A viewer is one end of a socket pair: its kernel buffer and a
small queue are all that a slow one can fill. The line runs at the pace of its fastest viewer; one that falls further
behind loses the oldest output and is told so, and when none reads for ``STALL_S`` the guest is not kept waiting.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger()

SCROLLBACK = 64 * 1024
QUEUE_LIMIT = 256 * 1024
INPUT_LIMIT = 64 * 1024
CHUNK = 64 * 1024
STALL_S = 2.0
LINGER_S = 30.0
RECONNECT_S = 0.3
GIVE_UP_S = 10.0
SKIPPED = b"\r\n[%d bytes of output skipped: this viewer was too slow]\r\n"


@dataclass(slots=True, eq=False)
class _Viewer:
    sock: socket.socket
    writable: bool
    queue: bytearray = field(default_factory=bytearray)
    skipped: int = 0

    @property
    def has_room(self) -> bool:
        return len(self.queue) < QUEUE_LIMIT

    def show(self, data: bytes) -> None:
        """Queue and send ``data``; drop it when the queue is full. Raises ``OSError`` once the viewer is gone."""
        if not self.has_room:
            self.skipped += len(data)
            return
        self.queue += data
        self.send()

    def send(self) -> None:
        try:
            while self.queue:
                sent = self.sock.send(self.queue)
                del self.queue[:sent]
        except BlockingIOError:
            return
        if self.skipped:
            self.queue += SKIPPED % self.skipped
            self.skipped = 0


class Hubs:
    """All serial lines this process has open."""

    def __init__(self, *, linger_s: float = LINGER_S) -> None:
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
        with self._lock:
            hub = self._hubs.get(target)
            if hub is None or not hub.add(_Viewer(ours, writable)):
                hub = _Hub(target, log_path=log_path, linger_s=self._linger_s)
                hub.add(_Viewer(ours, writable))
                self._hubs[target] = hub
                hub.start()
            for gone in [path for path, other in self._hubs.items() if other.is_over]:
                del self._hubs[gone]
        return theirs


class _Hub(threading.Thread):
    def __init__(self, target: str, *, log_path: str, linger_s: float) -> None:
        super().__init__(name="console-serial", daemon=True)
        self.is_over = False
        self._target = target
        self._linger_s = linger_s
        self._scrollback = bytearray(tail(log_path))
        self._line: socket.socket | None = None
        self._was_open = False
        self._input = bytearray()
        self._viewers: dict[int, _Viewer] = {}
        self._arrivals: list[_Viewer] = []
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._begun_at = self._watched_at = self._moved_at = time.monotonic()
        self._retry_at = 0.0

    def add(self, viewer: _Viewer) -> bool:
        """Take a viewer in; False when this hub has already ended."""
        with self._lock:
            if self.is_over:
                return False
            self._arrivals.append(viewer)
            os.eventfd_write(self._wake, 1)
            return True

    def run(self) -> None:
        try:
            while not self._may_end():
                self._welcome()
                self._open_line()
                self._serve()
        finally:
            with self._lock:
                self.is_over = True
                os.close(self._wake)
            for viewer in [*self._viewers.values(), *self._arrivals]:
                viewer.sock.close()
            if self._line is not None:
                self._line.close()

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
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.setblocking(False)
        try:
            line.connect(self._target)
        except OSError as error:
            line.close()
            log.debug("console_serial_unreachable", error=type(error).__name__)
            return
        self._line, self._was_open = line, True
        self._input.clear()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        line = -1
        if self._line is not None:
            line = self._line.fileno()
            mask = (select.POLLIN if self._may_read() else 0) | (select.POLLOUT if self._input else 0)
            if mask:
                poll.register(line, mask)
        for descriptor, viewer in self._viewers.items():
            reading = select.POLLIN if len(self._input) < INPUT_LIMIT else 0
            poll.register(descriptor, reading | (select.POLLOUT if viewer.queue else 0))
        for descriptor, event in poll.poll(RECONNECT_S * 1000):
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
            elif descriptor == line:
                self._serve_line(event)
            elif descriptor in self._viewers:
                self._serve_viewer(self._viewers[descriptor], event)

    def _may_read(self) -> bool:
        viewers = self._viewers.values()
        if not viewers or any(viewer.has_room for viewer in viewers):
            return True
        return time.monotonic() - self._moved_at > STALL_S

    def _serve_line(self, event: int) -> None:
        line = self._line
        if line is None:
            return
        try:
            if event & select.POLLOUT and self._input:
                del self._input[: line.send(self._input)]
            if event & ~select.POLLOUT:
                data = line.recv(CHUNK)
                if not data:
                    raise ConnectionResetError
                self._remember(data)
                for viewer in list(self._viewers.values()):
                    self._show(viewer, data)
        except BlockingIOError:
            return
        except OSError:
            line.close()
            self._line = None

    def _serve_viewer(self, viewer: _Viewer, event: int) -> None:
        try:
            if event & select.POLLOUT:
                viewer.send()
                self._moved_at = time.monotonic()
            if event & ~select.POLLOUT:
                data = viewer.sock.recv(INPUT_LIMIT)
                if not data:
                    raise ConnectionResetError
                if viewer.writable and self._line is not None:
                    self._input += data
        except BlockingIOError:
            return
        except OSError:
            self._drop(viewer)

    def _show(self, viewer: _Viewer, data: bytes) -> None:
        had_room = viewer.has_room
        try:
            viewer.show(data)
        except OSError:
            self._drop(viewer)
        if had_room:
            self._moved_at = time.monotonic()

    def _drop(self, viewer: _Viewer) -> None:
        del self._viewers[viewer.sock.fileno()]
        viewer.sock.close()

    def _remember(self, data: bytes) -> None:
        self._scrollback += data
        del self._scrollback[:-SCROLLBACK]


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
