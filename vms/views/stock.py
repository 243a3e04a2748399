"""What machines are made of: networks, keys."""

from __future__ import annotations

import ipaddress
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from portal.core.forms import refusals_in
from portal.core.htmx import is_partial
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.keys import KeyForm
from vms.forms.networks import NetworkForm
from vms.models import Network, SshKey
from vms.selectors.stock import addresses_held, networks_in_use
from vms.services.keys import key_create as keep_key
from vms.services.keys import key_delete as forget_key
from vms.services.networks import network_create as make_network
from vms.services.networks import network_delete as remove_network
from vms.views.find import tenant_of
from vms.views.guest_create import keys_to_choose


@require_safe
@page(Permission.NETWORK_VIEW)
def network_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's networks."""
    return _networks(request, None)


@require_POST
@page(Permission.NETWORK_MANAGE)
def network_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Make a network; hosts learn of it with the first machine on it."""
    form = NetworkForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form, {"name_taken": "name"}):
            network = make_network(tenant_of(request), form.spec(), actor=request.actor)
            messages.success(request, _("%s is ready.") % network.name)
            return redirect("vms:network_list", tenant)
    return _networks(request, form)


@require_POST
@page(Permission.NETWORK_MANAGE)
def network_delete(request: HttpRequest, tenant: str, network_id: UUID) -> HttpResponse:
    """Take an unused network away."""
    network = get_object_or_404(Network, pk=network_id)
    operation = remove_network(network, actor=request.actor)
    return redirect("operations:operation_detail", tenant, operation.pk)


def _networks(request: HttpRequest, form: NetworkForm | None) -> HttpResponse:
    held, may = addresses_held(), request.actor.may(Permission.NETWORK_MANAGE)
    context = {
        "networks": [_network(network, held.get(network.pk, 0), may=may) for network in networks_in_use()],
        "form": form or NetworkForm(actor=request.actor),
        "may_create": may,
    }
    return render(request, "vms/network_list.html", context, status=422 if form else 200)


def _network(network: Any, held: int, *, may: bool) -> dict[str, Any]:
    subnet = next(iter(network.subnets.all()), None)
    room = ipaddress.ip_network(subnet.cidr).num_addresses if subnet is not None else 0
    return {
        "pk": network.pk,
        "name": network.name,
        "cidr": subnet.cidr if subnet is not None else "–",
        "gateway": subnet.gateway if subnet is not None else "–",
        "kind_label": _("Private, with a way out") if network.outward == "nat" else _("Private, no way out"),
        "free_label": _("%(held)d of %(room)d held") % {"held": held, "room": room},
        "guests_count": network.guests_count,
        "created_at": network.created_at,
        "may_delete": may and network.guests_count == 0 and not network.is_default,
    }


@require_safe
@page(Permission.KEY_VIEW)
def key_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's SSH keys."""
    return _keys(request, None)


@require_POST
@page(Permission.KEY_MANAGE)
def key_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Keep a key; with ``inline`` the answer is the create form's own list of keys."""
    form = KeyForm(request.POST, actor=request.actor)
    key = None
    if form.is_valid():
        with refusals_in(form, {"key_exists": "public_key"}):
            key = keep_key(tenant_of(request), actor=request.actor, **form.spec())
    if request.POST.get("inline") and is_partial(request):
        return _inline(request, form, key)
    if key is None:
        return _keys(request, form)
    messages.success(request, _("%s is kept.") % key.name)
    return redirect("vms:guest_create" if request.POST.get("inline") else "vms:key_list", tenant)


def _inline(request: HttpRequest, form: KeyForm, key: SshKey | None) -> HttpResponse:
    context = {
        "ssh_keys": keys_to_choose(request.POST, request.actor, also=key),
        "key_form": form if key is None else KeyForm(actor=request.actor),
    }
    return render(request, "vms/guest_form.html#keys", context, status=422 if key is None else 200)


@require_POST
@page(Permission.KEY_MANAGE)
def key_delete(request: HttpRequest, tenant: str, key_id: UUID) -> HttpResponse:
    """Forget a key."""
    key = get_object_or_404(SshKey, pk=key_id)
    forget_key(key, actor=request.actor)
    messages.success(request, _("%s is forgotten. Machines made with it keep it.") % key.name)
    return redirect("vms:key_list", tenant)


def _keys(request: HttpRequest, form: KeyForm | None) -> HttpResponse:
    may = request.actor.may(Permission.KEY_MANAGE)
    keys = [
        {
            "pk": key.pk,
            "name": key.name,
            "fingerprint": key.fingerprint,
            "kind": key.public_key.split(" ", 1)[0],
            "created_at": key.created_at,
            "may_delete": may,
        }
        for key in SshKey.objects.all()
    ]
    context = {"keys": keys, "key_form": form or KeyForm(actor=request.actor), "may_create": may}
    return render(request, "vms/key_list.html", context, status=422 if form else 200)
