"""REST: machines by the clock: when they are switched, and when they end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool

from portal.core.bodies import Body, Listed, Listing, Moment, listed
from portal.core.errors import Missing
from portal.core.etags import etag_of, find
from portal.core.ids import uuid_or_none
from portal.core.paging import Sorts
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.guest_shapes import GuestOut
from vms.api.guests import guest_answer
from vms.api.pick import find_held
from vms.models import Guest, PowerSchedule
from vms.models.schedules import SwitchAction
from vms.selectors.guests import guests_visible
from vms.services.guests.lease import guest_lease
from vms.services.power_schedules import schedule_create, schedule_delete, schedule_switch

router = Router(tags=["guests"])
SORTS: Sorts = {"created_at": ("created_at", "id")}
ONE = "/guests/{guest_id}/power-schedules/{schedule_id}"


class ScheduleOut(BaseModel):
    """A machine is switched at every moment of a cron line."""

    id: str
    action: SwitchAction
    cron: str
    timezone: str
    enabled: bool
    next_at: datetime | None = Field(description="When it is due next; null while it is off.")
    last_at: datetime | None = Field(description="When it was due last.")
    last_code: str = Field(description="Why nothing was asked of the machine then; empty where something was.")
    last_operation: str | None
    created_at: datetime


class ScheduleIn(Body):
    """What is to be done, and when."""

    action: SwitchAction
    cron: str = Field(
        max_length=100,
        description="Minute, hour, day of the month, month, day of the week; at most every five minutes.",
    )
    timezone: str = Field(default="", max_length=64, description="The project's where empty.")


class SchedulePatch(Body):
    """Off, or on again."""

    enabled: StrictBool


class ScheduleQuery(Listing):
    """How the list is cut."""

    sort: str = Field(default="created_at", max_length=40, description="`created_at` or `-created_at`")


class LeaseIn(Body):
    """When the machine goes to the bin by itself."""

    ends_at: Moment | None = Field(description="Between ten minutes and five years from now; null is never.")


def schedule_out(row: PowerSchedule) -> ScheduleOut:
    """A schedule as JSON shows it."""
    return ScheduleOut(
        id=str(row.pk),
        action=SwitchAction(row.action),
        cron=row.cron,
        timezone=row.timezone,
        enabled=row.enabled,
        next_at=row.next_at,
        last_at=row.last_at,
        last_code=row.last_code,
        last_operation=str(row.last_operation) if row.last_operation else None,
        created_at=row.created_at,
    )


def _guest(request: HttpRequest, guest_id: str) -> Guest:
    return find(request, guests_visible(request.actor), guest_id)


def _schedule(request: HttpRequest, guest_id: str, schedule_id: str) -> PowerSchedule:
    guest = uuid_or_none(guest_id)
    if guest is None:
        raise Missing
    seen = guests_visible(request.actor).filter(pk=guest)  # not by ``find``: ``If-Match`` is about the schedule
    rows = PowerSchedule.objects.select_related("guest").filter(guest__in=seen.values("pk"))
    return find_held(request, rows, schedule_id)


def _shown(response: HttpResponse, row: PowerSchedule) -> ScheduleOut:
    response["ETag"] = etag_of(row)
    return schedule_out(row)


@router.get(
    "/guests/{guest_id}/power-schedules", response=Listed[ScheduleOut], summary="List a guest's power schedules"
)
def schedule_list(request: HttpRequest, guest_id: str, query: Query[ScheduleQuery]) -> dict[str, Any]:
    """When it is switched by itself."""
    request.actor.require(Permission.GUEST_VIEW)
    rows = PowerSchedule.objects.filter(guest=_guest(request, guest_id))
    return listed(request, query, rows, sorts=SORTS, out=schedule_out)


@router.post("/guests/{guest_id}/power-schedules", response={201: ScheduleOut}, summary="Add a power schedule")
def schedule_post(request: HttpRequest, guest_id: str, response: HttpResponse, body: ScheduleIn) -> Status[ScheduleOut]:
    """Have it started, shut down, stopped or restarted by the clock.

    A moment that the machine is in no state for is passed over, and `last_code` says why; so is one that is more than a quarter
    of an hour old when the portal gets to it (`missed`).
    """
    guest = _guest(request, guest_id)
    row = schedule_create(guest, action=body.action, cron=body.cron, timezone=body.timezone, actor=request.actor)
    response["Location"] = f"{request.path.rstrip('/')}/{row.pk}"
    return Status(201, _shown(response, row))


@router.get(ONE, response=ScheduleOut, summary="Get a power schedule")
def schedule_get(request: HttpRequest, guest_id: str, schedule_id: str, response: HttpResponse) -> ScheduleOut:
    """One schedule."""
    request.actor.require(Permission.GUEST_VIEW)
    return _shown(response, _schedule(request, guest_id, schedule_id))


@router.patch(ONE, response=ScheduleOut, summary="Turn a power schedule on or off")
def schedule_patch(
    request: HttpRequest, guest_id: str, schedule_id: str, response: HttpResponse, body: SchedulePatch
) -> ScheduleOut:
    """What was due while it was off is not made up for."""
    row = _schedule(request, guest_id, schedule_id)
    return _shown(response, schedule_switch(row, enabled=body.enabled, actor=request.actor))


@router.delete(ONE, response={204: None}, summary="Delete a power schedule")
def schedule_remove(request: HttpRequest, guest_id: str, schedule_id: str) -> Status[None]:
    """What it has asked for goes on."""
    schedule_delete(_schedule(request, guest_id, schedule_id), actor=request.actor)
    return Status(204, None)


@router.post(
    "/guests/{guest_id}/lease", response=GuestOut, exclude_unset=True, summary="Set the end of a guest's lease"
)
def guest_lease_post(request: HttpRequest, guest_id: str, response: HttpResponse, body: LeaseIn) -> GuestOut:
    """At its end it goes to the bin, from where it can be restored for the grace period. A protected machine stays."""
    return guest_answer(request, response, guest_lease(_guest(request, guest_id), body.ends_at, actor=request.actor))
