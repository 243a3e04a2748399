"""Backup schedules: the list, the page of each with what came of it last, and a form that says first what it would do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.pages import confirm, page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.backup_schedules import BackupScheduleForm
from vms.models import BackupSchedule, Guest
from vms.models.backup_schedules import Every
from vms.selectors.backup_schedules import (
    Lately,
    backup_schedules_visible,
    lately_of,
    machine_page,
    schedule_within,
)
from vms.services import backups as services
from vms.services.backups.retention import keep_of
from vms.services.backups.schedules import ScheduleSpec
from vms.services.backups.slots import next_turn
from vms.states import TurnState
from vms.views.find import tenant_of

STATES: Final[dict[str, str | Promise]] = {
    TurnState.WAITING: gettext_lazy("Waits for its turn"),
    TurnState.ASKED: gettext_lazy("Being made"),
    TurnState.MADE: gettext_lazy("Made"),
    TurnState.DONE: gettext_lazy("Made"),
    TurnState.PASSED: gettext_lazy("Passed over"),
    TurnState.FAILED: gettext_lazy("Failed"),
}
WHY: Final[dict[str, str | Promise]] = {
    "operation_in_progress": gettext_lazy("something else is being done with it"),
    "host_busy": gettext_lazy("others on its host come first"),
    "overtaken": gettext_lazy("it still waited when the next moment came"),
    "in_bin": gettext_lazy("it is in the bin"),
    "not_built": gettext_lazy("it has not been built"),
    "wrong_state": gettext_lazy("it was in no state for it"),
    "in_rescue": gettext_lazy("it is in rescue mode"),
    "host_silent": gettext_lazy("its host did not answer"),
    "over_quota": gettext_lazy("the quota did not cover it"),
    "no_backup_store": gettext_lazy("there is no place for backups"),
    "no_backups_there": gettext_lazy("a disk of it lies in a pool of which no backups are made"),
}
KEEPS: Final[dict[str, Promise]] = {
    "last": gettext_lazy("the last %d"),
    "hourly": gettext_lazy("%d hourly"),
    "daily": gettext_lazy("%d daily"),
    "weekly": gettext_lazy("%d weekly"),
    "monthly": gettext_lazy("%d monthly"),
}


def schedule_shown(row: BackupSchedule, actor: Actor) -> dict[str, Any]:
    """A schedule for rows and its page; its machines were read with it."""
    counts = asdict(keep_of(row))
    return {
        "pk": row.pk,
        "name": row.name,
        "when": row.cron if row.every == Every.CRON else Every(row.every).label,
        "cron": row.cron,
        "timezone": row.timezone,
        "window_minutes": row.window_minutes,
        "full_every": row.full_every,
        "keeps": ", ".join(str(words) % counts[name] for name, words in KEEPS.items() if counts[name]),
        "guests": sorted(guest.name for guest in row.guests.all()),
        "tags": row.tags,
        "enabled": row.enabled,
        "failing": row.failing,
        "next_at": row.next_at,
        "last_at": row.last_at,
        "may": actor.may(Permission.BACKUP_MANAGE, row) and schedule_within(row, actor, Permission.GUEST_EDIT),
    }


def machine_shown(row: BackupSchedule, guest: Guest, lately: Lately | None, slug: str) -> dict[str, Any]:
    """One machine of a schedule: when it is its turn next, and what came of it last."""
    url = reverse("vms:guest_detail", args=[slug, guest.pk])
    shown = {"name": guest.name, "url": url, "next_at": next_turn(row, guest.pk, lately), "state": ""}
    if lately is None:
        return shown
    turn, backup = lately.turn, lately.backup
    return {
        **shown,
        "state": turn.state,
        "dot": {"done": "ready", "made": "ready", "failed": "error", "passed": "error"}.get(turn.state, "creating"),
        "state_label": STATES[turn.state],
        "why": WHY.get(turn.code, turn.code) if turn.code else "",
        "slot": turn.slot,
        "backup_url": reverse("vms:backup_detail", args=[slug, backup.pk]) if backup is not None else "",
        "backup_name": backup.name if backup is not None else "",
    }


@require_safe
@page(Permission.BACKUP_VIEW)
def backup_schedule_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """All of them: when each begins next, and whether it does what it should."""
    actor = request.actor
    rows = backup_schedules_visible(actor).prefetch_related("guests").order_by("name")
    context = {
        "schedules": [schedule_shown(row, actor) for row in rows],
        "may_add": actor.may(Permission.BACKUP_MANAGE),
    }
    return render(request, "vms/backup_schedule_list.html", context)


@require_safe
@page(Permission.BACKUP_VIEW)
def backup_schedule_detail(request: HttpRequest, tenant: str, backup_schedule_id: UUID) -> HttpResponse:
    """One schedule, and of each of its machines what came last."""
    row = _find(request, backup_schedule_id)
    found = machine_page(row, cursor=request.GET.get("cursor", ""))
    lately = lately_of(row, [guest.pk for guest in found.items])
    context = {
        "schedule": schedule_shown(row, request.actor),
        "machines": [machine_shown(row, guest, lately.get(guest.pk), tenant) for guest in found.items],
        "page": {"shown_label": "", "next_url": f"?cursor={found.next}" if found.next else None},
    }
    return render(request, "vms/backup_schedule_detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.BACKUP_MANAGE)
def backup_schedule_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """A new one; ``preview`` only says what it would do."""
    return _form(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.BACKUP_MANAGE)
def backup_schedule_edit(request: HttpRequest, tenant: str, backup_schedule_id: UUID) -> HttpResponse:
    """Change it; ``preview`` only says what it would do then."""
    return _form(request, _find(request, backup_schedule_id))


def _form(request: HttpRequest, row: BackupSchedule | None) -> HttpResponse:
    actor, slug = request.actor, tenant_of(request).slug
    sent = request.POST if request.method == "POST" else None
    form = BackupScheduleForm(sent, actor=actor, schedule=row)
    preview = None
    if sent is not None and form.is_valid():
        with refusals_in(form):
            if "preview" not in sent:
                done = _write(form.spec(), row, actor)
                return redirect("vms:backup_schedule_detail", slug, done.pk)
            preview = services.backup_schedule_preview(tenant_of(request), form.spec(), actor=actor, schedule=row)
    status = 422 if sent is not None and form.errors else 200
    context = {"form": form, "schedule": row, "preview": preview}
    return render(request, "vms/backup_schedule_form.html", context, status=status)


def _write(spec: ScheduleSpec, row: BackupSchedule | None, actor: Actor) -> BackupSchedule:
    if row is not None:
        changes = {name: getattr(spec, name) for name in ScheduleSpec.__dataclass_fields__}
        return services.backup_schedule_edit(row, actor=actor, **changes)
    assert actor.tenant is not None
    return services.backup_schedule_create(actor.tenant, spec, actor=actor)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.BACKUP_MANAGE)
def backup_schedule_delete(request: HttpRequest, tenant: str, backup_schedule_id: UUID) -> HttpResponse:
    """Ask first, then forget it."""
    row = _find(request, backup_schedule_id)
    if request.method == "POST":
        services.backup_schedule_delete(row, actor=request.actor)
        messages.success(request, _("Deleted the schedule %s.") % row.name)
        return redirect("vms:backup_schedule_list", tenant)
    question = {
        "title": _("Delete the schedule %(name)s?") % {"name": row.name},
        "text": _("No more backups are made by it. Those that it made stay until you delete them."),
        "button": _("Delete"),
        "icon": "trash",
    }
    back = {"url": reverse("vms:backup_schedule_detail", args=[tenant, row.pk]), "label": row.name}
    return confirm(request, question, back=back)


def _find(request: HttpRequest, pk: UUID) -> BackupSchedule:
    found: BackupSchedule = get_object_or_404(backup_schedules_visible(request.actor).prefetch_related("guests"), pk=pk)
    return found
