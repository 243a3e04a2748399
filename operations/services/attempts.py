"""A worker's attempt: taken, kept alive, moved along, given back."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services.announce import announce
from operations.services.barring import is_barred, operation_bar
from operations.services.ending import Failure, end, mine
from operations.services.lanes import Room, room_for
from operations.states import Status
from portal.core.clock import now, rfc3339


def operation_claim(pk: UUID | str, *, worker: str) -> Operation | None:
    """Take a queued operation for ``worker``; None where it is not ours to take (taken, over, too early, no room).

    What a tenant's people asked for and its standing no longer allows is called off here, whenever it was asked.

    A compare-and-swap on the row, under the lock of what it is counted in: exactly one of many rings wins.
    """
    with transaction.atomic():
        operation = Operation.objects.select_related("tenant", "requested_by").filter(pk=pk).first()
        at = now()
        if operation is None or operation.status != Status.QUEUED or operation.not_before > at:
            return None
        if is_barred(operation):
            operation_bar(operation.pk)
            return None
        room = room_for(operation, at)
        if room == Room.AFTER_OTHERS:
            _say_waits(operation)
        if room != Room.HERE:
            return None
        taken = Operation.objects.filter(pk=pk, status=Status.QUEUED, cancel_requested_at=None).update(
            status=Status.RUNNING,
            lease_owner=worker,
            lease_until=at + timedelta(seconds=settings.OPERATION_LEASE_S),
            attempts=F("attempts") + 1,
            started_at=operation.started_at or at,
            step="",
        )
        if not taken:
            return None
        operation.refresh_from_db()
        announce(operation)
        return operation


def _say_waits(operation: Operation) -> None:
    """Its pages tell why it does not begin; told once."""
    words = _("Waiting for other copies and backups to finish")
    if Operation.objects.filter(pk=operation.pk, status=Status.QUEUED).exclude(step=words).update(step=words):
        announce(operation)


def operation_renew(operation: Operation) -> bool:
    """Prolong the worker's lease; False when the operation is no longer this worker's: it must touch nothing more."""
    until = now() + timedelta(seconds=settings.OPERATION_LEASE_S)
    return bool(
        Operation.objects.filter(
            pk=operation.pk, status=Status.RUNNING, lease_owner=operation.lease_owner, attempts=operation.attempts
        ).update(lease_until=until)
    )


def operation_go_through(operation: Operation) -> None:
    """From the end of the caller's transaction on nobody calls it off; the caller has just renewed its lease."""
    operation.goes_through = True
    operation.save(update_fields=["goes_through"])


@transaction.atomic
def operation_progress(operation: Operation, *, step: str, progress: int) -> bool:
    """Say what is being done now; False when the operation is no longer this worker's."""
    row = mine(operation)
    if row is None:
        return False
    progress = max(row.progress, min(progress, 99))
    if row.step != step:
        row.steps = [*row.steps, {"step": step, "at": rfc3339(now())}][-50:]
    row.step, row.progress = step[:120], progress
    row.lease_until = now() + timedelta(seconds=settings.OPERATION_LEASE_S)
    row.save(update_fields=["step", "progress", "steps", "lease_until"])
    operation.step, operation.progress = row.step, row.progress
    announce(row)
    return True


@transaction.atomic
def operation_postpone(operation: Operation, *, seconds: float, step: str) -> None:
    """Give a running operation back to the queue, to be tried again after ``seconds``; or end it, if it was called off."""
    row = mine(operation)
    if row is None:
        return
    if row.cancel_requested_at is not None:
        end(row, Status.CANCELLED, Failure("cancelled", _("Called off.")))
        return
    row.status, row.lease_owner, row.lease_until = Status.QUEUED, "", None
    row.not_before = now() + timedelta(seconds=seconds)
    row.step = step[:120]
    row.save(update_fields=["status", "lease_owner", "lease_until", "not_before", "step"])
    announce(row)
