"""How the tenant stands, on one screen."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from operations.selectors import operations_now
from operations.shapes import operation_shown
from portal.core.htmx import part_template
from tenants.actors import Actor
from tenants.listings import quota_rows
from tenants.models import Tenant
from tenants.pages import page
from tenants.policy import Permission
from tenants.selectors import audit_page
from tenants.shapes import Gauge, deeds, gauges
from tenants.types import HttpRequest
from vms.selectors.guests import GuestRow, guest_counts, guests_ailing
from vms.states import GuestStatus
from vms.views.find import tenant_of
from vms.views.guest_list import empty_context
from vms.views.shapes import STATUS, guest_shown

TILES: Final = ("guests", "vcpus", "memory_mib", "disk_gib")
SHOWN: Final = 6
SERIES: Final = {
    GuestStatus.RUNNING: "s1",
    GuestStatus.BUILDING: "s3",
    GuestStatus.PAUSED: "warn",
    GuestStatus.SUSPENDED: "s5",
    GuestStatus.MIGRATING: "s6",
    GuestStatus.ERROR: "s4",
    GuestStatus.DELETING: "s4",
    GuestStatus.UNKNOWN: "warn",
    GuestStatus.STOPPED: "s2",
    GuestStatus.BINNED: "s2",
}
"""A colour of the stylesheet for each state, in the order they stand in the bar."""


@require_safe
@page(Permission.TENANT_VIEW)
def overview(request: HttpRequest, tenant: str) -> HttpResponse:
    """Limits, machines by state, what runs, what needs somebody, what happened."""
    actor = request.actor
    looks = actor.may(Permission.GUEST_VIEW)
    counts = guest_counts(actor) if looks else {}
    if actor.may(Permission.USAGE_VIEW) and not (looks or actor.may(Permission.QUOTA_VIEW)):
        return redirect("billing:bill", tenant)  # all that there is for who sees money alone
    template = part_template(request, "vms/overview.html", default="body")
    if looks and not any(counts.values()):
        return render(request, template, {"is_empty": True, **empty_context(request)})
    tiles = gauges(quota_rows(tenant_of(request)), only=TILES) if actor.may(Permission.QUOTA_VIEW) else []
    context = {
        "gauges": tiles,
        **_states(counts, tenant),
        "operations": _operations(actor),
        "attention": _attention(actor, tenant_of(request), tiles) if looks else [],
        "activity": deeds(audit_page(limit=SHOWN).items, tenant) if actor.may(Permission.AUDIT_VIEW) else None,
        "may_create": actor.may(Permission.GUEST_CREATE),
        "slug": tenant,
    }
    return render(request, template, context)


def _operations(actor: Actor) -> list[Any]:
    if not actor.may(Permission.OPERATION_VIEW):
        return []
    return [operation_shown(row, actor) for row in operations_now(actor, limit=SHOWN)]


def _states(counts: dict[GuestStatus, int], slug: str) -> dict[str, Any]:
    """The bar of states and its legend; percent and offset of 100."""
    base, total = reverse("vms:guest_list", args=[slug]), sum(counts.values()) or 1
    offset, shown = 0.0, []
    for status in SERIES:
        if number := counts.get(status, 0):
            percent = 100.0 * number / total
            shown.append(
                {
                    "status": status,
                    "label": STATUS[status],
                    "count": number,
                    "percent": f"{percent:.2f}",
                    "offset": f"{offset:.2f}",
                    "url": f"{base}?status={status}",
                    "series": SERIES[status],
                }
            )
            offset += percent
    return {"states": shown, "states_label": ", ".join(f"{state['label']}: {state['count']}" for state in shown)}


def _attention(actor: Actor, tenant: Tenant, tiles: list[Gauge]) -> list[dict[str, Any]]:
    """What somebody should look at: a suspended project, machines with a problem, limits that are reached."""
    items: list[dict[str, Any]] = []
    items += [_ailing(row, actor, tenant) for row in guests_ailing(actor, limit=SHOWN)]
    items += [_limit_reached(tile, tenant) for tile in tiles if tile.level == "full"]
    return items


def _ailing(row: GuestRow, actor: Actor, tenant: Tenant) -> dict[str, Any]:
    guest = guest_shown(row, actor)
    return {
        "icon": "alert-triangle",
        "level": "amber" if row.status == GuestStatus.UNKNOWN else "red",
        "title": guest.name,
        "text": f"{guest.problem.message} {guest.problem.hint}".strip() if guest.problem else guest.status_label,
        "url": reverse("vms:guest_detail", args=[tenant.slug, guest.pk]),
        "action": _("Look"),
    }


def _limit_reached(tile: Gauge, tenant: Tenant) -> dict[str, Any]:
    return {
        "icon": tile.icon,
        "level": "amber",
        "title": _("%s: the limit is reached") % tile.label,
        "text": _("%(used)s of %(limit)s are in use.") % {"used": tile.used_label, "limit": tile.limit_label},
        "url": reverse("tenants:quota", args=[tenant.slug]),
        "action": _("See the quota"),
    }
