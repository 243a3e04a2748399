"""What is changed of a volume: its name and habits at once, its size and limits by a worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.services import Hold, operation_submit
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.quota import quota_reserve
from vms.models import Guest, Volume
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.volumes.check import (
    limit_errors,
    locked,
    name_errors,
    refuse_volume,
    require_reach,
)
from vms.services.volumes.record import guest_with, volume_room, volumes_say
from vms.specs import DISK_MAX_GIB
from vms.states import VolumeState

BOOT_MAX = 24
MEND_AGAIN: Final = timedelta(hours=1)


@transaction.atomic
def volume_edit(
    volume: Volume,
    *,
    actor: Actor,
    name: str | None = None,
    delete_with_guest: bool | None = None,
    boot_order: int | None = None,
) -> Volume:
    """Rename it, say what becomes of it with its machine, or when it is booted from; None leaves a thing as it is.

    The boot order holds from the machine's next start. Two disks never have the same place: the other one steps back. Raises
    ``Conflict`` for more than a name while something is done with its machine, which may have read what it was.
    """
    actor.require(Permission.VOLUME_MANAGE, volume)
    require_reach(actor, volume.guest)
    volume, guest = locked(volume)
    errors = [] if name is None else name_errors(name)
    if delete_with_guest is not None and (guest is None or volume.is_root):
        message = _("Only a data volume of a machine is kept or deleted with it.")
        errors.append(FieldError("/delete_with_guest", "not_attached", message))
    if boot_order is not None and (guest is None or not 0 <= boot_order <= BOOT_MAX):
        message = _("Between 0 and %d, for a volume of a machine.") % BOOT_MAX
        errors.append(FieldError("/boot_order", "invalid_boot_order", message))
    if errors:
        raise Invalid(errors=errors)
    wished = {"name": name, "delete_with_guest": delete_with_guest, "boot_order": boot_order}
    changes: dict[str, Any] = {}
    for field, value in wished.items():
        before = getattr(volume, field)
        if value is not None and value != before:
            changes[field] = [before, value]
            setattr(volume, field, value)
    if not changes:
        return volume
    if guest is not None and set(changes) - {"name"} and operations_live_on("guest", [guest.pk]):
        raise Conflict(_("Something else is being done with this right now."), code="operation_in_progress", hint="")
    if volume.boot_order and "boot_order" in changes:
        _step_back(volume)
    volume.version += 1
    volume.save(update_fields=[*wished, "version"])
    audit_record(actor, "volume.edit", volume, **changes)
    volumes_say([volume])
    return volume


def _step_back(volume: Volume) -> None:
    """Make room at the volume's new place in the boot order: whoever has it, and whoever is then in the way, steps back."""
    place = volume.boot_order
    others = Volume.objects.filter(guest=volume.guest_id, boot_order__gte=place).exclude(pk=volume.pk)
    for other in others.order_by("boot_order"):
        if other.boot_order != place:
            return
        place += 1
        other.boot_order = place
        other.version += 1
        other.save(update_fields=["boot_order", "version"])


@transaction.atomic
def volume_extend(volume: Volume, *, actor: Actor, size_gib: int) -> Operation:
    """Make it larger, also while its machine runs; the room is reserved now and returned where that fails.

    Raises ``Invalid`` for a size that is not larger: a volume never shrinks. What is on it grows by the machine's own means.
    """
    actor.require(Permission.VOLUME_MANAGE, volume)
    require_reach(actor, volume.guest)
    volume, guest = locked(volume)
    if not volume.size_gib < size_gib <= DISK_MAX_GIB:
        message = _("A volume only grows: more than %(least)d, at most %(most)d GiB.")
        words = {"least": volume.size_gib, "most": DISK_MAX_GIB}
        raise Invalid(errors=[FieldError("/size_gib", "invalid_size", message % words)])
    if guest is not None:
        refuse_unless_allowed(guest, "volume.extend", actor)
    refuse_volume(volume)
    before, more = volume.size_gib, size_gib - volume.size_gib
    quota_reserve(volume.tenant, volume_room(volume.storage_class, more) | guest_with(guest, volumes=0, size_gib=more))
    volume.size_gib = size_gib
    volume.version += 1
    volume.save(update_fields=["size_gib", "version"])
    operation = _ask(volume, guest, "volume.extend", actor=actor, params={"before": before})
    audit_record(actor, "volume.extend", volume, size_gib=[before, size_gib])
    volumes_say([volume])
    return operation


def volume_mend(volume: Volume, *, size_gib: int) -> Operation | None:
    """Its disk is ``size_gib`` large, less than its row says and its tenant pays for: have it grown. None where it is not so.

    A revert that fails once the disk is back leaves it as small as it was in the snapshot. Not while somebody is at it or its
    machine's condition forbids it; what failed is tried again after ``MEND_AGAIN``.
    """
    since = now() - MEND_AGAIN
    tried = Operation.objects.filter(kind="volume.extend", subject_id=volume.pk, params__mends=True)
    if tried.filter(status=Status.FAILED, finished_at__gte=since).exists():
        return None
    try:
        with tenant_scope(volume.tenant), transaction.atomic():
            row, guest = locked(volume)
            if row.state != VolumeState.READY or size_gib >= row.size_gib:
                return None
            actor = system_actor(row.tenant, why="sweep")
            if guest is not None:
                refuse_unless_allowed(guest, "volume.extend", actor)
            refuse_volume(row)
            return _ask(row, guest, "volume.extend", actor=actor, params={"before": row.size_gib, "mends": True})
    except (Conflict, Missing):
        return None  # somebody is at it, it is gone, or it has to wait


@transaction.atomic
def volume_limit(volume: Volume, *, actor: Actor, iops: int, mbps: int) -> Operation:
    """Give it limits of its own, a second: operations and MiB, reads and writes together; 0 is none. At once where it runs.

    Raises ``Invalid`` for more than its class, or its machine's size, allows.
    """
    actor.require(Permission.VOLUME_MANAGE, volume)
    require_reach(actor, volume.guest)
    volume, guest = locked(volume)
    if errors := limit_errors(volume.storage_class, iops, mbps, guest=guest):
        raise Invalid(errors=errors)
    if guest is not None:
        refuse_unless_allowed(guest, "volume.limit", actor)
    refuse_volume(volume)
    before = {"iops": volume.iops, "mbps": volume.mbps}
    volume.iops, volume.mbps = iops, mbps
    volume.version += 1
    volume.save(update_fields=["iops", "mbps", "version"])
    operation = _ask(volume, guest, "volume.limit", actor=actor, params=before)
    audit_record(actor, "volume.limit", volume, iops=[before["iops"], iops], mbps=[before["mbps"], mbps])
    volumes_say([volume])
    return operation


def _ask(volume: Volume, guest: Guest | None, kind: str, *, actor: Actor, params: dict[str, Any]) -> Operation:
    host = volume.pool.host if volume.pool is not None else guest.host if guest is not None else None
    return operation_submit(
        volume,
        kind=kind,
        actor=actor,
        holds=[*([Hold("guest", guest.pk)] if guest is not None else []), Hold("volume", volume.pk)],
        lane=host.lane if host is not None else "",
        params=params,
    )
