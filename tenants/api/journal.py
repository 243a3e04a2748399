"""REST: what changed, what was in use."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q
from ninja import Query, Router
from pydantic import BaseModel, Field

from portal.core.bodies import Listed, Listing, Moment, listed
from portal.core.ids import uuid_or_none
from portal.core.paging import LIMIT, LIMIT_MAX
from tenants.api.tenants import tenant_in_path
from tenants.journal.events import event_message, events_shown
from tenants.journal.models import UsageInterval
from tenants.listings import USAGE_SORTS, events_after, usage_intervals
from tenants.policy import Permission
from tenants.types import HttpRequest

router = Router(tags=["journal"])


class ThingOut(BaseModel):
    """A resource, by type and id."""

    type: str
    id: str


class EventOut(BaseModel):
    """Something changed: which thing, not how it looks now.

    Of a machine that one may not see, `resource.type` is `other` and its `id` empty.
    """

    seq: int
    type: str
    resource: ThingOut
    at: datetime


class EventsOut(BaseModel):
    """Events in order; ask again with `after` = the last `seq`.

    `reset`: some after `after` are no longer kept; look at everything afresh and go on from `seq`.
    """

    items: list[EventOut]
    next: str | None = Field(description="The value of `after` for the next page; null when there is none now.")
    seq: int = Field(description="The newest number there is.")
    reset: bool


class EventQuery(BaseModel):
    """From where on."""

    after: int = Field(default=0, ge=0, le=2**63 - 1)
    cursor: str = Field(default="", max_length=20, pattern=r"^\d*$", description="The same as `after`.")
    limit: int = Field(default=LIMIT, ge=1, le=LIMIT_MAX)


class UsageOut(BaseModel):
    """So much of a meter was in use by one thing in `[started_at, ended_at)`; no end: it still is."""

    id: str
    resource: ThingOut
    meter: str
    quantity: int
    attributes: dict[str, Any]
    started_at: datetime
    ended_at: datetime | None


class UsageQuery(Listing):
    """Filters of usage."""

    sort: str = Field(default="-started_at", max_length=40, description="`started_at`, `-started_at`")
    q: str = Field(default="", max_length=100, description="Part of a meter's name.")
    meter: str = Field(default="", max_length=40)
    resource_id: str = Field(default="", max_length=40)
    since: Moment | None = Field(default=None, description="In use at or after.")
    until: Moment | None = Field(default=None, description="In use before.")

    def condition(self) -> Q:
        """The same for the database."""
        found = Q(meter=self.meter) if self.meter else Q()
        if self.q:
            found &= Q(meter__icontains=self.q)
        if self.resource_id:
            pk = uuid_or_none(self.resource_id)
            found &= Q(resource_id=pk) if pk is not None else Q(pk__in=[])
        if self.since is not None:
            found &= Q(ended_at=None) | Q(ended_at__gt=self.since)
        if self.until is not None:
            found &= Q(started_at__lt=self.until)
        return found


def _usage_out(interval: UsageInterval) -> UsageOut:
    return UsageOut(
        id=str(interval.pk),
        resource=ThingOut(type=interval.resource_type, id=str(interval.resource_id)),
        meter=interval.meter,
        quantity=interval.quantity,
        attributes=interval.attributes,
        started_at=interval.started_at,
        ended_at=interval.ended_at,
    )


@router.get("/events", response=EventsOut, summary="Read events")
def event_list(request: HttpRequest, query: Query[EventQuery]) -> EventsOut:
    """What changed after a number; the same that `/ws/t/{tenant}/events` pushes. Kept for seven days."""
    request.actor.require(Permission.EVENT_VIEW)
    after = int(query.cursor) if query.cursor else query.after
    events, newest, lost = events_after(tenant_in_path(request), after, limit=query.limit)
    items = [
        EventOut(seq=event.seq, type=said["type"], resource=ThingOut(**said["resource"]), at=event.at)
        for event, said in zip(events, events_shown(request.actor, [event_message(e) for e in events]), strict=True)
    ]
    more = bool(items) and items[-1].seq < newest
    return EventsOut(items=items, next=str(items[-1].seq) if more else None, seq=newest, reset=lost)


@router.get("/usage", response=Listed[UsageOut], summary="Read usage")
def usage_list(request: HttpRequest, query: Query[UsageQuery]) -> dict[str, Any]:
    """What was in use from when to when, as recorded; not yet rated or invoiced."""
    request.actor.require(Permission.USAGE_VIEW)
    rows = usage_intervals(tenant_in_path(request)).filter(query.condition())
    return listed(request, query, rows, sorts=USAGE_SORTS, out=_usage_out)
