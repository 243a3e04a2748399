"""Placement groups: the list, and making, renaming and deleting one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.forms import refusals_in
from portal.core.htmx import part_template
from tenants.pages import confirm, page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.placement_groups import RULES, PlacementGroupForm, PlacementGroupNameForm
from vms.models import PlacementGroup
from vms.selectors.placement_groups import placement_groups_listed
from vms.services.placement_groups import placement_group_create as make_group
from vms.services.placement_groups import placement_group_delete as forget_group
from vms.services.placement_groups import placement_group_edit as rename_group
from vms.views.find import tenant_of


@require_safe
@page(Permission.PLACEMENT_VIEW)
def placement_group_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's placement groups."""
    return _groups(request, None)


@require_POST
@page(Permission.PLACEMENT_MANAGE)
def placement_group_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Make a group; machines are made in it, or join it."""
    form = PlacementGroupForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form, {"name_taken": "name"}):
            group = make_group(tenant_of(request), actor=request.actor, **form.spec())
            messages.success(request, _("%s is ready. New machines can be made in it.") % group.name)
            return redirect("vms:placement_group_list", tenant)
    return _groups(request, form)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.PLACEMENT_MANAGE)
def placement_group_edit(request: HttpRequest, tenant: str, placement_group_id: UUID) -> HttpResponse:
    """Call it something else."""
    group = get_object_or_404(PlacementGroup, pk=placement_group_id)
    form = PlacementGroupNameForm(
        request.POST if request.method == "POST" else None, actor=request.actor, initial={"name": group.name}
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"name_taken": "name"}):
            rename_group(group, actor=request.actor, **form.cleaned_data)
            return redirect("vms:placement_group_list", tenant)
    context = {
        "form": form,
        "icon": "arrows-right-left",
        "title": _("Rename %s") % group.name,
        "text": _("Its machines stay in it."),
        "button": _("Save"),
        "back": _back(tenant),
    }
    template = part_template(request, "vms/part_form.html", default="dialog")
    return render(request, template, context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.PLACEMENT_MANAGE)
def placement_group_delete(request: HttpRequest, tenant: str, placement_group_id: UUID) -> HttpResponse:
    """Forget a group without machines."""
    group = get_object_or_404(PlacementGroup, pk=placement_group_id)
    if request.method == "POST":
        forget_group(group, actor=request.actor)
        messages.success(request, _("%s is deleted.") % group.name)
        return redirect("vms:placement_group_list", tenant)
    question = {
        "title": _("Delete %s?") % group.name,
        "text": _("No machine may be in it any more, not even in the bin."),
        "button": _("Delete"),
        "icon": "trash",
    }
    return confirm(request, question, back=_back(tenant))


def _back(tenant: str) -> dict[str, str]:
    return {"url": reverse("vms:placement_group_list", args=[tenant]), "label": _("Placement groups")}


def _groups(request: HttpRequest, form: PlacementGroupForm | None) -> HttpResponse:
    context = {
        "groups": [_shown(group) for group in placement_groups_listed()],
        "form": form or PlacementGroupForm(actor=request.actor),
        "may": request.actor.may(Permission.PLACEMENT_MANAGE),
    }
    return render(request, "vms/placement_group_list.html", context, status=422 if form else 200)


def _shown(group: Any) -> dict[str, Any]:
    return {
        "pk": group.pk,
        "name": group.name,
        "rule": rule_words(group),
        "guests": group.guests_count,
        "hosts": group.hosts_count,
        "created_at": group.created_at,
    }


def rule_words(group: PlacementGroup) -> str:
    """What it wants of its machines' hosts."""
    return str(RULES[group.kind + ("!" if group.strict else "")])
