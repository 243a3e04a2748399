"""What machines used, as series with one place for every stretch of time, seen or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db.models import F, IntegerField, Q, QuerySet, StringAgg, Sum, TextField, UUIDField, Value
from django.db.models.functions import Cast, Least
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import FieldError, Invalid
from tenants.prepared import Given, prepared
from vms.models import Guest, MetricPoint
from vms.models.metrics import AMOUNTS, HOUR, MINUTE, QUARTER

STEPS: Final = (1, 5, 15, 60, 120, 360, 1440)
"""The stretches a series can be asked for, in minutes: each is made of whole ones of those that are kept."""
POINTS_MAX: Final = 1500
POINTS_CHOSEN: Final = 400
"""At most so many where nobody says which step."""
SUMMED_AFTER: Final = {HOUR: 130, QUARTER: 45}
"""Minutes after which a stretch of that length has long been summed; what is younger is put together from shorter ones."""
SPARK_MIN: Final = 60
EPOCH: Final = datetime(1970, 1, 2, tzinfo=UTC)
FAR: Final = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Rates:
    """What a machine used in one stretch, a second; of its vCPUs the share in percent. None is what nobody knows."""

    cpu_percent: float
    memory_used_mib: float | None
    disk_read_bytes_per_s: float
    disk_write_bytes_per_s: float
    disk_read_ops_per_s: float
    disk_write_ops_per_s: float
    net_in_bytes_per_s: float
    net_out_bytes_per_s: float
    net_in_packets_per_s: float
    net_out_packets_per_s: float


RATES: Final = tuple(field.name for field in fields(Rates))


@dataclass(frozen=True, slots=True)
class Series:
    """``points`` one after another, ``step`` minutes each, from ``start`` on; None where the machine was not seen."""

    start: datetime
    step: int
    points: list[Rates | None]

    def at(self, index: int) -> datetime:
        """When that point begins."""
        return self.start + timedelta(minutes=index * self.step)


def metric_series(guest: Guest, *, since: datetime, until: datetime, step: int | None = None) -> Series:
    """What ``guest`` used from ``since`` to ``until``, in whole steps that hold both; one query.

    Without ``step`` the finest that is kept for so long ago and gives a few hundred points. Raises ``Invalid`` for a step
    that is not offered, no time at all, or too many points.
    """
    if not EPOCH <= since < until <= FAR:
        raise Invalid(
            errors=[FieldError("/to", "range", _("The end must come after the beginning, both in our time."))]
        )
    if step is not None and step not in STEPS:
        offered = ", ".join(str(minutes * 60) for minutes in STEPS)
        raise Invalid(errors=[FieldError("/step", "choice", _("One of these many seconds: %s.") % offered)])
    chosen = step or _step_for(since, until)
    first = int(since.timestamp()) // 60 // chosen * chosen
    end = -(-int(until.timestamp()) // (60 * chosen)) * chosen
    number = (end - first) // chosen
    if number > POINTS_MAX:
        message = _("That would be %(number)d points; at most %(most)d. Take a longer step.")
        raise Invalid(errors=[FieldError("/step", "too_many", message % {"number": number, "most": POINTS_MAX})])
    points: list[Rates | None] = [None] * number
    for minute, *sums in _sums(guest, first, end, chosen):
        points[(minute - first) // chosen] = rates(dict(zip(AMOUNTS, sums, strict=True)))
    return Series(datetime.fromtimestamp(first * 60, UTC), chosen, points)


def _step_for(since: datetime, until: datetime) -> int:
    minutes = (until - since).total_seconds() / 60
    kept = [size for size, while_ in settings.METRIC_RETENTION.items() if since >= now() - while_] or [HOUR]
    fitting = [step for step in STEPS if step >= min(kept) and minutes / step <= POINTS_CHOSEN]
    return fitting[0] if fitting else STEPS[-1]


def _sums(guest: Guest, first: int, end: int, step: int) -> Any:
    """(where the stretch begins, amounts…) for each that was seen; three ranges of the key, none overlapping."""
    present = int(now().timestamp()) // 60
    hours = (present - SUMMED_AFTER[HOUR]) // HOUR * HOUR if step >= HOUR else first
    quarters = (present - SUMMED_AFTER[QUARTER]) // QUARTER * QUARTER if step >= QUARTER else first
    chosen = (
        Q(minutes=HOUR, minute__gte=first, minute__lt=min(hours, end))
        | Q(minutes=QUARTER, minute__gte=max(first, hours), minute__lt=min(quarters, end))
        | Q(minutes=MINUTE, minute__gte=max(first, quarters), minute__lt=end)
    )
    return (
        MetricPoint.objects.filter(chosen, guest=guest)
        .annotate(begins=F("minute") - F("minute") % step)
        .values_list("begins")
        .annotate(**{f"sum_{name}": Sum(name) for name in AMOUNTS})
    )


def rates(amounts: dict[str, int]) -> Rates:
    """Amounts over the time they were seen in. What the emulator itself needs beyond its vCPUs is not shown."""
    seconds = amounts["seen_ms"] / 1000

    def each(name: str) -> float:
        return round(amounts[name] / seconds, 2)

    return Rates(
        cpu_percent=round(min(100.0, 100 * amounts["cpu_ms"] / max(1, amounts["vcpu_ms"])), 2),
        memory_used_mib=round(amounts["memory_mib_s"] / amounts["memory_s"], 1) if amounts["memory_s"] else None,
        disk_read_bytes_per_s=each("disk_read_bytes"),
        disk_write_bytes_per_s=each("disk_written_bytes"),
        disk_read_ops_per_s=each("disk_reads"),
        disk_write_ops_per_s=each("disk_writes"),
        net_in_bytes_per_s=each("net_received_bytes"),
        net_out_bytes_per_s=each("net_sent_bytes"),
        net_in_packets_per_s=each("net_received_packets"),
        net_out_packets_per_s=each("net_sent_packets"),
    )


def cpu_sparks(guests: Sequence[UUID]) -> dict[UUID, str]:
    """Of each machine that was seen in the last hour its CPU, as numbers ``minute * 1000 + percent`` in no order; one query.

    Put into one text a machine by the database: three thousand rows would cost a list of fifty machines a third of its time.
    """
    since = int(now().timestamp()) // 60 - SPARK_MIN
    return dict(_spark_rows(guests=guests, since=since, until=since + SPARK_MIN))


@prepared
def _spark_rows() -> QuerySet[Any, tuple[Any, ...]]:
    since, until = Given("since", IntegerField()), Given("until", IntegerField())
    percent = Least(F("cpu_ms") * 100 / F("vcpu_ms"), Value(100))
    number = Cast((F("minute") - since) * 1000 + percent, TextField())
    hour = Q(minutes=MINUTE, minute__gte=since, minute__lte=until)
    rows = MetricPoint.objects.filter(hour, guest__pk__among=Given("guests", UUIDField(), many=True), vcpu_ms__gt=0)
    return rows.values_list("guest").annotate(spark=StringAgg(number, delimiter=Value(" ")))
