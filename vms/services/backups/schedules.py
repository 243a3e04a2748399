"""What people may do with backup schedules; every write, one transaction each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from cronsim import CronSimError
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Forbidden, Invalid, Missing
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.ledger import journal_lock
from tenants.models import Tenant
from tenants.policy import TAG, Permission
from vms.models import Backup, BackupSchedule, Guest
from vms.models.backup_schedules import Every
from vms.selectors.backup_schedules import machines_of, schedule_within
from vms.services.backups.retention import KEEP_MAX, KEPT, Keep, backups_expired, keep_of
from vms.services.power_schedules import cron_refusal, moments_ahead, next_time, zones
from vms.services.volumes.check import name_errors, require_reach

GAP: Final = timedelta(hours=1)
"""The least time between two moments of one schedule."""
WINDOW_MAX: Final = 12 * 60
FULL_MAX: Final = 1000
RUNS_AHEAD: Final = 5
"""How many moments a preview names."""
LINES: Final = {
    Every.HOURLY: "0 * * * *",
    Every.DAILY: "0 {hour} * * *",
    Every.WEEKLY: "0 {hour} * * 0",
    Every.MONTHLY: "0 {hour} 1 * *",
}


WEEK: Final = Keep(last=7)
"""What is kept of a schedule that says nothing about it."""


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """A backup schedule as somebody asks for it; ``hour`` is for days, weeks and months, ``cron`` for a line alone."""

    name: str
    every: str = Every.DAILY
    hour: int = 1
    cron: str = ""
    timezone: str = ""
    window_minutes: int = 60
    full_every: int = 0
    keep: Keep = WEEK
    guests: tuple[Guest, ...] = ()
    tags: tuple[str, ...] = ()
    enabled: bool = True

    @property
    def line(self) -> str:
        """Its moments as a cron line."""
        if self.every == Every.CRON:
            return " ".join(self.cron.split())
        return LINES[Every(self.every)].format(hour=self.hour)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a schedule would do, in UTC: when it begins next, with how many machines, and which backups it would let go."""

    next_runs: list[datetime]
    machines: int
    would_delete: list[Backup]


@transaction.atomic
def backup_schedule_create(tenant: Tenant, spec: ScheduleSpec, *, actor: Actor) -> BackupSchedule:
    """Have machines backed up from its next moment on. Raises ``Invalid``, ``Forbidden`` or ``Conflict``."""
    actor.require(Permission.BACKUP_MANAGE)
    _check(tenant, spec, actor)
    machines_lock(Q(pk__in=[guest.pk for guest in spec.guests]))
    journal_lock(tenant)  # after the machines, as everybody does; two who are at the cap take turns
    if BackupSchedule.objects.count() >= settings.CAPS["backup_schedules"]:
        raise Conflict(_("This project has as many schedules as it can have."), code="too_many_schedules", hint="")
    row = BackupSchedule(tenant=tenant)
    _write(row, spec)
    audit_record(actor, "backup_schedule.create", row, **_facts(row))
    return row


@transaction.atomic
def backup_schedule_edit(schedule: BackupSchedule, *, actor: Actor, **changes: Any) -> BackupSchedule:
    """Change fields of its ``ScheduleSpec``; what it has begun goes on.

    Where its moments change, or it is turned on, those that have passed are not made up for.
    """
    actor.require(Permission.BACKUP_MANAGE, schedule)
    machines_lock(Q(pk__in=[guest.pk for guest in changes.get("guests", ())]))
    row = _locked(schedule, actor)
    spec = schedule_spec(row, **changes)
    _check(row.tenant, spec, actor, row)
    before = _facts(row)
    again = spec.enabled and (not row.enabled or (row.cron, row.timezone) != (spec.line, _zone(row.tenant, spec)))
    _write(row, spec, again=again)
    after = _facts(row)
    other: dict[str, Any] = {name: [before[name], value] for name, value in after.items() if before[name] != value}
    if other:
        audit_record(actor, "backup_schedule.edit", row, **other)
    return row


@transaction.atomic
def backup_schedule_delete(schedule: BackupSchedule, *, actor: Actor) -> None:
    """Forget it. What it made stays until somebody deletes it; what it has asked for goes on."""
    actor.require(Permission.BACKUP_MANAGE, schedule)
    machines_lock(touched_by(schedule))  # its turns and backups are locked after their machines, as everywhere
    row = _locked(schedule, actor)
    audit_record(actor, "backup_schedule.delete", row, **_facts(row))
    event_append(row.tenant, "backup_schedule.deleted", "backup_schedule", row.pk)
    row.delete()


def touched_by(schedule: BackupSchedule) -> Q:
    """The machines of its turns and backups."""
    return Q(pk__in=schedule.backups.values("guest")) | Q(pk__in=schedule.turns.values("guest"))


def machines_lock(those: Q) -> None:
    """Lock machines before a schedule that names them, or whose turns and backups are theirs.

    Not against rows that point at them: one who has the schedule writes such (``slots``) and waits for nobody.
    """
    list(Guest.objects.select_for_update(no_key=True).filter(those).order_by("pk").values("pk"))


def backup_schedule_preview(
    tenant: Tenant, spec: ScheduleSpec, *, actor: Actor, schedule: BackupSchedule | None = None
) -> Preview:
    """What it would do, were it as ``spec`` says; changes nothing. Raises what asking for it would raise."""
    actor.require(Permission.BACKUP_MANAGE, schedule)
    if schedule is not None:
        _require_all(schedule, actor)
    _check(tenant, spec, actor, schedule)
    zone, at = _zone(tenant, spec), now()
    runs: list[datetime] = []
    while spec.enabled and len(runs) < RUNS_AHEAD and (moment := next_time(spec.line, zone, at)) is not None:
        runs.append(moment)
        at = moment
    machines = machines_of([guest.pk for guest in spec.guests], spec.tags).count()
    return Preview(runs, machines, backups_expired(schedule, spec.keep) if schedule is not None else [])


def schedule_spec(schedule: BackupSchedule, **changes: Any) -> ScheduleSpec:
    """The schedule as it is, with ``changes``."""
    names = ("name", "every", "cron", "timezone", "window_minutes", "full_every", "enabled")
    now_ = {name: getattr(schedule, name) for name in names}
    return ScheduleSpec(
        **{
            **now_,
            "hour": schedule_hour(schedule),
            "keep": keep_of(schedule),
            "guests": tuple(schedule.guests.order_by("name", "pk")),
            "tags": tuple(schedule.tags),
            **changes,
        }
    )


def schedule_hour(schedule: BackupSchedule) -> int:
    """At which hour it begins, where it does so once a day at most; else 1."""
    hour = schedule.cron.split()[1]
    return int(hour) if schedule.every in (Every.DAILY, Every.WEEKLY, Every.MONTHLY) else 1


def _locked(schedule: BackupSchedule, actor: Actor) -> BackupSchedule:
    """The schedule, read anew and locked; raises ``Missing`` where it is gone or the actor does not see all its machines.

    Raises ``Forbidden`` where they may not change all of them.
    """
    rows = BackupSchedule.objects.select_for_update(of=("self",), no_key=True).select_related("tenant")
    row = rows.filter(pk=schedule.pk).first()
    if row is None or not schedule_within(row, actor):
        raise Missing
    _require_all(row, actor)
    return row


def _require_all(schedule: BackupSchedule, actor: Actor) -> None:
    if not schedule_within(schedule, actor, Permission.GUEST_EDIT):
        raise Forbidden(permission=Permission.GUEST_EDIT.value)


def _zone(tenant: Tenant, spec: ScheduleSpec) -> str:
    return spec.timezone or tenant.timezone


def _check(tenant: Tenant, spec: ScheduleSpec, actor: Actor, row: BackupSchedule | None = None) -> None:
    """Raise ``Invalid`` with every field that cannot be used, ``Forbidden`` for machines out of the actor's reach."""
    errors = [*name_errors(spec.name), *_time_errors(tenant, spec), *_keep_errors(spec), *_machine_errors(spec)]
    others = BackupSchedule.objects.filter(name=spec.name)
    if (others if row is None else others.exclude(pk=row.pk)).exists():
        errors.append(FieldError("/name", "name_taken", _("There is a schedule of that name.")))
    if errors:
        raise Invalid(errors=errors)
    for guest in spec.guests:
        if not actor.reaches(Permission.GUEST_VIEW, guest.tag_names()):
            raise Forbidden(permission=Permission.GUEST_VIEW.value)
        require_reach(actor, guest)
    for tag in spec.tags:
        if not all(actor.reaches(right, [tag]) for right in (Permission.GUEST_VIEW, Permission.GUEST_EDIT)):
            raise Forbidden(permission=Permission.GUEST_EDIT.value)


def _time_errors(tenant: Tenant, spec: ScheduleSpec) -> list[FieldError]:
    errors = []
    if _zone(tenant, spec) not in zones():
        errors.append(FieldError("/timezone", "invalid_timezone", _("There is no such time zone.")))
    if not 0 <= spec.full_every <= FULL_MAX:
        errors.append(FieldError("/full_every", "invalid_number", _("Between 0 and %d.") % FULL_MAX))
    if spec.every not in Every.values:
        return [*errors, FieldError("/every", "invalid_every", _("Choose how often."))]
    if not 0 <= spec.hour <= 23:
        return [*errors, FieldError("/hour", "invalid_hour", _("Between 0 and 23."))]
    if refusal := cron_refusal(spec.line, gap=GAP):
        return [*errors, FieldError("/cron", "invalid_cron", refusal)]
    most = _window_most(spec.line)
    if not 0 <= spec.window_minutes <= most:
        message = _("Between 0 and %d minutes: half the time between two moments at most.") % most
        errors.append(FieldError("/window_minutes", "invalid_window", message))
    return errors


def _window_most(line: str) -> int:
    """Minutes; so that whoever waits for something else still has its turn before the next one."""
    try:
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(moments_ahead(line))]
    except CronSimError:
        return 0
    return min(WINDOW_MAX, int(min(gaps, default=0)) // 120) if gaps else WINDOW_MAX


def _keep_errors(spec: ScheduleSpec) -> list[FieldError]:
    counts = asdict(spec.keep)
    errors = [
        FieldError(f"/keep/{name}", "invalid_number", _("Between 0 and %d.") % KEEP_MAX)
        for name, count in counts.items()
        if not 0 <= count <= KEEP_MAX
    ]
    if not any(counts.values()):
        errors.append(FieldError("/keep/last", "keeps_nothing", _("Keep one at least.")))
    return errors


def _machine_errors(spec: ScheduleSpec) -> list[FieldError]:
    errors = [
        FieldError(f"/tags/{number}", "invalid_tag", _("A tag is small letters, digits, dots and hyphens, at most 32."))
        for number, tag in enumerate(spec.tags)
        if not TAG.match(tag)
    ]
    if not spec.guests and not spec.tags:
        errors.append(FieldError("/guests", "no_machines", _("Choose machines, or a tag.")))
    return errors


def _write(row: BackupSchedule, spec: ScheduleSpec, *, again: bool = True) -> None:
    """Make the row what ``spec`` says; ``again``: its next moment is looked for anew."""
    row.name, row.every, row.cron, row.timezone = spec.name, spec.every, spec.line, _zone(row.tenant, spec)
    row.window_minutes, row.full_every = spec.window_minutes, spec.full_every
    for name, count in asdict(spec.keep).items():
        setattr(row, f"keep_{name}", count)
    row.tags = sorted(set(spec.tags))
    row.enabled = spec.enabled
    if not row.enabled:
        row.next_at = None
    elif again:
        row.next_at = next_time(row.cron, row.timezone, now())
    row.version += 0 if row._state.adding else 1
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        taken = FieldError("/name", "name_taken", _("There is a schedule of that name."))
        raise Invalid(errors=[taken]) from error
    row.guests.set(spec.guests)
    event_append(row.tenant, "backup_schedule.changed", "backup_schedule", row.pk)


def _facts(row: BackupSchedule) -> dict[str, Any]:
    """Its row as the log keeps it."""
    names = ("name", "cron", "timezone", "window_minutes", "full_every", "tags", "enabled")
    return {
        **{name: getattr(row, name) for name in names},
        "keep": {name: getattr(row, f"keep_{name}") for name in KEPT},
        "guests": sorted(row.guests.values_list("name", flat=True)),
    }
