"""One machine: its page with tabs, and its head."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from operations.selectors import operations_about
from operations.shapes import operation_shown
from portal.core.htmx import here, is_partial, part_template
from tenants.actors import Actor
from tenants.pages import gone, page
from tenants.policy import Permission
from tenants.selectors import audit_of
from tenants.shapes import Deed, deeds
from tenants.types import HttpRequest
from vms.forms.guests import RenameForm, TagsForm
from vms.forms.placement_groups import GuestPlacementForm
from vms.models import Guest
from vms.selectors.guests import guests_visible
from vms.views.backups import guest_backups
from vms.views.cards import cards_context
from vms.views.discs import discs_context
from vms.views.find import guest_now, guest_or_404, tenant_of
from vms.views.guest_inside import inside_context
from vms.views.metrics import metrics_context
from vms.views.shapes import GuestShown
from vms.views.snapshots import snapshots_context
from vms.views.timing import timing_context
from vms.views.volumes import guest_storage

TABS: Final = {
    "overview": gettext_lazy("Overview"),
    "metrics": gettext_lazy("Metrics"),
    "storage": gettext_lazy("Storage"),
    "backups": gettext_lazy("Backups"),
    "snapshots": gettext_lazy("Snapshots"),
    "network": gettext_lazy("Network"),
    "inside": gettext_lazy("Inside"),
    "activity": gettext_lazy("Activity"),
    "settings": gettext_lazy("Settings"),
}
SHOWN: Final = 6
SHOWN_ALL: Final = 30


@require_safe
@page(Permission.GUEST_VIEW)
def guest_detail(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """A machine; ``?tab=`` chooses what of it."""
    if is_partial(request) and not guests_visible(request.actor).filter(pk=guest_id).exists():
        return gone()
    return detail_page(request, guest_or_404(request, guest_id), tab=request.GET.get("tab", ""))


def detail_page(request: HttpRequest, guest: Guest, *, tab: str, form: forms.Form | None = None) -> HttpResponse:
    """The page at ``tab``; ``form`` is one of its settings that was sent and refused."""
    actor, shown = request.actor, guest_now(request, guest)
    tab = tab if tab in TABS else "overview"
    context = {
        "guest": shown,
        "slug": tenant_of(request).slug,
        "tab": tab,
        "tabs": _tabs(shown, tab),
        "volumes": shown.volumes,
        "may_edit": shown.may_edit,
        "here": here(request),
        **guest_storage(actor, guest, tab=tab),
    }
    if tab in ("overview", "activity"):
        context["activity"] = guest_deeds(actor, guest, limit=SHOWN if tab == "overview" else SHOWN_ALL)
    if tab == "activity":
        rows = operations_about(actor, guest.pk, limit=SHOWN_ALL) if actor.may(Permission.OPERATION_VIEW) else []
        context["operations"] = [operation_shown(row, actor) for row in rows]
    if tab == "storage":
        context |= discs_context(actor, guest)
    if tab == "network":
        context |= cards_context(actor, guest, context["slug"])
    if tab == "snapshots":
        context |= snapshots_context(actor, guest, busy=shown.operation is not None)
    if tab == "inside":
        context |= inside_context(guest, actor, busy=shown.operation is not None)
    if tab == "backups":
        context |= guest_backups(actor, guest, tenant_of(request).slug)
    if tab == "metrics":
        context |= metrics_context(request, guest)
    if tab == "settings":
        context["rename_form"] = (
            form if isinstance(form, RenameForm) else RenameForm(actor=actor, initial={"name": shown.name})
        )
        context["tags_form"] = (
            form if isinstance(form, TagsForm) else TagsForm(actor=actor, initial={"tags": " ".join(shown.tags)})
        )
        placement_form = form if isinstance(form, GuestPlacementForm) else GuestPlacementForm(actor=actor, guest=guest)
        context |= timing_context(guest, actor, form) | {"placement_form": placement_form}
    template = part_template(request, "vms/guest_detail.html", default="body")
    return render(request, template, context, status=422 if form is not None else 200)


def guest_deeds(actor: Actor, guest: Guest, *, limit: int) -> list[Deed] | None:
    """Who did what to it, None where the role may not know."""
    if not actor.may(Permission.AUDIT_VIEW) or actor.tenant is None:
        return None
    return deeds(audit_of(str(guest.pk), limit=limit), actor.tenant.slug)


def _tabs(guest: GuestShown, current: str) -> list[dict[str, Any]]:
    counts = {"storage": len(guest.volumes), "network": len(guest.addresses)}
    return [
        {
            "key": key,
            "label": label,
            "url": "?" if key == "overview" else f"?tab={key}",
            "current": key == current,
            "count": counts.get(key),
        }
        for key, label in TABS.items()
    ]


@require_safe
@page(Permission.GUEST_VIEW)
def guest_header(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """The head again; nothing where the machine is gone."""
    guest = guests_visible(request.actor).filter(pk=guest_id).first()
    if guest is None:
        return gone()
    return render(request, "vms/_guest_header.html", {"guest": guest_now(request, guest), "slug": tenant})
