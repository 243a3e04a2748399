"""Power, the bin, and the way back: each answers at once with the machine and its operation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.clock import now
from portal.core.errors import Conflict, Missing
from portal.core.htmx import is_partial, part_template
from portal.core.units import gib_label
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import Guest
from vms.services import guests as services
from vms.views.find import guest_now, guest_or_404, tenant_of
from vms.views.shapes import BUTTONS, GuestShown


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_POWER)
def guest_power(request: HttpRequest, tenant: str, guest_id: UUID, action: str) -> HttpResponse:
    """Press a power button; a GET asks first where something would be lost."""
    guest = guest_or_404(request, guest_id)
    if action not in BUTTONS:
        raise Missing
    if request.method != "POST":
        context = {"guest": guest_now(request, guest), "action": BUTTONS[action]}
        return render(request, part_template(request, "vms/guest_power.html", default="dialog"), context)
    services.guest_power(guest, action, actor=request.actor)
    if is_partial(request):
        return _partial(request, guest)
    return redirect("vms:guest_detail", tenant, guest.pk)


def _partial(request: HttpRequest, guest: Guest) -> HttpResponse:
    """The row or the head that the button stood in."""
    row = request.POST.get("partial") == "row"
    context = {"guest": guest_now(request, guest, sparks=row), "slug": tenant_of(request).slug}
    return render(request, "vms/_guest_row.html" if row else "vms/_guest_header.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_DELETE)
def guest_delete(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Say what falls and what stays; then, with the name typed, move it to the bin or remove it for good."""
    guest = guest_or_404(request, guest_id)
    if request.method != "POST":
        return _delete_dialog(request, guest)
    if request.POST.get("typed", "").strip() != guest.name:
        return _delete_dialog(request, guest, error=_("That is not its name. Nothing was deleted."))
    try:
        services.guest_delete(
            guest,
            actor=request.actor,
            purge=request.POST.get("purge") == "true",
            delete_volumes=request.POST.get("volumes") == "true" if "asked_volumes" in request.POST else None,
        )
    except Conflict as error:
        return _delete_dialog(request, guest, error=f"{error.sentence} {error.advice}".strip())
    messages.success(request, _("Deleting %s.") % guest.name)
    return redirect("vms:guest_list", tenant)


def _delete_dialog(request: HttpRequest, guest: Guest, *, error: str = "") -> HttpResponse:
    shown = guest_now(request, guest)
    days = tenant_of(request).bin_days
    purge = guest.binned_at is not None or days == 0 or guest.built_at is None
    context = {
        "guest": shown,
        "falls": _falls(shown, purge=purge),
        "stays": _let_go(shown) if purge else _stays(shown, days=days),
        "data_volumes": len(shown.volumes) > 1 and request.actor.may(Permission.VOLUME_MANAGE),
        "deletes_volumes": len(shown.volumes) > 1 and all(volume.goes for volume in shown.volumes),
        "undo_text": _undo_text(days, purge=purge),
        "purge": purge,
        "may_purge": True,
        "error": error,
    }
    template = part_template(request, "vms/guest_delete.html", default="dialog")
    return render(request, template, context, status=422 if error else 200)


def _undo_text(days: int, *, purge: bool) -> str:
    if purge:
        return _("This cannot be undone.")
    until = date_format(now() + timedelta(days=days), "j M")
    return _("It goes to the bin. You can restore it, with disks and addresses, until %s.") % until


def _falls(guest: GuestShown, *, purge: bool) -> list[dict[str, Any]]:
    machine = {
        "icon": "server-2",
        "name": guest.name,
        "detail": f"{guest.vcpus} vCPU, {guest.memory_label}",
        "fate": _("for good") if purge else _("to the bin"),
    }
    return [machine, *(_parts(guest, fate=_("for good")) if purge else [])]


def _let_go(guest: GuestShown) -> list[dict[str, Any]]:
    """Data volumes that outlive it."""
    return [
        {"icon": "database", "name": volume.name, "detail": gib_label(volume.size_gib), "fate": _("detached and kept")}
        for volume in guest.volumes
        if not volume.goes
    ]


def _stays(guest: GuestShown, *, days: int) -> list[dict[str, Any]]:
    fate = ngettext("kept %d day", "kept %d days", days) % days
    return _parts(guest, fate=fate, kept=True)


def _parts(guest: GuestShown, *, fate: str, kept: bool = False) -> list[dict[str, Any]]:
    """What shares the machine's fate; in the bin every disk hangs on it, at the end those alone that go with it."""
    disks = [
        {
            "icon": "database",
            "name": volume.role_label if volume.position == 0 else volume.name,
            "detail": gib_label(volume.size_gib),
            "fate": fate if volume.goes else _("stays attached, then kept"),
        }
        for volume in guest.volumes
        if kept or volume.goes
    ]
    addresses = [
        {"icon": "network", "name": address.ip, "detail": address.network, "fate": fate} for address in guest.addresses
    ]
    return disks + addresses


@require_POST
@page(Permission.GUEST_DELETE)
def guest_restore(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Bring it back from the bin."""
    guest = guest_or_404(request, guest_id)
    services.guest_restore(guest, actor=request.actor)
    messages.success(request, _("Restoring %s.") % guest.name)
    return redirect("vms:guest_detail", tenant, guest.pk)
