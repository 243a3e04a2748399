"""A snapshot is renamed, described, or deleted."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Guest, Snapshot, Volume
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.snapshots.check import locked, name_taken, text_errors
from vms.services.snapshots.create import lane_of
from vms.services.snapshots.record import snapshot_say
from vms.services.volumes.record import copy_hold
from vms.states import SnapshotState


@transaction.atomic
def snapshot_edit(
    snapshot: Snapshot, *, actor: Actor, name: str | None = None, description: str | None = None
) -> Snapshot:
    """Rename or describe it; None leaves a thing as it is. Raises ``Invalid``."""
    actor.require(Permission.SNAPSHOT_MANAGE, snapshot)
    snapshot, guest = locked(snapshot, actor=actor)
    errors = text_errors(name, description)
    if name is not None and snapshot.guest_id is not None:
        errors += name_taken(guest, name, but=snapshot)
    if errors:
        raise Invalid(errors=errors)
    changes: dict[str, Any] = {}
    for field, value in {"name": name, "description": description}.items():
        before = getattr(snapshot, field)
        if value is not None and value != before:
            changes[field] = [before, value]
            setattr(snapshot, field, value)
    if not changes:
        return snapshot
    snapshot.version += 1
    snapshot.save(update_fields=["name", "description", "version"])
    audit_record(actor, "snapshot.edit", snapshot, **changes)
    snapshot_say(snapshot)
    return snapshot


@transaction.atomic
def snapshot_delete(snapshot: Snapshot, *, actor: Actor) -> Operation:
    """Forget it; the disks stay as they are, and room that only it needed is free again. It counts until that is done.

    Raises ``Conflict`` where the machine's condition forbids it, or while something is being done with its disks.
    """
    actor.require(Permission.SNAPSHOT_MANAGE, snapshot)
    snapshot, guest = locked(snapshot, actor=actor)
    if guest is not None:
        refuse_unless_allowed(guest, "snapshot.delete", actor)
    operation = _ask(snapshot, guest, actor=actor)
    audit_record(actor, "snapshot.delete", snapshot)
    return operation


def snapshot_clear(snapshot: Snapshot, *, actor: Actor, after: Operation) -> Operation:
    """What a failed attempt left in the disks goes, and then the row; asked for by its settling, which passes its locks on."""
    return _ask(snapshot, None, actor=actor, after=after)


def _ask(snapshot: Snapshot, guest: Guest | None, *, actor: Actor, after: Operation | None = None) -> Operation:
    was_ready = after is None and snapshot.state == SnapshotState.READY
    disks = list(Volume.objects.filter(kept_in__snapshot=snapshot).select_related("pool__host"))
    snapshot.state = SnapshotState.DELETING
    snapshot.version += 1
    snapshot.save(update_fields=["state", "version"])
    operation = operation_submit(
        snapshot,
        kind="snapshot.delete",
        actor=actor,
        holds=[
            *([Hold("guest", guest.pk)] if guest is not None else []),
            *(Hold("volume", volume.pk) for volume in disks),
            Hold("snapshot", snapshot.pk),
            copy_hold(snapshot.pk, alone=True),
        ]
        if after is None
        else (),
        after=after,
        lane=lane_of(guest, disks) if after is None else after.lane,
        params={"was_ready": was_ready},
    )
    snapshot_say(snapshot)
    return operation
