"""The table of snapshots that a qcow2 file carries; pure.

Source: QEMU's docs/interop/qcow2.txt, "Header" and "Snapshots".
"""

from __future__ import annotations

import struct
from typing import Final

from vms.hypervisor.snapshots import SeenSnapshot

HEADER_BYTES: Final = 72
MOST: Final = 1024
"""More snapshots than any file of ours has."""
ENTRY_BYTES: Final = 256
"""Room for one entry: 40 bytes, some 24 more, an id of a few digits and a name of ours."""
_ENTRY: Final = struct.Struct(">QIHHIIQII")


class BadTable(ValueError):
    """The file is no qcow2, or its table of snapshots makes no sense."""


def table_place(header: bytes) -> tuple[int, int]:
    """From a file's first ``HEADER_BYTES``: how many snapshots it holds, and where their table begins."""
    if len(header) < HEADER_BYTES or not header.startswith(b"QFI\xfb"):
        raise BadTable("not a qcow2 file")
    count, offset = struct.unpack_from(">IQ", header, 60)
    if count > MOST:
        raise BadTable(f"{count} snapshots")
    return count, offset


def table_read(table: bytes, count: int) -> tuple[SeenSnapshot, ...]:
    """The first ``count`` entries of a table; raises ``BadTable`` where it ends before they do."""
    found, at = [], 0
    try:
        for _number in range(count):
            _l1, _l1_size, id_bytes, name_bytes, _s, _ns, _clock, memory, extra = _ENTRY.unpack_from(table, at)
            at += _ENTRY.size
            capacity = 0
            if extra >= 16:
                memory, capacity = struct.unpack_from(">QQ", table, at)
            at += extra + id_bytes
            if at + name_bytes > len(table):
                raise BadTable("the table of snapshots ends too soon")
            name = table[at : at + name_bytes].decode("utf-8", "replace")
            at = (at + name_bytes + 7) & ~7
            found.append(SeenSnapshot(name=name, capacity=capacity, memory=memory))
    except struct.error as error:
        raise BadTable("the table of snapshots ends too soon") from error
    return tuple(found)
