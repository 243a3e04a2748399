"""Snapshots: what a machine's tab and a volume's page show of them, and the dialogs that say what each deed will do."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.shapes import operation_shown
from portal.core.errors import PortalError
from portal.core.forms import refusals_in
from portal.core.htmx import part_template
from portal.core.units import gib_label
from tenants.actors import Actor
from tenants.listings import quota_rows
from tenants.pages import confirm, page
from tenants.policy import Permission
from tenants.shapes import gauges
from tenants.types import HttpRequest
from vms.forms.snapshots import RevertForm, SnapshotForm
from vms.models import Guest, Snapshot, Volume
from vms.models.snapshots import Consistency
from vms.selectors.snapshots import snapshots_of, snapshots_visible
from vms.selectors.volumes import volumes_visible
from vms.services import snapshots as services
from vms.services.guests.allowed import Answer, answer
from vms.states import ON, SnapshotState
from vms.views.find import guest_or_404, tenant_of
from vms.views.guest_life import refusal_words

SHOWN: Final = 50
STATES: Final[dict[str, str | Promise]] = {
    SnapshotState.CREATING: gettext_lazy("Being taken"),
    SnapshotState.READY: gettext_lazy("Ready"),
    SnapshotState.REVERTING: gettext_lazy("Being reverted to"),
    SnapshotState.DELETING: gettext_lazy("Deleting"),
    SnapshotState.ERROR: gettext_lazy("Failed"),
}
CONSISTENCY: Final[dict[str, str | Promise]] = {
    "": "",
    Consistency.OFF: gettext_lazy("Was off"),
    Consistency.FROZEN: gettext_lazy("File systems held still"),
    Consistency.POWER_CUT: gettext_lazy("As after a power cut"),
    Consistency.MEMORY: gettext_lazy("With memory"),
}
FIELDS: Final = {"over_quota": "name", "name_taken": "name"}


def snapshots_context(actor: Actor, of: Guest | Volume, *, busy: bool) -> dict[str, Any]:
    """What ``_snapshots.html`` shows; two queries and one for what is being done with them. ``of`` was read with its machine."""
    rows = list(snapshots_of(actor, of)[:SHOWN]) if actor.may(Permission.SNAPSHOT_VIEW) else []
    live = operations_live_on("snapshot", [row.pk for row in rows])
    may = actor.may(Permission.SNAPSHOT_MANAGE)
    guest = of if isinstance(of, Guest) else of.guest
    allowed = {kind: guest is None or answer(guest, kind, actor) == Answer.NOW for kind in _KINDS}
    if isinstance(of, Volume):
        allowed["snapshot.revert"] &= not services.is_in_use(of)
    return {
        "snapshots": [snapshot_shown(row, live.get(row.pk), actor, may=may, allowed=allowed) for row in rows],
        "may_snapshot": may and not busy and allowed["snapshot.create"],
        "snapshot_url": _create_url(actor, of),
    }


_KINDS: Final = ("snapshot.create", "snapshot.revert", "snapshot.delete")


def _create_url(actor: Actor, of: Guest | Volume) -> str:
    assert actor.tenant is not None
    name = "vms:guest_snapshot" if isinstance(of, Guest) else "vms:volume_snapshot"
    return reverse(name, args=[actor.tenant.slug, of.pk])


def snapshot_shown(
    snapshot: Snapshot, operation: Operation | None, actor: Actor, *, may: bool, allowed: dict[str, bool]
) -> dict[str, Any]:
    """A snapshot for a row; asks the database nothing."""
    idle = may and operation is None
    return {
        "pk": snapshot.pk,
        "name": snapshot.name,
        "description": snapshot.description,
        "state": snapshot.state,
        "state_label": STATES[snapshot.state],
        "consistency_label": CONSISTENCY[snapshot.consistency],
        "size_label": gib_label(vars(snapshot)["size_gib"]),
        "problem": snapshot.problem,
        "at": snapshot.taken_at or snapshot.created_at,
        "operation": operation_shown(operation, actor) if operation is not None else None,
        "may_edit": idle,
        "may_revert": idle and snapshot.state == SnapshotState.READY and allowed["snapshot.revert"],
        "may_delete": idle and allowed["snapshot.delete"],
        "may_copy": idle and snapshot.state == SnapshotState.READY,
    }


def _find(request: HttpRequest, snapshot_id: UUID) -> Snapshot:
    found: Snapshot = get_object_or_404(snapshots_visible(request.actor), pk=snapshot_id)
    return found


def back_to(request: HttpRequest, of: Guest | Volume) -> dict[str, str]:
    """Where a dialog about its snapshots was opened."""
    slug = tenant_of(request).slug
    if isinstance(of, Guest):
        return {"url": reverse("vms:guest_detail", args=[slug, of.pk]) + "?tab=snapshots", "label": of.name}
    return {"url": reverse("vms:volume_detail", args=[slug, of.pk]), "label": of.name}


def whose(snapshot: Snapshot) -> Guest | Volume:
    """The machine or the volume that it is of."""
    return snapshot.guest if snapshot.guest is not None else snapshot.disks.select_related("volume").get().volume


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def guest_snapshot(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Say how a machine's disks will be kept; then keep them."""
    guest = guest_or_404(request, guest_id)
    return _take(request, guest, memory=guest.seen_power in ON and guest.firmware != "uefi" and not guest.tpm)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def volume_snapshot(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """The same of one volume."""
    volume = get_object_or_404(volumes_visible(request.actor), pk=volume_id)
    return _take(request, volume, memory=False)


def _take(request: HttpRequest, of: Guest | Volume, *, memory: bool) -> HttpResponse:
    back = back_to(request, of)
    form = SnapshotForm(request.POST or None, memory=memory)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, FIELDS):
            services.snapshot_create(of, actor=request.actor, **form.cleaned_data)
            messages.success(request, _("Taking a snapshot of %s.") % of.name)
            return redirect(back["url"])
    guest = of if isinstance(of, Guest) else of.guest
    may_look = request.actor.may(Permission.QUOTA_VIEW)
    context = {
        "form": form,
        "back": back,
        "title": _("Take a snapshot of %s") % of.name,
        "runs": guest is not None and guest.seen_power in ON,
        "of_guest": isinstance(of, Guest),
        "button": _("Take snapshot"),
        "gauges": gauges(quota_rows(tenant_of(request)), only=("snapshots",)) if may_look else [],
    }
    return _dialog(request, "vms/snapshot_form.html", context, refused=request.method == "POST")


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_edit(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """Other words for it."""
    snapshot = _find(request, snapshot_id)
    back = back_to(request, whose(snapshot))
    words = {"name": snapshot.name, "description": snapshot.description}
    form = SnapshotForm(request.POST or None, initial=words)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, FIELDS):
            services.snapshot_edit(snapshot, actor=request.actor, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect(back["url"])
    context = {"form": form, "back": back, "title": _("Change %s") % snapshot.name, "button": _("Save")}
    return _dialog(request, "vms/snapshot_form.html", context, refused=request.method == "POST")


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_revert(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """Say what falls and what stays; then go back."""
    snapshot = _find(request, snapshot_id)
    of, error = whose(snapshot), ""
    form = RevertForm(request.POST)
    if request.method == "POST" and form.is_valid():
        try:
            services.snapshot_revert(snapshot, actor=request.actor, **form.cleaned_data)
        except PortalError as refused:
            error = refusal_words(refused)
        else:
            messages.success(request, _("Reverting to %s.") % snapshot.name)
            return redirect(back_to(request, of)["url"])
    context = {
        "snapshot": snapshot,
        "of": of,
        "back": back_to(request, of),
        "outlook": services.revert_foresee(snapshot),
        "cut": snapshot.consistency == Consistency.POWER_CUT,
        "error": error,
    }
    return _dialog(request, "vms/snapshot_revert.html", context, refused=bool(error))


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_delete(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """Ask first; then forget it."""
    snapshot = _find(request, snapshot_id)
    back = back_to(request, whose(snapshot))
    if request.method == "POST":
        services.snapshot_delete(snapshot, actor=request.actor)
        messages.success(request, _("Deleting %s.") % snapshot.name)
        return redirect(back["url"])
    question = {
        "title": _("Delete the snapshot %s?") % snapshot.name,
        "text": _("Nobody can go back to it any more. The disks stay as they are, and so do other snapshots."),
        "button": _("Delete"),
        "icon": "trash",
    }
    return confirm(request, question, back=back)


def _dialog(request: HttpRequest, template: str, context: dict[str, Any], *, refused: bool) -> HttpResponse:
    part = part_template(request, template, default="dialog")
    return render(request, part, context, status=422 if refused else 200)
