"""A project's name and facts, its data to take along, and its end."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from django.conf import settings as configured
from django.contrib import messages
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.clock import now
from portal.core.errors import Conflict, Invalid
from portal.core.forms import refusals_in
from portal.core.htmx import part_template
from tenants.actors import Actor
from tenants.files import export_response
from tenants.forms.settings import SettingsForm
from tenants.models import Tenant, TenantState
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.services.ending import tenant_left
from tenants.services.tenants import tenant_close, tenant_rename, tenant_reopen
from tenants.types import HttpRequest

THINGS: Final[dict[str, tuple[str, str | Promise]]] = {
    "guest": ("server-2", gettext_lazy("Machines, with their disks")),
    "network": ("network", gettext_lazy("Networks")),
    "snapshot": ("camera", gettext_lazy("Snapshots of volumes")),
    "volume": ("database", gettext_lazy("Volumes")),
    "image": ("photo", gettext_lazy("Own images")),
    "key": ("key", gettext_lazy("SSH keys")),
}
"""What a project loses with its end: icon and words by kind."""


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.TENANT_VIEW)
def settings(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's name and facts; saving needs TENANT_EDIT, which the service asks for."""
    row = tenant_of(request)
    form = SettingsForm(request.POST or None, initial={"name": row.name})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            tenant_rename(row, name=form.spec(), actor=request.actor)
            messages.success(request, _("Saved."))
            return redirect("tenants:settings", tenant)
    context = {
        "form": form,
        "may_edit": request.actor.may(Permission.TENANT_EDIT),
        "may_export": request.actor.may(Permission.TENANT_EXPORT),
        "may_close": request.actor.may(Permission.TENANT_CLOSE) and row.state != TenantState.CLOSING,
        "may_reopen": _may_reopen(row, request.actor),
        "facts": _facts(row),
    }
    return render(request, "tenants/settings.html", context, status=422 if form.errors else 200)


@require_safe
@page(Permission.TENANT_EXPORT)
def export(request: HttpRequest, tenant: str) -> HttpResponseBase:
    """Everything that the project has and its reader may see, as one file."""
    return export_response(tenant_of(request), request.actor)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.TENANT_CLOSE)
def close(request: HttpRequest, tenant: str) -> HttpResponse:
    """Say what falls; then, with the short name typed, close the project."""
    if request.method != "POST":
        return _closing_dialog(request)
    confirm, reason = request.POST.get("confirm", "").strip(), request.POST.get("reason", "").strip()[:500]
    try:
        tenant_close(tenant_of(request), confirm=confirm, reason=reason, actor=request.actor)
    except Invalid:
        return _closing_dialog(request, reason=reason, error=_("That is not its name. Nothing was closed."))
    except Conflict as error:
        return _closing_dialog(request, reason=reason, error=f"{error.sentence} {error.advice}".strip())
    messages.success(request, _("The project is being closed."))
    return redirect("tenants:settings", tenant)


@require_POST
@page(Permission.TENANT_CLOSE)
def reopen(request: HttpRequest, tenant: str) -> HttpResponse:
    """Think again."""
    tenant_reopen(tenant_of(request), actor=request.actor)
    messages.success(request, _("The project is active again."))
    return redirect("tenants:settings", tenant)


def _closing_dialog(request: HttpRequest, *, reason: str = "", error: str = "") -> HttpResponse:
    counts = Counter(left.kind for left in tenant_left(tenant_of(request)))
    context = {
        "falls": [
            {"icon": icon, "label": label, "count": counts[kind]}
            for kind, (icon, label) in THINGS.items()
            if counts[kind]
        ],
        "days": configured.CLOSING_GRACE.days,
        "reason": reason,
        "error": error,
    }
    template = part_template(request, "tenants/closing.html", default="dialog")
    return render(request, template, context, status=422 if error else 200)


def _may_reopen(tenant: Tenant, actor: Actor) -> bool:
    """Is there a way back, for this actor?"""
    waits = tenant.state == TenantState.CLOSING and tenant.purge_after is not None and tenant.purge_after > now()
    return waits and actor.may(Permission.TENANT_CLOSE) and (not tenant.held or actor.is_operator)


def _facts(row: Tenant) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = [
        {"label": _("Short name"), "value": row.slug, "mono": True},
        {"label": _("State"), "value": row.standing.label},
        {"label": _("Bin"), "value": _("%d days until a deleted machine is gone for good") % row.bin_days},
        {"label": _("Made"), "at": row.created_at},
        {"label": _("Id"), "value": str(row.pk), "mono": True},
    ]
    if row.state_reason:
        facts.insert(2, {"label": _("Reason"), "value": row.state_reason})
    if row.purge_after is not None:
        facts.insert(2, {"label": _("Removed from"), "at": row.purge_after})
    return facts
