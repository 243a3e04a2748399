"""Rings the workers' doorbell after commit; a lost ring is rung again by the sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from portal.core.rest import Rest

if TYPE_CHECKING:
    from operations.models import Operation

log = structlog.get_logger(__name__)
RUN_TASK = "operations.tasks.run_operation"
_rest = Rest(2.0)


def ring(operation_id: str) -> None:
    """Ask some worker to look at the operation now; a broker that is away costs at most the time to the next sweep."""
    call(RUN_TASK, operation_id)


def call(task: str, *about: str) -> None:
    """Ask some worker to do now what beat asks for again and again; a message that is lost costs the time until then.

    Waits a second at most (``CELERY_BROKER_TRANSPORT_OPTIONS``), and not at all while the broker was just found silent.
    """
    if _rest.is_on:
        return
    try:
        current_app.send_task(task, args=about, retry=False)
    except (OperationalError, OSError) as error:
        _rest.begin()
        log.warning("doorbell_not_rung", task=task, about=about, detail=str(error))


def ring_on_commit(operation: Operation) -> None:
    """Ring once the row is committed."""
    pk = str(operation.pk)
    transaction.on_commit(lambda: ring(pk), robust=True)
