"""Whose turn it is: of all that waits, what a worker is rung for. A ring promises nothing; the claim decides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import Case, F, Q, QuerySet, When, Window
from django.db.models.functions import RowNumber

from operations.models import Lane, Operation
from operations.states import Status
from portal.core.clock import now

Ids = QuerySet[Operation, UUID]


def operations_due(at: datetime, *, batch: int) -> Iterator[UUID]:
    """What may be taken, short work first, each oldest first: at most ``batch`` of each, so that neither hides the other.

    Of each host no more than can run there at once, so that a hung one hides no other.
    """
    yield from _short(at)[:batch]
    yield from _long(at)[:batch]


def operations_next(ended: UUID) -> Iterator[UUID]:
    """What may be taken in the place that an operation has just left: in its lane, and of long work anywhere."""
    at = now()
    place = Operation.objects.filter(pk=ended).values_list("lane", "long").first()
    lane, was_long = place or ("", False)
    if lane:
        yield from _short(at).filter(lane=lane)
    if was_long:
        yield from _long(at)[: settings.LANE_WIDTH]
    elif lane:
        yield from _long(at).filter(lane=lane)[:1]


def _short(at: datetime) -> Ids:
    few = Q(lane="") | Q(turn__lte=settings.LANE_WIDTH)
    return _waiting(at, few, long=False, like=["lane"]).order_by("not_before", "pk").values_list("pk", flat=True)


def _long(at: datetime) -> Ids:
    """Long work, as far as more of it may run at all; none where its host does not answer.

    Tenants of which none runs come first, so that one that asks for much keeps no other waiting for all of it.
    """
    running = Operation.objects.filter(status=Status.RUNNING, long=True)
    tenants = list(running.values_list("tenant", flat=True))
    if len(tenants) >= settings.LONG_AT_ONCE:
        return Operation.objects.none().values_list("pk", flat=True)
    rows = _waiting(at, Q(turn__lte=settings.LONG_AT_ONCE), long=True, like=["lane", "tenant"])
    has_one = Case(When(tenant__in=tenants, then=1), default=0)
    closed = Lane.objects.filter(closed_until__gt=at).values("key")
    return rows.exclude(lane__in=closed).order_by(has_one, "not_before", "pk").values_list("pk", flat=True)


def _waiting(at: datetime, few: Q, *, long: bool, like: list[str]) -> QuerySet[Operation]:
    """What is due and, by the ``turn`` that it has among its ``like``, one of the ``few`` that a worker is rung for."""
    turn = Window(RowNumber(), partition_by=[F(name) for name in like], order_by=[F("not_before"), F("pk")])
    return Operation.objects.filter(status=Status.QUEUED, not_before__lte=at, long=long).annotate(turn=turn).filter(few)
