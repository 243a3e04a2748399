"""Images that somebody who means harm would bring, made byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

CLUSTER = 65536
MIB = 1024**2


def qcow2(
    *, version: int = 3, size: int = MIB, backing: str = "", encryption: int = 0, cluster_bits: int = 16,
    l1_entries: int = 1, l1_offset: int = 3 * CLUSTER, refcount_clusters: int = 1, snapshots: int = 0,
    incompatible: int = 0, extensions: list[tuple[int, bytes]] | None = None, end: bool = True, header_length: int = 112,
) -> bytes:  # fmt: skip
    """A qcow2 file with an empty disk and whatever else is asked for in its header."""
    body = b"".join(
        struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8) for kind, data in extensions or []
    )
    if end:
        body += struct.pack(">II", 0, 0)
    else:
        body += struct.pack(">II", 0x6803F857, 0) * (CLUSTER // 8)
    fixed = 72 if version == 2 else header_length
    backing_offset = fixed + len(body) if backing else 0
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", version, backing_offset, len(backing), cluster_bits, size, encryption,
        l1_entries, l1_offset, CLUSTER, refcount_clusters, snapshots, 0,
    )  # fmt: skip
    if version != 2:
        header += struct.pack(">QQQII", incompatible, 0, 0, 4, header_length) + b"\0" * (header_length - 104)
    header = (header + body + backing.encode())[:CLUSTER]
    # Header, refcount table, its one block with the first four clusters counted, first-level table.
    refcounts = struct.pack(">Q", 2 * CLUSTER).ljust(CLUSTER, b"\0")
    block = struct.pack(">4H", 1, 1, 1, 1).ljust(CLUSTER, b"\0")
    return header.ljust(CLUSTER, b"\0") + refcounts + block + b"\0" * CLUSTER


def mbr(image: bytes) -> bytes:
    """The same bytes with a partition table over them."""
    entry = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\0\0\0", 2048, 2048)
    return image[:446] + entry + b"\0" * 48 + b"\x55\xaa" + image[512:]


def iso(image: bytes) -> bytes:
    """The same bytes with the descriptor of a CD's file system in them."""
    descriptor = (b"\x01CD001\x01\0" + b" " * 72 + struct.pack("<II", 512, 0)).ljust(2048, b"\0")
    image = image.ljust(40960, b"\0")
    return image[:32768] + descriptor + image[34816:]


VMDK_DESCRIPTOR = b"""# Disk DescriptorFile
version=1
CID=1
parentCID=ffffffff
createType="monolithicFlat"
RW 8 FLAT "/etc/passwd" 0
ddb.adapterType = "ide"
"""


def sparse(path: Path, content: bytes, *, size: int) -> Path:
    """A file that starts with ``content`` and claims ``size`` bytes while taking none."""
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(size)
    return path


def compressed_bomb(path: Path, *, clusters: int) -> Path:
    """A qcow2 of some kilobytes whose disk is ``clusters`` × 2 MiB of zeros, each to be unpacked from the same few bytes."""
    bits = 21
    cluster = 1 << bits
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = packer.compress(b"\0" * cluster) + packer.flush()
    data_at, second_at, first_at = 5 * cluster, 4 * cluster, 3 * cluster
    entry = 1 << 62 | (len(packed) // 512) << (62 - (bits - 8)) | data_at
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 0, 0, bits, clusters * cluster, 0, 1, first_at, cluster, 1, 0, 0
    )
    header += struct.pack(">QQQII", 0, 0, 0, 4, 112) + b"\0" * 16
    with path.open("wb") as file:
        for offset, content in (
            (0, header),
            (cluster, struct.pack(">Q", 2 * cluster)),
            (2 * cluster, struct.pack(">6H", 1, 1, 1, 1, 1, clusters % 65536)),
            (first_at, struct.pack(">Q", 1 << 63 | second_at)),
            (second_at, struct.pack(">Q", entry) * clusters),
            (data_at, packed),
        ):
            file.seek(offset)
            file.write(content)
        file.truncate(6 * cluster)
    return path
