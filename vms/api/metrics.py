"""REST: what a machine used."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from ninja import Query, Router
from pydantic import BaseModel, ConfigDict, Field

from portal.core.bodies import Moment, refuse_unknown
from portal.core.clock import now
from portal.core.etags import find
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.selectors.guests import guests_visible
from vms.selectors.metrics import EPOCH, RATES, STEPS, metric_series

router = Router(tags=["guests"])
SPAN: Final = timedelta(hours=1)


class MetricsQuery(BaseModel):
    """Which stretch of time, and how finely."""

    model_config = ConfigDict(populate_by_name=True)

    since: Moment | None = Field(default=None, alias="from", description="Where it begins; an hour before `to`.")
    until: Moment | None = Field(default=None, alias="to", description="Where it ends; now.")
    step: int | None = Field(
        default=None,
        description=f"Seconds a point: {', '.join(str(minutes * 60) for minutes in STEPS)}; without it, what fits.",
    )


class MetricOut(BaseModel):
    """One step; null is what was not seen: the machine was off, or nobody could look. Never a zero instead."""

    at: datetime
    cpu_percent: float | None = Field(description="100 is all of its vCPUs.")
    memory_used_mib: float | None = Field(description="Reported by the guest.")
    disk_read_bytes_per_s: float | None
    disk_write_bytes_per_s: float | None
    disk_read_ops_per_s: float | None
    disk_write_ops_per_s: float | None
    net_in_bytes_per_s: float | None
    net_out_bytes_per_s: float | None
    net_in_packets_per_s: float | None
    net_out_packets_per_s: float | None


class MetricsOut(BaseModel):
    """A series without holes: every step from `from` to `to` has its point."""

    guest: str
    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    step_s: int
    points: list[MetricOut]


@router.get("/guests/{guest_id}/metrics", response=MetricsOut, by_alias=True, summary="Get what a guest used")
def guest_metrics(request: HttpRequest, guest_id: str, query: Query[MetricsQuery]) -> MetricsOut:
    """CPU, memory, disk and network, at most 1500 points: by the minute for a day, by 15 for a month, by 60 for a year."""
    request.actor.require(Permission.GUEST_VIEW)
    refuse_unknown(request, query)
    guest = find(request, guests_visible(request.actor), guest_id)
    until = query.until or now()
    step = None if query.step is None else query.step // 60 if query.step % 60 == 0 else 0
    since = query.since or max(until, EPOCH + SPAN) - SPAN
    series = metric_series(guest, since=since, until=until, step=step)
    nothing = dict.fromkeys(RATES)
    points = [
        MetricOut(at=series.at(index), **(nothing if rates is None else {name: getattr(rates, name) for name in RATES}))
        for index, rates in enumerate(series.points)
    ]
    return MetricsOut(
        guest=str(guest.pk), since=series.start, until=series.at(len(points)), step_s=series.step * 60, points=points
    )
