"""Where operations end, and nowhere else: made terminal, settled and let go in one transaction."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.registry import kind_of
from operations.services.announce import announce, tell_who_asked
from operations.states import LIVE, Status, may_move
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.scoping import every_tenant, tenant_scope


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation failed: for the customer ``message`` and ``hint``, for operators ``detail``."""

    code: str
    message: str
    hint: str = ""
    detail: str = ""


@transaction.atomic
def operation_finish(operation: Operation, *, worker: str) -> bool:
    """The worker is done: succeeded. False when the operation was no longer its own."""
    row = mine(operation)
    if row is None or row.lease_owner != worker:
        return False
    end(row, Status.SUCCEEDED, None)
    return True


@transaction.atomic
def operation_fail(
    operation: Operation, failure: Failure, *, status: Status = Status.FAILED, worker: str | None = None
) -> bool:
    """End a live operation without success; False when it was over already.

    With ``worker`` only while it is that worker's attempt: one that thaws late must not end what another has taken up.
    """
    if worker is not None:
        row = mine(operation)
        if row is None or row.lease_owner != worker:
            return False
    else:
        row = Operation.objects.select_for_update().filter(pk=operation.pk, status__in=LIVE).first()
    if row is None:
        return False
    end(row, status, failure)
    return True


def mine(operation: Operation) -> Operation | None:
    """The row, locked; None when it is no longer the attempt that ``operation`` was taken for."""
    row = (
        Operation.objects.select_for_update()
        .filter(pk=operation.pk, status=Status.RUNNING, lease_owner=operation.lease_owner, attempts=operation.attempts)
        .first()
    )
    if row is not None:
        row.tenant = operation.tenant  # it keeps its tenant; each step would read that again
    return row


def end(row: Operation, status: Status, failure: Failure | None) -> None:
    """Make terminal, settle, let go: one transaction, whoever ends it."""
    if not may_move(Status(row.status), status):
        raise Conflict(code="operation_over")
    row.status, row.finished_at = status, now()
    row.lease_owner, row.lease_until = "", None
    if status == Status.SUCCEEDED:
        row.progress, row.step = 100, ""
    if failure is not None:
        row.error_code, row.error_message = failure.code[:40], failure.message
        row.error_hint, row.error_detail = failure.hint, failure.detail[:4000]
    row.save()
    settle = kind_of(row.kind).settle
    if settle is not None:
        with _scope_of(row):
            settle(row)
    row.locks.all().delete()
    announce(row)
    if status == Status.FAILED and row.parent_id is None:
        tell_who_asked(row)
    if row.parent_id is not None:
        _end_parent(row.parent_id)


def _scope_of(row: Operation) -> AbstractContextManager[None]:
    return (
        tenant_scope(row.tenant) if row.tenant is not None else every_tenant(why="an operation on shared things ends")
    )


def _end_parent(pk: UUID) -> None:
    """A parent's progress is its children's; it ends with the last of them."""
    parent = Operation.objects.select_for_update().get(pk=pk)
    statuses = list(parent.children.values_list("status", flat=True))
    done = [s for s in statuses if s not in LIVE]
    if parent.status not in LIVE:
        return
    parent.progress = min(99, 100 * len(done) // max(1, len(statuses)))
    if len(done) < len(statuses):
        parent.save(update_fields=["progress"])
        announce(parent)
        return
    failed = sum(s != Status.SUCCEEDED for s in done)
    if not failed:
        end(parent, Status.SUCCEEDED, None)
        return
    end(
        parent,
        Status.FAILED,
        Failure(
            "some_failed",
            _("%(failed)d of %(all)d did not succeed.") % {"failed": failed, "all": len(done)},
            _("Each one says why."),
        ),
    )
