"""Rings the workers' doorbell after commit; a lost ring is rung again by the sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from operations.models import Operation

log = structlog.get_logger(__name__)
RUN_TASK = "operations.tasks.run_operation"


def ring(operation_id: str) -> None:
    """Ask some worker to look at the operation now; a broker that is away costs at most the time to the next sweep."""
    try:
        current_app.send_task(RUN_TASK, args=[operation_id], retry=False)
    except (OperationalError, OSError) as error:
        log.warning("doorbell_not_rung", operation=operation_id, detail=str(error))


def ring_on_commit(operation: Operation) -> None:
    """Ring once the row is committed."""
    pk = str(operation.pk)
    transaction.on_commit(lambda: ring(pk), robust=True)
