"""A snapshot is asked for: allowed? possible? paid for, written down; one transaction."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.services.quota import quota_reserve
from vms.models import Disc, Guest, Snapshot, SnapshotDisk, Volume
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.snapshots.check import name_taken, refuse_pool, text_errors
from vms.services.snapshots.record import snapshot_cost, snapshot_meter, snapshot_say
from vms.services.volumes.check import guest_locked, refuse_volume, require_reach
from vms.services.volumes.check import locked as volume_locked
from vms.states import ON


@transaction.atomic
def snapshot_create(
    of: Guest | Volume,
    *,
    name: str,
    actor: Actor,
    description: str = "",
    memory: bool = False,
    passing: bool = False,
) -> Operation:
    """Keep a machine's disks together as they are at one moment, or one volume; with ``memory`` also what a machine runs.

    A ``passing`` one is to be copied from, and goes by itself.
    The file systems of a running machine are held still by its agent where that answers in time; the row says whether.
    Raises ``Invalid``, ``OverQuota``, or ``Conflict`` where the condition of machine or volume forbids it.
    """
    actor.require(Permission.SNAPSHOT_MANAGE)
    guest, disks = _of_guest(of, actor) if isinstance(of, Guest) else _of_volume(of, actor, memory=memory)
    whole = guest if isinstance(of, Guest) else None
    if errors := [*text_errors(name, description), *name_taken(whole, name)]:
        raise Invalid(errors=errors)
    if guest is not None:
        refuse_unless_allowed(guest, "snapshot.create", actor)
    for volume in disks:
        refuse_volume(volume)
        refuse_pool(volume)
    if memory and whole is not None:
        _refuse_memory(whole)
    quota_reserve(of.tenant, snapshot_cost(whole))
    snapshot = Snapshot.objects.create(
        tenant=of.tenant,
        name=name,
        description=description,
        guest=whole,
        with_memory=memory,
        passing=passing,
        vcpus=whole.vcpus if whole is not None else 0,
        memory_mib=whole.memory_mib if whole is not None else 0,
    )
    SnapshotDisk.objects.bulk_create(
        SnapshotDisk(
            tenant=of.tenant, snapshot=snapshot, volume=volume, position=volume.position, size_gib=volume.size_gib
        )
        for volume in disks
    )
    snapshot_meter(snapshot)
    operation = operation_submit(
        snapshot,
        kind="snapshot.create",
        actor=actor,
        holds=[
            *([Hold("guest", guest.pk)] if guest is not None else []),
            *(Hold("volume", volume.pk) for volume in disks),
            Hold("snapshot", snapshot.pk),
        ],
        lane=lane_of(guest, disks),
    )
    audit_record(actor, "snapshot.create", snapshot, of=of.name, memory=memory)
    snapshot_say(snapshot)
    return operation


def lane_of(guest: Guest | None, disks: list[Volume]) -> str:
    """The lane of the host where the disks lie."""
    host = guest.host if guest is not None else next((volume.pool.host for volume in disks if volume.pool), None)
    return host.lane if host is not None else ""


def _of_guest(guest: Guest, actor: Actor) -> tuple[Guest, list[Volume]]:
    require_reach(actor, guest)
    guest = guest_locked(guest.pk)
    rows = Volume.objects.select_for_update(of=("self",)).filter(guest=guest)
    return guest, list(rows.select_related("pool__host").order_by("position"))


def _of_volume(volume: Volume, actor: Actor, *, memory: bool) -> tuple[Guest | None, list[Volume]]:
    require_reach(actor, volume.guest)
    if memory:
        raise Invalid(errors=[FieldError("/memory", "no_memory", _("A volume by itself has no memory."))])
    fresh, guest = volume_locked(volume)
    return guest, [fresh]


def _refuse_memory(guest: Guest) -> None:
    if guest.seen_power not in ON:
        raise Conflict(
            _("The machine does not run, so it has no memory to keep."),
            code="no_memory",
            hint=_("Take it without memory, or start the machine first."),
        )
    if Disc.objects.filter(guest=guest).exists():
        raise Conflict(
            _("A CD lies in one of the machine's drives, and would have to lie there again when its memory wakes."),
            code="disc_inserted",
            hint=_("Eject it first, or take the snapshot without memory."),
        )
    if guest.tpm:
        raise Conflict(
            _("The memory of a machine with a TPM cannot be kept: the TPM's own would be another when it wakes."),
            code="tpm_memory",
            hint=_("Take it without memory."),
        )
    if guest.firmware == "uefi":
        raise Conflict(
            _("The memory of a machine with UEFI firmware cannot be kept."),
            code="uefi_memory",
            hint=_("Take it without memory."),
        )
