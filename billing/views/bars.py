"""Amounts of days drawn as bars in colours, those of the days that come paler. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.meters import METERS
from vms.views.charts import nice

WIDTH, HEIGHT = 620, 150
GROUPS: Final[tuple[tuple[str, str, Promise, frozenset[str]], ...]] = (
    ("f1", "blue", _("vCPUs"), frozenset({"vcpus"})),
    ("f2", "violet", _("Memory"), frozenset({"memory_mib"})),
    ("f3", "teal", _("Disks, snapshots and images"), frozenset({"disk_gib", "snapshot_gib", "image_gib"})),
)
"""Each colour's class in a bar and beside it, its name, and which meters it stands for; the last one has the rest."""
REST: Final = ("f4", "amber", _("Backups"), frozenset(METERS) - frozenset().union(*(group[3] for group in GROUPS)))

type Amounts = Mapping[tuple[date, str], Decimal]
"""What a meter came to on a day."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A piece of a bar, in the drawing's own measure."""

    kind: str
    x: str
    y: str
    width: str
    height: str


def bars(days: Sequence[date], past: Amounts, ahead: Amounts, *, digits: int) -> tuple[list[Rect], list[Decimal]]:
    """The pieces of all bars, and what stands at the four lines of the grid, from the top down.

    What is less than nothing (corrections) has no height; the table beside the drawing has its figure.
    """
    stacks = [[_pieces(day, past, ""), _pieces(day, ahead, " dim")] for day in days]
    highest = max(
        (sum((size for half in stack for _kind, size in half), Decimal(0)) for stack in stacks), default=Decimal(0)
    )
    top = Decimal(str(nice(float(highest.scaleb(digits))))).scaleb(-digits)
    each = Decimal(WIDTH) / max(1, len(days))
    found: list[Rect] = []
    for index, stack in enumerate(stacks):
        level = Decimal(HEIGHT)
        for kind, size in (piece for half in stack for piece in half):
            height = HEIGHT * size / top
            level -= height
            if height >= Decimal("0.1"):
                x = each * index + each * Decimal("0.15")
                found.append(Rect(kind, f"{x:.1f}", f"{level:.1f}", f"{each * Decimal('0.7'):.1f}", f"{height:.1f}"))
    return found, [top * part / 3 for part in (3, 2, 1, 0)]


def _pieces(day: date, amounts: Amounts, extra: str) -> list[tuple[str, Decimal]]:
    found = []
    for kind, _colour, _label, meters in (*GROUPS, REST):
        size = sum((amounts.get((day, meter), Decimal(0)) for meter in meters), Decimal(0))
        if size > 0:
            found.append((kind + extra, size))
    return found
