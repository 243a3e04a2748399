"""A project's name and facts."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from portal.core.forms import refusals_in
from tenants.forms.settings import SettingsForm
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.services.tenants import tenant_rename
from tenants.types import HttpRequest


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.TENANT_VIEW)
def settings(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's name and facts; saving needs TENANT_EDIT, which the service asks for."""
    row = tenant_of(request)
    form = SettingsForm(request.POST or None, actor=request.actor, initial={"name": row.name})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            tenant_rename(row, name=form.spec(), actor=request.actor)
            messages.success(request, _("Saved."))
            return redirect("tenants:settings", tenant)
    facts = [
        {"label": _("Short name"), "value": row.slug, "mono": True},
        {"label": _("State"), "value": row.get_state_display()},
        {"label": _("Bin"), "value": _("%d days until a deleted machine is gone for good") % row.bin_days},
        {"label": _("Made"), "at": row.created_at},
        {"label": _("Id"), "value": str(row.pk), "mono": True},
    ]
    context = {"form": form, "may_edit": request.actor.may(Permission.TENANT_EDIT), "facts": facts}
    return render(request, "tenants/settings.html", context, status=422 if form.errors else 200)
