"""Network cards of a machine, and the dialogs to attach and detach one."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from operations.selectors import operations_live_on
from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.cards import AttachPortForm, LimitPortForm, ReaddressPortForm
from vms.models import Guest, Network, Port
from vms.selectors.ports import counter_of, port_speed, speed_is_enforced
from vms.services.guests.allowed import Answer, answer
from vms.services.limiting import SpeedUnenforced
from vms.services.limiting import port_limit as limit
from vms.services.ports import PORTS_MAX
from vms.services.ports import port_attach as attach
from vms.services.ports import port_detach as detach
from vms.services.readdress import port_readdress as readdress
from vms.views.find import guest_or_404
from vms.views.parts import PartDialog

DIALOG: Final = PartDialog(tab="network", icon="network")
ABOUT_IP: Final = dict.fromkeys(("address_taken", "invalid_address", "no_address"), "ip")
"""Refusals that are about the field of that name."""


def cards_context(actor: Actor, guest: Guest, slug: str) -> dict[str, Any]:
    """What the network tab shows of a machine's cards."""
    rows = (
        Port.objects.filter(guest=guest)
        .select_related("network", "counter")
        .prefetch_related("addresses", "guards__group")
    )
    ports = list(rows.order_by("position"))
    idle = not operations_live_on("guest", [guest.pk])
    may, may_guard = (idle and actor.may(right, guest) for right in (Permission.GUEST_EDIT, Permission.NETWORK_MANAGE))
    links = actor.may(Permission.NETWORK_VIEW)
    return {
        "cards": [_card(port, guest, slug, links=links) for port in ports],
        "may_ask": links,
        "may_guard": may_guard and answer(guest, "guest.guard", actor) == Answer.NOW,
        "may_attach_port": may and len(ports) < PORTS_MAX and answer(guest, "guest.attach_port", actor) == Answer.NOW,
        "may_readdress_port": may and answer(guest, "guest.readdress", actor) == Answer.NOW,
        "may_limit_port": may and answer(guest, "guest.limit_port", actor) == Answer.NOW,
        "is_enforced": speed_is_enforced(guest.host),
        "may_detach_port": may and answer(guest, "guest.detach_port", actor) == Answer.NOW,
    }


def _card(port: Port, guest: Guest, slug: str, *, links: bool) -> dict[str, Any]:
    network = port.network
    return {
        "pk": port.pk,
        "network": network.name,
        "network_url": reverse("vms:network_detail", args=[slug, network.pk]) if links else "",
        "ip": _ips(port),
        "mac": port.mac,
        "name": f"{guest.name}.{network.domain}" if network.domain else guest.name,
        "is_first": port.position == 0,
        "counter": counter_of(port),
        "speed": speed_words(*port_speed(port, guest.flavor)),
        "groups": [
            {
                "name": guard.group.name,
                "url": reverse("vms:group_detail", args=[slug, guard.group_id]) if links else "",
            }
            for guard in sorted(port.guards.all(), key=lambda guard: guard.group.name)
        ],
    }


def speed_words(in_mbit: int, out_mbit: int) -> str:
    """How fast a card may be; empty where it has no limit."""
    if in_mbit == out_mbit:
        return _("%d Mbit/s each way") % in_mbit if in_mbit else ""
    inbound = _("In %d Mbit/s") % in_mbit if in_mbit else _("In without limit")
    outbound = _("out %d Mbit/s") % out_mbit if out_mbit else _("out without limit")
    return f"{inbound}, {outbound}"


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def port_attach(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Choose a network."""
    guest = guest_or_404(request, guest_id)
    form = AttachPortForm(request.POST if request.method == "POST" else None, guest=guest)
    if form.is_bound and form.is_valid():
        with refusals_in(form, ABOUT_IP):
            attach(guest, form.cleaned_data["network"], actor=request.actor, ip=form.cleaned_data["ip"])
            return DIALOG.back(request, guest)
    words = {
        "title": _("Attach a network card to %s") % guest.name,
        "text": _(
            "Also while the machine runs; its system then asks the network for the address. "
            "The default security group guards the card; choose others afterwards."
        ),
        "button": _("Attach"),
        "none": "" if Network.objects.exclude(ports__guest=guest).exists() else _("It is on every network there is."),
    }
    return DIALOG.show(request, guest, form, words)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def port_detach(request: HttpRequest, tenant: str, guest_id: UUID, port_id: UUID) -> HttpResponse:
    """Ask first."""
    guest = guest_or_404(request, guest_id)
    port = _port_or_404(guest, port_id)
    form = forms.Form(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        with refusals_in(form):
            detach(port, actor=request.actor)
            return DIALOG.back(request, guest)
    text = _("Its address, %s, is free for others afterwards.") % _ips(port)
    if port.position == 0:
        text += " " + _("It is the card with the default route.")
    words = {
        "title": _("Detach %(guest)s from %(network)s?") % {"guest": guest.name, "network": port.network.name},
        "text": text,
        "button": _("Detach"),
    }
    return DIALOG.show(request, guest, form, words)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def port_readdress(request: HttpRequest, tenant: str, guest_id: UUID, port_id: UUID) -> HttpResponse:
    """Choose an address, having read what becomes of the present one."""
    guest = guest_or_404(request, guest_id)
    port = _port_or_404(guest, port_id)
    form = ReaddressPortForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        with refusals_in(form, ABOUT_IP):
            readdress(port, form.cleaned_data["ip"], actor=request.actor)
            return DIALOG.back(request, guest)
    text = _("It has %(ip)s now. In the same moment that address stops working and its name leads to the new one.")
    renew = _(
        "If the machine runs, the card's link goes down and up: most systems then ask for the new address by themselves; in "
        "others renew DHCP, or restart them."
    )
    words = {
        "title": _("Change the address of %(guest)s on %(network)s")
        % {"guest": guest.name, "network": port.network.name},
        "text": f"{text % {'ip': _ips(port)}} {renew}",
        "button": _("Change address"),
    }
    return DIALOG.show(request, guest, form, words)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def port_limit(request: HttpRequest, tenant: str, guest_id: UUID, port_id: UUID) -> HttpResponse:
    """Choose how fast it may be."""
    guest = guest_or_404(request, guest_id)
    port = _port_or_404(guest, port_id)
    form = LimitPortForm(request.POST if request.method == "POST" else None, port=port)
    if form.is_bound and form.is_valid():
        with refusals_in(form):
            limit(port, actor=request.actor, **form.cleaned_data)
            return DIALOG.back(request, guest)
    most = guest.flavor.net_mbit
    text = _("It holds at once, also while the machine runs.")
    if most:
        text += " " + _("The machine's size allows %d Mbit/s each way.") % most
    words = {
        "title": _("Speed of %(guest)s on %(network)s") % {"guest": guest.name, "network": port.network.name},
        "text": text,
        "button": _("Set speed"),
        "none": "" if speed_is_enforced(guest.host) else str(SpeedUnenforced.message),
    }
    return DIALOG.show(request, guest, form, words)


def _port_or_404(guest: Guest, port_id: UUID) -> Port:
    rows = Port.objects.select_related("guest", "network").prefetch_related("addresses")
    return get_object_or_404(rows, guest=guest, pk=port_id)


def _ips(port: Port) -> str:
    return ", ".join(address.ip for address in port.addresses.all())
