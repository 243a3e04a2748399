"""A machine or a volume goes back to a snapshot; what that means is said before it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Disc, Guest, Snapshot, SnapshotDisk, Volume
from vms.services.backups.record import backups_outdated
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_wish
from vms.services.snapshots.check import locked, refuse_unready
from vms.services.snapshots.create import lane_of
from vms.services.snapshots.record import snapshot_say
from vms.services.volumes.check import refuse_volume
from vms.services.volumes.record import copy_hold
from vms.states import ON, Power, SnapshotState

KNOWS: Final = frozenset({*ON, Power.SUSPENDED})
"""What a machine does while it, or the memory that was saved of it, knows what is on its disks."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a revert would do: what has been written since ``since`` is lost on ``disks``; ``untouched`` came later and stay.

    ``grown`` disks keep their size. ``no_memory`` says why the machine cannot go on where it was, empty where it can.
    """

    since: datetime | None
    disks: tuple[str, ...]
    untouched: tuple[str, ...]
    grown: tuple[str, ...]
    stops: bool
    no_memory: str


def revert_foresee(snapshot: Snapshot) -> Outlook:
    """What a revert would do as things are."""
    disks = SnapshotDisk.objects.filter(snapshot=snapshot)
    rows = list(disks.select_related("volume__guest").order_by("position"))
    guest = rows[0].volume.guest if rows else None
    held = {row.volume_id for row in rows}
    others = Volume.objects.filter(guest=guest).exclude(pk__in=held) if snapshot.guest_id is not None else []
    return Outlook(
        since=snapshot.taken_at,
        disks=tuple(row.volume.name for row in rows),
        untouched=tuple(volume.name for volume in others),
        grown=tuple(row.volume.name for row in rows if row.volume.size_gib > row.size_gib),
        stops=snapshot.guest_id is not None and guest is not None and guest.seen_power in KNOWS,
        no_memory=_no_memory(snapshot, guest, attached_since=bool(others)),
    )


def _no_memory(snapshot: Snapshot, guest: Guest | None, *, attached_since: bool) -> str:
    """Why the machine cannot go on where it was; empty where it can."""
    if not snapshot.with_memory or guest is None:
        return _("This snapshot holds no memory.")
    if (guest.vcpus, guest.memory_mib) != (snapshot.vcpus, snapshot.memory_mib):
        return _("The machine has another size now than the memory that was kept.")
    if guest.next_flavor_id is not None:
        return _("The machine takes another size once it is off, which the memory that was kept does not have.")
    if Disc.objects.filter(guest=guest).exists():
        return _("A CD lies in one of its drives, which the memory that was kept knows nothing of.")
    if attached_since:
        return _("A volume was attached since, which the memory that was kept knows nothing of.")
    return ""


@transaction.atomic
def snapshot_revert(snapshot: Snapshot, *, actor: Actor, memory: bool = False) -> Operation:
    """Put the disks back to the snapshot; a machine that runs is switched off for it, without asking, and stays off.

    With ``memory`` it goes on running where it was. Sizes stay, other snapshots stay, volumes attached since stay as they are.
    Raises ``Conflict`` where the condition of the machine forbids it, or its memory does not fit any more; ``OverQuota``
    where it would run again, and too many run.
    """
    actor.require(Permission.SNAPSHOT_MANAGE, snapshot)
    snapshot, guest = locked(snapshot, actor=actor)
    if guest is not None:
        refuse_unless_allowed(guest, "snapshot.revert", actor)
    refuse_unready(snapshot)
    outlook = revert_foresee(snapshot)
    if memory and outlook.no_memory:
        raise Conflict(outlook.no_memory, code="no_memory", hint=_("Revert its disks alone."))
    disks = list(Volume.objects.filter(kept_in__snapshot=snapshot).select_related("pool__host"))
    for volume in disks:
        refuse_volume(volume)
    params: dict[str, Any] = {"memory": memory}
    if snapshot.guest_id is not None and guest is not None:
        params["want_before"] = guest.want_power
        guest_wish(guest, Power.RUNNING if memory else Power.STOPPED)
    elif guest is not None:
        _refuse_on(guest)
    snapshot.state = SnapshotState.REVERTING
    snapshot.version += 1
    snapshot.save(update_fields=["state", "version"])
    operation = operation_submit(
        snapshot,
        kind="snapshot.revert",
        actor=actor,
        holds=[
            *([Hold("guest", guest.pk)] if guest is not None else []),
            *(Hold("volume", volume.pk) for volume in disks),
            Hold("snapshot", snapshot.pk),
            copy_hold(snapshot.pk, alone=True),
        ],
        lane=lane_of(guest, disks),
        generation=guest.want_generation if guest is not None else 0,
        params=params,
    )
    backups_outdated(disks)
    audit_record(actor, "snapshot.revert", snapshot, memory=memory)
    snapshot_say(snapshot)
    return operation


def is_in_use(volume: Volume) -> bool:
    """Does a machine know what is on it, or will when it wakes? Then it is not put back under it."""
    return volume.guest is not None and volume.guest.seen_power in KNOWS


def _refuse_on(guest: Guest) -> None:
    """One disk is not changed under a machine that knows its content."""
    if guest.seen_power in KNOWS:
        raise Conflict(
            _("The machine %(name)s has this volume in use."),
            code="in_use",
            name=guest.name,
            hint=_("Stop the machine, or detach the volume."),
        )
