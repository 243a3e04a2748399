"""What was asked for in a tenant that has been suspended or closed since: not begun any more.

What has begun is finished, since half done is worse; what the portal or an operator asks for goes on.
"""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services.ending import Failure, end
from operations.states import Status
from tenants.actors import SYSTEM
from tenants.models import Tenant
from tenants.reactions import reacts


def is_barred(operation: Operation) -> bool:
    """Must it not begin, as its tenant stands now?"""
    tenant, person = operation.tenant, operation.requested_by
    if tenant is None or operation.attempts or operation.requested_label == SYSTEM:
        return False
    return not tenant.is_active and not (person is not None and person.is_staff)


@transaction.atomic
def operation_bar(pk: UUID) -> None:
    """Call a waiting operation off where it must not begin; one that is over, or runs, stays as it is."""
    row = (
        Operation.objects.select_for_update(of=("self",))
        .select_related("tenant", "requested_by")
        .filter(pk=pk, status=Status.QUEUED)
        .first()
    )
    if row is None or not is_barred(row):
        return
    sentence = _("The project was suspended or closed before this began.")
    end(row, Status.CANCELLED, Failure("tenant_not_active", sentence))


@reacts("tenant.halted")
def call_off_waiting(*, tenant: Tenant) -> None:
    """After the commit, one by one, since each settles by itself; the next claim catches what is missed."""
    transaction.on_commit(lambda: _call_off(tenant), robust=True)


def _call_off(tenant: Tenant) -> None:
    for pk in Operation.objects.filter(tenant=tenant, status=Status.QUEUED).values_list("pk", flat=True):
        operation_bar(pk)
