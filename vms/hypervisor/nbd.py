"""Reading a disk over NBD: how large it is, where it holds data, what has changed, and its bytes.

The part of the protocol that QEMU's servers speak: fixed newstyle, structured replies, ``base:allocation`` and one dirty bitmap.
Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Final

from vms.hypervisor.backups import Extent
from vms.hypervisor.errors import HypervisorError, Missing, Refused, Unreachable

_ASK_S: Final = 60.0
"""How long one answer may take: a slow disk is slow, a dead one is not waited for for ever."""
_STATUS_SPAN: Final = 1 << 30
_HELLO, _OPTIONS = b"NBDMAGIC", b"IHAVEOPT"
_OPTION_REPLY: Final = 0x3E889045565A9
_REQUEST, _SIMPLE, _STRUCTURED = 0x25609513, 0x67446698, 0x668E33EF
_GO, _STRUCTURED_REPLY, _SET_META = 7, 8, 10
_ACK, _INFO, _META = 1, 3, 4
_READ, _DISC, _STATUS = 0, 2, 7
_DATA, _HOLE, _BLOCKS, _ERROR_BIT = 1, 2, 5, 0x8000
_LAST: Final = 1
_ZERO, _DIRTY = 2, 1
_ALLOCATION: Final = "base:allocation"
_MOST: Final = 64 * 1024**2
"""No answer of an honest server is longer."""
_OPTION_MOST, _OPTION_ANSWERS = 64 * 1024, 64
"""Nor what it says to one option, in bytes and pieces."""


class NbdReader:
    """One export, open for reading; ``bitmap`` names what says which blocks have changed, empty: everything counts as changed.

    Raises ``Missing`` where the server has no such export or bitmap, ``Unreachable`` where it does not answer, ``Refused`` where
    what it answers is no answer: more, less, or something else than was asked.
    """

    def __init__(self, path: str, export: str, *, bitmap: str = "") -> None:
        self.size = 0
        self._handle = 0
        self._changed = f"qemu:dirty-bitmap:{bitmap}" if bitmap else ""
        self._contexts: dict[int, str] = {}
        self._line = socket.socket(socket.AF_UNIX)
        try:
            self._line.settimeout(_ASK_S)
            with _said():
                self._line.connect(path)
                self._negotiate(export)
        except BaseException:
            self._line.close()
            raise

    def close(self) -> None:
        """Say goodbye and hang up; safe to repeat."""
        with contextlib.suppress(OSError):
            self._line.sendall(struct.pack(">IHHQQI", _REQUEST, 0, _DISC, 0, 0, 0))
        self._line.close()

    def extents(self) -> Iterator[Extent]:
        """The whole disk in order, without gaps."""
        at = 0
        while at < self.size:
            maps = self._status(at, min(_STATUS_SPAN, self.size - at))
            data = maps[_ALLOCATION]
            changed = maps[self._changed] if self._changed else [(sum(n for n, _flags in data), _DIRTY)]
            for length, zero, dirty in _merged(data, changed):
                yield Extent(at, length, data=not zero, changed=dirty)
                at += length

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``."""
        found, left = bytearray(length), length
        with _said():
            self._ask(_READ, offset, length)
            for kind, body in self._answers():
                if kind not in (_DATA, _HOLE):
                    raise Refused(f"the disk server answered {kind} to a read")
                (where,) = struct.unpack_from(">Q", body)
                size = len(body) - 8 if kind == _DATA else struct.unpack_from(">I", body, 8)[0]
                start = where - offset
                left -= size
                if start < 0 or start + size > length or size == 0 or left < 0:
                    raise Refused("the disk server answered with other bytes than asked for")
                if kind == _DATA:
                    found[start : start + size] = body[8:]
        if left:
            raise Refused("the disk server answered with fewer bytes than asked for")
        return bytes(found)

    def _negotiate(self, export: str) -> None:
        hello = self._take(18)
        if hello[:16] != _HELLO + _OPTIONS:
            raise Refused("whoever listens there speaks no NBD")
        self._line.sendall(struct.pack(">I", struct.unpack(">H", hello[16:])[0] & 3))
        self._option(_STRUCTURED_REPLY, b"")
        wanted = [_ALLOCATION, *([self._changed] if self._changed else [])]
        name = export.encode()
        queries = b"".join(struct.pack(">I", len(word)) + word.encode() for word in wanted)
        head = struct.pack(">I", len(name)) + name
        for kind, body in self._option(_SET_META, head + struct.pack(">I", len(wanted)) + queries):
            if kind == _META:
                self._contexts[struct.unpack_from(">I", body)[0]] = body[4:].decode(errors="replace")
        lacks = set(wanted) - set(self._contexts.values())
        if lacks:
            raise Missing(f"export {export} tells nothing of {sorted(lacks)}")
        for kind, body in self._option(_GO, head + struct.pack(">H", 0)):
            if kind == _INFO and struct.unpack_from(">H", body)[0] == 0:
                (self.size,) = struct.unpack_from(">Q", body, 2)
        if not self.size:
            raise Refused("the disk server did not say how large its disk is")

    def _option(self, option: int, data: bytes) -> list[tuple[int, bytes]]:
        """Ask for one option; its answers up to the last."""
        self._line.sendall(_OPTIONS + struct.pack(">II", option, len(data)) + data)
        answers: list[tuple[int, bytes]] = []
        while len(answers) < _OPTION_ANSWERS:
            magic, which, kind, length = struct.unpack(">QIII", self._take(20))
            if magic != _OPTION_REPLY or which != option or length > _OPTION_MOST:
                raise Refused("the disk server answered something else than was asked")
            body = self._take(length)
            if kind & 0x80000000:
                raise Missing(f"the disk server refused option {option}: {body[:200].decode(errors='replace')}")
            answers.append((kind, body))
            if kind == _ACK:
                return answers
        raise Refused("the disk server's answer has no end")

    def _status(self, offset: int, length: int) -> dict[str, list[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {}
        with _said():
            self._ask(_STATUS, offset, length)
            for kind, body in self._answers():
                context = self._contexts.get(struct.unpack_from(">I", body)[0], "")
                if kind != _BLOCKS or not context or context in found:
                    raise Refused("the disk server answered something else than was asked")
                found[context] = list(_within(struct.iter_unpack(">II", body[4:]), length))
        if set(found) != set(self._contexts.values()):
            raise Refused("the disk server did not say what its disk holds")
        return found

    def _ask(self, kind: int, offset: int, length: int) -> None:
        self._handle += 1
        self._line.sendall(struct.pack(">IHHQQI", _REQUEST, 0, kind, self._handle, offset, length))

    def _answers(self) -> Iterator[tuple[int, bytes]]:
        while True:
            (magic,) = struct.unpack(">I", self._take(4))
            if magic == _SIMPLE:
                error, _handle = struct.unpack(">IQ", self._take(12))
                raise Refused(f"the disk server failed: error {error}")
            flags, kind, handle, length = struct.unpack(">HHQI", self._take(16))
            if magic != _STRUCTURED or handle != self._handle or length > _MOST:
                raise Refused("the disk server answered something else than was asked")
            body = self._take(length)
            if kind & _ERROR_BIT:
                raise Refused(f"the disk server failed: error {struct.unpack_from('>I', body)[0]}")
            if length:
                yield kind, body
            if flags & _LAST:
                return
            if not length:
                raise Refused("the disk server's answer has no end")

    def _take(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            piece = self._line.recv(min(length - len(found), 1 << 20))
            if not piece:
                raise Unreachable("the disk server hung up")
            found += piece
        return bytes(found)


def _within(blocks: Iterator[tuple[int, ...]], most: int) -> Iterator[tuple[int, int]]:
    """A description as far as was asked: its last stretch may reach beyond. Raises ``Refused`` where it describes nothing."""
    at = 0
    for length, flags in blocks:
        if not length:
            raise Refused("the disk server described a stretch of nothing")
        yield min(length, most - at), flags
        at += min(length, most - at)
        if at == most:
            return
    if not at:
        raise Refused("the disk server did not say what its disk holds")


def _merged(data: list[tuple[int, int]], changed: list[tuple[int, int]]) -> Iterator[tuple[int, bool, bool]]:
    """Two descriptions of one stretch, as far as both reach: length, is zero, is changed."""
    left, right = list(reversed(data)), list(reversed(changed))
    while left and right:
        (a, allocation), (b, dirty) = left.pop(), right.pop()
        length = min(a, b)
        if a > length:
            left.append((a - length, allocation))
        if b > length:
            right.append((b - length, dirty))
        if length:
            yield length, bool(allocation & _ZERO), bool(dirty & _DIRTY)


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """A broken line, or an answer that is torn, in the driver's words."""
    try:
        yield
    except HypervisorError:
        raise
    except OSError as error:
        raise Unreachable(f"the disk server: {error}") from error
    except struct.error as error:
        raise Refused(f"the disk server answered something else than was asked: {error}") from error
