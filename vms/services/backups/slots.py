"""Machines are backed up by the clock: a schedule's moment opens a turn for each machine, and each turn begins at its own time.

Everything here is safe to repeat, and from two places at once: a moment is opened once, a turn is taken once, and the database
holds one turn and one backup for each schedule, machine and moment. Rows are locked in one order: machine, backup, turn.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfoNotFoundError

import structlog
from cronsim import CronSimError
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from operations.models import Operation
from operations.states import LIVE
from portal.core.errors import PortalError
from tenants.actors import system_actor
from tenants.journal.events import event_append
from tenants.models import NoticeKind
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.notices import Words, notice_send
from tenants.services.tenants import tenants_down
from vms.models import Backup, BackupSchedule, BackupTurn, Guest
from vms.selectors.backup_schedules import Lately, machines_of
from vms.services.backups.create import backup_create
from vms.services.backups.retention import backups_tidy, clocks
from vms.services.power_schedules import next_time
from vms.states import BackupState, TurnState

log = structlog.get_logger(__name__)
WHY: Final = "backup schedule"
LATE: Final = timedelta(minutes=15)
"""Of a moment that is longer ago machines begin as if it were now: not all at once."""
AGAIN: Final = timedelta(minutes=1)
PATIENCE: Final = timedelta(hours=1)
"""So long, and the window's length, a turn that was put off waits for what else is done with the machine, or on its host."""
BUSY: Final = "operation_in_progress"
OVERTAKEN: Final = "overtaken"
"""It was still waiting when the next moment came."""
HOST_BUSY: Final = "host_busy"
AT_ONCE: Final = 2
"""How many backups of schedules are under way on one host: while they wait for it, their machines take no other wish."""
TURNS: Final = 200
"""How many turns one round looks at."""
KEPT_SLOTS: Final = 3
"""Of so many moments the turns are kept."""
TO_BE_TOLD: Final = ("over_quota", "no_backup_store")
"""Reasons for passing a machine over that somebody has to do something about."""


def backup_schedules_run(*, at: datetime) -> dict[str, int]:
    """One round over every schedule; how many moments were opened, and backups asked for and let go."""
    down = tenants_down()
    with every_tenant(why="backup schedules of every tenant are due"):
        due = list(_rows().filter(next_at__lte=at).exclude(tenant__in=down).order_by("next_at")[:TURNS])
    opened = sum(_each(row, _open, at=at) for row in due)
    with every_tenant(why="turns of backup schedules are due"):
        waiting = BackupTurn.objects.filter(state=TurnState.WAITING, due_at__lte=at).exclude(tenant__in=down)
        turns = list(waiting.select_related("tenant", "guest").order_by("due_at", "pk")[:TURNS])
    asked = sum(_each(turn, _take, at=at) for turn in turns)
    with every_tenant(why="turns of backup schedules have ended"):
        ended = _rows().exclude(tenant__in=down)
        still = BackupTurn.objects.filter(state=TurnState.ASKED).values("schedule")
        made = list(
            ended.filter(turns__state=TurnState.MADE).exclude(pk__in=still).distinct()[: settings.CAPS["batch"]]
        )
        wrong = list(ended.filter(failing=False, turns__in=_wrong()).distinct()[: settings.CAPS["batch"]])
    for row in wrong:
        _each(row, _tell, at=at)
    return {"opened": opened, "asked": asked, "tidied": sum(_each(row, _thin_out, at=at) for row in made)}


def _rows() -> Any:
    return BackupSchedule.objects.select_related("tenant")


def _wrong() -> Any:
    """Turns that are reason to tell somebody."""
    passed = BackupTurn.objects.filter(state=TurnState.PASSED, code__in=TO_BE_TOLD)
    return passed | BackupTurn.objects.filter(state=TurnState.FAILED)


def _each(row: Any, deed: Any, *, at: datetime) -> int:
    """Do it for one row in its tenant; what one refuses keeps no other from its turn."""
    with tenant_scope(row.tenant):
        try:
            return int(deed(row, at=at))
        except PortalError as error:
            log.info("backup_schedule_waits", deed=deed.__name__, row=str(row.pk), code=error.code)
            return 0


@transaction.atomic
def _open(schedule: BackupSchedule, *, at: datetime) -> bool:
    """Its last moment that has come gets a turn for each machine; those before it that nobody saw are over."""
    locked = _rows().select_for_update(of=("self",), no_key=True)
    row = locked.filter(pk=schedule.pk, next_at__lte=at).first()
    if row is None or row.next_at is None:
        return False
    former, slot = row.last_at, row.next_at
    try:
        row.next_at = next_time(row.cron, row.timezone, at)
        while row.next_at is not None and (later := next_time(row.cron, row.timezone, slot)) and later <= at:
            slot = later
    except (ZoneInfoNotFoundError, CronSimError) as error:
        log.warning("backup_schedule_unreadable", schedule=str(row.pk), detail=str(error))
        row.enabled, row.next_at, row.failing = False, None, True
        row.version += 1
        row.save(update_fields=["enabled", "next_at", "failing", "version"])
        _say(row, _("Its time zone is none any more: it is off until you choose another."))
        return False
    if row.failing and not _wrong().filter(schedule=row, slot=former).exists():
        row.failing = False
        _wrong().filter(schedule=row).delete()  # of moments before that: people were told
    row.last_at = slot
    row.version += 1
    row.save(update_fields=["next_at", "last_at", "failing", "version"])
    begins = slot if at - slot < LATE else at
    guests = machines_of(list(row.guests.values_list("pk", flat=True)), row.tags).order_by("pk")
    BackupTurn.objects.bulk_create(
        [
            BackupTurn(tenant=row.tenant, schedule=row, guest_id=pk, slot=slot, due_at=begins + place_in(row, pk))
            for pk in guests.values_list("pk", flat=True)
        ],
        ignore_conflicts=True,
    )
    late = BackupTurn.objects.filter(schedule=row, state=TurnState.WAITING, slot__lt=slot)
    late.update(state=TurnState.PASSED, code=OVERTAKEN)
    _forget_turns(row)
    event_append(row.tenant, "backup_schedule.changed", "backup_schedule", row.pk)
    log.info("backup_schedule_due", schedule=str(row.pk), slot=slot.isoformat())
    return True


def place_in(schedule: BackupSchedule, guest: UUID) -> timedelta:
    """Where in the schedule's window the machine begins: always at the same place, and all of them spread over it."""
    if not schedule.window_minutes:
        return timedelta()
    digest = hashlib.sha256(schedule.pk.bytes + guest.bytes).digest()
    return timedelta(seconds=int.from_bytes(digest[:4]) % (schedule.window_minutes * 60))


def next_turn(schedule: BackupSchedule, guest: UUID, lately: Lately | None) -> datetime | None:
    """When the machine begins next, or is asked again; None while the schedule is off."""
    if lately is not None and lately.turn.state == TurnState.WAITING:
        return lately.turn.due_at
    return schedule.next_at + place_in(schedule, guest) if schedule.next_at is not None else None


def _forget_turns(schedule: BackupSchedule) -> None:
    """Let go of the turns of old moments, but for what is still under way."""
    turns = BackupTurn.objects.filter(schedule=schedule)
    slots = list(turns.order_by("-slot").values_list("slot", flat=True).distinct()[:KEPT_SLOTS])
    if len(slots) == KEPT_SLOTS:
        turns.filter(slot__lt=slots[-1]).exclude(state__in=(TurnState.ASKED, TurnState.MADE)).delete()


@transaction.atomic
def _take(turn: BackupTurn, *, at: datetime) -> bool:
    """Ask for the machine's backup, or write down why not; while something else is done with it, soon again."""
    guests = Guest.objects.select_for_update(of=("self",)).select_related("tenant", "host")
    guest = guests.filter(pk=turn.guest_id).first()
    turns = BackupTurn.objects.select_for_update(of=("self",)).select_related("schedule")
    row = turns.filter(pk=turn.pk, state=TurnState.WAITING, due_at__lte=at).first()
    if guest is None or row is None:
        return False
    code = HOST_BUSY if _is_busy(guest) else ""
    if not code:
        try:
            with transaction.atomic():
                _ask(guest, row)
        except PortalError as error:
            code = error.code
    until = row.waits_until or at + _patience(row.schedule)
    if code in (BUSY, HOST_BUSY) and at < until:
        row.code, row.due_at, row.waits_until = code, at + AGAIN, until
    else:
        row.code, row.state = code, TurnState.PASSED if code else TurnState.ASKED
    row.save(update_fields=["state", "code", "due_at", "waits_until"])
    event_append(guest.tenant, "backup_schedule.changed", "backup_schedule", row.schedule_id)
    log.info("backup_turn_due", schedule=str(row.schedule_id), guest=str(guest.pk), code=code or "asked")
    return not code


def _patience(schedule: BackupSchedule) -> timedelta:
    return timedelta(minutes=schedule.window_minutes) + PATIENCE


def _is_busy(guest: Guest) -> bool:
    """Are as many backups under way on its host as should be?"""
    if guest.host is None:
        return False
    live = Operation.objects.filter(kind="backup.create", lane=guest.host.lane, status__in=LIVE)
    return live.filter(requested_via=WHY).count() >= AT_ONCE


def _ask(guest: Guest, turn: BackupTurn) -> None:
    moment = turn.slot.astimezone(clocks(turn.schedule.timezone))
    backup_create(
        guest,
        actor=system_actor(guest.tenant, why=WHY),
        name=f"{guest.name[:49]}-{moment:%Y%m%d-%H%M}",
        full=_must_be_full(turn),
        turn=turn,
    )


def _must_be_full(turn: BackupTurn) -> bool:
    """Were the last ones of this machine made of changes, as many as the schedule lets pass? Also those that have gone since."""
    every = turn.schedule.full_every
    if not every:
        return False
    rows = Backup.objects.filter(guest=turn.guest_id, state=BackupState.READY).order_by("-created_at")
    last = rows.values_list("since_full", flat=True).first()
    return last is not None and last + 1 >= every


@transaction.atomic
def _tell(schedule: BackupSchedule, *, at: datetime) -> bool:
    """The owners hear that something went wrong; of the same trouble once, however long it lasts."""
    told = BackupSchedule.objects.filter(pk=schedule.pk, failing=False).update(failing=True)
    if told:
        _say(schedule, _("Of some machines of this schedule there is no new backup. Its page says of which, and why."))
    return bool(told)


def _say(schedule: BackupSchedule, text: Words) -> None:
    """Tell the owners, and the pages that show it."""
    notice_send(
        schedule.tenant,
        Permission.OWNER_MANAGE,
        NoticeKind.OPERATION_FAILED,
        subject=format_lazy(_("Backups fail: {name}"), name=schedule.name),
        text=text,
        url=reverse("vms:backup_schedule_detail", args=[schedule.tenant.slug, schedule.pk]),
    )
    event_append(schedule.tenant, "backup_schedule.changed", "backup_schedule", schedule.pk)


@transaction.atomic
def _thin_out(schedule: BackupSchedule, *, at: datetime) -> bool:
    """What newer backups have made superfluous goes, once none of the schedule's is under way."""
    turns = BackupTurn.objects.filter(schedule=schedule)
    if turns.filter(state=TurnState.ASKED).exists():
        return False
    going = backups_tidy(schedule, actor=system_actor(schedule.tenant, why=WHY))
    turns.filter(state=TurnState.MADE).update(state=TurnState.DONE)
    return going is not None
