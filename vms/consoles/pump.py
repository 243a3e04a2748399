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
from typing import Any

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


def pump(
    browser: ConsoleSocket, target: socket.socket, session: Session, *, sieve: Sieve | None = None, early: bytes = b""
) -> Ending:
    """Carry bytes both ways until one side, a revocation or the clock ends it; returns why.

    ``sieve`` sees all input of the browser and returns what may pass; ``early`` is input that was read before.
    Both sockets are made non-blocking. Raises nothing but what ``sieve`` raises.
    """
    browser.setblocking(False)
    target.setblocking(False)
    return _Pump(browser, target, session, sieve).run(early)


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
    def __init__(self, browser: ConsoleSocket, target: socket.socket, session: Session, sieve: Sieve | None) -> None:
        self._browser = browser
        self._target = target
        self._session = session
        self._sieve = sieve
        self._to_target = bytearray()
        self._room = memoryview(bytearray(CHUNK))
        self._poll = select.poll()
        self._poll.register(session.wake, select.POLLIN)
        self._masks: dict[int, int] = {}
        self._heard_at = self._pinged_at = time.monotonic()

    def run(self, early: bytes) -> Ending:
        browser, target = self._browser.fileno(), self._target.fileno()
        try:
            self._accept(early)
            while True:
                self._watch(browser, self._browser_mask())
                self._watch(target, self._target_mask())
                for descriptor, event in self._poll.poll(self._patience_ms()):
                    if descriptor == self._session.wake and self._session.ending:
                        return self._session.ending
                    if descriptor == target:
                        self._serve_target(event)
                    if descriptor == browser:
                        self._serve_browser(event)
                self._keep_alive()
        except Ended as ended:
            return ended.ending
        except OSError:
            return Ending(CloseCode.NORMAL, "browser_gone", "")

    def _watch(self, descriptor: int, mask: int) -> None:
        if self._masks.get(descriptor, 0) == mask:
            return
        if mask:
            self._poll.register(descriptor, mask)
        else:
            # Without a wish of ours poll would still report a hang-up, again and again.
            self._poll.unregister(descriptor)
        self._masks[descriptor] = mask

    def _browser_mask(self) -> int:
        reading = select.POLLIN if len(self._to_target) < TO_TARGET_LIMIT else 0
        return reading | (select.POLLOUT if self._browser.has_waiting else 0)

    def _target_mask(self) -> int:
        reading = 0 if self._browser.is_congested else select.POLLIN
        return reading | (select.POLLOUT if self._to_target else 0)

    def _patience_ms(self) -> float:
        left_s = self._session.grant.expires_at - time.time()
        return max(0.0, min(left_s, PING_EVERY_S / 3)) * 1000

    def _serve_target(self, event: int) -> None:
        if event & select.POLLOUT:
            self._feed_target()
        if event & READABLE and not self._browser.is_congested:
            try:
                size = self._target.recv_into(self._room)
            except BlockingIOError:
                return
            except ConnectionError:
                size = 0
            if not size:
                raise Ended(Ending(CloseCode.NORMAL, "target_closed", "The machine closed its console."))
            self._browser.push(self._room[:size])

    def _serve_browser(self, event: int) -> None:
        if event & select.POLLOUT:
            self._browser.flush()
        if not event & READABLE:
            return
        messages = self._browser.take()
        self._heard_at = time.monotonic()
        if messages is None:
            raise Ended(Ending(CloseCode.NORMAL, "browser_closed", ""))
        self._accept(b"".join(messages))
        self._browser.flush()
        if self._browser.is_closing:
            raise Ended(Ending(CloseCode.PROTOCOL, "protocol", "That was not a binary message."))

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
            raise Ended(Ending(CloseCode.NORMAL, "target_closed", "The machine closed its console.")) from None
        del self._to_target[:sent]

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if time.time() >= self._session.grant.expires_at:
            raise Ended(Ending(CloseCode.EXPIRED, "expired", "This session has lasted as long as it may."))
        if now - self._heard_at > SILENT_AFTER_S:
            raise Ended(Ending(CloseCode.SILENT, "silent", "The browser stopped answering."))
        if now - max(self._pinged_at, self._heard_at) > PING_EVERY_S and not self._browser.has_waiting:
            self._browser.push(b"", PING)
            self._pinged_at = now


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
