"""Disks as files to take away: the list of them, the dialogs that ask for one, and the file itself."""

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
from django.views.decorators.http import require_http_methods, require_safe

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.shapes import operation_shown
from portal.core.units import MIB, mib_label
from tenants.actors import Actor
from tenants.pages import confirm, page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.files import disk_export_response
from vms.forms.copies import DiskForm
from vms.models import DiskExport, Guest, Snapshot, SnapshotDisk, Volume
from vms.selectors.disk_exports import disk_export_page, disk_exports_visible
from vms.selectors.snapshots import snapshots_visible
from vms.selectors.volumes import volumes_visible
from vms.services import disk_exports as services
from vms.services.copies import disks_now
from vms.states import ExportState
from vms.views.copies import Dialog, copy_dialog
from vms.views.find import guest_or_404, tenant_of
from vms.views.snapshots import back_to, whose

STATES: Final[dict[str, str | Promise]] = {
    ExportState.MAKING: gettext_lazy("Being made"),
    ExportState.READY: gettext_lazy("Ready"),
    ExportState.FAILED: gettext_lazy("Failed"),
    ExportState.EXPIRED: gettext_lazy("Expired"),
}


@require_safe
@page(Permission.SNAPSHOT_VIEW)
def disk_export_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """Newest first; those that are gone for some days more."""
    actor = request.actor
    found = disk_export_page(disk_exports_visible(actor), cursor=request.GET.get("cursor", ""))
    live = operations_live_on("diskexport", [row.pk for row in found.items])
    context = {
        "exports": [disk_export_shown(row, live.get(row.pk), actor) for row in found.items],
        "page": {"shown_label": "", "next_url": f"?cursor={found.next}" if found.next else None},
    }
    return render(request, "vms/disk_export_list.html", context)


def disk_export_shown(export: DiskExport, operation: Operation | None, actor: Actor) -> dict[str, Any]:
    """An exported disk for a row; asks the database nothing."""
    may = actor.may(Permission.SNAPSHOT_MANAGE)
    return {
        "pk": export.pk,
        "file_name": export.file_name,
        "guest_name": export.guest_name,
        "size_gib": export.size_gib,
        "state": export.state,
        "state_label": STATES[export.state],
        "size_label": mib_label(-(-export.size // MIB)) if export.state == ExportState.READY else "–",
        "sha256": export.sha256 if export.state == ExportState.READY else "",
        "problem": export.problem,
        "made_by": export.made_by,
        "expires_at": export.expires_at,
        "operation": operation_shown(operation, actor) if operation is not None else None,
        "may_fetch": may and export.state == ExportState.READY,
        "may_delete": may and export.state != ExportState.MAKING,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def guest_export(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """One of a machine's disks as it is now."""
    guest = guest_or_404(request, guest_id)
    back = {"url": reverse("vms:guest_detail", args=[tenant, guest.pk]), "label": guest.name}
    return _ask(request, guest, disks_now(guest), back)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def volume_export(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """A volume as it is now."""
    volume = get_object_or_404(volumes_visible(request.actor), pk=volume_id)
    return _ask(request, volume, [], back_to(request, volume))


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_export(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """One disk as it was."""
    snapshot = get_object_or_404(snapshots_visible(request.actor), pk=snapshot_id)
    disks = list(snapshot.disks.select_related("volume").order_by("position"))
    return _ask(request, snapshot, disks, back_to(request, whose(snapshot)))


def _ask(
    request: HttpRequest, of: Guest | Volume | Snapshot, disks: list[SnapshotDisk], back: dict[str, str]
) -> HttpResponse:
    actor, slug = request.actor, tenant_of(request).slug
    start = {"position": disks[0].position} if disks else {}
    sent = request.POST if request.method == "POST" else request.GET if "position" in request.GET else start
    form = DiskForm(sent, disks=disks)
    if not disks:
        del form.fields["position"]

    def ask(words: dict[str, Any]) -> tuple[Operation, str]:
        return services.disk_export_create(of, actor=actor, **words), reverse("vms:disk_export_list", args=[slug])

    dialog = Dialog(
        title=_("Export %s") % of.name,
        text=_("One disk as a compressed qcow2 file of its own. It waits a day to be fetched, then it goes."),
        button=_("Export"),
        back=back,
        ask=ask,
        fit=lambda words: services.disk_export_fit(of, actor=actor, **words),
        notes=(_("All that is on the disk is in the file: passwords, keys, host keys, histories."),),
    )
    return copy_dialog(request, form, dialog)


def _find(request: HttpRequest, disk_export_id: UUID) -> DiskExport:
    found: DiskExport = get_object_or_404(disk_exports_visible(request.actor), pk=disk_export_id)
    return found


@require_safe
@page(Permission.SNAPSHOT_MANAGE)
def disk_export_content(request: HttpRequest, tenant: str, disk_export_id: UUID) -> HttpResponse:
    """The file, for whoever is signed in."""
    return disk_export_response(request, _find(request, disk_export_id))


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def disk_export_delete(request: HttpRequest, tenant: str, disk_export_id: UUID) -> HttpResponse:
    """Ask first; then let go of it."""
    export = _find(request, disk_export_id)
    back = {"url": reverse("vms:disk_export_list", args=[tenant]), "label": _("Exports")}
    if request.method == "POST":
        services.disk_export_delete(export, actor=request.actor)
        messages.success(request, _("Deleted %s.") % export.file_name)
        return redirect(back["url"])
    question = {
        "title": _("Delete %(name)s?") % {"name": export.file_name},
        "text": _("The file goes at once. The disk that it was made of stays as it is."),
        "button": _("Delete"),
        "icon": "trash",
    }
    return confirm(request, question, back=back)
