"""REST: machines are backed up by themselves, and so many of those backups stay."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictBool, StrictInt

from portal.core.bodies import Body, Listed, Listing, listed, refuse_unknown
from portal.core.errors import FieldError
from portal.core.etags import etag_of, find
from portal.core.ids import uuid_or_none
from portal.core.paging import keyset_page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import pick_all, refuse
from vms.models import Backup, BackupSchedule, Guest
from vms.models.backup_schedules import Every
from vms.selectors.backup_schedules import (
    MACHINE_SORTS,
    SCHEDULE_SORTS,
    Lately,
    backup_schedules_visible,
    lately_of,
    schedule_machines,
)
from vms.selectors.guests import guests_visible
from vms.services.backups import (
    backup_schedule_create,
    backup_schedule_delete,
    backup_schedule_edit,
    backup_schedule_preview,
)
from vms.services.backups.retention import Keep, keep_of
from vms.services.backups.schedules import Preview, ScheduleSpec, machines_lock, schedule_spec, touched_by
from vms.services.backups.slots import next_turn
from vms.states import TurnState

router = Router(tags=["backups"])
ONE = "/backup-schedules/{backup_schedule_id}"


class KeepOut(BaseModel):
    """How many stay of each machine: the last ones, and of each of so many hours, days, weeks and months the last one."""

    last: int
    hourly: int
    daily: int
    weekly: int
    monthly: int


class KeepIn(Body):
    """How many stay of each machine; one backup may count for several. What is left out is 0."""

    last: StrictInt = 0
    hourly: StrictInt = 0
    daily: StrictInt = 0
    weekly: StrictInt = Field(default=0, description="Weeks begin on Monday.")
    monthly: StrictInt = 0


class BackupScheduleOut(BaseModel):
    """Chosen machines, and all that wear one of its tags, are backed up at every moment of a cron line."""

    id: str
    name: str
    every: Every
    cron: str
    timezone: str
    window_minutes: int = Field(
        description="Over how long after each moment its machines begin, so that not all do at once."
    )
    full_every: int = Field(
        description="All of a machine's disks are read for one of so many at least; 0: when it must be."
    )
    keep: KeepOut
    guests: list[str]
    tags: list[str]
    enabled: bool
    failing: bool = Field(description="Did something go wrong since it last worked without a failure?")
    next_at: datetime | None = Field(description="Its next moment; null while it is off.")
    last_at: datetime | None
    created_at: datetime


class BackupScheduleIn(Body):
    """When, of which machines, and how many stay."""

    name: str = Field(max_length=63)
    every: Every = Every.DAILY
    hour: StrictInt = Field(default=1, description="At which hour, unless `every` is `hourly` or `cron`.")
    cron: str = Field(
        default="",
        max_length=100,
        description="With `every` `cron`: minute, hour, day, month, weekday; hourly at most.",
    )
    timezone: str = Field(default="", max_length=64, description="The project's where empty.")
    window_minutes: StrictInt = 60
    full_every: StrictInt = 0
    keep: KeepIn = KeepIn(last=7)
    guests: list[str] = Field(default=[], max_length=500, description="Machines by id or name.")
    tags: list[str] = Field(default=[], max_length=20)
    enabled: StrictBool = True


class BackupSchedulePatch(Body):
    """What is changed; what is left out stays. `keep`, `guests` and `tags` are taken as a whole."""

    name: str = Field(default="", max_length=63)
    every: Every = Every.DAILY
    hour: StrictInt = 1
    cron: str = Field(default="", max_length=100)
    timezone: str = Field(default="", max_length=64)
    window_minutes: StrictInt = 60
    full_every: StrictInt = 0
    keep: KeepIn = KeepIn(last=7)
    guests: list[str] = Field(default=[], max_length=500)
    tags: list[str] = Field(default=[], max_length=20)
    enabled: StrictBool = True


class DoomedOut(BaseModel):
    """A backup that would be deleted."""

    id: str
    name: str
    guest_name: str
    created_at: datetime


class BackupSchedulePreviewOut(BaseModel):
    """What a schedule would do."""

    next_runs: list[datetime]
    machines: int
    would_delete: list[DoomedOut] = Field(description="Of what it has made until now.")


class BackupScheduleMachineOut(BaseModel):
    """One machine of a schedule, and what came of it last."""

    id: str
    name: str
    slot: datetime | None = Field(description="The schedule's moment that the rest is about; null: none yet.")
    state: TurnState | None
    code: str | None = Field(description="Why it waits still, was passed over or failed.")
    next_at: datetime | None = Field(
        description="When it begins next, or is asked again; null while the schedule is off."
    )
    backup: str | None


class ScheduleListing(Listing):
    """How the list is cut."""

    sort: str = Field(default="name", max_length=40, description="`name`, `created_at`, or with `-`")


class MachineListing(Listing):
    """How the list is cut."""

    sort: str = Field(default="name", max_length=40, description="`name` or `-name`")


def schedule_out(row: BackupSchedule) -> BackupScheduleOut:
    """A schedule as JSON shows it; its machines were read with it."""
    return BackupScheduleOut(
        id=str(row.pk),
        name=row.name,
        every=Every(row.every),
        cron=row.cron,
        timezone=row.timezone,
        window_minutes=row.window_minutes,
        full_every=row.full_every,
        keep=KeepOut(**asdict(keep_of(row))),
        guests=sorted(str(guest.pk) for guest in row.guests.all()),
        tags=row.tags,
        enabled=row.enabled,
        failing=row.failing,
        next_at=row.next_at,
        last_at=row.last_at,
        created_at=row.created_at,
    )


def _refuse_unused(cron: str, spec: ScheduleSpec) -> None:
    """A line that would be dropped without a word; what was read here may be sent back."""
    if cron and spec.every in Every.values and " ".join(cron.split()) != spec.line:
        refuse([FieldError("/cron", "unused", _("A line is for `every` `cron`."))])


def preview_out(preview: Preview) -> BackupSchedulePreviewOut:
    """A preview as JSON shows it."""
    return BackupSchedulePreviewOut(
        next_runs=preview.next_runs,
        machines=preview.machines,
        would_delete=[_doomed_out(backup) for backup in preview.would_delete],
    )


def _doomed_out(row: Backup) -> DoomedOut:
    return DoomedOut(id=str(row.pk), name=row.name, guest_name=row.guest_name, created_at=row.created_at)


def _machine_out(schedule: BackupSchedule, guest: Guest, lately: Lately | None) -> BackupScheduleMachineOut:
    turn, backup = (lately.turn, lately.backup) if lately is not None else (None, None)
    return BackupScheduleMachineOut(
        id=str(guest.pk),
        name=guest.name,
        slot=turn.slot if turn is not None else None,
        state=TurnState(turn.state) if turn is not None else None,
        code=turn.code or None if turn is not None else None,
        next_at=next_turn(schedule, guest.pk, lately),
        backup=str(backup.pk) if backup is not None else None,
    )


def _schedule(request: HttpRequest, pk: str) -> BackupSchedule:
    return find(request, backup_schedules_visible(request.actor), pk)


def _schedule_to_change(request: HttpRequest, pk: str, machines: Q | None = None) -> BackupSchedule:
    """With ``If-Match`` the ``machines`` are locked before it, or those that it has touched: as services do it."""
    rows = backup_schedules_visible(request.actor)
    if "If-Match" in request.headers:
        known = uuid_or_none(pk)
        there = rows.filter(pk=known).first() if known is not None else None
        if there is not None:
            machines_lock(touched_by(there) if machines is None else machines)
    return find(request, rows, pk)


def _guests(request: HttpRequest, texts: list[str]) -> tuple[Guest, ...]:
    errors: list[FieldError] = []
    found = pick_all(guests_visible(request.actor).filter(binned_at=None), texts, "/guests", errors)
    refuse(errors)
    return tuple(dict.fromkeys(found))


def _shown(response: HttpResponse, row: BackupSchedule) -> BackupScheduleOut:
    response["ETag"] = etag_of(row)
    return schedule_out(row)


@router.get("/backup-schedules", response=Listed[BackupScheduleOut], summary="List backup schedules")
def backup_schedule_list(request: HttpRequest, query: Query[ScheduleListing]) -> dict[str, Any]:
    """When machines are backed up by themselves."""
    request.actor.require(Permission.BACKUP_VIEW)
    rows = backup_schedules_visible(request.actor).prefetch_related("guests")
    if query.q:
        rows = rows.filter(name__icontains=query.q)
    return listed(request, query, rows, sorts=SCHEDULE_SORTS, out=schedule_out)


@router.post(
    "/backup-schedules",
    response={200: BackupSchedulePreviewOut, 201: BackupScheduleOut},
    summary="Add a backup schedule",
)
def backup_schedule_post(
    request: HttpRequest, response: HttpResponse, body: BackupScheduleIn, dry_run: bool = False
) -> Status[BackupScheduleOut] | Status[BackupSchedulePreviewOut]:
    """From its next moment on. `?dry_run=true` changes nothing and says when it would begin, and with how many machines."""
    actor = request.actor
    actor.require(Permission.BACKUP_MANAGE)
    assert actor.tenant is not None
    given = {**body.model_dump(), "keep": Keep(**body.keep.model_dump()), "tags": tuple(body.tags)}
    spec = ScheduleSpec(**{**given, "guests": _guests(request, body.guests)})
    _refuse_unused(body.cron, spec)
    if dry_run:
        return Status(200, preview_out(backup_schedule_preview(actor.tenant, spec, actor=actor)))
    row = backup_schedule_create(actor.tenant, spec, actor=actor)
    response["Location"] = f"{request.path.rstrip('/')}/{row.pk}"
    return Status(201, _shown(response, row))


@router.get(ONE, response=BackupScheduleOut, summary="Get a backup schedule")
def backup_schedule_get(request: HttpRequest, backup_schedule_id: str, response: HttpResponse) -> BackupScheduleOut:
    """One schedule."""
    request.actor.require(Permission.BACKUP_VIEW)
    return _shown(response, _schedule(request, backup_schedule_id))


@router.patch(
    ONE, response={200: BackupScheduleOut | BackupSchedulePreviewOut}, summary="Change a backup schedule"
)  # fmt: skip
def backup_schedule_patch(
    request: HttpRequest,
    backup_schedule_id: str,
    response: HttpResponse,
    body: BackupSchedulePatch,
    dry_run: bool = False,
) -> BackupScheduleOut | BackupSchedulePreviewOut:
    """What it has begun goes on. Backups that it no longer keeps go after the next ones that are whole.

    `?dry_run=true` changes nothing and says which of those that are there it would no longer keep.
    """
    actor = request.actor
    actor.require(Permission.BACKUP_MANAGE)
    changes = body.model_dump(exclude_unset=True)
    if "guests" in changes:
        changes["guests"] = _guests(request, body.guests)
    chosen = Q(pk__in=[guest.pk for guest in changes.get("guests", ())])
    row = _schedule_to_change(request, backup_schedule_id, chosen)
    if "keep" in changes:
        changes["keep"] = Keep(**body.keep.model_dump())
    if "tags" in changes:
        changes["tags"] = tuple(body.tags)
    spec = schedule_spec(row, **changes)
    _refuse_unused(body.cron, spec)
    if dry_run:
        return preview_out(backup_schedule_preview(row.tenant, spec, actor=actor, schedule=row))
    return _shown(response, backup_schedule_edit(row, actor=actor, **changes))


@router.delete(ONE, response={204: None}, summary="Delete a backup schedule")
def backup_schedule_remove(request: HttpRequest, backup_schedule_id: str) -> Status[None]:
    """What it made stays until somebody deletes it."""
    backup_schedule_delete(_schedule_to_change(request, backup_schedule_id), actor=request.actor)
    return Status(204, None)


@router.get(
    f"{ONE}/machines", response=Listed[BackupScheduleMachineOut], summary="List a backup schedule's machines"
)  # fmt: skip
def backup_schedule_machines(
    request: HttpRequest, backup_schedule_id: str, query: Query[MachineListing]
) -> dict[str, Any]:
    """Each with what came of it last: a backup, or why there is none."""
    request.actor.require(Permission.BACKUP_VIEW)
    refuse_unknown(request, query)
    schedule = _schedule(request, backup_schedule_id)
    rows = schedule_machines(schedule)
    if query.q:
        rows = rows.filter(name__icontains=query.q)
    page = keyset_page(rows, sorts=MACHINE_SORTS, sort=query.sort, limit=query.limit, cursor=query.cursor)
    lately = lately_of(schedule, [guest.pk for guest in page.items])
    return {"items": [_machine_out(schedule, guest, lately.get(guest.pk)) for guest in page.items], "next": page.next}
