"""The way in: which project."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from portal.core.htmx import is_partial
from tenants.listings import memberships_of
from tenants.models import User
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.services.invitations import invitations_to
from tenants.shapes import initials, role_label
from tenants.types import HttpRequest

SEARCHABLE = 10
"""From so many projects on, there is a search."""
MOST_TENANTS = 10
"""In the switch of the sidebar; the rest are found on the page of all projects."""


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The way in: straight to the only project, to the operators' site, or a choice; ``?q=`` is part of a name."""
    user = request.user
    assert isinstance(user, User)
    found, invited = memberships_of(user), invitations_to(user)
    query = request.GET.get("q", "").strip()[:100]
    if not invited and not query:
        if request.actor.is_operator and not found:
            return redirect("/operator/")
        if len(found) == 1 and not request.actor.is_operator:
            return redirect("vms:overview", found[0].tenant.slug)
    wanted = query.casefold()
    tenants = [
        {
            "name": member.tenant.name,
            "initials": initials(member.tenant.name),
            "role_label": role_label(member.role.name),
            "url": reverse("vms:overview", args=[member.tenant.slug]),
        }
        for member in found
        if wanted in member.tenant.name.casefold() or wanted in member.tenant.slug
    ]
    context = {
        "tenants": tenants,
        "invitations": [
            {
                "pk": row.pk,
                "tenant": row.tenant.name,
                "initials": initials(row.tenant.name),
                "role_label": role_label(row.role.name),
            }
            for row in invited
        ],
        "query": query,
        "searchable": len(found) >= SEARCHABLE,
        "user_label": user.label,
        "is_operator": request.actor.is_operator,
    }
    return render(request, "tenants/home.html", context)


@require_safe
@page(Permission.TENANT_VIEW)
def switch(request: HttpRequest, tenant: str) -> HttpResponse:
    """The menu that leads to one's other projects, read when it opens; ``tenant`` is the one it opens in."""
    if not is_partial(request):
        return redirect("tenants:home")
    assert isinstance(request.user, User)
    here = tenant_of(request)
    mine = [member.tenant for member in memberships_of(request.user, most=MOST_TENANTS + 1)]
    others = [row for row in mine if row.pk != here.pk]
    shown = [
        {
            "name": row.name,
            "initials": initials(row.name),
            "url": reverse("vms:overview", args=[row.slug]),
            "current": row.pk == here.pk,
        }
        for row in (here, *others[: MOST_TENANTS - 1])
    ]
    return render(request, "tenants/_switch.html", {"tenants": shown, "more": len(others) >= MOST_TENANTS})
