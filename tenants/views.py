"""Pages about a tenant itself: which one, its people, tokens, limits, log and settings."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.forms import MemberForm, SettingsForm, TokenForm, roles_given_by
from tenants.models import ApiToken, Member, Tenant, User
from tenants.pages import page
from tenants.policy import Permission
from tenants.selectors import audit_page, members_of, memberships, quotas_of, tokens_visible
from tenants.services.members import member_add, member_remove, member_set_role, role_named
from tenants.services.tenants import tenant_rename
from tenants.services.tokens import token_create as make_token
from tenants.services.tokens import token_revoke as end_token
from tenants.shapes import ROLES, deeds, gauges, initials, role_label, scope_labels
from tenants.types import HttpRequest


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The way in: straight to the only project, to the operators' site, or a choice."""
    user = request.user
    assert isinstance(user, User)
    found = memberships(user)
    if request.actor.is_operator and not found:
        return redirect("/operator/")
    if len(found) == 1 and not request.actor.is_operator:
        return redirect("vms:overview", found[0].tenant.slug)
    tenants = [
        {
            "name": member.tenant.name,
            "initials": initials(member.tenant.name),
            "role_label": role_label(member.role.name),
            "url": reverse("vms:overview", args=[member.tenant.slug]),
        }
        for member in found
    ]
    context = {"tenants": tenants, "user_label": user.label, "is_operator": request.actor.is_operator}
    return render(request, "tenants/home.html", context)


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
            member_add(_tenant(request), user, role=role, actor=request.actor)
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


@require_safe
@page(Permission.TOKEN_VIEW)
def token_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """API tokens that open this project."""
    return _tokens(request, None)


@never_cache
@require_POST
@page(Permission.TOKEN_MANAGE)
def token_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Make a token; this answer alone shows it."""
    user = request.user
    assert isinstance(user, User)
    form = TokenForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form):
            spec = form.spec()
            token, secret = make_token(
                user, name=spec.name, actor=request.actor, tenant=_tenant(request), permissions=spec.permissions,
                expires_at=spec.expires_at,
            )  # fmt: skip
            return _tokens(request, None, new_token={"name": token.name, "secret": secret})
    return _tokens(request, form)


@require_POST
@page(Permission.TOKEN_VIEW)
def token_revoke(request: HttpRequest, tenant: str, token_id: UUID) -> HttpResponse:
    """End a token at once."""
    token = get_object_or_404(tokens_visible(request.actor), pk=token_id)
    end_token(token, actor=request.actor)
    messages.success(request, _("The token %s is dead.") % token.name)
    return redirect("tenants:token_list", tenant)


def _tokens(request: HttpRequest, form: TokenForm | None, **context: Any) -> HttpResponse:
    actor = request.actor
    may_create = actor.may(Permission.TOKEN_MANAGE)
    context |= {
        "tokens": [_token(token, actor) for token in tokens_visible(actor)],
        "may_create": may_create,
        "form": form or TokenForm(actor=actor),
    }
    return render(request, "tenants/token_list.html", context, status=422 if form else 200)


def _token(token: ApiToken, actor: Actor) -> dict[str, Any]:
    own = actor.user is not None and token.user_id == actor.user.pk
    return {
        "pk": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": scope_labels(token.permissions) + ([] if token.tenant_id else [_("every project of theirs")]),
        "created_by": token.user.label if token.user is not None else "",
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "may_revoke": own or actor.may(Permission.TOKEN_MANAGE),
    }


@require_safe
@page(Permission.QUOTA_VIEW)
def quota(request: HttpRequest, tenant: str) -> HttpResponse:
    """What may be used at the same time."""
    return render(request, "tenants/quota.html", {"gauges": gauges(quotas_of(_tenant(request)))})


@require_safe
@page(Permission.AUDIT_VIEW)
def audit_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """Who did what, newest first."""
    query = request.GET.get("q", "").strip()[:100]
    found = audit_page(query=query, cursor=request.GET.get("cursor", ""))
    following = request.GET.copy()
    following["cursor"] = found.next or ""
    context = {
        "entries": deeds(found.items, tenant),
        "query": query,
        "page": {"shown_label": "", "next_url": f"?{following.urlencode()}" if found.next else None},
    }
    return render(request, "tenants/audit_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.TENANT_VIEW)
def settings(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's name and facts; saving needs TENANT_EDIT, which the service asks for."""
    row = _tenant(request)
    form = SettingsForm(request.POST or None, actor=request.actor, initial={"name": row.name})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            tenant_rename(row, name=form.spec(), actor=request.actor)
            messages.success(request, _("Saved."))
            return redirect("tenants:settings", tenant)
    facts = [
        {"label": _("Short name"), "value": row.slug, "mono": True},
        {"label": _("State"), "value": row.get_state_display()},
        {"label": _("Bin"), "value": _("%d days until a deleted machine is gone for good") % row.bin_days},
        {"label": _("Made"), "at": row.created_at},
        {"label": _("Id"), "value": str(row.pk), "mono": True},
    ]
    context = {"form": form, "may_edit": request.actor.may(Permission.TENANT_EDIT), "facts": facts}
    return render(request, "tenants/settings.html", context, status=422 if form.errors else 200)


def _tenant(request: HttpRequest) -> Tenant:
    """The tenant that the middleware found for this page."""
    assert request.actor.tenant is not None
    return request.actor.tenant
