"""Snapshots: what became of them on their host, what they cost, and who is told."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F, Sum

from portal.core.clock import now
from tenants.actors import system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.usage import usage_close, usage_switch
from tenants.services.quota import quota_release
from vms.models import Guest, Snapshot
from vms.models.snapshots import Consistency
from vms.services.volumes.record import volumes_going
from vms.states import SnapshotState


def snapshot_cost(guest: Guest | None) -> dict[str, int]:
    """What one more holds of its tenant's quota; of a machine also how many that then has, for the limit on one machine."""
    if guest is None:
        return {"snapshots": 1}
    return {"snapshots": 1, "guest_snapshots": Snapshot.objects.filter(guest=guest).count() + 1}


def snapshot_meter(snapshot: Snapshot) -> None:
    """From now on the ledger counts what the snapshot could bring back, in GiB. Safe to repeat."""
    usage_switch(
        snapshot.tenant,
        resource_type="snapshot",
        resource_id=snapshot.pk,
        meter="snapshot_gib",
        quantity=snapshot_gib(snapshot),
        at=now(),
    )


def snapshot_gib(snapshot: Snapshot) -> int:
    """How large its disks were, together."""
    return int(snapshot.disks.aggregate(size=Sum("size_gib"))["size"] or 0)


@transaction.atomic
def snapshot_record_taken(snapshot: Snapshot, consistency: Consistency, *, definition: str = "") -> None:
    """It lies in its disks; ``definition`` is the machine as it ran, where its memory lies there, too. Safe to repeat.

    What is written down already stays: a worker that froze after it took one would speak of what its successor replaced.
    """
    rows = Snapshot.objects.filter(pk=snapshot.pk, state=SnapshotState.CREATING, taken_at=None)
    if rows.update(consistency=consistency, definition=definition, taken_at=now(), version=F("version") + 1):
        snapshot_say(snapshot)


def snapshot_say(snapshot: Snapshot) -> None:
    """Tell whoever looks at it, or at the machine or volume it is of, that it changed."""
    event_append(snapshot.tenant, "snapshot.changed", "snapshot", snapshot.pk)
    _say_around(snapshot)


def _say_around(snapshot: Snapshot) -> None:
    if snapshot.guest_id is not None:
        event_append(snapshot.tenant, "guest.changed", "guest", snapshot.guest_id)
        return
    for volume in snapshot.disks.values_list("volume", flat=True):
        event_append(snapshot.tenant, "volume.changed", "volume", volume)


def snapshot_forget(snapshot: Snapshot) -> None:
    """No disk holds it any more: its row goes, and what it held returns."""
    tenant, pk = snapshot.tenant, snapshot.pk
    quota_release(tenant, {"snapshots": 1})
    usage_close(tenant, resource_ids=[pk], at=now())
    audit_record(system_actor(tenant, why="settle"), "snapshot.deleted", snapshot)
    _say_around(snapshot)
    snapshot.delete()
    event_append(tenant, "snapshot.deleted", "snapshot", pk)


def snapshots_go_with(guest: Guest) -> None:
    """A machine is off its host for good, and no file that is left holds a snapshot of it: they are forgotten.

    Those of single volumes that go with it, too; of a volume that is kept they stay.
    """
    rows = Snapshot.objects.select_related("tenant")
    for snapshot in rows.filter(guest=guest):
        snapshot_forget(snapshot)
    for snapshot in rows.filter(guest=None, disks__volume__in=volumes_going(guest)):
        snapshot_forget(snapshot)
