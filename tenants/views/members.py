"""Who may do what in a project."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.forms.members import MemberForm, roles_given_by
from tenants.models import Member
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.selectors import members_of
from tenants.services.members import member_add, member_remove, member_set_role
from tenants.services.roles import role_named
from tenants.shapes import ROLES, initials, role_label
from tenants.types import HttpRequest


@require_safe
@page(Permission.MEMBER_VIEW)
def member_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """Who may do what."""
    return _members(request, None)


@require_POST
@page(Permission.MEMBER_MANAGE)
def member_add_post(request: HttpRequest, tenant: str) -> HttpResponse:
    """Let somebody in."""
    form = MemberForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form, {"already_member": "email"}):
            user, role = form.spec()
            member_add(tenant_of(request), user, role=role, actor=request.actor)
            messages.success(request, _("%s is a member now.") % user.label)
            return redirect("tenants:member_list", tenant)
    return _members(request, form)


@require_POST
@page(Permission.MEMBER_MANAGE)
def member_role(request: HttpRequest, tenant: str, member_id: UUID) -> HttpResponse:
    """Give a member another role."""
    member = get_object_or_404(members_of(), pk=member_id)
    member_set_role(member, role=role_named(request.POST.get("role", "")), actor=request.actor)
    messages.success(
        request, _("%(name)s: %(role)s.") % {"name": member.user.label, "role": role_label(member.role.name)}
    )
    return redirect("tenants:member_list", tenant)


@require_POST
@page(Permission.TENANT_VIEW)
def member_remove_post(request: HttpRequest, tenant: str, member_id: UUID) -> HttpResponse:
    """Take a member out, or leave."""
    member = get_object_or_404(members_of(), pk=member_id)
    member_remove(member, actor=request.actor)
    if member.user_id == request.user.pk:
        return redirect("tenants:home")
    messages.success(request, _("%s is no longer a member.") % member.user.label)
    return redirect("tenants:member_list", tenant)


def _members(request: HttpRequest, form: MemberForm | None) -> HttpResponse:
    actor = request.actor
    given = roles_given_by(actor) if actor.may(Permission.MEMBER_MANAGE) else []
    members = list(members_of())
    shown = {role.name: role for role in [*(member.role for member in members), *given]}
    context = {
        "members": [_member(member, actor, {role.pk for role in given}) for member in members],
        "roles": [
            {"value": name, "label": title, "text": text} for name, (title, text) in ROLES.items() if name != "operator"
        ],
        "choices": [{"value": role.name, "label": role_label(role.name)} for role in given],
        "own_roles": [name for name in shown if name not in ROLES],
        "may_add": bool(given),
        "add_form": form or MemberForm(actor=actor, roles=given),
    }
    return render(request, "tenants/member_list.html", context, status=422 if form else 200)


def _member(member: Member, actor: Actor, given: set[UUID]) -> dict[str, Any]:
    you = actor.user is not None and member.user_id == actor.user.pk
    reach = actor.may(Permission.MEMBER_MANAGE, member) and member.role_id in given
    return {
        "pk": member.pk,
        "name": member.user.label,
        "email": member.user.email,
        "initials": initials(member.user.label),
        "role": member.role.name,
        "role_label": role_label(member.role.name),
        "you": you,
        "joined_at": member.created_at,
        "may_change": reach,
        "may_remove": reach or you,
    }
