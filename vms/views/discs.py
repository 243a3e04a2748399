"""CD drives of a machine: what lies in them, and the dialogs to insert, eject, and start from a CD."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from operations.selectors import operations_live_on
from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.discs import EjectForm, InsertForm, boot_form
from vms.models import Disc, Guest
from vms.models.discs import DRIVES, DiscBoot
from vms.selectors.stock import discs_offered
from vms.services.discs import disc_edit as edit
from vms.services.discs import disc_eject as eject
from vms.services.discs import disc_insert as insert
from vms.services.guests.allowed import Answer, answer
from vms.states import ON
from vms.views.find import guest_or_404
from vms.views.parts import PartDialog

DIALOG: Final = PartDialog(tab="storage", icon="disc")


def discs_context(actor: Actor, guest: Guest) -> dict[str, Any]:
    """What the storage tab shows of a machine's CD drives, empty ones too."""
    held = {disc.drive: disc for disc in Disc.objects.filter(guest=guest).select_related("image")}
    may = actor.may(Permission.GUEST_EDIT, guest) and not operations_live_on("guest", [guest.pk])
    return {
        "drives": [{"number": number, **_shown(held.get(number))} for number in range(1, DRIVES + 1)],
        "may_insert": may and len(held) < DRIVES and answer(guest, "guest.insert", actor) == Answer.NOW,
        "may_eject": may and answer(guest, "guest.eject", actor) == Answer.NOW,
        "may_boot": may,
    }


def _shown(disc: Disc | None) -> dict[str, Any]:
    if disc is None:
        return {"disc": None}
    return {
        "disc": {"pk": disc.pk, "name": disc.image.name, "is_out": disc.is_out},
        "boot_label": DiscBoot(disc.boot).label,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def disc_insert(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Choose a CD."""
    guest = guest_or_404(request, guest_id)
    form = InsertForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        with refusals_in(form):
            insert(guest, form.cleaned_data["image"], actor=request.actor, boot=form.cleaned_data["boot"])
            return DIALOG.back(request, guest)
    words = {
        "title": _("Insert a CD into %s") % guest.name,
        "text": _("Into an empty drive, also while the machine runs."),
        "button": _("Insert"),
        "none": "" if discs_offered().exists() else _("There is no CD yet: add an image that is a CD first."),
    }
    return DIALOG.show(request, guest, form, words)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def disc_eject(request: HttpRequest, tenant: str, guest_id: UUID, disc_id: UUID) -> HttpResponse:
    """Ask first; a system that has locked the tray keeps it, unless it is to be forced."""
    guest, disc = _find(request, guest_id, disc_id)
    form = EjectForm(request.POST if request.method == "POST" else None)
    if guest.seen_power not in ON:
        del form.fields["force"]
    if form.is_bound and form.is_valid():
        with refusals_in(form):
            eject(disc, actor=request.actor, force=form.cleaned_data.get("force", False))
            return DIALOG.back(request, guest)
    words = {
        "title": _("Eject %s?") % disc.image.name,
        "text": _("The image stays, and can be inserted again."),
        "button": _("Eject"),
    }
    return DIALOG.show(request, guest, form, words)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def disc_boot(request: HttpRequest, tenant: str, guest_id: UUID, disc_id: UUID) -> HttpResponse:
    """Say when the machine is started from it."""
    guest, disc = _find(request, guest_id, disc_id)
    form = boot_form(disc, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        with refusals_in(form):
            edit(disc, actor=request.actor, boot=form.cleaned_data["boot"])
            messages.success(request, _("Saved."))
            return DIALOG.back(request, guest)
    words = {"title": _("Start %s from this CD?") % guest.name, "text": disc.image.name, "button": _("Save")}
    return DIALOG.show(request, guest, form, words)


def _find(request: HttpRequest, guest_id: UUID, disc_id: UUID) -> tuple[Guest, Disc]:
    guest = guest_or_404(request, guest_id)
    return guest, get_object_or_404(Disc.objects.select_related("guest", "image"), guest=guest, pk=disc_id)
