"""REST: networks of a tenant, and the ports of its guests."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field, StrictInt

from operations.api import OperationOut, accepted
from operations.models import Operation
from operations.selectors import operations_live_on
from portal.core.bodies import Body, Listed, Listing, listed, narrowed, narrowed_to, refuse_unknown
from portal.core.errors import FieldError, Invalid
from portal.core.etags import etag_of, find
from portal.core.paging import Sorts, keyset_page
from tenants.api.tenants import tenant_in_path
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.fit import QuotaLineOut, ReasonOut
from vms.models import Network, Port
from vms.selectors.guests import guests_visible
from vms.selectors.networks import carried_by, carried_mtu, lacks_of, networks_drawn
from vms.selectors.ports import counter_of, port_speed, speed_is_enforced
from vms.services.limiting import MBIT_MAX, port_limit
from vms.services.networks import NetworkFit, network_create, network_delete, network_edit, network_fit
from vms.services.readdress import port_readdress
from vms.specs import NetworkWish

router = Router(tags=["networks"])
SORTS: Sorts = {"name": ("name", "id"), "created_at": ("created_at", "id")}
PORT_SORTS: Sorts = {"mac": ("mac",)}


class RouteOut(BaseModel):
    """A way to a public range that machines are told of."""

    to: str
    via: str


class SubnetOut(BaseModel):
    """A range of addresses."""

    id: str
    family: int
    cidr: str
    gateway: str
    first: str | None = Field(description="The pool that addresses are handed out of; null leaves it to the portal.")
    last: str | None
    dns: list[str] = Field(
        description="Resolvers that machines are told of; none: the network's own, which knows them by name."
    )
    routes: list[RouteOut]


class NetworkOut(BaseModel):
    """A private network; `outward` is `nat` (guests reach out through their host) or `isolated`."""

    id: str
    name: str
    description: str
    engine: str | None = Field(
        description="What carries it: `libvirt`, `ovn`, or `mixed` on hosts of both kinds; null where it is nowhere yet."
    )
    lacks: list[str] = Field(
        description="What this cannot do: `one_host` joins no machines of different hosts, `limits` limits no card, `ipv6`"
        " carries none, `outside` cannot tell what came from outside from what did not in a card's traffic."
    )
    outward: str
    domain: str = Field(
        description="A machine is found as `NAME.DOMAIN`, and as `NAME` by its neighbours; empty has none."
    )
    mtu: int
    carried_mtu: int = Field(
        description="The largest packet that machines are told to send: `mtu`, or what the tunnels of its fabric carry."
    )
    default: bool
    in_force: bool = Field(description="Is it as it is drawn on every host that has it?")
    operation: str | None = Field(description="The operation that is being carried out on it.")
    subnets: list[SubnetOut]
    created_at: datetime


class NetworkQuery(Listing):
    """Filters of networks."""

    sort: str = Field(default="name", max_length=40, description="`name`, `created_at`, or one with `-`")
    name: str = Field(default="", max_length=40)


class RouteIn(Body):
    """A way to a public range, through the gateway."""

    to: str = Field(max_length=18)
    via: str = Field(max_length=15)


class NetworkIn(Body):
    """A network to be made; what is left out is chosen by the portal."""

    name: str = Field(max_length=40)
    description: str = Field(default="", max_length=200)
    outward: str = Field(default="nat", max_length=10, description="`nat` or `isolated`")
    cidr: str = Field(
        default="", max_length=18, description="A private range, /16 to /29, that nobody has; else the next free."
    )
    gateway: str = Field(default="", max_length=15, description="Its first address, where it is left out.")
    first: str = Field(default="", max_length=15, description="The pool that addresses are handed out of.")
    last: str = Field(default="", max_length=15)
    dns: list[Annotated[str, Field(max_length=15)]] = Field(default=[], max_length=4)
    domain: str | None = Field(default=None, max_length=120, description="`NAME.internal`, where it is left out.")
    mtu: StrictInt = Field(default=1500, ge=576, le=9000)
    routes: list[RouteIn] = Field(default=[], max_length=16)


class NetworkPatch(Body):
    """What can be changed; what is left out stays.

    `name`, `description` and the pool hold at once. For the others the network is taken down: its machines must be off.
    """

    name: str = Field(default="", max_length=40)
    description: str = Field(default="", max_length=200)
    outward: str = Field(default="nat", max_length=10)
    first: str = Field(default="", max_length=15, description="Empty, with an empty `last`: the portal's choice.")
    last: str = Field(default="", max_length=15)
    dns: list[Annotated[str, Field(max_length=15)]] = Field(default=[], max_length=4)
    domain: str = Field(default="", max_length=120)
    mtu: StrictInt = Field(default=1500, ge=576, le=9000)
    routes: list[RouteIn] = Field(default=[], max_length=16)


class NetworkFitOut(BaseModel):
    """Could it be made? Nothing was changed. `cidr` and `gateway` are what it would have, empty where it could not."""

    fits: bool
    reasons: list[ReasonOut]
    quota: list[QuotaLineOut]
    cidr: str
    gateway: str


class PortAddressOut(BaseModel):
    """An address held by a port."""

    ip: str
    kind: str


class SpeedOut(BaseModel):
    """How fast a card may be, in Mbit a second: the tighter of its own limit and its machine's size; null is no limit."""

    in_mbit: int | None
    out_mbit: int | None
    enforced: bool = Field(description="Does the machine's host hold cards to their limits?")


class TrafficOut(BaseModel):
    """What a card has carried, in bytes; filters count what a machine sends before they drop it."""

    in_bytes: int = Field(description="To the machine.")
    out_bytes: int = Field(description="From the machine.")
    outside: None = Field(
        default=None, description="How much of it went outwards: a network of this engine cannot tell, so null."
    )
    since: datetime
    counted_at: datetime | None = Field(description="The last look, a minute apart while it carries something.")
    unread_ends: int = Field(
        description="How often its machine went off by itself, without a last look: what it carried since the look before, "
        "up to a minute, is in no count."
    )


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
    security_groups: list[str]
    in_mbit: int = Field(description="Its own limit to the machine, in Mbit a second; 0 is none of its own.")
    out_mbit: int = Field(description="The same from the machine.")
    speed: SpeedOut
    traffic: TrafficOut | None = Field(description="null: not looked at yet.")


class PortPatch(Body):
    """Another address for a card, or other limits: one of both at a time. What is left out stays."""

    ip: str = Field(
        default="", max_length=15, description="Any free address of its range; empty: the pool's lowest free one."
    )
    in_mbit: StrictInt = Field(default=0, ge=0, le=MBIT_MAX, description="To the machine; 0 is no limit of its own.")
    out_mbit: StrictInt = Field(default=0, ge=0, le=MBIT_MAX, description="From the machine.")


class PortQuery(Listing):
    """Filters of ports."""

    sort: str = Field(default="mac", max_length=40, description="`mac`, `-mac`")
    q: str = Field(default="", max_length=100, description="Part of the guest's name.")
    guest: str = Field(default="", max_length=40)
    network: str = Field(default="", max_length=40)
    mac: str = Field(default="", max_length=17)


def network_out(network: Network, operation: Operation | None = None) -> NetworkOut:
    """A network as JSON shows it."""
    subnets = [
        SubnetOut(
            id=str(subnet.pk),
            family=subnet.family,
            cidr=subnet.cidr,
            gateway=subnet.gateway,
            first=subnet.first,
            last=subnet.last,
            dns=subnet.dns,
            routes=[RouteOut(**route) for route in subnet.routes],
        )
        for subnet in network.subnets.all()
    ]
    return NetworkOut(
        id=str(network.pk),
        name=network.name,
        description=network.description,
        engine=carried_by(network),
        lacks=list(lacks_of(network)),
        outward=network.outward,
        domain=network.domain,
        mtu=network.mtu,
        carried_mtu=carried_mtu(network),
        default=network.is_default,
        in_force=not getattr(network, "waits", False),
        operation=str(operation.pk) if operation is not None else None,
        subnets=subnets,
        created_at=network.created_at,
    )


def _shown(response: HttpResponse, network: Network, operation: Operation | None = None) -> NetworkOut:
    response["ETag"] = etag_of(network)
    return network_out(network, operation or operations_live_on("network", [network.pk]).get(network.pk))


@router.get("/networks", response=Listed[NetworkOut], summary="List networks")
def network_list(request: HttpRequest, query: Query[NetworkQuery]) -> dict[str, Any]:
    """Private networks of this project."""
    request.actor.require(Permission.NETWORK_VIEW)
    refuse_unknown(request, query)
    rows = narrowed(networks_drawn(), name=query.name, name__icontains=query.q)
    page = keyset_page(rows, sorts=SORTS, sort=query.sort, limit=query.limit, cursor=query.cursor)
    live = operations_live_on("network", [network.pk for network in page.items])
    return {"items": [network_out(network, live.get(network.pk)) for network in page.items], "next": page.next}


@router.post("/networks", response={201: NetworkOut, 200: NetworkFitOut}, summary="Create a network")
def network_post(
    request: HttpRequest, response: HttpResponse, body: NetworkIn, dry_run: bool = False
) -> Status[NetworkOut] | Status[NetworkFitOut]:
    """With a range of its own; it is made on a host when the first machine needs it there.

    With `dry_run` nothing is made: the answer says whether it could be, and which range it would have.
    """
    tenant = tenant_in_path(request)
    wish = NetworkWish(**_words(body, exclude_unset=False))
    if dry_run:
        return Status(200, _fit_out(network_fit(tenant, wish, actor=request.actor)))
    network = network_create(tenant, wish, actor=request.actor)
    response["Location"] = f"/api/v1/tenants/{tenant.slug}/networks/{network.pk}"
    return Status(201, _shown(response, network))


@router.get("/networks/{network_id}", response=NetworkOut, summary="Get a network")
def network_get(request: HttpRequest, network_id: str, response: HttpResponse) -> NetworkOut:
    """One network."""
    request.actor.require(Permission.NETWORK_VIEW)
    return _shown(response, find(request, networks_drawn(), network_id))


@router.patch("/networks/{network_id}", response=NetworkOut, summary="Change a network")
def network_patch(request: HttpRequest, network_id: str, response: HttpResponse, body: NetworkPatch) -> NetworkOut:
    """Name, description and pool hold at once; the rest while its machines are off, and `operation` brings it to the hosts."""
    changed, operation = network_edit(
        find(request, networks_drawn(), network_id), actor=request.actor, **_words(body, exclude_unset=True)
    )
    return _shown(response, networks_drawn().get(pk=changed.pk), operation)


def _words(body: Body, *, exclude_unset: bool) -> dict[str, Any]:
    """The body's words as services take them: lists are tuples."""
    words = body.model_dump(exclude_unset=exclude_unset)
    if "routes" in words:
        words["routes"] = tuple((route["to"], route["via"]) for route in words["routes"])
    if "dns" in words:
        words["dns"] = tuple(words["dns"])
    return words


def _fit_out(fit: NetworkFit) -> NetworkFitOut:
    return NetworkFitOut(
        fits=fit.fits,
        reasons=[ReasonOut(code=code, message=message) for code, message in fit.reasons],
        quota=[
            QuotaLineOut(name=line.name, before=line.before, after=line.after, limit=line.limit) for line in fit.quota
        ],
        cidr=fit.cidr,
        gateway=fit.gateway,
    )


@router.delete("/networks/{network_id}", response={202: OperationOut}, exclude_unset=True, summary="Delete a network")
def network_remove(request: HttpRequest, network_id: str, response: HttpResponse) -> Status[OperationOut]:
    """Refused while a machine is on it."""
    operation = network_delete(find(request, networks_drawn(), network_id), actor=request.actor)
    return accepted(request, response, operation)


def ports_visible(request: HttpRequest) -> QuerySet[Port]:
    """The ports of guests that the caller's role reaches."""
    rows = Port.objects.select_related("network", "guest__flavor", "guest__host", "counter").prefetch_related(
        "addresses", "guards__group"
    )
    if request.actor.narrowed:
        rows = rows.filter(guest__in=guests_visible(request.actor).values("pk"))
    return rows.defer(*(f"guest__{name}" for name in ("user_data", "password_hash", "display_password")))


def port_out(port: Port) -> PortOut:
    """A port as JSON shows it."""
    inbound, outbound = (mbit or None for mbit in port_speed(port, port.guest.flavor))
    return PortOut(
        id=str(port.pk),
        network=str(port.network_id),
        network_name=port.network.name,
        guest=str(port.guest_id),
        guest_name=port.guest.name,
        position=port.position,
        mac=port.mac,
        addresses=[PortAddressOut(ip=address.ip, kind=address.kind) for address in port.addresses.all()],
        security_groups=sorted(guard.group.name for guard in port.guards.all()),
        in_mbit=port.in_mbit,
        out_mbit=port.out_mbit,
        speed=SpeedOut(in_mbit=inbound, out_mbit=outbound, enforced=speed_is_enforced(port.guest.host)),
        traffic=_traffic(port),
    )


def _traffic(port: Port) -> TrafficOut | None:
    counter = counter_of(port)
    if counter is None:
        return None
    return TrafficOut(
        in_bytes=counter.in_bytes,
        out_bytes=counter.out_bytes,
        since=counter.since,
        counted_at=counter.read_at,
        unread_ends=counter.unread_ends,
    )


@router.get("/ports", response=Listed[PortOut], summary="List ports")
def port_list(request: HttpRequest, query: Query[PortQuery]) -> dict[str, Any]:
    """Network cards of machines, with their addresses."""
    request.actor.require(Permission.NETWORK_VIEW)
    rows = narrowed_to(ports_visible(request), guest=query.guest, network=query.network)
    rows = narrowed(rows, mac=query.mac.lower(), guest__name__icontains=query.q)
    return listed(request, query, rows, sorts=PORT_SORTS, out=port_out)


@router.get("/ports/{port_id}", response=PortOut, summary="Get a port")
def port_get(request: HttpRequest, port_id: str, response: HttpResponse) -> PortOut:
    """One network card."""
    request.actor.require(Permission.NETWORK_VIEW)
    port = find(request, ports_visible(request), port_id)
    response["ETag"] = etag_of(port)
    return port_out(port)


@router.patch("/ports/{port_id}", response={202: OperationOut}, exclude_unset=True, summary="Change a network card")
def port_patch(request: HttpRequest, port_id: str, response: HttpResponse, body: PortPatch) -> Status[OperationOut]:
    """Its address, or how fast it may be, also while its machine runs. The operation's subject is the machine.

    Another address: DHCP, name and packet filter follow at once, and the card's link goes down and up: most systems then ask for
    the address anew, and the others must be told to. The former address is nobody else's until its host lets it through no more.

    Limits are Mbit a second, below what the machine's size allows; an operator's may be above that.
    """
    port = find(request, ports_visible(request), port_id)
    wished = body.model_dump(exclude_unset=True)
    if not wished or ("ip" in wished and len(wished) > 1):
        raise Invalid(errors=[FieldError("", "one_at_a_time", _("Either an address, or limits."))])
    if "ip" in wished:
        return accepted(request, response, port_readdress(port, body.ip, actor=request.actor))
    return accepted(request, response, port_limit(port, actor=request.actor, **wished))
