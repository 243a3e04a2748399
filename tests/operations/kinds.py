"""Kinds of operations that tests declare, with handlers that tests steer; the registry is as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import transaction

from operations import registry
from operations.models import Operation
from operations.registry import Handler, Kind
from operations.runner import run
from operations.services import Hold, operation_submit
from portal.core.clock import now
from portal.core.ids import uuid7
from tests import factories


class Subject:
    """Something to operate on."""

    def __init__(self, tenant: Any = None) -> None:
        self.pk, self.name, self.tenant = uuid7(), "thing", tenant


class Ledger:
    """What was settled, in order: (operation, status)."""

    def __init__(self) -> None:
        self.settled: list[tuple[Any, str]] = []

    def settle(self, operation: Operation) -> None:
        self.settled.append((operation.pk, operation.status))


@contextmanager
def kind(handler: Handler | None = None, *, name: str = "test.work", **facts: Any) -> Iterator[Ledger]:
    """Declare a kind, with its handler, for the length of a test."""
    ledger = Ledger()
    registry.declare(Kind(name, "Work on %(name)s", **{"settle": ledger.settle, **facts}))
    if handler is not None:
        registry.handles(name)(handler)
    try:
        yield ledger
    finally:
        registry._kinds.pop(name)
        registry._handlers.pop(name, None)


def submit(house: factories.House | None = None, *, name: str = "test.work", **facts: Any) -> Operation:
    """An operation of that kind on a fresh subject, which it holds."""
    subject = Subject(house.tenant if house else None)
    actor = house.actor if house else factories.desk()
    with transaction.atomic():
        return operation_submit(subject, kind=name, actor=actor, **{"holds": [Hold("thing", subject.pk)], **facts})


def lapse(operation: Operation) -> None:
    """As if its worker had been silent for longer than its lease."""
    Operation.objects.filter(pk=operation.pk).update(lease_until=now() - timedelta(seconds=1))


def due(operation: Operation) -> None:
    """As if its back-off were over."""
    Operation.objects.filter(pk=operation.pk).update(not_before=now())


def carried_out() -> list[str]:
    """What workers do until nothing waits, with what follows from it; the kinds that succeeded, in order."""
    kinds = []
    for _round in range(20):
        Operation.objects.filter(status="queued").update(not_before=now())
        waiting = list(Operation.objects.filter(status="queued").order_by("created_at"))
        if not waiting:
            break
        for each in waiting:
            status = run(each.pk)
            assert status in ("succeeded", "queued"), Operation.objects.values().get(pk=each.pk)
            kinds += [each.kind] if status == "succeeded" else []
    return kinds
