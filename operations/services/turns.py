"""Whose turn it is: of all that waits, what a worker is rung for. A ring promises nothing; the claim decides."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from operations.models import Lane, Operation
from operations.states import Status
from portal.core.clock import now


def operations_due(at: datetime, *, batch: int) -> Iterator[UUID]:
    """What may be taken, short work first, each oldest first: at most ``batch`` of each, so that neither hides the other.

    Of each host no more than can run there at once, so that a hung one hides no other.
    """
    yield from _in_order(_short(at))[:batch]
    yield from _in_order(_long(at))[:batch]


def operations_next(ended: UUID) -> Iterator[UUID]:
    """What may be taken in the place that an operation has just left: in its lane, and of long work anywhere."""
    at = now()
    place = Operation.objects.filter(pk=ended).values_list("lane", "long").first()
    lane, was_long = place or ("", False)
    if lane:
        yield from _in_order(_short(at).filter(lane=lane))
    if was_long:
        yield from _in_order(_long(at))[: settings.LANE_WIDTH]
    elif lane:
        yield from _in_order(_long(at).filter(lane=lane))[:1]


def _waiting(at: datetime, within: Q, *, long: bool) -> QuerySet[Operation]:
    """What is due and ``within`` its bounds by the ``turn`` that each has among its like in its lane."""
    turn = Window(RowNumber(), partition_by=[F("lane")], order_by=[F("not_before"), F("pk")])
    return (
        Operation.objects.filter(status=Status.QUEUED, not_before__lte=at, long=long).annotate(turn=turn).filter(within)
    )


def _short(at: datetime) -> QuerySet[Operation]:
    return _waiting(at, Q(lane="") | Q(turn__lte=settings.LANE_WIDTH), long=False)


def _long(at: datetime) -> QuerySet[Operation]:
    """Long work, as far as more of it may run at all; none where its host does not answer."""
    running = Operation.objects.filter(status=Status.RUNNING, long=True).count()
    if running >= settings.LONG_AT_ONCE:
        return Operation.objects.none()
    closed = Lane.objects.filter(closed_until__gt=at).values("key")
    return _waiting(at, Q(turn__lte=settings.LONG_AT_ONCE), long=True).exclude(lane__in=closed)


def _in_order(rows: QuerySet[Operation]) -> QuerySet[Operation, UUID]:
    return rows.order_by("not_before", "pk").values_list("pk", flat=True)
