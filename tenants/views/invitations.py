"""Invitations: sent from a project, accepted or declined by whoever has the letter's link."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.forms import refusals_in
from tenants.accounts.sessions import sign_in_remember
from tenants.forms.members import InvitationForm, NewPersonForm
from tenants.listings import invitations
from tenants.models import Invitation, Member, User
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.services.invitations import (
    addresses_of,
    has_account,
    invitation_accept,
    invitation_accept_new,
    invitation_by_secret,
    invitation_decline,
    invitation_resend,
    invitation_revoke,
    invitation_send,
    invitation_to,
)
from tenants.services.sign_in import provider_for
from tenants.shapes import role_label
from tenants.types import HttpRequest
from tenants.views.members import people

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@require_POST
@page(Permission.MEMBER_MANAGE)
def invitation_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Ask somebody to join."""
    form = InvitationForm(request.POST, actor=request.actor)
    if form.is_valid():
        about = dict.fromkeys(("already_member", "already_invited", "rate_limited"), "email")
        with refusals_in(form, about):
            email, role = form.spec()
            invitation_send(tenant_of(request), email=email, role=role, actor=request.actor)
            messages.success(request, _("An invitation is on its way to %s.") % email)
            return redirect("tenants:member_list", tenant)
    return people(request, form)


@require_POST
@page(Permission.MEMBER_MANAGE)
def invitation_again(request: HttpRequest, tenant: str, invitation_id: UUID) -> HttpResponse:
    """Send it again, with a new link."""
    row = get_object_or_404(invitations(tenant_of(request)), pk=invitation_id)
    invitation_resend(row, actor=request.actor)
    messages.success(request, _("A new letter is on its way to %s; the old link is dead.") % row.email)
    return redirect("tenants:member_list", tenant)


@require_POST
@page(Permission.MEMBER_MANAGE)
def invitation_end(request: HttpRequest, tenant: str, invitation_id: UUID) -> HttpResponse:
    """Revoke it."""
    row = get_object_or_404(invitations(tenant_of(request)), pk=invitation_id)
    invitation_revoke(row, actor=request.actor)
    messages.success(request, _("The invitation of %s is dead.") % row.email)
    return redirect("tenants:member_list", tenant)


@login_not_required
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """The page of a letter's link: for somebody new, for the person invited, or for somebody else who is told so."""
    row = invitation_by_secret(secret)
    if request.user.is_authenticated:
        return _as_signed_in(request, row)
    if has_account(row) or provider_for(row.email) is not None:
        return _asked(request, row, way="sign_in")
    form = NewPersonForm(request.POST if request.method == "POST" else None, email=row.email)
    if form.is_valid():
        with refusals_in(form):
            name, password = form.spec()
            member = invitation_accept_new(row, name=name, password=password, facts=request.actor)
            login(request, member.user, backend=BACKEND)
            answer = _welcome(request, member)
            sign_in_remember(request, member.user, answer)
            return answer
    return _asked(request, row, way="new", form=form)


@require_POST
def invitation_join(request: HttpRequest, invitation_id: UUID) -> HttpResponse:
    """Accept an invitation to one's own proven address, without the letter."""
    user = _person(request)
    return _welcome(request, invitation_accept(invitation_to(user, invitation_id), user, facts=request.actor))


@login_not_required
@never_cache
@require_POST
def invitation_no(request: HttpRequest, secret: str) -> HttpResponse:
    """Decline by the letter's link; nobody has to sign in for that."""
    row = invitation_by_secret(secret)
    invitation_decline(row, request.user if isinstance(request.user, User) else None, facts=request.actor)
    return _asked(request, row, way="declined")


@require_POST
def invitation_stay_out(request: HttpRequest, invitation_id: UUID) -> HttpResponse:
    """Decline an invitation to one's own proven address, without the letter."""
    user = _person(request)
    row = invitation_to(user, invitation_id)
    invitation_decline(row, user, facts=request.actor)
    messages.success(request, _("You declined the invitation to %s.") % row.tenant.name)
    return redirect("tenants:home")


def _as_signed_in(request: HttpRequest, row: Invitation) -> HttpResponse:
    user = _person(request)
    if request.method == "POST":
        return _welcome(request, invitation_accept(row, user, facts=request.actor))
    return _asked(request, row, way="mine" if row.email in addresses_of(user) else "other")


def _asked(request: HttpRequest, row: Invitation, *, way: str, form: NewPersonForm | None = None) -> HttpResponse:
    context = {
        "invitation": {
            "email": row.email,
            "tenant": row.tenant.name,
            "role_label": role_label(row.role.name),
            "sent_by": row.invited_by.label if row.invited_by is not None else "",
            "expires_at": row.expires_at,
        },
        "way": way,
        "form": form,
        "user_label": request.user.email if isinstance(request.user, User) else "",
        "here": request.path,
    }
    return render(request, "tenants/invitation.html", context, status=422 if form is not None and form.errors else 200)


def _welcome(request: HttpRequest, member: Member) -> HttpResponse:
    messages.success(request, _("Welcome to %s.") % member.tenant.name)
    return redirect("vms:overview", member.tenant.slug)


def _person(request: HttpRequest) -> User:
    user = request.user
    assert isinstance(user, User)
    return user
