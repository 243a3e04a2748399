"""A disk server is a host's: what it says is bounded, and what is no answer is refused at once, not tried for ever."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vms.hypervisor.errors import Refused
from vms.hypervisor.nbd import NbdReader

SIZE = 1 << 20
GO, STRUCTURED_REPLY, SET_META = 7, 8, 10
OFFSET_DATA, OFFSET_HOLE, BLOCKS = 1, 2, 5


def _take(line: socket.socket, length: int) -> bytes:
    return line.recv(length, socket.MSG_WAITALL)


def _option_reply(option: int, kind: int, body: bytes = b"") -> bytes:
    return struct.pack(">QIII", 0x3E889045565A9, option, kind, len(body)) + body


def _shake_hands(line: socket.socket, go: bytes) -> None:
    line.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    _take(line, 4)
    for _option in range(3):
        _magic, option, length = struct.unpack(">QII", _take(line, 16))
        _take(line, length)
        if option == SET_META:
            line.sendall(_option_reply(option, 4, struct.pack(">I", 1) + b"base:allocation"))
        if option == GO:
            line.sendall(go)
        line.sendall(_option_reply(option, 1))


def _chunk(kind: int, body: bytes, *, last: bool = False, handle: int = 1) -> bytes:
    return struct.pack(">IHHQI", 0x668E33EF, int(last), kind, handle, len(body)) + body


END = _chunk(0, b"", last=True)
EXPORT = _option_reply(GO, 3, struct.pack(">HQH", 0, SIZE, 0))


@contextmanager
def serving(folder: Path, answer: bytes, *, go: bytes = EXPORT) -> Iterator[str]:
    """A server that says ``answer`` to whatever is asked first, and hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "nbd"))
    listener.listen()

    def serve() -> None:
        line, _peer = listener.accept()
        with line, contextlib.suppress(OSError, struct.error):
            _shake_hands(line, go)
            _take(line, 28)
            line.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield str(folder / "nbd")
    finally:
        thread.join()
        listener.close()


def reading(path: str) -> contextlib.closing[NbdReader]:
    """The server's disk, open."""
    return contextlib.closing(NbdReader(path, "vda"))


def _data(offset: int, content: bytes) -> bytes:
    return _chunk(OFFSET_DATA, struct.pack(">Q", offset) + content)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(END, id="nothing: it is not zeros"),
        pytest.param(_data(4096, b"x" * 512) + END, id="half of it"),
        pytest.param(_data(4096, b"x" * 512) * 99 + END, id="the same again and again"),
        pytest.param(_data(0, b"x" * 1024) + END, id="before it"),
        pytest.param(_data(SIZE, b"x" * 1024) + END, id="behind it"),
        pytest.param(_chunk(OFFSET_DATA, b"xyz") + END, id="torn"),
        pytest.param(_chunk(0, b"") * 99 + END, id="no end"),
    ],
)
def test_other_bytes_than_were_asked_for_are_refused(answer: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, answer) as path, reading(path) as reader, pytest.raises(Refused):
        reader.read(4096, 1024)


def test_bytes_and_holes_make_the_whole(tmp_path: Path) -> None:
    hole = _chunk(OFFSET_HOLE, struct.pack(">QI", 4608, 512))
    answer = hole + _data(4096, b"x" * 512) + END
    with serving(tmp_path, answer) as path, reading(path) as reader:
        assert reader.read(4096, 1024) == b"x" * 512 + bytes(512)


def _blocks(*stretches: tuple[int, int], context: int = 1) -> bytes:
    return _chunk(BLOCKS, struct.pack(">I", context) + b"".join(struct.pack(">II", *each) for each in stretches))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_blocks() + END, id="of nothing"),
        pytest.param(_blocks((0, 0)) + END, id="of no length"),
        pytest.param(_blocks((SIZE, 0), context=7) + END, id="of another kind"),
        pytest.param(_blocks((SIZE, 0)) * 2 + END, id="twice"),
        pytest.param(_chunk(BLOCKS, b"\0\0\0\1xyz") + END, id="torn"),
    ],
)
def test_no_description_of_a_disk_is_refused(answer: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, answer) as path, reading(path) as reader, pytest.raises(Refused):
        list(reader.extents())


def test_what_is_said_of_more_than_the_disk_is_not_believed(tmp_path: Path) -> None:
    answer = _blocks(*[(2**32 - 1, 0)] * 1000) + END
    with serving(tmp_path, answer) as path, reading(path) as reader:
        assert [(extent.offset, extent.length) for extent in reader.extents()] == [(0, SIZE)]


@pytest.mark.parametrize(
    "go",
    [
        pytest.param(b"", id="no size"),
        pytest.param(_option_reply(GO, 3, struct.pack(">HQ", 1, 0)) * 99 + EXPORT, id="no end"),
        pytest.param(_option_reply(GO, 3, bytes(1 << 20)) + EXPORT, id="too long"),
    ],
)
def test_an_export_that_is_none_is_refused(go: bytes, tmp_path: Path) -> None:
    with serving(tmp_path, END, go=go) as path, pytest.raises(Refused):
        NbdReader(path, "vda")
