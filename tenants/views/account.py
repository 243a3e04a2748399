"""One's own account, beside the accounts library's pages."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from portal.core.forms import refusals_in
from tenants.forms.account import ProfileForm
from tenants.models import User
from tenants.services.people import profile_edit
from tenants.types import HttpRequest


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
