"""Machines are switched by the clock: what may be asked for, and what is done when it is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import structlog
from cronsim import CronSim, CronSimError
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid, Missing, PortalError
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.tenants import tenants_down
from vms.models import Guest, PowerSchedule
from vms.models.schedules import SwitchAction
from vms.services.guests.power import guest_power

log = structlog.get_logger(__name__)
FIELDS: Final = 5
CRON_MAX: Final = 100
GAP: Final = timedelta(minutes=5)
"""The least time between two moments of one schedule."""
LOOKED_AT: Final = 24 * 12 + 1
"""Of so many moments every gap is measured: a day's worth of the most frequent line that passes."""
LATE: Final = timedelta(minutes=15)
"""What was due longer ago is not made up for: the portal was off, or the project suspended."""
MISSED: Final = "missed"
UNREADABLE: Final = "unreadable"
"""Its time zone, or its line, is none any more: it is off."""


@cache
def zones() -> frozenset[str]:
    """The time zones that a schedule can have."""
    return frozenset(available_timezones())


def next_time(cron: str, zone: str, after: datetime) -> datetime | None:
    """The first moment of ``cron`` after ``after``; None where there is none in fifty years.

    What the clocks skip in spring is done when they have, what they show twice in autumn once (as Debian's cron does): asked
    in the second of those two hours, CronSim names a moment of the first, which is over.
    """
    moments = CronSim(cron, after.astimezone(ZoneInfo(zone)))
    return next((moment for moment in moments if moment.timestamp() > after.timestamp()), None)


def schedule_check(action: str, cron: str, zone: str) -> None:
    """Raise ``Invalid`` naming every field that cannot be used."""
    errors = []
    if action not in SwitchAction.values:
        errors.append(FieldError("/action", "invalid_action", _("Choose what is to be done.")))
    if zone not in zones():
        errors.append(FieldError("/timezone", "invalid_timezone", _("There is no such time zone.")))
    if refusal := cron_refusal(cron, gap=GAP):
        errors.append(FieldError("/cron", "invalid_cron", refusal))
    if errors:
        raise Invalid(errors=errors)


def cron_refusal(cron: str, *, gap: timedelta) -> str:
    """What is wrong with a line whose moments must be ``gap`` apart at least; empty where nothing is."""
    try:
        ahead = moments_ahead(cron)
    except CronSimError:
        return _("Five fields are needed: minute, hour, day of the month, month, day of the week, such as 0 8 * * 1-5.")
    if not ahead:
        return _("That is never.")
    if any(later - earlier < gap for earlier, later in pairwise(ahead)):
        return _("At most every %d minutes.") % (gap.total_seconds() // 60)
    return ""


def moments_ahead(cron: str) -> list[datetime]:
    """As many of its moments from now on as are looked at; raises ``CronSimError`` for what is no such line."""
    if len(cron) > CRON_MAX or len(cron.split()) != FIELDS:
        raise CronSimError
    return [moment for _number, moment in zip(range(LOOKED_AT), CronSim(cron, now()), strict=False)]


@transaction.atomic
def schedule_create(guest: Guest, *, action: str, cron: str, timezone: str = "", actor: Actor) -> PowerSchedule:
    """Have ``guest`` switched by the clock, the project's where no ``timezone`` is named. Raises ``Invalid`` or ``Conflict``."""
    actor.require(Permission.GUEST_POWER, guest)
    guest = _locked(guest)
    zone, line = timezone or guest.tenant.timezone, " ".join(cron.split())
    schedule_check(action, line, zone)
    if PowerSchedule.objects.filter(guest=guest).count() >= settings.CAPS["power_schedules"]:
        raise Conflict(_("This machine has as many schedules as it can have."), code="too_many_schedules", hint="")
    try:
        with transaction.atomic():
            row = PowerSchedule.objects.create(
                tenant=guest.tenant, guest=guest, action=action, cron=line, timezone=zone,
                next_at=next_time(line, zone, now()),
            )  # fmt: skip
    except IntegrityError as error:
        raise Conflict(_("This machine has this schedule already."), code="schedule_exists", hint="") from error
    audit_record(actor, "power_schedule.create", guest, switch=action, cron=line, timezone=zone)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return row


@transaction.atomic
def schedule_switch(schedule: PowerSchedule, *, enabled: bool, actor: Actor) -> PowerSchedule:
    """Turn it off, or on again from now; what was due meanwhile is not made up for."""
    row, guest = _own(schedule, actor)
    if row.enabled == enabled:
        return row
    row.enabled = enabled
    row.next_at = next_time(row.cron, row.timezone, now()) if enabled else None
    row.version += 1
    row.save(update_fields=["enabled", "next_at", "version"])
    audit_record(actor, "power_schedule.edit", guest, switch=row.action, cron=row.cron, enabled=[not enabled, enabled])
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return row


@transaction.atomic
def schedule_delete(schedule: PowerSchedule, *, actor: Actor) -> None:
    """Forget it; what it has asked for goes on."""
    row, guest = _own(schedule, actor)
    audit_record(actor, "power_schedule.delete", guest, switch=row.action, cron=row.cron, timezone=row.timezone)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    row.delete()


def _own(schedule: PowerSchedule, actor: Actor) -> tuple[PowerSchedule, Guest]:
    """The schedule and its machine, read anew and locked, machine first; raises ``Missing`` where it is gone."""
    actor.require(Permission.GUEST_POWER, schedule.guest)
    guest = _locked(schedule.guest)
    row = PowerSchedule.objects.select_for_update().filter(pk=schedule.pk).first()
    if row is None:
        raise Missing
    return row, guest


def _locked(guest: Guest) -> Guest:
    row = Guest.objects.select_for_update(of=("self",)).select_related("tenant").filter(pk=guest.pk).first()
    if row is None:
        raise Missing
    return row


def schedules_run(*, at: datetime) -> int:
    """Switch what is due; how many machines were asked. Safe to repeat, and from two places at once: each moment counts once.

    Schedules of machines in the bin, and of projects that are suspended or being closed, wait; their moments are missed.
    """
    with every_tenant(why="schedules of every tenant are due"):
        due = list(
            PowerSchedule.objects.select_related("tenant", "guest")
            .filter(next_at__lte=at, guest__binned_at=None)
            .exclude(tenant__in=tenants_down())
            .order_by("next_at")[: settings.CAPS["batch"]]
        )
    asked = 0
    for row in due:
        with tenant_scope(row.tenant):
            asked += _run(row, at=at)
    return asked


@transaction.atomic
def _run(schedule: PowerSchedule, *, at: datetime) -> bool:
    """One moment of one schedule: the next one, and what became of this, are written with what it asks for."""
    guest = Guest.objects.select_for_update(of=("self",)).select_related("tenant").filter(pk=schedule.guest_id).first()
    row = PowerSchedule.objects.select_for_update().filter(pk=schedule.pk, next_at__lte=at).first()
    if guest is None or row is None or row.next_at is None:
        return False
    row.last_at, row.last_code, row.last_operation = row.next_at, "", None
    try:
        row.next_at = next_time(row.cron, row.timezone, at)
    except (ZoneInfoNotFoundError, CronSimError) as error:
        log.warning("power_schedule_unreadable", guest=str(guest.pk), detail=str(error))
        row.enabled, row.next_at, row.last_code = False, None, UNREADABLE
        row.version += 1
        row.save(update_fields=["enabled", "next_at", "last_at", "last_code", "last_operation", "version"])
        return False
    if at - row.last_at > LATE:
        row.last_code = MISSED
    else:
        try:
            with transaction.atomic():
                operation = guest_power(guest, row.action, actor=system_actor(guest.tenant, why="schedule"))
        except PortalError as error:
            row.last_code = error.code
        else:
            row.last_operation = operation.pk
    row.version += 1
    row.save(update_fields=["next_at", "last_at", "last_code", "last_operation", "version"])
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    log.info("power_schedule_due", guest=str(guest.pk), action=row.action, code=row.last_code or "asked")
    return row.last_operation is not None
