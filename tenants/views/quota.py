"""What a project may use."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.selectors import quotas_of
from tenants.shapes import gauges
from tenants.types import HttpRequest


@require_safe
@page(Permission.QUOTA_VIEW)
def quota(request: HttpRequest, tenant: str) -> HttpResponse:
    """What may be used at the same time."""
    return render(request, "tenants/quota.html", {"gauges": gauges(quotas_of(tenant_of(request)))})
