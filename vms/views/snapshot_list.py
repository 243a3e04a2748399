"""All snapshots of a project; what is done with one is done where it hangs."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from operations.selectors import operations_live_on
from tenants.actors import Actor
from tenants.listings import quota_rows
from tenants.pages import page
from tenants.policy import Permission
from tenants.shapes import gauges
from tenants.types import HttpRequest
from vms.models import Snapshot
from vms.selectors.snapshots import snapshot_page, snapshots_visible
from vms.views.find import tenant_of
from vms.views.snapshots import snapshot_shown

ELSEWHERE = {"snapshot.revert": False, "snapshot.delete": False}


@require_safe
@page(Permission.SNAPSHOT_VIEW)
def snapshot_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """Newest first."""
    actor = request.actor
    found = snapshot_page(snapshots_visible(actor), cursor=request.GET.get("cursor", ""))
    live = operations_live_on("snapshot", [row.pk for row in found.items])
    rows = [
        {**snapshot_shown(row, live.get(row.pk), actor, may=False, allowed=ELSEWHERE), "of": _of(row, actor, tenant)}
        for row in found.items
    ]
    context = {
        "snapshots": rows,
        "page": {"shown_label": "", "next_url": f"?cursor={found.next}" if found.next else None},
        "gauges": gauges(quota_rows(tenant_of(request)), only=("snapshots",))
        if actor.may(Permission.QUOTA_VIEW)
        else [],
    }
    return render(request, "vms/snapshot_list.html", context)


def _of(snapshot: Snapshot, actor: Actor, slug: str) -> dict[str, Any]:
    """What it is of, and where to go for it; asks the database nothing. An empty address: nothing the actor may open."""
    if snapshot.guest is not None:
        may, place = actor.may(Permission.GUEST_VIEW), reverse("vms:guest_detail", args=[slug, snapshot.guest.pk])
        return {"name": snapshot.guest.name, "kind": "", "url": f"{place}?tab=snapshots" if may else ""}
    (disk,) = snapshot.disks.all()
    may, place = actor.may(Permission.VOLUME_VIEW), reverse("vms:volume_detail", args=[slug, disk.volume.pk])
    return {"name": disk.volume.name, "kind": _("volume"), "url": place if may else ""}
