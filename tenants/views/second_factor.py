"""Whether a project asks its people for a second factor."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from portal.core.errors import Conflict
from tenants.pages import confirm, page, tenant_of
from tenants.policy import Permission
from tenants.services.second_factor import members_without, tenant_require_second_factor
from tenants.types import HttpRequest


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.TENANT_EDIT)
def second_factor(request: HttpRequest, tenant: str) -> HttpResponse:
    """Ask for one, having said whom that shuts out; or no longer."""
    required = request.POST.get("required", "on") == "on"
    if required and request.POST.get("confirmed") != "yes":
        back = {"url": reverse("tenants:settings", args=[tenant]), "label": _("Settings")}
        return confirm(request, _question(len(members_without(tenant_of(request)))), back=back)
    try:
        tenant_require_second_factor(tenant_of(request), required=required, actor=request.actor)
    except Conflict as refusal:
        messages.error(request, f"{refusal.sentence} {refusal.advice}")
        return redirect("tenants:settings", tenant)
    messages.success(
        request, _("Everybody needs a second factor now.") if required else _("A password is enough again.")
    )
    return redirect("tenants:settings", tenant)


def _question(without: int) -> dict[str, Any]:
    """What is asked before; ``without`` is how many members have none yet."""
    if without:
        who = ngettext("%d member has none.", "%d members have none.", without) % without
        falls = _("Their open pages and consoles close at once and their tokens are refused, until they have one.")
        text = f"{who} {falls}"
    else:
        text = _("Every member has one: nobody loses anything. Whoever comes later sets one up first.")
    return {
        "title": _("Ask everybody for a second factor?"),
        "text": text,
        "button": _("Ask for it"),
        "icon": "shield",
        "sends": {"required": "on"},
    }
