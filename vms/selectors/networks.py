"""Networks as hosts and pages see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from vms.models import Address, Guest, Host, Network, NetworkOnHost, Port, Subnet
from vms.selectors.fabrics import spanned

CELLS = 64


def networks_drawn() -> QuerySet[Network]:
    """The networks with their ranges, and ``waits``: is it on a host where it is not yet as it is drawn?

    ``on_bridges`` and ``on_fabric`` say what carries it; ``tunnel`` is the most bytes that its fabric does at once.
    """
    uses = NetworkOnHost.objects.filter(network=OuterRef("pk"))
    woven = uses.exclude(host__pool__fabric=None)
    late = NetworkOnHost.objects.filter(network=OuterRef("pk"), drawing__gt=0, drawing__lt=OuterRef("drawing"))
    return Network.objects.prefetch_related("subnets").annotate(
        waits=Exists(late),
        on_bridges=Exists(uses.filter(host__pool__fabric=None)),
        on_fabric=Exists(woven),
        tunnel=Subquery(woven.order_by("host__pool__fabric__mtu").values("host__pool__fabric__mtu")[:1]),
    )


def carried_by(network: Network) -> str | None:
    """What carries a network out of ``networks_drawn``; None where it is nowhere yet."""
    bridges, fabric = getattr(network, "on_bridges", False), getattr(network, "on_fabric", False)
    if bridges and fabric:
        return "mixed"
    return "ovn" if fabric else "libvirt" if bridges else None


def carried_mtu(network: Network) -> int:
    """The largest packet in bytes that machines are told to send on a network out of ``networks_drawn``."""
    tunnel = getattr(network, "tunnel", None)
    return network.mtu if tunnel is None else min(network.mtu, tunnel)


def lacks_of(network: Network) -> Iterator[str]:
    """What its engine cannot do: ``one_host``, ``limits``, ``ipv6``, ``outside``."""
    engine = carried_by(network)
    if engine in ("libvirt", "mixed"):
        yield "one_host"
    if engine in ("ovn", "mixed"):
        yield "limits"
    yield "ipv6"
    yield "outside"


def hosts_with(network: Network) -> list[Host]:
    """The hosts that have it, with their pools."""
    uses = NetworkOnHost.objects.filter(network=network).values("host")
    return list(Host.objects.filter(pk__in=uses).select_related("pool").order_by("name"))


def segments_of(networks: Collection[Network]) -> frozenset[UUID]:
    """Where machines of these networks are: fabrics and, beside them, hosts (``placement.Room.segment``)."""
    guests = Guest.objects.filter(ports__network__in=networks, host__isnull=False)
    segments = guests.order_by().annotate(segment=Coalesce("host__pool__fabric", "host"))
    return frozenset(segments.values_list("segment", flat=True).distinct())


def names_on(network: Network, host: Host) -> list[tuple[str, str]]:
    """Of every machine on the network there, but for those in the bin: an address, and its name."""
    rows = Address.objects.filter(
        port__network=network, subnet__family=4, port__guest__host__in=spanned(host), port__guest__binned_at=None
    )
    return list(rows.order_by("ip").values_list("ip", "port__guest__name"))


def ports_on(network: Network, guests: QuerySet[Guest]) -> QuerySet[Port]:
    """The cards of ``guests`` on a network, with their machines and addresses, by the machine's name."""
    rows = Port.objects.filter(network=network, guest__in=guests.values("pk")).select_related("guest")
    deferred = (f"guest__{name}" for name in ("user_data", "password_hash", "display_password"))
    return rows.prefetch_related("addresses").defer(*deferred).order_by("guest__name", "position")


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of a range, the ``x``-th: ``use`` is free, some, full or outside (of the pool, and free)."""

    x: int
    use: str


@dataclass(frozen=True, slots=True)
class Cells:
    """A range in pieces of the same size, and how many addresses of how many are held."""

    cells: tuple[Cell, ...]
    held: int
    room: int

    @property
    def width(self) -> int:
        """How many pieces."""
        return len(self.cells)


def range_cells(subnet: Subnet) -> Cells:
    """The range as a bar shows it."""
    cidr = IPv4Network(subnet.cidr)
    number = min(CELLS, cidr.num_addresses)
    each = cidr.num_addresses // number
    base = int(cidr.network_address)
    ips = list(Address.objects.filter(subnet=subnet).values_list("ip", flat=True))
    held = Counter((int(IPv4Address(ip)) - base) // each for ip in ips)
    first = int(IPv4Address(subnet.first)) - base if subnet.first else 0
    last = int(IPv4Address(subnet.last)) - base if subnet.last else cidr.num_addresses - 1

    def use(x: int) -> str:
        if held[x]:
            return "full" if held[x] == each else "some"
        return "free" if (x + 1) * each > first and x * each <= last else "outside"

    return Cells(tuple(Cell(x, use(x)) for x in range(number)), len(ips), cidr.num_addresses - 3)
