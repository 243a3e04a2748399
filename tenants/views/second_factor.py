"""Whether a project asks its people for a second factor."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from portal.core.errors import Conflict
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.services.second_factor import tenant_require_second_factor
from tenants.types import HttpRequest


@require_POST
@page(Permission.TENANT_EDIT)
def second_factor(request: HttpRequest, tenant: str) -> HttpResponse:
    """Ask for one, or no longer."""
    required = request.POST.get("required") == "on"
    try:
        tenant_require_second_factor(tenant_of(request), required=required, actor=request.actor)
    except Conflict as refusal:
        messages.error(request, f"{refusal.sentence} {refusal.advice}")
        return redirect("tenants:settings", tenant)
    messages.success(
        request, _("Everybody needs a second factor now.") if required else _("A password is enough again.")
    )
    return redirect("tenants:settings", tenant)
