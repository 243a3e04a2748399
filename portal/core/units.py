"""Sizes: the only conversions between bytes, MiB and GiB, and how a person reads them."""

from __future__ import annotations

MIB = 1024**2
GIB = 1024**3


def mib_label(mib: int) -> str:
    """``512 MiB``, ``4 GiB``, ``1.5 GiB``."""
    if mib < 1024:
        return f"{mib} MiB"
    return f"{mib / 1024:.1f}".removesuffix(".0") + " GiB"


def gib_label(gib: int) -> str:
    """``40 GiB``, ``1.78 TiB``."""
    if gib < 1024:
        return f"{gib} GiB"
    return f"{gib / 1024:.2f}".rstrip("0").rstrip(".") + " TiB"
