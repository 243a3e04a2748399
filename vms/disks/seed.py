"""The seed as a small CD: what ``vms.cloudinit`` says, written where a guest looks for it."""

from __future__ import annotations

import io
import struct

import pycdlib

from vms.cloudinit import VOLUME_ID, Seed, seed_files

_SECTOR, _FIRST_DESCRIPTOR = 2048, 16
_DESCRIPTOR_DATES = slice(813, 881)
_NO_DATE = b"0" * 16 + b"\0"
_ROOT_RECORD = 156
_RECORD_DATE = slice(18, 25)
"""The library writes the hour of making into the image and takes no other; ECMA-119 says where, and that zero is none."""


def seed_iso(seed: Seed) -> bytes:
    """The seed as an ISO 9660 image with Joliet names; equal seeds give equal bytes. Raises ``InvalidSeed``."""
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, vol_ident=VOLUME_ID)
    for number, (name, data) in enumerate(sorted(seed_files(seed).items())):
        image.add_fp(io.BytesIO(data), len(data), iso_path=f"/F{number}.;1", joliet_path=f"/{name}")
    target = io.BytesIO()
    image.write_fp(target)
    image.close()
    return _without_dates(bytearray(target.getvalue()))


def _without_dates(image: bytearray) -> bytes:
    """Take the time of making out of the volume descriptors and the records of the one directory."""
    at = _FIRST_DESCRIPTOR * _SECTOR
    while image[at] != 255:
        if image[at] in (1, 2):
            image[at + _DESCRIPTOR_DATES.start : at + _DESCRIPTOR_DATES.stop] = _NO_DATE * 4
            extent, length = struct.unpack_from("<I4xI", image, at + _ROOT_RECORD + 2)
            _clear_record(image, at + _ROOT_RECORD)
            _clear_directory(image, extent * _SECTOR, length)
        at += _SECTOR
    return bytes(image)


def _clear_directory(image: bytearray, start: int, length: int) -> None:
    at = start
    while at < start + length and image[at]:
        _clear_record(image, at)
        at += image[at]


def _clear_record(image: bytearray, at: int) -> None:
    image[at + _RECORD_DATE.start : at + _RECORD_DATE.stop] = bytes(7)
