"""Backups: the list with a form for a new one, and the page of each with what can be made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.shapes import operation_shown
from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.listings import quota_rows
from tenants.pages import confirm, page
from tenants.policy import Permission
from tenants.shapes import Gauge, gauges
from tenants.types import HttpRequest
from vms.forms.backups import BackupForm, RestoreGuestForm, RestoreVolumeForm
from vms.models import Backup, BackupSchedule, Guest
from vms.selectors.backup_schedules import schedules_of
from vms.selectors.backups import backup_page, backups_visible
from vms.selectors.prices import repository_price
from vms.services import backups as services
from vms.services.backups.slots import next_turn
from vms.services.volumes.check import may_reach
from vms.states import BackupState
from vms.views.find import tenant_of

STATES = {
    BackupState.CREATING: gettext_lazy("Being made"),
    BackupState.READY: gettext_lazy("Ready"),
    BackupState.DELETING: gettext_lazy("Deleting"),
    BackupState.ERROR: gettext_lazy("Failed"),
}
WHY_FULL = {
    "first": gettext_lazy("all of it: the first of this machine"),
    "asked": gettext_lazy("all of it, as was asked"),
    "off": gettext_lazy("all of it: the machine was off"),
    "disks": gettext_lazy("all of it: the machine has other disks than before"),
    "unknown": gettext_lazy("all of it: the host could not say for sure what had changed"),
    "store": gettext_lazy("all of it: the store lacked the former backup"),
}
ON_A_MACHINE = 10


@require_safe
@page(Permission.BACKUP_VIEW)
def backup_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's backups, and making one; ``?guest=`` chooses its machine."""
    return _list(request, BackupForm(actor=request.actor, initial={"guest": request.GET.get("guest", "")}))


@require_POST
@page(Permission.BACKUP_MANAGE)
def backup_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Back up a machine; the backup's page shows how far it is."""
    form = BackupForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form, {"over_quota": "guest", "no_backup_store": "guest"}):
            guest, full = form.cleaned_data["guest"], form.cleaned_data["full"]
            operation = services.backup_create(guest, actor=request.actor, full=full)
            return redirect("vms:backup_detail", tenant, operation.subject_id)
    return _list(request, form, status=422)


def _list(request: HttpRequest, form: BackupForm, *, status: int = 200) -> HttpResponse:
    actor, tenant = request.actor, tenant_of(request)
    found = backup_page(actor, cursor=request.GET.get("cursor", ""))
    may = actor.may(Permission.BACKUP_MANAGE)
    context = {
        "backups": _shown(found.items, actor, tenant.slug),
        "page": {"shown_label": "", "next_url": f"?cursor={found.next}" if found.next else None},
        "form": form if may else None,
        "gauges": _room(request) if may else [],
        "price": repository_price(tenant),
    }
    return render(request, "vms/backup_list.html", context, status=status)


def _room(request: HttpRequest) -> list[Gauge]:
    """What the quota leaves, for who may look at it."""
    may = request.actor.may(Permission.QUOTA_VIEW)
    return gauges(quota_rows(tenant_of(request)), only=("backups_gib",)) if may else []


def _shown(backups: list[Backup], actor: Actor, slug: str) -> list[dict[str, Any]]:
    live = operations_live_on("backup", [backup.pk for backup in backups])
    return [backup_shown(backup, live.get(backup.pk), actor, slug) for backup in backups]


def backup_shown(backup: Backup, operation: Operation | None, actor: Actor, slug: str) -> dict[str, Any]:
    """A backup for rows and its page; asks the database nothing."""
    may = actor.may(Permission.BACKUP_MANAGE, backup) and may_reach(actor, backup.guest)
    ready = backup.state == BackupState.READY
    disks = list(backup.disks.all())
    guest = reverse("vms:guest_detail", args=[slug, backup.guest_id]) if backup.guest_id else ""
    return {
        "pk": backup.pk,
        "name": backup.name,
        "guest_name": backup.guest_name,
        "guest_url": guest,
        "state": backup.state,
        "state_label": STATES[BackupState(backup.state)],
        "problem": backup.problem,
        "disks": disks,
        "size_gib": sum(disk.size_gib for disk in disks),
        "read_label": filesizeformat(backup.read_bytes),
        "added_label": filesizeformat(backup.added_bytes),
        "how": "" if not ready else WHY_FULL.get(backup.why_full, _("only what had changed")),
        "files_label": _files(backup),
        "verified": backup.verified,
        "verified_at": backup.verified_at,
        "operation": operation_shown(operation, actor) if operation is not None else None,
        "created_at": backup.created_at,
        "is_ready": ready,
        "may_use": may and ready and operation is None,
        "may_put_back": may
        and ready
        and operation is None
        and _is_there(backup)
        and actor.may(Permission.VOLUME_MANAGE),
        "may_delete": may and operation is None,
    }


def _is_there(backup: Backup) -> bool:
    return backup.guest is not None and backup.guest.binned_at is None


def _files(backup: Backup) -> str:
    """In which state its file systems were."""
    if backup.why_full == "off":
        return _("as the machine left them when it went off")
    return _("held by the agent") if backup.frozen else _("as after pulling the plug")


def guest_backups(actor: Actor, guest: Guest, slug: str) -> dict[str, Any]:
    """What a machine's page shows of its backups: the newest."""
    may = actor.may(Permission.BACKUP_VIEW)
    rows = list(backups_visible(actor).filter(guest=guest).order_by("-created_at")[:ON_A_MACHINE]) if may else []
    return {
        "backups": _shown(rows, actor, slug),
        "schedules": [_schedule_shown(row, guest, slug) for row in (schedules_of(actor, guest) if may else [])],
        "may_back_up": actor.may(Permission.BACKUP_MANAGE) and may_reach(actor, guest) and guest.binned_at is None,
    }


def _schedule_shown(schedule: BackupSchedule, guest: Guest, slug: str) -> dict[str, Any]:
    """A schedule that backs the machine up, and when it begins next."""
    url = reverse("vms:backup_schedule_detail", args=[slug, schedule.pk])
    return {"name": schedule.name, "url": url, "enabled": schedule.enabled, "next": next_turn(schedule, guest.pk, None)}


def _find(request: HttpRequest, backup_id: UUID) -> Backup:
    found: Backup = get_object_or_404(backups_visible(request.actor).select_related("flavor"), pk=backup_id)
    return found


@require_safe
@page(Permission.BACKUP_VIEW)
def backup_detail(request: HttpRequest, tenant: str, backup_id: UUID) -> HttpResponse:
    """One backup: of what, how it was read, whether it is sound, and what can be made of it."""
    return _detail(request, _find(request, backup_id))


def _detail(request: HttpRequest, backup: Backup, **refused: forms.Form) -> HttpResponse:
    """The page; ``refused`` are the forms that were, by name."""
    actor = request.actor
    live = operations_live_on("backup", [backup.pk]).get(backup.pk)
    context = {
        "backup": backup_shown(backup, live, actor, tenant_of(request).slug),
        "guest_form": RestoreGuestForm(backup=backup) if actor.may(Permission.GUEST_CREATE) else None,
        "volume_form": RestoreVolumeForm(backup=backup, actor=actor) if actor.may(Permission.VOLUME_MANAGE) else None,
        **refused,
    }
    return render(request, "vms/backup_detail.html", context, status=422 if refused else 200)


@require_POST
@page(Permission.BACKUP_MANAGE)
def backup_verify(request: HttpRequest, tenant: str, backup_id: UUID) -> HttpResponse:
    """Have it read back."""
    backup = _find(request, backup_id)
    services.backup_verify(backup, actor=request.actor)
    return redirect("vms:backup_detail", tenant, backup.pk)


@require_POST
@page(Permission.BACKUP_MANAGE)
def backup_restore_guest(request: HttpRequest, tenant: str, backup_id: UUID) -> HttpResponse:
    """Make a machine of it, and show that."""
    backup = _find(request, backup_id)
    form = RestoreGuestForm(request.POST, backup=backup)

    def restore(words: dict[str, Any]) -> Operation:
        return services.backup_restore_guest(backup, services.RestoredGuest(**words), actor=request.actor)

    return _restore(request, backup, form, "guest", restore)


@require_POST
@page(Permission.BACKUP_MANAGE)
def backup_restore_volume(request: HttpRequest, tenant: str, backup_id: UUID) -> HttpResponse:
    """Make a volume of one of its disks, and show that."""
    backup = _find(request, backup_id)
    form = RestoreVolumeForm(request.POST, backup=backup, actor=request.actor)

    def restore(words: dict[str, Any]) -> Operation:
        return services.backup_restore_volume(backup, services.RestoredVolume(**words), actor=request.actor)

    return _restore(request, backup, form, "volume", restore)


def _restore(
    request: HttpRequest, backup: Backup, form: forms.Form, what: str, restore: Callable[[dict[str, Any]], Operation]
) -> HttpResponse:
    if form.is_valid():
        with refusals_in(form, {"over_quota": "name", "no_room": "name", "no_storage": "name", "name_taken": "name"}):
            operation = restore(form.cleaned_data)
            return redirect(f"vms:{what}_detail", tenant_of(request).slug, operation.subject_id)
    return _detail(request, backup, **{f"{what}_form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.BACKUP_MANAGE)
def backup_delete(request: HttpRequest, tenant: str, backup_id: UUID) -> HttpResponse:
    """Ask first, then delete it for good."""
    backup = _find(request, backup_id)
    if request.method == "POST":
        services.backup_delete(backup, actor=request.actor)
        messages.success(request, _("Deleting %s.") % backup.name)
        return redirect("vms:backup_list", tenant)
    question = {
        "title": _("Delete the backup %(name)s for good?") % {"name": backup.name},
        "text": _("This cannot be undone. The machine and its other backups are not touched: each is whole by itself."),
        "button": _("Delete"),
        "icon": "trash",
    }
    return confirm(
        request, question, back={"url": reverse("vms:backup_detail", args=[tenant, backup.pk]), "label": backup.name}
    )
