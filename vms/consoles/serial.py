"""One reader per serial line, many viewers.

QEMU's serial socket serves one client, so a hub thread opens it once, remembers the recent past, hands all output to
every viewer and takes the input of those who may write. It serves its browsers itself, so a byte passes one thread. The
line runs at the pace of its fastest viewer; one that falls further behind loses output and is told so, and when none reads
for ``STALL_S`` the guest is not kept waiting.

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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from vms.consoles.past import Past
from vms.consoles.pump import BROWSER_GONE, CHUNK, READABLE, TARGET_CLOSED, Poll
from vms.consoles.sessions import Ended, Ending
from vms.consoles.viewers import Peer, Viewer

log = structlog.get_logger()

INPUT_LIMIT = 64 * 1024
STALL_S = 2.0
LINGER_S = 30.0
RECONNECT_S = 0.3
CHECK_EVERY_S = 1.0
GIVE_UP_S = 10.0
# The first byte a hub sends to the hub that reads the line.
WITH_PAST, WITHOUT_PAST = b"+", b"-"


class Hubs:
    """All serial lines this process has open; ``folder`` is shared with the other console processes of the machine."""

    def __init__(self, folder: Path, *, linger_s: float = LINGER_S) -> None:
        self._folder = folder
        self._linger_s = linger_s
        self._lock = threading.Lock()
        self._hubs: dict[str, _Hub] = {}

    def join(self, viewer: Viewer, *, target: str, log_path: str = "") -> None:
        """Show ``viewer`` the line at the unix socket ``target``, the past first, until either of them ends.

        Viewers are closed when the line has not been reachable for ``GIVE_UP_S`` since the first of them; a line that was
        lost later, as when its guest is restarted, is opened again for as long as anybody watches.
        """
        with self._lock:
            hub = self._hubs.get(target)
            if hub is None or not hub.add(viewer):
                hub = _Hub(_Line(target, self._folder), log_path=log_path, linger_s=self._linger_s)
                hub.add(viewer)
                self._hubs[target] = hub
                hub.start()
            for gone in [path for path, other in self._hubs.items() if other.is_over]:
                del self._hubs[gone]


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
        self._past = Past()
        self._line: socket.socket | None = None
        self._was_open = False
        self._input = bytearray()
        self._viewers: set[Viewer] = set()
        self._by_descriptor: dict[int, Viewer] = {}
        self._arrivals: list[Viewer] = []
        self._lock = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = Poll()
        self._poll.watch(self._wake, select.POLLIN)
        self._begun_at = self._watched_at = self._moved_at = self._checked_at = time.monotonic()
        self._retry_at = 0.0
        self._room = memoryview(bytearray(CHUNK))

    def add(self, viewer: Viewer) -> bool:
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
                self._watch()
                self._serve()
                self._check()
        finally:
            with self._lock:
                self.is_over = True
                os.close(self._wake)
            for viewer in [*self._viewers, *self._arrivals]:
                viewer.close(TARGET_CLOSED)
            if self._line is not None:
                self._line.close()
            self._way.close()

    def _may_end(self) -> bool:
        if self._viewers and self._was_open:
            return False
        now = time.monotonic()
        with self._lock:
            if self._viewers or self._arrivals:
                self._watched_at = now
            given_up = not self._was_open and now - self._begun_at > GIVE_UP_S
            self.is_over = given_up or now - self._watched_at > self._linger_s
            return self.is_over

    def _welcome(self) -> None:
        if not self._arrivals:
            return
        with self._lock:
            arrivals, self._arrivals = self._arrivals, []
        for viewer in arrivals:
            self._take_in(viewer)
            self._show(viewer, self._past.shown())

    def _take_in(self, viewer: Viewer) -> None:
        self._viewers.add(viewer)
        self._by_descriptor[viewer.descriptor] = viewer
        if viewer.wake is not None:
            self._by_descriptor[viewer.wake] = viewer
            self._poll.watch(viewer.wake, select.POLLIN)

    def _open_line(self) -> None:
        if self._line is not None:
            return
        now = time.monotonic()
        if now < self._retry_at:
            return
        self._retry_at = now + RECONNECT_S
        try:
            self._line = self._way.connect(with_past=not self._was_open)
        except OSError as error:
            log.debug("console_serial_unreachable", error=type(error).__name__)
            return
        if not self._was_open and self._way.listener is not None:
            self._past.add_log(self._log_path)
        self._was_open = True
        self._input.clear()

    def _watch(self) -> None:
        watch = self._poll.watch
        if self._line is not None:
            reading = select.POLLIN if self._may_read() else 0
            watch(self._line.fileno(), reading | (select.POLLOUT if self._input else 0))
        if self._way.listener is not None:
            watch(self._way.listener.fileno(), select.POLLIN)
        listening = len(self._input) < INPUT_LIMIT
        for viewer in self._viewers:
            watch(viewer.descriptor, viewer.mask(reading=listening))

    def _serve(self) -> None:
        for descriptor, event in self._poll.wait(RECONNECT_S * 1000):
            if self._line is not None and descriptor == self._line.fileno():
                self._serve_line(event)
            elif descriptor in self._by_descriptor:
                viewer = self._by_descriptor[descriptor]
                self._with(viewer, self._serve_viewer, viewer, descriptor, event)
            elif descriptor == self._wake:
                os.eventfd_read(self._wake)
            elif self._way.listener is not None and descriptor == self._way.listener.fileno():
                self._accept(self._way.listener)

    def _may_read(self) -> bool:
        for viewer in self._viewers:
            if viewer.has_room:
                return True
        return not self._viewers or time.monotonic() - self._moved_at > STALL_S

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError as error:
            log.info("console_serial_peer_lost", error=type(error).__name__)
            return
        self._take_in(Peer(sock, writable=True, is_waiting=True))

    def _serve_line(self, event: int) -> None:
        line = self._line
        if line is None:
            return
        try:
            if event & select.POLLOUT:
                self._feed_line()
            if event & READABLE:
                size = line.recv_into(self._room)
                if not size:
                    raise ConnectionResetError
                self._hand_out(self._room[:size])
        except BlockingIOError:
            return
        except OSError:
            self._lose_line()

    def _feed_line(self) -> None:
        if self._line is not None and self._input:
            with suppress(BlockingIOError):
                del self._input[: self._line.send(self._input)]

    def _lose_line(self) -> None:
        if self._line is not None:
            self._poll.watch(self._line.fileno(), 0)
            self._line.close()
            self._line = None

    def _hand_out(self, data: memoryview) -> None:
        """Remember and show."""
        self._past.add(data)
        for viewer in list(self._viewers):
            if not viewer.is_waiting:
                self._show(viewer, data)

    def _serve_viewer(self, viewer: Viewer, descriptor: int, event: int) -> None:
        if descriptor == viewer.descriptor:
            data = viewer.serve(event)
            if event & select.POLLOUT:
                self._moved_at = time.monotonic()
            if data:
                self._hear(viewer, data)
        viewer.check()

    def _hear(self, viewer: Viewer, data: bytes) -> None:
        if viewer.is_waiting:
            viewer.is_waiting = False
            if data[:1] == WITH_PAST:
                viewer.show(self._past.shown())
            data = data[1:]
        if not viewer.writable or self._line is None:
            return
        self._input += data
        try:
            self._feed_line()
        except OSError:
            self._lose_line()

    def _show(self, viewer: Viewer, data: bytes | memoryview) -> None:
        if viewer.has_room:
            self._moved_at = time.monotonic()
        self._with(viewer, viewer.show, data)

    def _check(self) -> None:
        """Look after viewers with whom nothing happens."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return
        self._checked_at = now
        for viewer in list(self._viewers):
            self._with(viewer, viewer.check)

    def _with(self, viewer: Viewer, act: Callable[..., None], *arguments: object) -> None:
        """Do something with one viewer; whatever breaks there ends that viewer and no other."""
        try:
            act(*arguments)
        except BlockingIOError:
            return
        except Ended as ended:
            self._drop(viewer, ended.ending)
        except OSError:
            self._drop(viewer)
        except Exception:
            log.exception("console_viewer_broke")
            self._drop(viewer)

    def _drop(self, viewer: Viewer, ending: Ending = BROWSER_GONE) -> None:
        """Let a viewer go, from every list and from poll, before its descriptors are closed and used for others."""
        self._viewers.discard(viewer)
        self._watched_at = time.monotonic()
        for descriptor in (viewer.descriptor, viewer.wake):
            if descriptor is not None and self._by_descriptor.pop(descriptor, None) is not None:
                self._poll.watch(descriptor, 0)
        viewer.close(ending)


def _connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
