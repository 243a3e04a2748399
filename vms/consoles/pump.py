"""Bytes between a browser's WebSocket and a socket beside the guest, with a bound on everything that waits."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any, NoReturn

from websockify.websocket import WebSocketWantWriteError
from websockify.websockifyserver import CompatibleWebSocket

from vms.consoles.sessions import CloseCode, Ended, Ending, Session

CHUNK = 128 * 1024
MESSAGE_LIMIT = 1024 * 1024
TO_TARGET_LIMIT = 256 * 1024
TO_BROWSER_LIMIT = 512 * 1024
PING_EVERY_S = 30.0
SILENT_AFTER_S = 90.0
GOODBYE_S = 1.0
BINARY, PING, PONG = 0x2, 0x9, 0xA
READABLE = select.POLLIN | select.POLLHUP | select.POLLERR

TARGET_CLOSED = Ending(CloseCode.NORMAL, "target_closed", "The machine closed its console.")
BROWSER_GONE = Ending(CloseCode.NORMAL, "browser_gone", "")

Sieve = Callable[[bytes], bytes]


class ConsoleSocket(CompatibleWebSocket):  # type: ignore[misc]  # websockify has no types
    """websockify's WebSocket with bounds: a browser can make it hold neither a huge message nor unread answers.

    What it could not send yet waits in ``TO_BROWSER_LIMIT`` bytes and one message, then the guest is read no further.
    """

    _send_buffer: bytes
    _recv_buffer: bytes
    _partial_msg: bytes
    _sent_close: bool
    _received_close: bool
    socket: socket.socket | None

    def __init__(self, request_handler: Any) -> None:
        super().__init__(request_handler)
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._due_pong: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        """As the base class, which asserts that there is a socket: a browser that has said goodbye is a broken connection."""
        if self.socket is None:
            raise ConnectionResetError(f"the browser has gone ({name})")
        return super().__getattr__(name)

    @property
    def has_waiting(self) -> bool:
        """Whether anything waits for the browser to read."""
        return bool(self._waiting)

    @property
    def is_congested(self) -> bool:
        """Whether so much waits that nothing more may be read from the guest."""
        return self._waiting_bytes >= TO_BROWSER_LIMIT

    @property
    def is_closing(self) -> bool:
        """Whether we have sent our close frame, also for a breach of the protocol."""
        return self._sent_close

    def push(self, data: bytes | memoryview, opcode: int = BINARY) -> None:
        """Send one message without blocking, and without copying what fits; the rest waits for ``flush``."""
        if self._sent_close or self.socket is None:
            return
        header = _header(opcode, len(data))
        sent = 0
        if not self._waiting:
            with suppress(BlockingIOError):
                sent = self.socket.sendmsg((header, data))
        if sent < len(header):
            self._wait_with(header[sent:])
        if sent < len(header) + len(data):
            self._wait_with(bytes(data[max(0, sent - len(header)) :]))

    def flush(self) -> None:
        """Send what waits, as far as it goes without blocking."""
        try:
            self._flush()
        except ssl.SSLWantWriteError:
            return
        if self._due_pong is not None:
            data, self._due_pong = self._due_pong, None
            self.push(data, PONG)

    def take(self) -> list[bytes] | None:
        """All messages that are there, without blocking; None once the browser has closed."""
        messages = []
        try:
            while True:
                message = self.recvmsg()
                if message is None:
                    return None
                messages.append(message)
                if not self.pending():
                    return messages
        except ssl.SSLWantReadError:
            return messages

    def handle_ping(self, data: bytes) -> None:
        """Keep the newest ping's answer until nothing else waits; a flood of pings costs one buffer."""
        self._due_pong = data

    def _wait_with(self, data: bytes) -> None:
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)

    def _flush(self) -> None:
        """As the base class: raises ``SSLWantWriteError`` while something waits, closes after both close frames."""
        if self._send_buffer:
            self._wait_with(self._send_buffer)
            self._send_buffer = b""
        while self._waiting and self.socket is not None:
            try:
                sent = self.socket.sendmsg(list(islice(self._waiting, 16)))
            except BlockingIOError:
                raise WebSocketWantWriteError from None
            self._waiting_bytes -= sent
            while sent and sent >= len(self._waiting[0]):
                sent -= len(self._waiting.popleft())
            if sent:
                self._waiting[0] = self._waiting[0][sent:]
        if self._received_close and self._sent_close and self.socket is not None:
            self._close()

    def _unmask(self, buf: bytes, mask: bytes) -> bytes:
        length = len(buf)
        key = (mask * (length // 4 + 1))[:length]
        return (int.from_bytes(buf) ^ int.from_bytes(key)).to_bytes(length)

    def _recv(self) -> bool:
        if self.socket is None:
            return False
        if len(self._recv_buffer) + len(self._partial_msg) > MESSAGE_LIMIT:
            raise Ended(Ending(CloseCode.TOO_BIG, "too_big", "That message is too big."))
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            raise ssl.SSLWantReadError from None
        self._recv_buffer += data
        return bool(data)


class Poll:
    """``poll`` that is told of a wish only when it changes; a descriptor without one is not watched at all.

    Without a wish of ours poll would still report a hang-up, again and again.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._masks: dict[int, int] = {}

    def watch(self, descriptor: int, mask: int) -> None:
        """Wish for the events of ``mask`` at ``descriptor``, or for none; before it is closed it must be none."""
        if self._masks.get(descriptor, 0) == mask:
            return
        if mask:
            self._poll.register(descriptor, mask)
            self._masks[descriptor] = mask
        else:
            self._poll.unregister(descriptor)
            del self._masks[descriptor]

    def wait(self, patience_ms: float) -> list[tuple[int, int]]:
        """The descriptors with something to do, and what."""
        return self._poll.poll(patience_ms)


class Browser:
    """A console's browser: what it says, what waits for it, and whether it may and does stay. Its socket never blocks."""

    def __init__(self, sock: ConsoleSocket, session: Session) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.session = session
        self._heard_at = self._pinged_at = time.monotonic()

    def mask(self, *, reading: bool) -> int:
        """What to poll for: its words if ``reading``, and room for what waits."""
        return (select.POLLIN if reading else 0) | (select.POLLOUT if self.sock.has_waiting else 0)

    def serve(self, event: int) -> bytes:
        """Send what waits and return what it said; ``check`` afterwards. Raises ``Ended``, or ``OSError`` if it broke."""
        if event & select.POLLOUT:
            self.sock.flush()
        if not event & READABLE:
            return b""
        messages = self.sock.take()
        self._heard_at = time.monotonic()
        if messages is None:
            raise Ended(Ending(CloseCode.NORMAL, "browser_closed", ""))
        self.sock.flush()
        return messages[0] if len(messages) == 1 else b"".join(messages)

    def check(self) -> None:
        """Raise ``Ended`` when it was revoked, broke the protocol, stayed too long or fell silent; else keep it alive."""
        if self.session.ending:
            raise Ended(self.session.ending)
        if self.sock.is_closing:
            raise Ended(Ending(CloseCode.PROTOCOL, "protocol", "That was not a binary message."))
        if time.time() >= self.session.grant.expires_at:
            raise Ended(Ending(CloseCode.EXPIRED, "expired", "This session has lasted as long as it may."))
        now = time.monotonic()
        if now - self._heard_at > SILENT_AFTER_S:
            raise Ended(Ending(CloseCode.SILENT, "silent", "The browser stopped answering."))
        if now - max(self._pinged_at, self._heard_at) > PING_EVERY_S and not self.sock.has_waiting:
            self.sock.push(b"", PING)
            self._pinged_at = now

    def patience_ms(self) -> float:
        """How long nothing may happen before ``check`` is due."""
        left_s = self.session.grant.expires_at - time.time()
        return max(0.0, min(left_s, PING_EVERY_S / 3)) * 1000


def pump(
    browser: ConsoleSocket, target: socket.socket, session: Session, *, sieve: Sieve | None = None, early: bytes = b""
) -> Ending:
    """Carry bytes both ways until one side, a revocation or the clock ends it; returns why.

    ``sieve`` sees all input of the browser and returns what may pass; ``early`` is input that was read before.
    Both sockets are made non-blocking. Raises nothing but what ``sieve`` raises.
    """
    target.setblocking(False)
    try:
        return _Pump(Browser(browser, session), target, sieve).run(early)
    except Ended as ended:
        return ended.ending
    except OSError:
        return BROWSER_GONE


def say_goodbye(browser: ConsoleSocket, ending: Ending) -> None:
    """Tell the browser why, give it ``GOODBYE_S`` to take that in, close."""
    deadline = time.monotonic() + GOODBYE_S
    if browser.socket is None:
        return
    try:
        browser.setblocking(False)
        while browser.has_waiting and _wait(browser, select.POLLOUT, deadline):
            browser.flush()
        if not browser.has_waiting:
            browser.shutdown(socket.SHUT_RDWR, int(ending.code), ending.reason.encode()[:120].decode(errors="ignore"))
            while _wait(browser, select.POLLIN, deadline) and browser.take() is not None:
                continue
    except (OSError, Ended):
        # The browser has gone, or talks nonsense while it is being shown out; closing is all that is left.
        return
    finally:
        if browser.socket is not None:
            browser.socket.close()


class _Pump:
    def __init__(self, browser: Browser, target: socket.socket, sieve: Sieve | None) -> None:
        self._browser = browser
        self._target = target
        self._sieve = sieve
        self._to_target = bytearray()
        self._room = memoryview(bytearray(CHUNK))

    def run(self, early: bytes) -> NoReturn:
        poll = Poll()
        browser, target = self._browser.sock.fileno(), self._target.fileno()
        poll.watch(self._browser.session.wake, select.POLLIN)
        self._accept(early)
        while True:
            poll.watch(browser, self._browser.mask(reading=len(self._to_target) < TO_TARGET_LIMIT))
            poll.watch(target, self._target_mask())
            for descriptor, event in poll.wait(self._browser.patience_ms()):
                if descriptor == target:
                    self._serve_target(event)
                elif descriptor == browser:
                    self._accept(self._browser.serve(event))
            self._browser.check()

    def _target_mask(self) -> int:
        reading = 0 if self._browser.sock.is_congested else select.POLLIN
        return reading | (select.POLLOUT if self._to_target else 0)

    def _serve_target(self, event: int) -> None:
        if event & select.POLLOUT:
            self._feed_target()
        if event & READABLE and not self._browser.sock.is_congested:
            try:
                size = self._target.recv_into(self._room)
            except BlockingIOError:
                return
            except ConnectionError:
                size = 0
            if not size:
                raise Ended(TARGET_CLOSED)
            self._browser.sock.push(self._room[:size])

    def _accept(self, data: bytes) -> None:
        self._to_target += self._sieve(data) if self._sieve else data
        self._feed_target()

    def _feed_target(self) -> None:
        if not self._to_target:
            return
        try:
            sent = self._target.send(self._to_target)
        except BlockingIOError:
            return
        except ConnectionError:
            raise Ended(TARGET_CLOSED) from None
        del self._to_target[:sent]


def _wait(browser: ConsoleSocket, event: int, deadline: float) -> bool:
    left_s = deadline - time.monotonic()
    if left_s <= 0 or browser.socket is None:
        return False
    poll = select.poll()
    poll.register(browser.fileno(), event)
    return bool(poll.poll(left_s * 1000))


def _header(opcode: int, length: int) -> bytes:
    """A server's (unmasked) frame header. Source: https://www.rfc-editor.org/rfc/rfc6455#section-5.2"""
    first = 0x80 | opcode
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return struct.pack(">BBH", first, 126, length)
    return struct.pack(">BBQ", first, 127, length)


class Reader:
    """``read(n)`` for handshakes: gives up after ``timeout_s`` in all, and at once when ``session`` ends.

    ``receive(n)`` returns what is there, None at the end; what it returned beyond ``n`` stays in ``rest``.
    """

    def __init__(
        self, descriptor: int, receive: Callable[[int], bytes | None], session: Session, *, timeout_s: float
    ) -> None:
        self.rest = bytearray()
        self._descriptor = descriptor
        self._receive = receive
        self._session = session
        self._deadline = time.monotonic() + timeout_s
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._poll.register(session.wake, select.POLLIN)

    def __call__(self, number: int) -> bytes:
        while len(self.rest) < number:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            events = dict(self._poll.poll(left_s * 1000))
            if self._session.ending:
                raise Ended(self._session.ending)
            if self._descriptor in events:
                data = self._receive(number - len(self.rest))
                if data is None:
                    raise ConnectionResetError
                self.rest += data
        taken = bytes(self.rest[:number])
        del self.rest[:number]
        return taken


def from_browser(browser: ConsoleSocket, session: Session, *, timeout_s: float) -> Reader:
    """A reader of the browser's messages as one stream; the socket is made non-blocking."""
    browser.setblocking(False)

    def receive(_: int) -> bytes | None:
        messages = browser.take()
        return None if messages is None else b"".join(messages)

    return Reader(browser.fileno(), receive, session, timeout_s=timeout_s)


def from_target(target: socket.socket, session: Session, *, timeout_s: float) -> Reader:
    """A reader of the socket beside the guest that never takes more than it was asked for."""
    return Reader(target.fileno(), lambda number: target.recv(number) or None, session, timeout_s=timeout_s)
