"""Pages about what was asked and how far it got."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from operations.selectors import OPERATION_SORTS, operations_running, operations_visible
from operations.services import operation_cancel as call_off
from operations.shapes import operation_shown, steps_shown
from operations.states import LIVE, Status
from portal.core.htmx import part_template
from portal.core.paging import keyset_page
from tenants.pages import gone, page
from tenants.policy import Permission
from tenants.types import HttpRequest

FILTERS = {"live": LIVE, "failed": {Status.FAILED}, "done": {Status.SUCCEEDED, Status.CANCELLED}}
PAGE_SIZE = 30


@require_safe
@page(Permission.OPERATION_VIEW)
def operation_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """What was asked for, newest first; those that stand for many hide their children."""
    rows = operations_visible(request.actor).filter(parent=None)
    chosen = request.GET.get("show", "")
    if chosen in FILTERS:
        rows = rows.filter(status__in=FILTERS[chosen])
    found = keyset_page(
        rows, sorts=OPERATION_SORTS, sort="-created_at", limit=PAGE_SIZE, cursor=request.GET.get("cursor", "")
    )
    following = request.GET.copy()
    following["cursor"] = found.next or ""
    context = {
        "operations": [operation_shown(row, request.actor) for row in found.items],
        "filters": _filters(chosen),
        "page": {"shown_label": "", "next_url": f"?{following.urlencode()}" if found.next else None},
        "slug": tenant,
    }
    return render(request, part_template(request, "operations/operation_list.html", default="list"), context)


def _filters(chosen: str) -> list[dict[str, Any]]:
    words = {"": _("All"), "live": _("Running"), "failed": _("Failed"), "done": _("Done")}
    return [
        {
            "label": label,
            "url": f"?show={name}" if name else "?",
            "current": name == (chosen if chosen in FILTERS else ""),
        }
        for name, label in words.items()
    ]


@require_safe
@page(Permission.OPERATION_VIEW)
def operation_detail(request: HttpRequest, tenant: str, operation_id: UUID) -> HttpResponse:
    """One operation with its steps, and its children where it stands for many."""
    row = get_object_or_404(operations_visible(request.actor), pk=operation_id)
    context = {
        "operation": operation_shown(row, request.actor, children=list(row.children.all())),
        "steps": steps_shown(row),
        "slug": tenant,
    }
    return render(request, part_template(request, "operations/operation_detail.html", default="body"), context)


@require_safe
@page(Permission.OPERATION_VIEW)
def operation_partial(request: HttpRequest, tenant: str, operation_id: UUID) -> HttpResponse:
    """One operation as it stands in lists; nothing where it is no longer there."""
    row = operations_visible(request.actor).filter(pk=operation_id).first()
    if row is None:
        return gone()
    context = {"operation": operation_shown(row, request.actor), "slug": tenant}
    return render(request, "operations/_operation.html", context)


@require_POST
@page(Permission.OPERATION_CANCEL)
def operation_cancel(request: HttpRequest, tenant: str, operation_id: UUID) -> HttpResponse:
    """Call it off."""
    row = get_object_or_404(operations_visible(request.actor), pk=operation_id)
    call_off(row, actor=request.actor)
    return redirect("operations:operation_detail", tenant, row.pk)


@require_safe
@page(Permission.OPERATION_VIEW)
def running_pill(request: HttpRequest, tenant: str) -> HttpResponse:
    """How much is running, for the top bar."""
    context = {"running": operations_running(request.actor), "slug": tenant}
    return render(request, "operations/_running_pill.html", context)
