"""The roles of a project: built in, and its own."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.forms.roles import RoleForm
from tenants.listings import roles
from tenants.models import Role
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.selectors import members_of
from tenants.services.roles import role_create as make_role
from tenants.services.roles import role_delete as remove_role
from tenants.services.roles import role_edit as change_role
from tenants.shapes import ROLES, role_label
from tenants.types import HttpRequest
from tenants.words import permission_label


@require_safe
@page(Permission.MEMBER_VIEW)
def role_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """What each role allows, and how many people have it."""
    people = Counter(members_of().values_list("role", flat=True))
    order = list(ROLES)
    shown = sorted(roles(), key=lambda r: (order.index(r.name) if r.tenant_id is None else len(order), r.name))
    context = {
        "roles": [_shown(role, request.actor, people[role.pk]) for role in shown],
        "may_create": request.actor.may(Permission.ROLE_MANAGE),
    }
    return render(request, "tenants/role_list.html", context)


def _shown(role: Role, actor: Actor, people: int) -> dict[str, Any]:
    built_in = role.tenant_id is None
    held = {p.value for p in actor.permissions - actor.tagged.keys()}
    return {
        "pk": role.pk,
        "label": role_label(role.name) if built_in else role.name,
        "built_in": built_in,
        "text": ROLES[role.name][1] if built_in else "",
        "people": people,
        "permissions": [] if built_in else [permission_label(value) for value in role.permissions],
        "tagged": [permission_label(value) for value in role.tagged],
        "tags": role.tags,
        "may_edit": not built_in and actor.may(Permission.ROLE_MANAGE) and {*role.permissions, *role.tagged} <= held,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.ROLE_MANAGE)
def role_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Build a role."""
    form = RoleForm(request.POST or None, actor=request.actor)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"name_taken": "name"}):
            role = make_role(
                tenant_of(request), name=form.cleaned_data["name"], grants=form.spec(), actor=request.actor
            )
            messages.success(request, _("The role %s can be given now.") % role.name)
            return redirect("tenants:role_list", tenant)
    return render(request, "tenants/role_form.html", {"form": form, "role": None}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.ROLE_MANAGE)
def role_edit(request: HttpRequest, tenant: str, role_id: UUID) -> HttpResponse:
    """Change what a role allows, for everybody who has it at once."""
    role = _own(role_id)
    form = RoleForm(request.POST or None, actor=request.actor, role=role)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"name_taken": "name"}):
            change_role(role, name=form.cleaned_data["name"], grants=form.spec(), actor=request.actor)
            messages.success(request, _("Saved; it holds at once."))
            return redirect("tenants:role_list", tenant)
    context = {"form": form, "role": {"pk": role.pk, "name": role.name}}
    return render(request, "tenants/role_form.html", context, status=422 if form.errors else 200)


@require_POST
@page(Permission.ROLE_MANAGE)
def role_delete(request: HttpRequest, tenant: str, role_id: UUID) -> HttpResponse:
    """Remove a role that nobody has."""
    role = _own(role_id)
    remove_role(role, actor=request.actor)
    messages.success(request, _("The role %s is gone.") % role.name)
    return redirect("tenants:role_list", tenant)


def _own(role_id: UUID) -> Role:
    role = get_object_or_404(roles(), pk=role_id)
    if role.tenant_id is None:
        raise Http404
    return role
