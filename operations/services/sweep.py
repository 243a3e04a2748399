"""What nobody works on any more goes back to the queue, or ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services.announce import announce
from operations.services.ending import Failure, end, operation_fail
from operations.services.turns import operations_due
from operations.states import Status
from portal.core.clock import now
from portal.core.database import will_pass

log = structlog.get_logger(__name__)


def operations_expire(*, batch: int = 200) -> Iterable[UUID]:
    """One sweep: requeue lapsed leases, fail what is past its deadline or called off; yields what is due, to be rung."""
    at = now()
    lapsed = Operation.objects.filter(status=Status.RUNNING, lease_until__lt=at).order_by("lease_until")[:batch]
    for operation in lapsed:
        with _alone(operation):
            _requeue_lapsed(operation.pk, at)
    overdue = Operation.objects.filter(status=Status.QUEUED, deadline_at__lt=at).order_by("deadline_at")[:batch]
    for operation in overdue:
        with _alone(operation):
            _time_out(operation)
    yield from operations_due(at, batch=batch)


@contextmanager
def _alone(operation: Operation) -> Iterator[None]:
    """One operation that cannot be ended is written to the log, and keeps no other from its turn."""
    try:
        yield
    except Exception as error:
        if will_pass(error):
            raise
        log.exception("operation_not_swept", operation=str(operation.pk), kind=operation.kind)


def _time_out(operation: Operation) -> None:
    operation_fail(
        operation,
        Failure(
            "timed_out",
            _("This could not be done in time."),
            _("Nothing more will be tried. Try again, or ask the operator about the host."),
            operation.step,
        ),
    )


@transaction.atomic
def _requeue_lapsed(pk: UUID, at: datetime) -> None:
    row = Operation.objects.select_for_update().filter(pk=pk, status=Status.RUNNING, lease_until__lt=at).first()
    if row is None:
        return
    if row.cancel_requested_at is not None:
        end(row, Status.CANCELLED, Failure("cancelled", _("Called off.")))
        return
    row.status, row.lease_owner, row.lease_until, row.not_before = Status.QUEUED, "", None, at
    row.save(update_fields=["status", "lease_owner", "lease_until", "not_before"])
    announce(row)
