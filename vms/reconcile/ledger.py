"""I5: the usage ledger counts what is there, as large as it is and by the right words, and nothing that is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

from operations.models import OperationLock
from tenants.journal.models import UsageInterval
from vms.models import BackupRepository, Guest, Image, Snapshot, Volume
from vms.models.guests import Charge
from vms.services.snapshots.record import snapshot_gib
from vms.states import ON, ImageState, Power

type Key = tuple[UUID, str]
type Counted = tuple[int, dict[str, Any]]
COMING: Final = (ImageState.IMPORTING, ImageState.UPLOADING)


def ledger_differs() -> Iterator[str]:
    """One line a finding. What a live operation is changing is left out."""
    yield from _overlaps()
    owed, moving = _owed(), _moving()
    columns = ("resource_id", "meter", "quantity", "attributes", "resource_type")
    counted = {row[:2]: row[2:] for row in UsageInterval.objects.filter(ended_at=None).values_list(*columns)}
    for (pk, meter), (quantity, words) in owed.items():
        found = counted.get((pk, meter))
        if pk not in moving and (found is None or found[:2] != (quantity, words)):
            said = "not at all" if found is None else f"as {found[0]} {found[1]}"
            yield f"I5 {meter} of {pk} is not counted as {quantity} {words} but {said}"
    there = {pk for model in (Guest, Volume, Snapshot, Image) for pk in model.objects.values_list("pk", flat=True)}
    for (pk, meter), (*_amount, kind) in counted.items():
        if (pk, meter) not in owed and pk not in moving:
            yield f"I5 {meter} of {kind} {pk} counts on, and it is {'not in use' if pk in there else 'gone'}"


def _overlaps() -> Iterator[str]:
    rows = UsageInterval.objects.order_by("resource_id", "meter", "started_at", "ended_at")
    for before, after in pairwise(rows.values_list("resource_id", "meter", "started_at", "ended_at").iterator()):
        if before[:2] == after[:2] and (before[3] is None or before[3] > after[2]):
            yield f"I5 intervals of {after[1]} of {after[0]} overlap at {after[2]}"


def _owed() -> dict[Key, Counted]:
    """What the rows say is in use, and should be counted."""
    found: dict[Key, Counted] = {}
    for guest in Guest.objects.filter(seen_power__in=ON).select_related("flavor"):
        words = {"flavor": guest.flavor.name}
        found[guest.pk, "vcpus"] = guest.vcpus, words
        found[guest.pk, "memory_mib"] = guest.memory_mib, words
    for volume in Volume.objects.select_related("storage_class"):
        found[volume.pk, "disk_gib"] = volume.size_gib, {"storage_class": volume.storage_class.name}
    for snapshot in Snapshot.objects.all():
        found[snapshot.pk, "snapshot_gib"] = snapshot_gib(snapshot), {}
    for image in Image.objects.exclude(tenant=None).exclude(charged_gib=0).exclude(state__in=COMING):
        found[image.pk, "image_gib"] = image.charged_gib, {}
    return found


def _moving() -> set[UUID]:
    """What is not looked at: something is being done with it, or its machine is silent or withdrawn.

    Of a machine that nobody hears of the ledger counts on what was known last; repositories are looked at by ``stores``.
    """
    found = set(OperationLock.objects.values_list("resource_id", flat=True))
    found |= set(BackupRepository.objects.values_list("pk", flat=True))
    found |= set(Guest.objects.filter(seen_power=Power.UNKNOWN).values_list("pk", flat=True))
    found |= set(Volume.objects.filter(guest__charge=Charge.NONE).values_list("pk", flat=True))
    return found | set(Volume.objects.filter(guest__in=found).values_list("pk", flat=True))
