"""What a project may use, and asking for more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.core.clock import now
from portal.core.forms import refusals_in
from tenants.forms.quota import QuotaRequestForm
from tenants.listings import quota_requests, quota_rows
from tenants.models import Quota, QuotaRequest, RequestState
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.services.quota import (
    Kind,
    hard_limit,
    kind_of,
    quota_rates,
    quota_request_make,
    quota_request_withdraw,
    soft_hard_at,
)
from tenants.shapes import Gauge, amount_label, gauge_of, place_of, resource_title
from tenants.types import HttpRequest

SHOWN = 20


@require_safe
@page(Permission.QUOTA_VIEW)
def quota(request: HttpRequest, tenant: str) -> HttpResponse:
    """What may be used, what one machine may have, how fast; and what was asked for."""
    return _page(request, None)


@require_POST
@page(Permission.QUOTA_REQUEST)
def quota_ask(request: HttpRequest, tenant: str) -> HttpResponse:
    """Ask an operator for more."""
    form = QuotaRequestForm(request.POST, actor=request.actor, rows=_in_order(request))
    if form.is_valid():
        wish = form.spec()
        with refusals_in(form):
            quota_request_make(
                tenant_of(request), wish.wanted, reason=wish.reason, until=wish.until, actor=request.actor
            )
            messages.success(request, _("Asked. You will be told what becomes of it."))
            return redirect("tenants:quota", tenant)
    return _page(request, form)


@require_POST
@page(Permission.QUOTA_REQUEST)
def quota_withdraw(request: HttpRequest, tenant: str, request_id: UUID) -> HttpResponse:
    """Take a waiting request back."""
    quota_request_withdraw(get_object_or_404(quota_requests(), pk=request_id), actor=request.actor)
    messages.success(request, _("Withdrawn."))
    return redirect("tenants:quota", tenant)


def _in_order(request: HttpRequest) -> list[Quota]:
    return sorted(quota_rows(tenant_of(request)), key=place_of)


def _page(request: HttpRequest, form: QuotaRequestForm | None) -> HttpResponse:
    at, rows = now(), _in_order(request)
    rates = quota_rates(tenant_of(request), at=at)
    may_ask = request.actor.may(Permission.QUOTA_REQUEST)
    context: dict[str, Any] = {
        "limits": [_shown(row, row.used, at) for row in rows if kind_of(row.resource) == Kind.HELD],
        "maxima": [_bound(row, at) for row in rows if kind_of(row.resource) == Kind.EACH],
        "rates": [_shown(row, rates.get(row.resource, 0), at) for row in rows if kind_of(row.resource) == Kind.RATE],
        "requests": [_request(row, may_ask) for row in quota_requests().order_by("-created_at", "-pk")[:SHOWN]],
        "form": (form or QuotaRequestForm(actor=request.actor, rows=rows)) if may_ask else None,
        "asking": form is not None,
    }
    return render(request, "tenants/quota.html", context, status=422 if form is not None else 200)


def _bound(row: Quota, at: datetime) -> dict[str, Any]:
    """What one machine may have."""
    _icon, title = resource_title(row.resource)
    limit = hard_limit(row, at)
    return {"label": title, "limit_label": _("No limit") if limit is None else amount_label(row.resource, limit)}


def _shown(row: Quota, used: int, at: datetime) -> dict[str, Any]:
    """A gauge with its marks: the soft limit, and what a grant adds to the limit for a while."""
    gauge: Gauge = gauge_of(row, used, at)
    allowed = hard_limit(row, at)
    granted = row.grant_until is not None and row.grant_until > at
    scale = max(allowed or 0, 1)
    lent = allowed is not None and row.limit is not None and granted and allowed > row.limit
    soft = row.soft_limit if row.soft_limit is not None and allowed is not None else None
    return {
        "gauge": gauge,
        "mark": None if soft is None else min(100.0, 100 * soft / scale),
        "lent": 100 * (row.limit or 0) / scale if lent else None,
        "grant_until": row.grant_until if lent else None,
        "grant_from": amount_label(row.resource, row.limit),
        "soft_label": None if row.soft_limit is None else amount_label(row.resource, row.soft_limit),
        "soft_binds_at": None if granted else soft_hard_at(row),
        "soft_binds": row.soft_limit is not None and allowed == row.soft_limit != row.limit,
    }


def _amounts(limits: dict[str, int]) -> Sequence[str]:
    return [f"{resource_title(name)[1]}: {amount_label(name, limit)}" for name, limit in limits.items()]


def _request(row: QuotaRequest, may_ask: bool) -> dict[str, Any]:
    given = row.given or {}
    return {
        "pk": row.pk,
        "state": row.state,
        "state_label": row.get_state_display(),
        "wanted": _amounts(row.wanted),
        "given": _amounts(given) if given and given != row.wanted else [],
        "reason": row.reason,
        "answer": row.answer,
        "until": row.until or (row.wanted_until if row.state == RequestState.PENDING else None),
        "asked_by": row.asked_by.label if row.asked_by is not None else "",
        "created_at": row.created_at,
        "may_withdraw": may_ask and row.state == RequestState.PENDING,
    }
