"""Who may do what in a project."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.clock import now
from portal.core.htmx import part_template
from tenants.actors import Actor
from tenants.forms.members import InvitationForm, roles_given_by
from tenants.listings import invitations
from tenants.models import Invitation, Member
from tenants.pages import confirm, page, tenant_of
from tenants.policy import Permission
from tenants.selectors import members_of
from tenants.services.members import member_remove as take_out
from tenants.services.members import member_set_role, ownership_transfer
from tenants.services.roles import role_named
from tenants.services.tokens import service_tokens_of
from tenants.shapes import ROLES, initials, role_label
from tenants.types import HttpRequest


@require_safe
@page(Permission.MEMBER_VIEW)
def member_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """Who may do what, and who has been invited."""
    return people(request, None)


@require_POST
@page(Permission.MEMBER_MANAGE)
def member_role(request: HttpRequest, tenant: str, member_id: UUID) -> HttpResponse:
    """Give a member another role."""
    member = get_object_or_404(members_of(), pk=member_id)
    member = member_set_role(member, role=role_named(request.POST.get("role", "")), actor=request.actor)
    messages.success(
        request, _("%(name)s: %(role)s.") % {"name": member.user.label, "role": role_label(member.role.name)}
    )
    return redirect("tenants:member_list", tenant)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.TENANT_VIEW)
def member_remove(request: HttpRequest, tenant: str, member_id: UUID) -> HttpResponse:
    """Take a member out, or leave: says first what that means."""
    member = get_object_or_404(members_of(), pk=member_id)
    leaving = member.user_id == request.user.pk
    if not leaving:
        request.actor.require(Permission.MEMBER_MANAGE, member)
    if request.POST.get("confirmed") != "yes":
        return confirm(request, _removal(member, leaving=leaving), back=_back(tenant))
    take_out(member, actor=request.actor)
    if leaving:
        return redirect("tenants:home")
    messages.success(request, _("%s is no longer a member.") % member.user.label)
    return redirect("tenants:member_list", tenant)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.OWNER_MANAGE)
def member_transfer(request: HttpRequest, tenant: str, member_id: UUID) -> HttpResponse:
    """Hand the project over: says first what that means."""
    member = get_object_or_404(members_of(), pk=member_id)
    if request.POST.get("confirmed") != "yes":
        return confirm(request, _handover(member), back=_back(tenant))
    ownership_transfer(member, actor=request.actor)
    messages.success(request, _("%s is an owner now, and you are an admin.") % member.user.label)
    return redirect("tenants:member_list", tenant)


def people(request: HttpRequest, form: InvitationForm | None) -> HttpResponse:
    """The page of members and invitations; with ``form``, what was wrong with it."""
    actor = request.actor
    manages = actor.may(Permission.MEMBER_MANAGE)
    given = roles_given_by(actor) if manages else []
    pks = {role.pk for role in given}
    members = list(members_of())
    owns = actor.user is not None and any(m.user_id == actor.user.pk and m.role.name == "owner" for m in members)
    context = {
        "members": [_member(member, actor, pks, owns=owns) for member in members],
        "invitations": [_invitation(row, pks) for row in invitations(tenant_of(request), state="unsettled")]
        if manages
        else [],
        "roles": [
            {"value": name, "label": title, "text": text} for name, (title, text) in ROLES.items() if name != "operator"
        ],
        "choices": [{"value": role.name, "label": role_label(role.name)} for role in given],
        "may_invite": manages,
        "form": form or InvitationForm(actor=actor, roles=given),
    }
    template = part_template(request, "tenants/member_list.html", default="people", parts=("people",))
    return render(request, template, context, status=422 if form else 200)


def _member(member: Member, actor: Actor, given: set[UUID], *, owns: bool) -> dict[str, Any]:
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
        "may_transfer": owns and not you and member.role.name != "owner" and actor.may(Permission.OWNER_MANAGE),
    }


def _invitation(invitation: Invitation, given: set[UUID]) -> dict[str, Any]:
    return {
        "pk": invitation.pk,
        "email": invitation.email,
        "role_label": role_label(invitation.role.name),
        "sent_at": invitation.sent_at,
        "sent_by": invitation.invited_by.label if invitation.invited_by is not None else "",
        "expires_at": invitation.expires_at,
        "declined": invitation.declined,
        "expired": invitation.expires_at <= now(),
        "may_change": invitation.role_id in given and not invitation.declined,
    }


def _back(slug: str) -> dict[str, str]:
    return {"url": reverse("tenants:member_list", args=[slug]), "label": _("Members")}


def _removal(member: Member, *, leaving: bool) -> dict[str, Any]:
    tenant = member.tenant.name
    if leaving:
        title, button = _("Leave %s?") % tenant, _("Leave")
        text = _("You lose all access at once; your tokens for this project end. Somebody has to invite you again.")
    else:
        title, button = _("Remove %s?") % member.user.label, _("Remove")
        text = _("They lose all access to %s at once; their tokens for it and invitations they sent end.") % tenant
    return {
        "title": title,
        "text": text,
        "button": button,
        "icon": "logout" if leaving else "trash",
        "besides": _tokens_left(member),
    }


def _tokens_left(member: Member) -> dict[str, str] | None:
    """What stays in the hands of who goes: service tokens that they made, and may have kept the text of."""
    number = service_tokens_of(member.user, member.tenant).count()
    if not number:
        return None
    text = ngettext(
        "%d token of the project itself was made by them and stays: they may have kept its text.",
        "%d tokens of the project itself were made by them and stay: they may have kept their text.",
        number,
    )
    return {
        "text": text % number,
        "url": reverse("tenants:token_list", args=[member.tenant.slug]),
        "label": _("Renew or revoke them"),
    }


def _handover(member: Member) -> dict[str, Any]:
    return {
        "title": _("Make %s the owner?") % member.user.label,
        "text": _("They may then do everything in %s, and you become an admin: only an owner can undo this.")
        % member.tenant.name,
        "button": _("Hand over"),
        "icon": "arrows-right-left",
    }
