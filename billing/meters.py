"""What the ledger counts and prices hang on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Meter:
    """``unit`` is what a price is for: ``scale`` of what the ledger counts. ``word``: which attribute may have its own price."""

    unit: str
    scale: int = 1
    word: str = ""


METERS: Final = {
    "vcpus": Meter("vCPU", word="flavor"),
    "memory_mib": Meter("GiB", scale=1024, word="flavor"),
    "disk_gib": Meter("GiB", word="storage_class"),
    "snapshot_gib": Meter("GiB"),
    "image_gib": Meter("GiB"),
    "backup_gib": Meter("GiB", word="store"),
}
"""vCPUs and memory count while a machine is on, everything else as long as it is there."""
