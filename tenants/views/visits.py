"""How an operator comes into a tenant's pages, and leaves."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.forms import refusals_in
from tenants.forms.visits import VisitForm
from tenants.models import Visit
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.services.visits import visit_begin
from tenants.services.visits import visit_end as end_visit
from tenants.types import HttpRequest


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.OPERATE)
def visit(request: HttpRequest, tenant: str) -> HttpResponse:
    """Say why, in whose place, and for how long."""
    row = tenant_of(request)
    form = VisitForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            visit_begin(
                row,
                form.cleaned_data["member"],
                reason=form.cleaned_data["reason"],
                lasts=form.lasts,
                may_change=form.cleaned_data["may_change"],
                actor=request.actor,
            )
            return redirect(_next(request, tenant))
    context = {"form": form, "name": row.name, "next": request.GET.get("next", "")}
    return render(request, "tenants/visit.html", context, status=422 if form.errors else 200)


def _next(request: HttpRequest, slug: str) -> str:
    """Where they wanted to go, if that is in this tenant; else its first page."""
    wanted = request.POST.get("next", "")
    inside = wanted.startswith(f"/t/{slug}/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if inside else f"/t/{slug}/"


@require_POST
@page(Permission.TENANT_VIEW)
def visit_end(request: HttpRequest, tenant: str) -> HttpResponse:
    """Leave; back to the operators' site. Who is on no visit only goes there."""
    if request.actor.visit:
        end_visit(get_object_or_404(Visit.objects, pk=request.actor.visit), actor=request.actor)
    return redirect("/operator/")
