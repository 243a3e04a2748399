"""What Celery calls. Messages carry an operation's id and nothing else; the row decides."""

from __future__ import annotations

import os
import signal
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from celery.signals import worker_process_init
from django.conf import settings

from operations import dispatch, runner, services
from operations.models import Operation
from operations.states import TERMINAL
from portal.core.clock import now
from tenants.journal.models import Event
from tenants.models import IdempotentAnswer
from tenants.scoping import every_tenant

log = structlog.get_logger(__name__)
LONGEST_S = 8 * 86400
"""More than any kind's deadline. What is stuck is given up by its lease (``operations/runner.py``), not by Celery's clock."""


@worker_process_init.connect
def _may_end(**kwargs: Any) -> None:
    """A worker's child may be ended when one of its calls is stuck: its parent starts another."""
    runner.end_process = lambda: os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name=dispatch.RUN_TASK, time_limit=LONGEST_S)
def run_operation(operation_id: str) -> None:
    """Look at one operation; a forged, doubled or late message changes nothing."""
    try:
        pk = UUID(str(operation_id))
    except ValueError:
        log.warning("doorbell_without_operation")
        return
    if runner.run(pk) is not None:
        for other in services.operations_next(pk):  # rather than leave them to the sweep
            dispatch.ring(str(other))


@shared_task(name="operations.tasks.sweep_operations")
def sweep_operations() -> None:
    """Ring again for everything that is due: messages may be lost, rows are not."""
    for pk in services.operations_expire():
        dispatch.ring(str(pk))


@shared_task(name="operations.tasks.forget_old")
def forget_old() -> None:
    """Let go of what is past its retention: events, idempotency answers, operations."""
    with every_tenant(why="retention"):
        Event.objects.filter(at__lt=now() - settings.EVENT_RETENTION).delete()
        IdempotentAnswer.objects.filter(created_at__lt=now() - settings.IDEMPOTENCY_RETENTION).delete()
        old = now() - settings.OPERATION_RETENTION
        Operation.objects.filter(status__in=TERMINAL, finished_at__lt=old, children=None).delete()
