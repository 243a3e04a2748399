"""What people may still ask of work that is not over: to call it off, or to hurry."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.dispatch import ring_on_commit
from operations.models import Operation
from operations.registry import kind_of
from operations.services.announce import announce
from operations.services.ending import Failure, end
from operations.services.lanes import lane_open
from operations.states import LIVE, Status
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.reactions import announce as hear


@transaction.atomic
def operation_cancel(operation: Operation, *, actor: Actor) -> Operation:
    """Call off: at once while queued, at the next step while running if its kind allows; raises ``Conflict`` otherwise.

    Of a parent, every child that still can be. Children are locked before their parent, in one order, as their own ends do.
    """
    actor.require(Permission.OPERATE if actor.tenant is None else Permission.OPERATION_CANCEL, operation)
    children = list(Operation.objects.select_for_update().filter(parent=operation.pk, status__in=LIVE).order_by("pk"))
    if children:  # their ends lock what they are about: all of that before the first of them writes a journal
        hear("operations.ending", tenant=operation.tenant, subjects=[child.subject_id for child in children])
    for child in children:
        if not child.goes_through and (child.status == Status.QUEUED or kind_of(child.kind).cancellable):
            _call_off(child)
    row = Operation.objects.select_for_update().get(pk=operation.pk)
    if not children:
        _call_off(row)
    audit_record(actor, "operation.cancel", row, tenant=row.tenant)
    row.refresh_from_db()
    return row


def _call_off(row: Operation) -> None:
    if row.status not in LIVE:
        raise Conflict(_("This has ended already."), code="operation_over", hint="")
    if row.status == Status.QUEUED and not row.goes_through:
        end(row, Status.CANCELLED, Failure("cancelled", _("Called off before it began.")))
    elif kind_of(row.kind).cancellable and not row.goes_through:
        row.cancel_requested_at = now()
        row.save(update_fields=["cancel_requested_at"])
        announce(row)
    else:
        raise Conflict(_("This can no longer be called off."), code="not_cancellable", hint=_("It ends by itself."))


@transaction.atomic
def operation_retry(operation: Operation, *, actor: Actor) -> Operation:
    """An operator has the worker look at a waiting operation now, rather than when its back-off ends."""
    actor.require(Permission.OPERATE)
    if operation.lane:
        lane_open(operation.lane)  # before the row: whoever claims locks in this order
    row = Operation.objects.select_for_update().get(pk=operation.pk)
    if row.status != Status.QUEUED:
        raise Conflict(_("Only waiting work can be hurried."), code="not_waiting", hint="")
    row.not_before = now()
    row.save(update_fields=["not_before"])
    ring_on_commit(row)
    audit_record(actor, "operation.retry", row, tenant=row.tenant)
    return row
