"""What the end of an operation on a snapshot returns or confirms; in the ending transaction, for every terminal status."""

from __future__ import annotations

from django.utils.translation import gettext as _

from operations.models import Operation
from operations.states import Status
from portal.core.errors import Missing
from tenants.actors import system_actor
from tenants.journal.events import event_append
from vms.models import Guest, Snapshot
from vms.services.guests.settle import want_seen
from vms.services.guests.wanting import WISH
from vms.services.snapshots.change import snapshot_clear
from vms.services.snapshots.check import locked
from vms.services.snapshots.record import snapshot_forget, snapshot_say
from vms.states import SnapshotState


def _found(operation: Operation) -> tuple[Snapshot | None, Guest | None]:
    """The snapshot and its machine, locked; the locks of the operation keep both where they are."""
    row = Snapshot.objects.filter(pk=operation.subject_id).first()
    if row is None:
        return None, None
    try:
        return locked(row)
    except Missing:
        return None, None


def _ended(operation: Operation) -> bool:
    return operation.status == Status.SUCCEEDED


def _become(snapshot: Snapshot, state: SnapshotState, *, problem: str = "") -> None:
    snapshot.state, snapshot.problem = state, problem
    snapshot.version += 1
    snapshot.save(update_fields=["state", "problem", "version"])
    snapshot_say(snapshot)


def created(operation: Operation) -> None:
    """Taken: it stands. Not taken: what may lie in the disks is cleared away, and what it held returns with that."""
    snapshot, _guest = _found(operation)
    if snapshot is None:
        return
    if _ended(operation):
        _become(snapshot, SnapshotState.READY)
    elif operation.started_at is None:
        snapshot_forget(snapshot)
    else:
        snapshot.problem = operation.error_message
        snapshot.save(update_fields=["problem"])
        snapshot_clear(snapshot, actor=system_actor(snapshot.tenant, why="settle"), after=operation)


def reverted(operation: Operation) -> None:
    """Back, or not: the snapshot is whole either way; of a machine the wish follows what it is seen to do."""
    snapshot, guest = _found(operation)
    if snapshot is None:
        return
    _become(snapshot, SnapshotState.READY)
    if not _ended(operation) and operation.started_at is not None:
        operation.error_hint = str(
            _(
                "Some of the disks may be as in the snapshot already, others not: revert again before you start from them."
            )
        )
        operation.save(update_fields=["error_hint"])
    if guest is None or snapshot.guest_id is None:
        return
    if _ended(operation):
        guest.problem_code = guest.problem_message = ""
    else:
        want_seen(guest, operation)
        message = f"{operation.error_message} {operation.error_hint}".strip()
        guest.problem_code, guest.problem_message = operation.error_code, message
    guest.save(update_fields=[*WISH, "problem_code", "problem_message"])
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def deleted(operation: Operation) -> None:
    """No disk holds it: forgotten. Else of no use, unless it was whole and nobody had begun."""
    snapshot, _guest = _found(operation)
    if snapshot is None:
        return
    if _ended(operation):
        snapshot_forget(snapshot)
    elif operation.started_at is None and operation.params["was_ready"]:
        _become(snapshot, SnapshotState.READY)
    else:
        _become(snapshot, SnapshotState.ERROR, problem=operation.error_message)
