"""A tenant's own image is made of a disk: of a machine as it is now, or of a snapshot."""

from __future__ import annotations

from dataclasses import replace

from django.db import transaction

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Invalid, PortalError
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.services.quota import quota_foresee
from vms.models import Guest, Image, Snapshot, SnapshotDisk
from vms.models.hardware import HARDWARE
from vms.selectors.prices import item_price
from vms.services.copies.source import disk_at, disks_now, passing_snapshot, readable, refuse_too_large, refuse_uncopied
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.create import Fit
from vms.services.images import image_announce, image_require, image_spec_check
from vms.services.snapshots.record import snapshot_cost
from vms.services.volumes.check import require_reach
from vms.services.volumes.record import copy_hold
from vms.specs import ImageSpec
from vms.states import ImageState


@transaction.atomic
def image_capture(
    of: Guest | Snapshot, *, actor: Actor, name: str, os_version: str | None = None, position: int | None = None
) -> Operation:
    """Make an image of a disk of a machine, the first if no ``position`` is named; the operation is about the image.

    What the machine is built of, and what is said of its own image, is said of the new one. All that is on the disk is in it,
    secrets and host keys, too. What it takes is reserved before it is unpacked, and may then be less. Raises ``Invalid``,
    ``OverQuota``, or ``Conflict`` as a snapshot does.
    """
    actor.require(Permission.SNAPSHOT_MANAGE)
    image_require(None, actor, tenant=of.tenant)
    snapshot, guest, disks = _now(of, actor) if isinstance(of, Guest) else _then(of, actor)
    disk = disk_at(disks, position)
    refuse_too_large(disk)
    spec = replace(_like(guest, disk), name=name)
    if os_version is not None:
        spec = replace(spec, os_version=os_version)
    image_spec_check(spec)
    image = image_announce(spec, tenant=of.tenant, state=ImageState.IMPORTING)
    operation = operation_submit(
        image,
        kind="image.capture",
        actor=actor,
        holds=[Hold("image", image.pk), copy_hold(snapshot.pk)],
        params={"snapshot": str(snapshot.pk), "disk": str(disk.pk)},
    )
    audit_record(actor, "image.capture", image, of=guest.name if guest is not None else disk.volume.name)
    return operation


type Source = tuple[Snapshot, Guest | None, list[SnapshotDisk]]


@transaction.atomic
def image_capture_fit(of: Guest | Snapshot, *, actor: Actor, name: str, position: int | None = None) -> Fit:
    """The answer that ``image_capture`` would give, and the most that it may take of the quota; changes nothing."""
    actor.require(Permission.SNAPSHOT_MANAGE)
    image_require(None, actor, tenant=of.tenant)
    reasons: list[tuple[str, str]] = []
    if isinstance(of, Guest):
        require_reach(actor, of)
        disks, cost = disks_now(of), snapshot_cost(of)
    else:
        disks, cost = _then(of, actor)[2], {}
    disk = disk_at(disks, position)
    try:
        if isinstance(of, Guest):
            refuse_unless_allowed(of, "snapshot.create", actor)
            refuse_uncopied(disks, now=True)
        refuse_too_large(disk)
        guest = of if isinstance(of, Guest) else of.guest
        image_spec_check(replace(_like(guest, disk), name=name))
    except Invalid as error:
        reasons += [(fault.code, fault.message) for fault in error.errors]
    except PortalError as error:
        reasons.append((error.code, error.sentence))
    lines = quota_foresee(of.tenant, {"images": 1, "images_gib": disk.size_gib, **cost})
    reasons += [("over_quota", line.refusal().sentence) for line in lines if line.is_short]
    return Fit(not reasons, reasons, lines, 0, item_price("image_gib", disk.size_gib))


def _now(guest: Guest, actor: Actor) -> Source:
    """A machine's disks as they are now."""
    require_reach(actor, guest)
    snapshot, disks = passing_snapshot(guest, actor=actor)
    return snapshot, guest, disks


def _then(snapshot: Snapshot, actor: Actor) -> Source:
    """A snapshot, its disks, and the machine it is of; a single volume is of none, wherever it hangs."""
    snapshot, guest, disks = readable(snapshot, actor=actor)
    return snapshot, guest if snapshot.guest_id is not None else None, disks


def _like(guest: Guest | None, disk: SnapshotDisk) -> ImageSpec:
    """What is known of the system on the disk; of a disk that is no machine's, what is said of its image, if it has one."""
    image: Image | None = disk.volume.image if guest is None else guest.image
    built: Guest | Image | None = guest or image
    if image is None or built is None:
        return ImageSpec(name="")
    return ImageSpec(
        name="",
        os_family=image.os_family,
        os_version=image.os_version,
        init=image.init,
        default_user=image.default_user,
        min_memory_mib=image.min_memory_mib,
        **{word: getattr(built, word) for word in HARDWARE},
    )
