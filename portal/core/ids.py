"""Identifiers: UUIDv7, so that primary keys sort by time and nothing can be guessed or must be renumbered."""

from __future__ import annotations

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """A fresh UUIDv7: 48 bits of milliseconds, 74 random bits.

    Source: RFC 9562 §5.7. (The standard library has one only from Python 3.14 on.)
    """
    stamp = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10))
    value = (stamp & (2**48 - 1)) << 80 | noise
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def uuid_or_none(text: str) -> UUID | None:
    """The identifier ``text`` spells, None where it spells none."""
    try:
        return UUID(text)
    except ValueError:
        return None
