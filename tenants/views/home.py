"""The way in: which project."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from tenants.models import User
from tenants.selectors import memberships
from tenants.shapes import initials, role_label
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
