"""The list of machines, its rows, and what can be done with many of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe

from portal.core.errors import Invalid, PortalError
from portal.core.htmx import here, is_partial, part_template
from portal.core.ids import uuid_or_none
from tenants.listings import quota_rows
from tenants.pages import gone, page
from tenants.policy import Permission
from tenants.shapes import gauges
from tenants.types import HttpRequest
from vms.models import Guest, SshKey
from vms.selectors.guests import GuestFilters, guest_counts, guest_rows, guests_visible, tags_worn
from vms.services.guests import guest_delete, guest_power
from vms.states import GuestStatus
from vms.views.find import guest_now, guest_or_404, tenant_of
from vms.views.shapes import STATUS, bulk_actions, guests_shown

ALWAYS: Final = (GuestStatus.RUNNING, GuestStatus.STOPPED)
"""States with a chip even where no machine is in them."""
SORTS: Final = {"name": "name", "created": "created_at"}
PAGE_SIZE: Final = 50


@require_safe
@page(Permission.GUEST_VIEW)
def guest_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """The machines; ``?part=`` counts, rows or list for htmx."""
    counts = guest_counts(request.actor)
    if not any(counts.values()) and not is_partial(request):
        return render(request, "vms/guest_list.html", {"is_empty": True, **empty_context(request)})
    template = part_template(request, "vms/guest_list.html", default="list", parts=("list", "rows", "counts"))
    return render(request, template, _list_context(request, counts))


def _list_context(request: HttpRequest, counts: dict[GuestStatus, int]) -> dict[str, Any]:
    query = request.GET
    sort = query.get("sort", "name")
    filters = _filters(query)
    column = SORTS.get(sort.removeprefix("-"), "name")
    found = guest_rows(
        request.actor, filters, sort=f"-{column}" if sort.startswith("-") else column,
        cursor=query.get("cursor", ""), limit=PAGE_SIZE, volumes=False, sparks=True,
    )  # fmt: skip
    narrowed = bool(filters.q or filters.tag)
    return {
        "guests": guests_shown(found.items, request.actor),
        "slug": tenant_of(request).slug,
        "chips": _chips(query, counts),
        "tags": [
            {"name": name, "url": _with(query, tag="" if name == filters.tag else name), "current": name == filters.tag}
            for name in tags_worn(request.actor)
        ],
        "query": filters.q,
        "hidden_filters": {name: query[name] for name in ("status", "tag", "sort") if query.get(name)},
        "sort": {name: _sorting(query, name) for name in SORTS},
        "page": {
            "shown_label": ""
            if narrowed and found.next
            else _amount(len(found.items) if narrowed else _chosen(counts, filters)),
            "next_url": _with(query, cursor=found.next) if found.next else None,
        },
        "clear_url": "?",
        "may_create": request.actor.may(Permission.GUEST_CREATE),
        "bulk_actions": bulk_actions(request.actor),
        "here": here(request),
    }


def _filters(query: QueryDict) -> GuestFilters:
    status = query.get("status", "")
    known = (GuestStatus(status),) if status in GuestStatus._value2member_map_ else ()
    return GuestFilters(q=query.get("q", "").strip()[:100], tag=query.get("tag", "")[:32], status=known)


def _chosen(counts: dict[GuestStatus, int], filters: GuestFilters) -> int:
    """How many machines the states in the filter have together; without one all but those in the bin."""
    wanted = filters.status or [status for status in GuestStatus if status != GuestStatus.BINNED]
    return sum(counts[status] for status in wanted)


def _amount(number: int) -> str:
    return ngettext("%d machine", "%d machines", number) % number


def _with(query: QueryDict, **changes: str | None) -> str:
    """The present filters with some changed; an empty one is left out, and so is the place in the list."""
    fresh = query.copy()
    for name in ("part", "cursor"):
        fresh.pop(name, None)
    for name, value in changes.items():
        fresh.pop(name, None)
        if value:
            fresh[name] = value
    return f"?{fresh.urlencode()}"


def _chips(query: QueryDict, counts: dict[GuestStatus, int]) -> list[dict[str, Any]]:
    chosen = query.get("status", "")
    everything = sum(number for status, number in counts.items() if status != GuestStatus.BINNED)
    chips: list[dict[str, Any]] = [
        {"label": _("All"), "status": None, "count": everything, "url": _with(query, status=""), "current": not chosen}
    ]
    for status, number in counts.items():
        if number or status in ALWAYS or status == chosen:
            chips.append(
                {
                    "label": STATUS[status],
                    "status": status,
                    "count": number,
                    "url": _with(query, status=status),
                    "current": status == chosen,
                }
            )
    return chips


def _sorting(query: QueryDict, name: str) -> dict[str, str]:
    """Where a click on a column's head leads, and how it is sorted now."""
    now = query.get("sort", "name")
    if now == name:
        return {"url": _with(query, sort=f"-{name}"), "aria": "ascending"}
    return {"url": _with(query, sort=name), "aria": "descending" if now == f"-{name}" else ""}


def empty_context(request: HttpRequest) -> dict[str, Any]:
    """What the first page of a new project shows instead of an empty list."""
    limits = gauges(quota_rows(tenant_of(request)), only=("guests", "vcpus", "memory_mib", "disk_gib"))
    room = ", ".join(f"{gauge.limit_label} {gauge.label}" for gauge in limits)
    return {
        "may_create": request.actor.may(Permission.GUEST_CREATE),
        "limits_label": _("Room for %s") % room,
        "has_keys": SshKey.objects.exists(),
    }


@require_safe
@page(Permission.GUEST_VIEW)
def guest_row(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """One row again; nothing where the machine is gone."""
    guest = guests_visible(request.actor).filter(pk=guest_id).first()
    if guest is None:
        return gone()
    shown = guest_now(request, guest, sparks=True)
    if shown.status == GuestStatus.BINNED and "status=binned" not in request.headers.get("HX-Current-URL", ""):
        return gone()  # it has left the list that the row stands in
    return render(request, "vms/_guest_row.html", {"guest": shown, "slug": tenant})


@require_safe
@page(Permission.GUEST_VIEW)
def guest_menu(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """What can be done to one machine now: what its row shows when its menu opens."""
    guest = guest_or_404(request, guest_id)
    if not is_partial(request):
        return redirect("vms:guest_detail", tenant, guest.pk)
    context = {"guest": guest_now(request, guest), "slug": tenant, "partial": "row"}
    return render(request, "vms/_actions_menu.html", context)


@require_POST
@page(Permission.GUEST_VIEW)
def guest_bulk(request: HttpRequest, tenant: str) -> HttpResponse:
    """One action on each chosen machine, and for each what came of it; deleting asks first, for the number typed."""
    guests = _selected(request)
    action = request.POST.get("action", "")
    if action == "delete" and request.POST.get("confirmed") != "yes":
        return _confirm_delete(request, guests)
    if action == "delete" and request.POST.get("typed", "").strip() != str(len(guests)):
        raise Invalid(
            _("The number typed is not the number of machines."), code="not_confirmed", hint=_("Nothing was deleted.")
        )
    results = [_attempt(request, guest, action) for guest in guests]
    done = sum(result["ok"] for result in results)
    summary = _("%(done)d of %(all)d taken on.") % {"done": done, "all": len(results)}
    if is_partial(request):
        return render(request, "vms/_bulk_result.html", {"results": results, "summary": summary, "slug": tenant})
    messages.success(request, summary)
    for result in results:
        if not result["ok"]:
            messages.error(request, f"{result['guest'].name}: {result['message']}")
    return redirect("vms:guest_list", tenant)


def _selected(request: HttpRequest) -> list[Guest]:
    """The machines that were ticked, as far as they are there and within reach, by name."""
    ids = [pk for pk in map(uuid_or_none, request.POST.getlist("guest")) if pk is not None]
    if len(ids) > PAGE_SIZE * 2:
        raise Invalid(_("At most %d machines at once.") % (PAGE_SIZE * 2), code="too_many")
    return list(guests_visible(request.actor).filter(pk__in=ids).order_by("name", "pk"))


def _attempt(request: HttpRequest, guest: Guest, action: str) -> dict[str, Any]:
    """Ask for one; a refusal is this machine's result and does not keep the others from theirs."""
    try:
        if action == "delete":
            guest_delete(guest, actor=request.actor)
        else:
            guest_power(guest, action, actor=request.actor)
    except PortalError as error:
        return {
            "guest": guest_now(request, guest, sparks=True),
            "ok": False,
            "message": f"{error.sentence} {error.advice}".strip(),
        }
    return {"guest": guest_now(request, guest, sparks=True), "ok": True, "message": ""}


def _confirm_delete(request: HttpRequest, guests: Sequence[Guest]) -> HttpResponse:
    days = tenant_of(request).bin_days
    context = {
        "guests": [{"name": guest.name, "detail": f"{guest.vcpus} vCPU, {guest.disk_gib} GiB"} for guest in guests],
        "guest_ids": [guest.pk for guest in guests],
        "count": len(guests),
        "undo_text": ngettext(
            "They go to the bin and can be restored for %d day.", "They go to the bin and can be restored for %d days.", days
        ) % days,
    }  # fmt: skip
    response = render(request, part_template(request, "vms/guest_bulk.html", default="dialog"), context)
    response["HX-Retarget"], response["HX-Reswap"] = "#dialog-slot", "innerHTML"
    return response
