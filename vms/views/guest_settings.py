"""The settings of one machine: what is changed at once, without its host."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from portal.core.forms import refusals_in
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.guest_timing import LeaseForm, ScheduleForm
from vms.forms.guests import ProtectForm, RenameForm, StartOrderForm, TagsForm
from vms.forms.placement_groups import GuestPlacementForm
from vms.models import Guest, PowerSchedule
from vms.services.guests import guest_edit
from vms.services.guests.lease import guest_lease as lease
from vms.services.power_schedules import schedule_create, schedule_delete, schedule_switch
from vms.views.find import guest_or_404, tenant_of
from vms.views.guest_detail import detail_page

FIELD_OF: Final = {
    "name_taken": "name",
    "too_many_tags": "tags",
    "own_reach": "tags",
    "placement_group_unmet": "placement_group",
}


@require_POST
@page(Permission.GUEST_EDIT)
def guest_rename(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Give it another name."""
    return _edit(request, guest_id, RenameForm(request.POST, actor=request.actor))


@require_POST
@page(Permission.GUEST_EDIT)
def guest_tags(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Give it exactly these tags."""
    return _edit(request, guest_id, TagsForm(request.POST, actor=request.actor))


@require_POST
@page(Permission.GUEST_EDIT)
def guest_protect(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Turn delete protection on or off."""
    return _edit(request, guest_id, ProtectForm(request.POST, actor=request.actor))


@require_POST
@page(Permission.GUEST_EDIT)
def guest_start_order(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Say when it is started after a restart of its host, and whether after a crash."""
    return _edit(request, guest_id, StartOrderForm(request.POST, actor=request.actor))


@require_POST
@page(Permission.GUEST_EDIT)
def guest_placement(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Say which placement group it is in."""
    return _edit(request, guest_id, GuestPlacementForm(request.POST, actor=request.actor))


def _edit(
    request: HttpRequest,
    guest_id: UUID,
    form: RenameForm | TagsForm | ProtectForm | StartOrderForm | GuestPlacementForm,
) -> HttpResponse:
    guest = guest_or_404(request, guest_id)
    if form.is_valid():
        with refusals_in(form, FIELD_OF):
            guest_edit(guest, actor=request.actor, **form.spec())
            messages.success(request, _("Saved."))
            return _back(request, guest)
    return detail_page(request, guest, tab="settings", form=None if isinstance(form, ProtectForm) else form)


def _back(request: HttpRequest, guest: Guest) -> HttpResponseRedirect:
    return redirect(reverse("vms:guest_detail", args=[tenant_of(request).slug, guest.pk]) + "?tab=settings")


@require_POST
@page(Permission.GUEST_DELETE)
def guest_lease(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Say which day is its last."""
    guest = guest_or_404(request, guest_id)
    form = LeaseForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form, {"protected": "ends_at"}):
            lease(guest, actor=request.actor, **form.spec())
            messages.success(request, _("Saved."))
            return _back(request, guest)
    return detail_page(request, guest, tab="settings", form=form)


@require_POST
@page(Permission.GUEST_POWER)
def guest_schedule_add(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Have it switched by the clock."""
    guest = guest_or_404(request, guest_id)
    form = ScheduleForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form):
            schedule_create(guest, actor=request.actor, **form.spec())
            messages.success(request, _("Saved."))
            return _back(request, guest)
    return detail_page(request, guest, tab="settings", form=form)


@require_POST
@page(Permission.GUEST_POWER)
def guest_schedule_change(request: HttpRequest, tenant: str, guest_id: UUID, schedule_id: UUID) -> HttpResponse:
    """Turn a schedule on or off, or forget it."""
    guest = guest_or_404(request, guest_id)
    row = get_object_or_404(PowerSchedule.objects.select_related("guest"), guest=guest, pk=schedule_id)
    if request.POST.get("deed") == "delete":
        schedule_delete(row, actor=request.actor)
    else:
        schedule_switch(row, enabled=request.POST.get("deed") == "on", actor=request.actor)
    messages.success(request, _("Saved."))
    return _back(request, guest)
