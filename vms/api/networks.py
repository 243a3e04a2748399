"""REST: networks of a tenant, and the ports of its guests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from operations.api import OperationOut, accepted
from portal.core.bodies import Body, Listed, Listing, listed, narrowed, narrowed_to
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.models import Network, Port
from vms.selectors.guests import guests_visible
from vms.services.networks import network_create, network_delete

router = Router(tags=["networks"])
SORTS: Sorts = {"name": ("name", "id"), "created_at": ("created_at", "id")}
PORT_SORTS: Sorts = {"mac": ("mac",)}


class SubnetOut(BaseModel):
    """A range of addresses."""

    id: str
    family: int
    cidr: str
    gateway: str


class NetworkOut(BaseModel):
    """A private network; `outward` is `nat` (guests reach out through their host) or `isolated`."""

    id: str
    name: str
    engine: str
    outward: str
    default: bool
    subnets: list[SubnetOut]
    created_at: datetime


class NetworkQuery(Listing):
    """Filters of networks."""

    sort: str = Field(default="name", max_length=40, description="`name`, `created_at`, or one with `-`")
    name: str = Field(default="", max_length=40)


class NetworkIn(Body):
    """A network to be made; its range is chosen by the portal."""

    name: str = Field(max_length=40)
    outward: str = Field(default="nat", max_length=10, description="`nat` or `isolated`")


class PortAddressOut(BaseModel):
    """An address held by a port."""

    ip: str
    kind: str


class PortOut(BaseModel):
    """A guest's network card."""

    id: str
    network: str
    network_name: str
    guest: str
    guest_name: str
    position: int
    mac: str
    addresses: list[PortAddressOut]


class PortQuery(Listing):
    """Filters of ports."""

    sort: str = Field(default="mac", max_length=40, description="`mac`, `-mac`")
    q: str = Field(default="", max_length=100, description="Part of the guest's name.")
    guest: str = Field(default="", max_length=40)
    network: str = Field(default="", max_length=40)
    mac: str = Field(default="", max_length=17)


def _networks() -> QuerySet[Network]:
    return Network.objects.prefetch_related("subnets")


def network_out(network: Network) -> NetworkOut:
    """A network as JSON shows it."""
    subnets = [
        SubnetOut(id=str(subnet.pk), family=subnet.family, cidr=subnet.cidr, gateway=subnet.gateway)
        for subnet in network.subnets.all()
    ]
    return NetworkOut(
        id=str(network.pk),
        name=network.name,
        engine=network.engine,
        outward=network.outward,
        default=network.is_default,
        subnets=subnets,
        created_at=network.created_at,
    )


def _shown(response: HttpResponse, network: Network) -> NetworkOut:
    response["ETag"] = etag_of(network)
    return network_out(network)


@router.get("/networks", response=Listed[NetworkOut], summary="List networks")
def network_list(request: HttpRequest, query: Query[NetworkQuery]) -> dict[str, Any]:
    """Private networks of this project."""
    request.actor.require(Permission.NETWORK_VIEW)
    rows = narrowed(_networks(), name=query.name, name__icontains=query.q)
    return listed(request, query, rows, sorts=SORTS, out=network_out)


@router.post("/networks", response={201: NetworkOut}, summary="Create a network")
def network_post(request: HttpRequest, response: HttpResponse, body: NetworkIn) -> Status[NetworkOut]:
    """With a range of its own; it is made on a host when the first machine needs it there."""
    tenant = tenant_in_path(request)
    network = network_create(tenant, name=body.name, outward=body.outward, actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/networks/{network.pk}"
    return Status(201, _shown(response, network))


@router.get("/networks/{network_id}", response=NetworkOut, summary="Get a network")
def network_get(request: HttpRequest, network_id: str, response: HttpResponse) -> NetworkOut:
    """One network."""
    request.actor.require(Permission.NETWORK_VIEW)
    return _shown(response, find(request, _networks(), network_id))


@router.delete("/networks/{network_id}", response={202: OperationOut}, exclude_unset=True, summary="Delete a network")
def network_remove(request: HttpRequest, network_id: str, response: HttpResponse) -> Status[OperationOut]:
    """Refused while a machine is on it."""
    operation = network_delete(find(request, _networks(), network_id), actor=request.actor)
    return accepted(request, response, operation)


def _ports(request: HttpRequest) -> QuerySet[Port]:
    """The ports of guests that the caller's role reaches."""
    rows = Port.objects.select_related("network", "guest").prefetch_related("addresses")
    if request.actor.narrowed:
        rows = rows.filter(guest__in=guests_visible(request.actor).values("pk"))
    return rows.defer(*(f"guest__{name}" for name in ("user_data", "password_hash", "display_password")))


def port_out(port: Port) -> PortOut:
    """A port as JSON shows it."""
    return PortOut(
        id=str(port.pk),
        network=str(port.network_id),
        network_name=port.network.name,
        guest=str(port.guest_id),
        guest_name=port.guest.name,
        position=port.position,
        mac=port.mac,
        addresses=[PortAddressOut(ip=address.ip, kind=address.kind) for address in port.addresses.all()],
    )


@router.get("/ports", response=Listed[PortOut], summary="List ports")
def port_list(request: HttpRequest, query: Query[PortQuery]) -> dict[str, Any]:
    """Network cards of machines, with their addresses."""
    request.actor.require(Permission.NETWORK_VIEW)
    rows = narrowed_to(_ports(request), guest=query.guest, network=query.network)
    rows = narrowed(rows, mac=query.mac.lower(), guest__name__icontains=query.q)
    return listed(request, query, rows, sorts=PORT_SORTS, out=port_out)


@router.get("/ports/{port_id}", response=PortOut, summary="Get a port")
def port_get(request: HttpRequest, port_id: str, response: HttpResponse) -> PortOut:
    """One network card."""
    request.actor.require(Permission.NETWORK_VIEW)
    port = find(request, _ports(request), port_id)
    response["ETag"] = etag_of(port)
    return port_out(port)
