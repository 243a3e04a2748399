"""A volume is plugged into a machine, and taken off it again."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.services.quota import quota_reserve
from vms.models import Guest, Snapshot, StoragePool, Volume
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.volumes.check import (
    POSITIONS,
    guest_locked,
    limit_errors,
    locked,
    refuse_kept,
    refuse_root,
    refuse_volume,
    require_reach,
)
from vms.services.volumes.record import guest_with, volumes_say


@transaction.atomic
def volume_attach(volume: Volume, guest: Guest, *, actor: Actor, delete_with_guest: bool = False) -> Operation:
    """Plug ``volume`` into ``guest``, which runs or is off; it is the guest's from now on, and undone where that fails.

    Raises ``Conflict`` where it hangs on a machine already, lies on another host, or the machine can take no more.
    """
    actor.require(Permission.VOLUME_MANAGE, volume)
    require_reach(actor, guest)
    guest = guest_locked(guest.pk)
    if volume.guest_id is not None:
        raise Conflict(_("This volume hangs on a machine already."), code="attached", hint=_("Detach it first."))
    volume, _none = locked(volume)
    refuse_unless_allowed(guest, "volume.attach", actor)
    refuse_volume(volume)
    refuse_elsewhere(volume, guest)
    quota_reserve(volume.tenant, guest_with(guest, volumes=1, size_gib=volume.size_gib))
    if limit_errors(volume.storage_class, volume.iops, volume.mbps, guest=guest):
        raise Conflict(
            _("The limits of this volume are above what the machine's size allows."),
            code="invalid_limit",
            hint=_("Lower its limits first."),
        )
    volume.guest, volume.position = guest, free_position(guest)
    volume.pool = pool_at(volume, guest)
    volume.delete_with_guest = delete_with_guest
    volume.version += 1
    volume.save(update_fields=["guest", "position", "pool", "delete_with_guest", "version"])
    operation = _ask(volume, guest, "volume.attach", actor=actor)
    audit_record(actor, "volume.attach", volume, guest=guest.name, delete_with_guest=delete_with_guest)
    volumes_say([volume])
    return operation


@transaction.atomic
def volume_detach(volume: Volume, *, actor: Actor) -> Operation:
    """Take a data volume off its machine: a running one must let go of it, one in the bin has it no more at once.

    It stays the machine's until it is seen to be off. Raises ``Conflict`` for a first disk, or in a state that forbids it.
    """
    actor.require(Permission.VOLUME_MANAGE, volume)
    require_reach(actor, volume.guest)
    volume, guest = locked(volume)
    if guest is None:
        raise Conflict(_("This volume hangs on no machine."), code="not_attached", hint="")
    refuse_root(volume, _("This is the machine's first disk."))
    refuse_unless_allowed(guest, "volume.detach", actor)
    refuse_volume(volume)
    if Snapshot.objects.filter(guest=guest, disks__volume=volume).exists():
        refuse_kept(volume, _("Snapshots of the machine hold this volume."))
    operation = _ask(volume, guest, "volume.detach", actor=actor)
    audit_record(actor, "volume.detach", volume, guest=guest.name)
    volumes_say([volume])
    return operation


def refuse_elsewhere(volume: Volume, guest: Guest) -> None:
    """Raise ``Conflict`` where the machine's host does not see the pool that the volume lies in."""
    if pool_at(volume, guest) is None:
        raise Conflict(
            _("This volume lies on another host than the machine, and a disk is plugged in only where it lies."),
            code="other_host",
            hint=_("Make a volume on the machine's own page: it is put beside its disks."),
        )


def pool_at(volume: Volume, guest: Guest) -> StoragePool | None:
    """The volume's pool as the machine's host has it; None where that does not see it."""
    pool = volume.pool
    if pool is None or pool.host_id == guest.host_id:
        return pool
    if not pool.share:
        return None
    return StoragePool.objects.filter(host=guest.host_id, share=pool.share, ready_at__isnull=False).first()


def free_position(guest: Guest) -> int:
    """The lowest free place among the guest's disks; the caller has locked the guest. Raises ``Conflict``."""
    taken = set(Volume.objects.filter(guest=guest).values_list("position", flat=True))
    for position in POSITIONS:
        if position not in taken:
            return position
    raise Conflict(
        _("This machine has as many volumes as it can have."), code="too_many_volumes", hint=_("Detach one first.")
    )


def _ask(volume: Volume, guest: Guest, kind: str, *, actor: Actor) -> Operation:
    return operation_submit(
        volume,
        kind=kind,
        actor=actor,
        holds=[Hold("guest", guest.pk), Hold("volume", volume.pk)],
        lane=guest.host.lane if guest.host else "",
        params={"guest": str(guest.pk)},
    )
