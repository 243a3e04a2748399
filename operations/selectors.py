"""Operations as pages and REST show them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count, QuerySet, UUIDField

from operations.models import Operation, OperationLock
from operations.registry import kinds
from operations.states import LIVE
from portal.core.paging import Sorts
from tenants.actors import Actor
from tenants.journal.events import shows
from tenants.prepared import Given, columns_of, prepared

COLUMNS: Final = columns_of(Operation)
OPERATION_SORTS: Sorts = {"created_at": ("created_at", "id")}


def operations_visible(actor: Actor) -> QuerySet[Operation]:
    """The operations ``actor`` may look at: their tenant's, or all for operators outside any; children ready to read.

    Whose role is narrowed to tags sees what they asked for themselves: other operations name other machines.
    """
    rows = Operation.objects.select_related("tenant").prefetch_related("children")
    if actor.tenant is not None:
        rows = rows.filter(tenant=actor.tenant)
    elif not actor.is_operator:
        rows = rows.none()
    if actor.narrowed:
        rows = rows.filter(requested_by=actor.user) if actor.user is not None else rows.none()
    return rows


@shows("operation")
def operations_seen(actor: Actor, ids: Collection[str]) -> set[str]:
    """Which of these ids ``actor`` may look at."""
    rows = operations_visible(actor).prefetch_related(None).filter(pk__in=ids)
    return {str(pk) for pk in rows.values_list("pk", flat=True)}


def operations_live_on(resource_type: str, ids: Iterable[UUID]) -> dict[UUID, Operation]:
    """The live operation that holds each of these things exclusively, by the thing's id; one query."""
    rows = _live_rows(resource_type, ids=wanted) if (wanted := list(ids)) else []
    return {held: Operation.from_db(DEFAULT_DB_ALIAS, COLUMNS, row) for held, *row in rows}


@prepared
def _live_rows(resource_type: str) -> QuerySet[Any, tuple[Any, ...]]:
    held = OperationLock.objects.filter(resource_type=resource_type, exclusive=True, operation__status__in=LIVE)
    rows = held.filter(resource_id__among=Given("ids", UUIDField(), many=True))
    return rows.values_list("resource_id", *(f"operation__{name}" for name in COLUMNS))


def operation_label(operation: Operation) -> str:
    """What it is, as a sentence: ``Start web-1``."""
    kind = kinds().get(operation.kind)
    words: dict[str, Any] = {"name": operation.subject_name}
    return str(kind.label) % words if kind is not None else f"{operation.kind} {operation.subject_name}"


def operation_can_cancel(operation: Operation) -> bool:
    """May it still be called off?"""
    kind = kinds().get(operation.kind)
    if (
        operation.status not in LIVE
        or operation.cancel_requested_at is not None
        or kind is None
        or operation.goes_through
    ):
        return False
    return operation.status == "queued" or kind.cancellable or kind.group


def operations_running(actor: Actor) -> int:
    """How many operations are live; one that stands for many counts as itself, not as its children."""
    if actor.narrowed or actor.tenant is None:
        return operations_visible(actor).filter(parent=None, status__in=LIVE).count()
    return sum(number for (number,) in _running_rows(tenant=actor.tenant.pk))


@prepared
def _running_rows() -> QuerySet[Any, tuple[Any, ...]]:
    rows = Operation.objects.filter(tenant=Given("tenant", UUIDField()), parent=None, status__in=LIVE)
    return rows.values("tenant").annotate(number=Count("pk")).values_list("number")


def operations_about(actor: Actor, subject_id: UUID, *, limit: int) -> list[Operation]:
    """The newest operations about one thing."""
    return list(operations_visible(actor).filter(subject_id=subject_id).order_by("-created_at", "-id")[:limit])


def operations_now(actor: Actor, *, limit: int) -> list[Operation]:
    """What is being done, newest first."""
    rows = operations_visible(actor).filter(parent=None, status__in=LIVE)
    return list(rows.order_by("-created_at", "-id")[:limit])
