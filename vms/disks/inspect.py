"""Look at a disk image without believing it, and without any program of QEMU opening it.

Only raw and qcow2 are taken, and qcow2 only where it stands alone: an image may name other files (a backing file, an
external data file), and whoever opens such an image reads those files with its own rights. oslo.utils' inspectors know
the foreign formats; the qcow2 header is read here once more, field by field, with everything refused that we have no
use for.
"""

from __future__ import annotations

import io
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from oslo_utils.imageutils import format_inspector

from vms.disks.errors import UnsafeImage

type Format = Literal["raw", "qcow2"]

GIB = 1024**3
_QCOW2_MAGIC = b"QFI\xfb"
_HEAD_BYTES = 1024 * 1024  # every format we must recognize shows itself within the first MiB …
_TAIL_BYTES = 512  # … or in its last sector
_SECTOR = 512

# Archives are refused by name, so that nobody wonders why the disk does not boot.
_ARCHIVES = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x04\x22\x4d\x18": "lz4",
    b"Rar!\x1a\x07": "rar",
}
# Formats that QEMU would find by probing and oslo.utils does not know.
_FOREIGN_HEADS = {b"QED\0": "qed", b"WithoutFreeSpace": "parallels", b"WithouFreSpacExt": "parallels",
                  b"Bochs Virtual HD Image": "bochs", b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop": "cloop",
                  b"\xeb\x63\x90LUKS": "luks"}  # fmt: skip
_FOREIGN_TAILS = {b"conectix": "vhd", b"koly": "dmg"}
# What a disk's own content may look like to the inspectors: a partition table or a CD, but a raw disk all the same.
_RAW_CONTENTS = frozenset({"raw", "gpt", "iso"})

_QCOW2_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_QCOW2_V3 = struct.Struct(">QQQII")
_DIRTY, _COMPRESSION = 1 << 0, 1 << 3
_EXTENSIONS = {0x6803F857: "feature names", 0x23852875: "bitmaps"}
_FORBIDDEN_EXTENSIONS = {
    0xE2792ACA: "names a backing file's format",
    0x44415441: "keeps its data in another file",
    0x0537BE77: "is encrypted",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What an image may be at most; bytes."""

    max_virtual_size: int = 2048 * GIB
    max_file_size: int = 512 * GIB


@dataclass(frozen=True, slots=True)
class Inspected:
    """An image that may be given to qemu-img, with its format named. Sizes in bytes.

    ``content`` is what a raw disk seems to hold: ``disk`` (a partition table), ``iso``, or ``unknown``.
    """

    format: Format
    virtual_size: int
    file_size: int
    content: Literal["disk", "iso", "unknown"] = "unknown"


def inspect(path: Path, *, limits: Limits | None = None, declared: Format | None = None) -> Inspected:
    """Say what an image is; raises ``UnsafeImage`` for everything that is not plainly a raw or qcow2 image.

    ``declared`` is what its bringer called it: another format is refused, never corrected. Reads at most 1 MiB and
    writes nothing; symbolic links, devices and pipes are refused.
    """
    limits = limits or Limits()
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise UnsafeImage("The file is empty.", code="image_empty")
        if size > limits.max_file_size:
            raise UnsafeImage(f"The file is larger than {limits.max_file_size // GIB} GiB.", code="image_too_large")
        head = file.read(_HEAD_BYTES)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read(_TAIL_BYTES)
    is_qcow2 = head.startswith(_QCOW2_MAGIC)
    found = _formats(head, tail)
    others = found - {"qcow2"}
    if is_qcow2 and others:
        raise UnsafeImage(
            f"The file claims to be qcow2 and {', '.join(sorted(others))} at once.", code="image_ambiguous"
        )
    foreign = others - _RAW_CONTENTS
    if foreign:
        raise UnsafeImage(
            f"Images in the format {', '.join(sorted(foreign))} are not taken: convert it to qcow2 first.",
            code="image_format",
        )
    actual: Format = "qcow2" if is_qcow2 else "raw"
    if declared and declared != actual:
        raise UnsafeImage(f"The image was said to be {declared}, but it is {actual}.", code="image_format_mismatch")
    virtual_size = _qcow2_size(head, size) if is_qcow2 else size
    if virtual_size > limits.max_virtual_size:
        raise UnsafeImage(
            f"The disk inside is larger than {limits.max_virtual_size // GIB} GiB.", code="image_too_large"
        )
    content: Literal["disk", "iso", "unknown"] = "unknown"
    if not is_qcow2:
        content = "iso" if "iso" in found else "disk" if "gpt" in found else "unknown"
    return Inspected(actual, virtual_size, size, content)


def _open_regular(path: Path) -> BinaryIO:
    try:
        # Not blocking: opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnsafeImage("The file cannot be opened.", detail=str(error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeImage("This is not a regular file.")
    return os.fdopen(descriptor, "rb")


def _formats(head: bytes, tail: bytes) -> set[str]:
    """Every format that something would take these bytes for."""
    for magic, name in _ARCHIVES.items():
        if head.startswith(magic):
            raise UnsafeImage(f"This is a {name} archive: unpack it first.", code="image_compressed")
    found = {name for magic, name in _FOREIGN_HEADS.items() if head.startswith(magic)}
    found |= {name for magic, name in _FOREIGN_TAILS.items() if tail.startswith(magic)}
    for name, inspector_class in format_inspector.ALL_FORMATS.items():
        if name != "raw" and _matches(inspector_class(), head):
            found.add(name)
    return found


def _matches(inspector: format_inspector.FileInspector, head: bytes) -> bool:
    stream = io.BytesIO(head)
    try:
        while chunk := stream.read(65536):
            inspector.eat_chunk(chunk)
        inspector.finish()
        return inspector.format_match
    except (format_inspector.ImageFormatError, struct.error, ValueError, IndexError):
        return False  # too broken to be of that format
    except (AttributeError, KeyError, TypeError, ArithmeticError):
        return True  # near enough to have led the inspector astray


def _qcow2_size(head: bytes, file_size: int) -> int:
    """The virtual size a qcow2 header states, after every field of the header has been found harmless."""
    if len(head) < 104:
        raise UnsafeImage("The qcow2 header is cut short.", code="image_damaged")
    (
        _magic, version, backing_offset, backing_length, cluster_bits, size, encryption,
        l1_entries, l1_offset, refcount_offset, refcount_clusters, snapshots, _snapshots_offset,
    ) = _QCOW2_HEADER.unpack_from(head)  # fmt: skip
    if version not in (2, 3):
        raise UnsafeImage(f"qcow2 version {version} is not taken.", code="image_format")
    if backing_offset or backing_length:
        raise UnsafeImage("The image builds on another file (a backing file).", code="image_backing_file")
    if encryption:
        raise UnsafeImage("The image is encrypted.", code="image_encrypted")
    if snapshots:
        raise UnsafeImage("The image holds snapshots: export it without them.", code="image_snapshots")
    if not 9 <= cluster_bits <= 21:
        raise UnsafeImage("The qcow2 header is damaged: cluster size.", code="image_damaged")
    cluster = 1 << cluster_bits
    header_length = _check_features(head, version)
    _check_extensions(head[: min(cluster, len(head))], header_length)
    if size == 0 or size % _SECTOR:
        raise UnsafeImage("The qcow2 header is damaged: disk size.", code="image_damaged")
    _check_table("first-level table", l1_offset, l1_entries * 8, cluster, file_size)
    _check_table("reference counts", refcount_offset, refcount_clusters * cluster, cluster, file_size)
    # One first-level entry covers a table of cluster / 8 clusters. More entries than the disk needs are a trap.
    l1_needed = -(-size // (cluster * (cluster // 8)))
    if not l1_needed <= l1_entries <= max(2 * l1_needed, cluster // 8) or refcount_clusters * cluster > 8 * 1024**2:
        raise UnsafeImage("The qcow2 header is damaged: tables out of proportion.", code="image_damaged")
    return int(size)


def _check_table(what: str, offset: int, length: int, cluster: int, file_size: int) -> None:
    if offset % cluster or offset < cluster or offset + length > file_size + cluster:
        raise UnsafeImage(f"The qcow2 header is damaged: {what}.", code="image_damaged")


def _check_features(head: bytes, version: int) -> int:
    """Refuse what we do not know; returns the header's length."""
    if version == 2:
        return 72
    incompatible, _compatible, _autoclear, refcount_order, length = _QCOW2_V3.unpack_from(head, 72)
    if incompatible & (1 << 2):
        raise UnsafeImage("The image keeps its data in another file.", code="image_data_file")
    if incompatible & ~(_DIRTY | _COMPRESSION):
        raise UnsafeImage("The image uses qcow2 features that are not taken.", code="image_features")
    if refcount_order > 6 or not 104 <= length <= 4096 or length % 8:
        raise UnsafeImage("The qcow2 header is damaged.", code="image_damaged")
    if incompatible & _COMPRESSION and (length <= 104 or head[104] not in (0, 1)):
        raise UnsafeImage("The image is compressed in a way that is not known.", code="image_features")
    return int(length)


def _check_extensions(header: bytes, offset: int) -> None:
    while offset + 8 <= len(header):
        kind, length = struct.unpack_from(">II", header, offset)
        if kind == 0:
            return
        if kind in _FORBIDDEN_EXTENSIONS:
            code = "image_data_file" if kind == 0x44415441 else "image_unsafe"
            raise UnsafeImage(f"The image {_FORBIDDEN_EXTENSIONS[kind]}.", code=code)
        if kind not in _EXTENSIONS:
            raise UnsafeImage("The image uses qcow2 header extensions that are not taken.", code="image_features")
        offset += 8 + -(-length // 8) * 8
    raise UnsafeImage("The qcow2 header is damaged: it does not end.", code="image_damaged")
