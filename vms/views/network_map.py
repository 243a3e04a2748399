"""A drawing of the project's networks, which is a list for who reads it aloud."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from portal.core.ids import uuid_or_none
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import Guest
from vms.selectors.network_map import NetworkDrawn, network_map
from vms.states import GuestStatus
from vms.views.shapes import STATUS


@require_safe
@page(Permission.NETWORK_VIEW)
def network_drawing(request: HttpRequest, tenant: str) -> HttpResponse:
    """The way out, the networks, and who is on them; ``?open=ID`` shows all machines of a network."""
    unfolded = [pk for text in request.GET.getlist("open") if (pk := uuid_or_none(text)) is not None]
    drawn = network_map(request.actor, unfolded=unfolded)
    may = request.actor.may(Permission.GUEST_VIEW)
    context = {
        "outward": [_network(each, tenant, unfolded) for each in drawn.outward],
        "isolated": [_network(each, tenant, unfolded) for each in drawn.isolated],
        "alone": [_machine(guest, status, tenant) for guest, status in drawn.alone],
        "may_open": may,
    }
    return render(request, "vms/network_drawing.html", context)


def _network(drawn: NetworkDrawn, slug: str, unfolded: list[UUID]) -> dict[str, Any]:
    pk = drawn.network.pk
    opened = "&".join(f"open={each}" for each in (*unfolded, pk))
    return {
        "pk": pk,
        "name": drawn.network.name,
        "url": reverse("vms:network_detail", args=[slug, pk]),
        "cidr": drawn.subnet.cidr,
        "gateway": drawn.subnet.gateway,
        "count_label": ngettext("%(number)d machine", "%(number)d machines", drawn.number) % {"number": drawn.number},
        "states": [
            {"state": state.value, "label": STATUS[state], "number": drawn.states[state]}
            for state in GuestStatus
            if drawn.states.get(state)
        ],
        "machines": [
            {
                **_machine(card.guest, card.status, slug),
                "ip": card.ip,
                "others": ", ".join(card.others),
                "groups": ", ".join(card.groups),
            }
            for card in drawn.cards
        ],
        "folded": drawn.folded,
        "unfold_url": f"?{opened}#network-{pk}" if drawn.folded else "",
    }


def _machine(guest: Guest, status: GuestStatus, slug: str) -> dict[str, Any]:
    return {
        "pk": guest.pk,
        "name": guest.name,
        "url": reverse("vms:guest_detail", args=[slug, guest.pk]) + "?tab=network",
        "state": status.value,
        "state_label": STATUS[status],
    }
