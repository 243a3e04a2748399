"""One network: its range, who is on it, and what can be changed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from operations.selectors import operations_live_on
from operations.shapes import operation_shown
from portal.core.forms import refusals_in
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.networks import NetworkEditForm, NetworkRedrawForm
from vms.models import Network
from vms.selectors.guests import guests_visible
from vms.selectors.networks import carried_mtu, lacks_of, networks_drawn, ports_on, range_cells
from vms.services.networks import network_edit as edit
from vms.views.find import tenant_of

SHOWN = 100
LACKS: dict[str, str | Promise] = {
    "one_host": gettext_lazy("Machines on different hosts do not meet."),
    "limits": gettext_lazy("No card's speed is limited."),
    "ipv6": gettext_lazy("IPv6 is not carried."),
    "outside": gettext_lazy("A card's traffic is counted whole, from outside and from inside."),
}
"""What a network cannot do, in words."""


@require_safe
@page(Permission.NETWORK_VIEW)
def network_detail(request: HttpRequest, tenant: str, network_id: UUID) -> HttpResponse:
    """A network with its range and its machines."""
    return _detail(request, network_id)


@require_POST
@page(Permission.NETWORK_MANAGE)
def network_edit(request: HttpRequest, tenant: str, network_id: UUID) -> HttpResponse:
    """Change what holds at once."""
    network = _find(network_id)
    form = NetworkEditForm(request.POST, network=network, subnet=network.subnets.get(family=4))
    if form.is_valid():
        with refusals_in(form, {"name_taken": "name"}):
            edit(network, actor=request.actor, **form.spec())
            messages.success(request, _("Saved."))
            return redirect("vms:network_detail", tenant, network.pk)
    return _detail(request, network_id, edit_form=form)


@require_POST
@page(Permission.NETWORK_MANAGE)
def network_redraw(request: HttpRequest, tenant: str, network_id: UUID) -> HttpResponse:
    """Change what it is taken down for."""
    network = _find(network_id)
    form = NetworkRedrawForm(request.POST, network=network, subnet=network.subnets.get(family=4))
    if form.is_valid():
        with refusals_in(form):
            edit(network, actor=request.actor, **form.spec())
            messages.success(request, _("Saved."))
            return redirect("vms:network_detail", tenant, network.pk)
    return _detail(request, network_id, redraw_form=form)


def _find(network_id: UUID) -> Network:
    found: Network = get_object_or_404(networks_drawn(), pk=network_id)
    return found


def _detail(
    request: HttpRequest,
    network_id: UUID,
    *,
    edit_form: NetworkEditForm | None = None,
    redraw_form: NetworkRedrawForm | None = None,
) -> HttpResponse:
    actor, network = request.actor, _find(network_id)
    subnet = network.subnets.all()[0]
    may = actor.may(Permission.NETWORK_MANAGE, network)
    operation = operations_live_on("network", [network.pk]).get(network.pk)
    cells = range_cells(subnet)
    ports = list(ports_on(network, guests_visible(actor))[:SHOWN])
    context: dict[str, Any] = {
        "network": network,
        "subnet": subnet,
        "kind_label": _("Private, with a way out") if network.outward == "nat" else _("Private, no way out"),
        "waits": getattr(network, "waits", False),
        "carried_mtu": carried_mtu(network),
        "lacks": [LACKS[lack] for lack in lacks_of(network)],
        "operation": operation_shown(operation, actor) if operation is not None else None,
        "cells": cells,
        "held_label": _("%(held)d of %(room)d held") % {"held": cells.held, "room": cells.room},
        "ports": [_port(port, tenant_of(request).slug) for port in ports],
        "edit_form": edit_form or NetworkEditForm(network=network, subnet=subnet),
        "redraw_form": redraw_form or NetworkRedrawForm(network=network, subnet=subnet),
        "may_edit": may,
        "may_delete": may and cells.held == 0 and not network.is_default and operation is None,
    }
    return render(request, "vms/network_detail.html", context, status=422 if edit_form or redraw_form else 200)


def _port(port: Any, slug: str) -> dict[str, Any]:
    return {
        "guest_name": port.guest.name,
        "guest_url": reverse("vms:guest_detail", args=[slug, port.guest_id]) + "?tab=network",
        "addresses": [address.ip for address in port.addresses.all()],
        "mac": port.mac,
        "is_binned": port.guest.binned_at is not None,
    }
