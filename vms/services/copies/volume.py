"""A volume of its own is made of one disk of a snapshot."""

from __future__ import annotations

from django.db import transaction

from operations.models import Operation
from portal.core.errors import Forbidden, Invalid, PortalError
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.services.quota import quota_foresee
from vms.models import Guest, Snapshot, SnapshotDisk, StorageClass
from vms.selectors.prices import item_price
from vms.services.copies.source import disk_at, readable, refuse_too_large
from vms.services.guests.create import Fit
from vms.services.volumes.check import volume_spec_check
from vms.services.volumes.create import (
    default_class,
    guest_for,
    pool_choose,
    pool_needs,
    volume_create,
    volume_foresee,
)
from vms.services.volumes.record import guest_with
from vms.specs import VolumeSpec


@transaction.atomic
def snapshot_to_volume(
    snapshot: Snapshot,
    *,
    actor: Actor,
    name: str,
    position: int | None = None,
    guest: Guest | None = None,
    storage_class: StorageClass | None = None,
) -> Operation:
    """Make a volume of one of its disks as it was, plugged into ``guest`` if one is given; it stands by itself.

    The machine and the snapshot go on; only nobody reverts to the snapshot or deletes it until the copy is whole. Raises what
    ``volume_create`` raises, and ``Conflict`` (``snapshot_not_ready``).
    """
    snapshot, _guest, disks = readable(snapshot, actor=actor)
    disk = disk_at(disks, position)
    chosen = storage_class or _class_of(disk)
    refuse_too_large(disk)
    spec = VolumeSpec(name=name, size_gib=disk.size_gib, storage_class=chosen, source=disk, guest=guest)
    operation = volume_create(snapshot.tenant, spec, actor=actor)
    audit_record(actor, "snapshot.copy", snapshot, volume=name)
    return operation


@transaction.atomic
def snapshot_volume_fit(
    snapshot: Snapshot,
    *,
    actor: Actor,
    name: str,
    position: int | None = None,
    guest: Guest | None = None,
    storage_class: StorageClass | None = None,
) -> Fit:
    """The answer that ``snapshot_to_volume`` would give, and the quota before and after; changes nothing."""
    snapshot, _guest, disks = readable(snapshot, actor=actor)
    disk = disk_at(disks, position)
    chosen = storage_class or _class_of(disk)
    spec = VolumeSpec(name=name, size_gib=disk.size_gib, storage_class=chosen, source=disk, guest=guest)
    lines = volume_foresee(snapshot.tenant, size_gib=disk.size_gib, storage_class=chosen, actor=actor)
    lines += quota_foresee(snapshot.tenant, guest_with(guest, volumes=1, size_gib=disk.size_gib))
    reasons = [("over_quota", line.refusal().sentence) for line in lines if line.is_short]
    try:
        refuse_too_large(disk)
        volume_spec_check(spec)
        guest_for(spec, actor)
        pool_choose(chosen, disk.size_gib, guest=guest, can=pool_needs(spec))
    except Forbidden:
        raise
    except Invalid as error:
        reasons += [(fault.code, fault.message) for fault in error.errors]
    except PortalError as error:
        reasons.append((error.code, error.sentence))
    return Fit(not reasons, reasons, lines, 0, item_price("disk_gib", disk.size_gib, chosen.name))


def _class_of(disk: SnapshotDisk) -> StorageClass:
    """That of the disk it was of, as long as it is offered."""
    return disk.volume.storage_class if disk.volume.storage_class.enabled else default_class()
