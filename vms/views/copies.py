"""What is made of disks as they were at one moment: each dialog says first what it takes, and what the copy is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from operations.models import Operation
from portal.core.errors import PortalError
from portal.core.forms import refusals_in
from portal.core.htmx import part_template
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.copies import CopyVolumeForm
from vms.models import Snapshot, SnapshotDisk
from vms.selectors.snapshots import snapshots_visible
from vms.services import copies as services
from vms.services.guests.create import Fit
from vms.views.find import tenant_of
from vms.views.guest_create import before_after
from vms.views.guest_life import refusal_words
from vms.views.snapshots import back_to, whose

FIELDS = dict.fromkeys(("over_quota", "no_room", "no_storage", "name_taken"), "name")


@dataclass(frozen=True, slots=True)
class Dialog:
    """What one of them says, how it is asked for, and what it would take (None: the form says too little)."""

    title: str
    text: str
    button: str
    back: dict[str, str]
    ask: Callable[[dict[str, Any]], tuple[Operation, str]]
    fit: Callable[[dict[str, Any]], Fit]
    notes: tuple[str, ...] = ()


def _find(request: HttpRequest, snapshot_id: UUID) -> Snapshot:
    found: Snapshot = get_object_or_404(snapshots_visible(request.actor), pk=snapshot_id)
    return found


def _disks(snapshot: Snapshot) -> list[SnapshotDisk]:
    return list(snapshot.disks.select_related("volume").order_by("position"))


@require_safe
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_copy(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """What can be made of a snapshot."""
    snapshot, actor = _find(request, snapshot_id), request.actor
    choices = [
        {
            "url": reverse("vms:snapshot_volume", args=[tenant, snapshot.pk]),
            "icon": "database",
            "title": _("A volume"),
            "text": _("One of its disks, to plug in wherever it is needed."),
            "may": actor.may(Permission.VOLUME_MANAGE),
        },
    ]
    context = {
        "snapshot": snapshot,
        "back": back_to(request, whose(snapshot)),
        "choices": [choice for choice in choices if choice["may"]],
    }
    return render(request, part_template(request, "vms/snapshot_copy.html", default="dialog"), context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_volume(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """One disk of a snapshot as a volume."""
    snapshot = _find(request, snapshot_id)
    disks = _disks(snapshot)
    start = {"name": f"{snapshot.name[:50].replace('.', '-').replace('_', '-')}-disk", "position": disks[0].position}

    def ask(words: dict[str, Any]) -> tuple[Operation, str]:
        operation = services.snapshot_to_volume(snapshot, actor=request.actor, **words)
        return operation, reverse("vms:volume_detail", args=[tenant_of(request).slug, operation.subject_id])

    return _dialog(
        request,
        CopyVolumeForm(_given(request, start), disks=disks, actor=request.actor),
        Dialog(
            title=_("Make a volume of %s") % snapshot.name,
            text=_("A disk as it was then, as a volume that stands by itself. The machine goes on meanwhile."),
            button=_("Create volume"),
            back=back_to(request, whose(snapshot)),
            ask=ask,
            fit=lambda words: services.snapshot_volume_fit(snapshot, actor=request.actor, **words),
        ),
    )


def _given(request: HttpRequest, start: dict[str, Any]) -> Any:
    """What was sent, or what is chosen already when the dialog opens."""
    if request.method == "POST":
        return request.POST
    return request.GET if "name" in request.GET else start


def _dialog(request: HttpRequest, form: forms.Form, dialog: Dialog) -> HttpResponse:
    """Show it with what it takes; asked for, show what is made."""
    posted = request.method == "POST"
    if form.is_valid() and posted:
        with refusals_in(form, FIELDS):
            _operation, made = dialog.ask(form.cleaned_data)
            return redirect(made)
    fit, error = None, ""
    if not form.errors:
        try:
            fit = dialog.fit(form.cleaned_data)
        except PortalError as refused:
            error = refusal_words(refused)
    if not posted:
        form.errors.clear()
    context = {
        "form": form,
        "dialog": dialog,
        "path": request.path,
        "quota": [before_after(line) for line in fit.quota if line.after != line.before] if fit else [],
        "reasons": [message for _code, message in fit.reasons] if fit else [error] if error else [],
        "fits": fit is not None and fit.fits,
    }
    template = part_template(request, "vms/copy_form.html", default="dialog", parts=("forecast",))
    return render(request, template, context, status=422 if posted else 200)
