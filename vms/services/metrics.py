"""Points of use: written as they come, summed into longer stretches, forgotten in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db.models import Max, Min, Sum

from portal.core.clock import now
from tenants.scoping import every_tenant
from vms.models import Guest, MetricPoint
from vms.models.metrics import AMOUNTS, HOUR, MINUTE, QUARTER

LATE_MIN: Final = 2
"""How long after its end the last point of a stretch may come."""
BATCH: Final = 1000
KEY: Final = ("guest", "minutes", "minute")


def metric_points_write(points: Sequence[MetricPoint]) -> None:
    """Points of one host, by one statement; one that is there already stays as it is."""
    MetricPoint.objects.bulk_create(sorted(points, key=lambda point: point.guest_id), ignore_conflicts=True)


def metrics_roll_up(*, at: datetime | None = None) -> int:
    """Sum minutes into quarters of an hour and those into hours, as far as they are over; returns how many sums were written.

    Goes on where the last one ended, however long ago, and does that stretch once more: run twice or late, the sums are the
    same. Two at once write the same.
    """
    minute = int((at or now()).timestamp()) // 60 - LATE_MIN
    with every_tenant(why="what all machines used is summed alike"):
        return sum(
            _sum_up(size, parts, until=minute // size * size) for size, parts in ((QUARTER, MINUTE), (HOUR, QUARTER))
        )


def _sum_up(size: int, parts: int, *, until: int) -> int:
    """All stretches of ``size`` minutes that end at ``until`` or earlier and are not written yet.

    What a clock that ran ahead has left beyond that keeps nothing from being summed.
    """
    last = MetricPoint.objects.filter(minutes=size, minute__lt=until).aggregate(at=Max("minute"))["at"]
    if last is not None and last + size >= until:
        return 0
    first = MetricPoint.objects.filter(minutes=parts, minute__gte=last or 0).aggregate(at=Min("minute"))["at"]
    if first is None:
        return 0
    return sum(_sum_one(size, parts, start) for start in range(first // size * size, until, size))


def _sum_one(size: int, parts: int, start: int) -> int:
    """One stretch for every machine that is still there; one transaction."""
    rows = (
        MetricPoint.objects.filter(minutes=parts, minute__gte=start, minute__lt=start + size)
        .filter(guest__in=Guest.objects.values("pk"))
        .values_list("tenant", "guest")
        .annotate(**{f"sum_{name}": Sum(name) for name in AMOUNTS})
        .order_by("guest")
    )
    points = [
        MetricPoint(
            tenant_id=tenant, guest_id=guest, minutes=size, minute=start, **dict(zip(AMOUNTS, sums, strict=True))
        )
        for tenant, guest, *sums in rows
    ]
    MetricPoint.objects.bulk_create(
        points, batch_size=BATCH, update_conflicts=True, unique_fields=KEY, update_fields=AMOUNTS
    )
    return len(points)


def metrics_forget(*, at: datetime | None = None) -> int:
    """Let go of what is past ``METRIC_RETENTION``; after ``metrics_roll_up``, so that nothing goes unsummed."""
    with every_tenant(why="retention"):
        return sum(
            MetricPoint.objects.filter(
                minutes=minutes, minute__lt=int(((at or now()) - kept).timestamp()) // 60
            ).delete()[0]
            for minutes, kept in settings.METRIC_RETENTION.items()
        )
