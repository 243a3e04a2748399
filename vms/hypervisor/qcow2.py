"""The table of snapshots that a qcow2 file carries, and a header that shows one of them; pure.

Source: QEMU's docs/interop/qcow2.txt, "Header" and "Snapshots".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

HEADER_BYTES: Final = 72
HEAD_MOST: Final = 4096
"""No header is longer, without its extensions."""
MOST: Final = 1024
"""More snapshots than any file of ours has."""
ENTRY_BYTES: Final = 256
"""Room for one entry: 40 bytes, some 24 more, an id of a few digits and a name of ours."""
_ENTRY: Final = struct.Struct(">QIHHIIQII")
_AUTOCLEAR: Final = slice(88, 96)


class BadTable(ValueError):
    """The file is no qcow2, or its table of snapshots makes no sense."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One snapshot: where its first-level table lies and how many entries that has, the disk's size then, memory; bytes."""

    name: str
    l1_offset: int
    l1_entries: int
    capacity: int
    memory: int


def table_place(header: bytes) -> tuple[int, int]:
    """From a file's first ``HEADER_BYTES``: how many snapshots it holds, and where their table begins."""
    if len(header) < HEADER_BYTES or not header.startswith(b"QFI\xfb"):
        raise BadTable("not a qcow2 file")
    count, offset = struct.unpack_from(">IQ", header, 60)
    if count > MOST:
        raise BadTable(f"{count} snapshots")
    return count, offset


def table_read(table: bytes, count: int) -> tuple[Entry, ...]:
    """The first ``count`` entries of a table; raises ``BadTable`` where it ends before they do."""
    found, at = [], 0
    try:
        for _number in range(count):
            l1_offset, l1_entries, id_bytes, name_bytes, _s, _ns, _clock, memory, extra = _ENTRY.unpack_from(table, at)
            at += _ENTRY.size
            capacity = 0
            if extra >= 16:
                memory, capacity = struct.unpack_from(">QQ", table, at)
            at += extra + id_bytes
            if at + name_bytes > len(table):
                raise BadTable("the table of snapshots ends too soon")
            name = table[at : at + name_bytes].decode("utf-8", "replace")
            at = (at + name_bytes + 7) & ~7
            found.append(Entry(name, l1_offset, l1_entries, capacity, memory))
    except struct.error as error:
        raise BadTable("the table of snapshots ends too soon") from error
    return tuple(found)


def alone(head: bytes, shows: Entry | None = None) -> bytes:
    """The first bytes of a file, changed so that it names no other file and holds no snapshots nor bitmaps.

    With ``shows`` the disk is what that snapshot of it is, and as large. Features that matter stay for an inspector to refuse.
    """
    table_place(head)
    changed = bytearray(head)
    changed[8:20] = bytes(12)  # the name of a backing file
    changed[60:72] = bytes(12)  # the table of snapshots
    length = HEADER_BYTES
    if head[4:8] != b"\0\0\0\2":
        (length,) = struct.unpack_from(">I", head, 100)
        changed[_AUTOCLEAR] = bytes(8)
    if not HEADER_BYTES <= length <= min(HEAD_MOST, len(head) - 8):
        raise BadTable("the header is damaged")
    changed[length : length + 8] = bytes(8)  # no extension follows
    if shows is not None:
        struct.pack_into(">Q", changed, 24, shows.capacity)
        struct.pack_into(">IQ", changed, 36, shows.l1_entries, shows.l1_offset)
    return bytes(changed)
