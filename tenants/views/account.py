"""One's own account, beside the accounts library's pages."""

from __future__ import annotations

from allauth.usersessions.internal.flows.sessions import end_other_sessions, end_sessions
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.forms import refusals_in
from tenants.accounts.browsers import browser_label
from tenants.accounts.sessions import sign_ins_of
from tenants.forms.account import ProfileForm
from tenants.models import User
from tenants.services.people import profile_edit
from tenants.types import HttpRequest


@require_http_methods(["GET", "HEAD", "POST"])
def sign_ins(request: HttpRequest) -> HttpResponse:
    """Where one is signed in; a POST signs out everywhere else."""
    user = request.user
    assert isinstance(user, User)
    if request.method == "POST":
        end_other_sessions(request, user)
        messages.success(request, _("You are signed out everywhere else."))
        return redirect("usersessions_list")
    return render(
        request, "usersessions/usersession_list.html", {"sessions": sign_ins_of(user, request.session.session_key)}
    )


@require_POST
def sign_in_end(request: HttpRequest, session_id: int) -> HttpResponse:
    """Sign out one browser of one's own; this one is left as by "Sign out"."""
    user = request.user
    assert isinstance(user, User)
    row = get_object_or_404(UserSession, pk=session_id, user=user)
    end_sessions(request, [row])
    if not request.user.is_authenticated:
        return redirect("account_login")
    messages.success(request, _("%s is signed out.") % browser_label(row.user_agent))
    return redirect("usersessions_list")


@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """One's name and time zone."""
    user = request.user
    assert isinstance(user, User)
    form = ProfileForm(request.POST or None, initial={"name": user.name, "timezone": user.timezone})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            profile_edit(user, **form.cleaned_data, actor=request.actor)
            messages.success(request, _("Saved."))
            return redirect("account:profile")
    return render(request, "account/profile.html", {"form": form}, status=422 if form.errors else 200)
