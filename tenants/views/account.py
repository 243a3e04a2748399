"""One's own account, beside the accounts library's pages."""

from __future__ import annotations

from allauth.usersessions.internal.flows.sessions import end_other_sessions
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from portal.core.forms import refusals_in
from tenants.accounts.sessions import sign_ins_of
from tenants.forms.account import ProfileForm
from tenants.models import User
from tenants.services.people import profile_edit
from tenants.types import HttpRequest
from tenants.words import browser_words


@require_http_methods(["GET", "HEAD", "POST"])
def sign_ins(request: HttpRequest) -> HttpResponse:
    """Where one is signed in; a POST signs out everywhere else."""
    user = request.user
    assert isinstance(user, User)
    if request.method == "POST":
        end_other_sessions(request, user)
        messages.success(request, _("You are signed out everywhere else."))
        return redirect("usersessions_list")
    rows = [
        {
            "agent": row.user_agent,
            "label": browser_words(row.user_agent),
            "ip": row.ip,
            "created_at": row.created_at,
            "is_current": row.session_key == request.session.session_key,
        }
        for row in sign_ins_of(user)
    ]
    return render(request, "usersessions/usersession_list.html", {"sessions": rows})


@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """One's name and time zone."""
    user = request.user
    assert isinstance(user, User)
    form = ProfileForm(request.POST or None, initial={"name": user.name, "timezone": user.timezone})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            profile_edit(user, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("account:profile")
    return render(request, "account/profile.html", {"form": form}, status=422 if form.errors else 200)
