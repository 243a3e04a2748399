"""What a machine's page shows of its times: when it is switched and started, and its lease."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants.actors import Actor
from tenants.policy import Permission
from vms.forms.guest_timing import LeaseForm, ScheduleForm
from vms.forms.guests import StartOrderForm
from vms.models import Guest, PowerSchedule
from vms.models.schedules import SwitchAction
from vms.services.power_schedules import MISSED, UNREADABLE

WHY_NOT: Final = {
    MISSED: gettext_lazy("missed: the portal was off, or the project or machine was not to be switched"),
    UNREADABLE: gettext_lazy("turned off: its time zone is none any more"),
    "wrong_state": gettext_lazy("not asked: the machine was not in a state for it"),
    "operation_in_progress": gettext_lazy("not asked: something else was being done with it"),
    "host_silent": gettext_lazy("not asked: its host did not answer"),
    "over_quota": gettext_lazy("not asked: the quota did not cover it"),
}


@dataclass(frozen=True, slots=True)
class ScheduleShown:
    """One schedule, in words; times are shown where the reader is."""

    pk: UUID
    action: str
    cron: str
    timezone: str
    enabled: bool
    next_at: datetime | None
    last_at: datetime | None
    last_words: str


def schedule_shown(row: PowerSchedule) -> ScheduleShown:
    """A schedule as a page shows it."""
    words = WHY_NOT.get(row.last_code, _("not asked: %s") % row.last_code) if row.last_code else _("asked")
    return ScheduleShown(
        pk=row.pk,
        action=str(SwitchAction(row.action).label),
        cron=row.cron,
        timezone=row.timezone,
        enabled=row.enabled,
        next_at=row.next_at,
        last_at=row.last_at,
        last_words=str(words) if row.last_at else "",
    )


def timing_context(guest: Guest, actor: Actor, form: forms.Form | None = None) -> dict[str, Any]:
    """For the settings of a machine; ``form`` is the one that was sent and refused, if it is one of these."""
    there = guest.binned_at is None
    return {
        "schedules": [schedule_shown(row) for row in PowerSchedule.objects.filter(guest=guest)],
        "may_time": there and actor.may(Permission.GUEST_POWER, guest),
        "may_lease": there and actor.may(Permission.GUEST_DELETE, guest),
        "lease_ends_at": guest.lease_ends_at,
        "start_form": form if isinstance(form, StartOrderForm) else _start_form(guest, actor),
        "schedule_form": form if isinstance(form, ScheduleForm) else ScheduleForm(actor=actor),
        "lease_form": form if isinstance(form, LeaseForm) else LeaseForm(actor=actor, ends_at=guest.lease_ends_at),
    }


def _start_form(guest: Guest, actor: Actor) -> StartOrderForm:
    now = {"start_order": guest.start_order, "start_delay_s": guest.start_delay_s, "after_crash": guest.after_crash}
    return StartOrderForm(actor=actor, initial=now)
