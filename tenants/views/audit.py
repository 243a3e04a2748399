"""Who did what in a project."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tenants.pages import page
from tenants.policy import Permission
from tenants.selectors import audit_page
from tenants.shapes import deeds
from tenants.types import HttpRequest


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
