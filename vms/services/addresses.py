"""Cards and their addresses: each address is handed out once, under a constraint of the database."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterator
from itertools import islice
from typing import Final

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.errors import Conflict
from vms.models import Address, AddressUse, Guest, Network, Port, Subnet
from vms.services.address_uses import use_begin, uses_end
from vms.services.counting import counter_begin

FIRST_CARD, FURTHER_CARD = "52:54", "52:56"
"""How MACs begin: a network tells a machine's further cards no default route, and knows them by this."""
KNOWN_MAX: Final = 1024
"""How many addresses of a range a network's DHCP knows from the start."""


class NoAddress(Conflict):
    """The subnet, or the installation's supernet, is used up."""

    code = "no_address"
    message = gettext_lazy("There is no free address left.")


def port_create(guest: Guest, network: Network, *, position: int, ip: str = "") -> Port:
    """A card with ``ip``, or the lowest free address of the pool, and a MAC for life; runs in the caller's transaction.

    Raises ``NoAddress``, or ``Conflict`` (``address_taken``, ``invalid_address``) where ``ip`` cannot be had.
    """
    subnet = Subnet.objects.select_for_update().get(network=network, family=4)
    ip = address_free(subnet, ip)
    mac = _mac(ip, further=position > 0)
    port = Port.objects.create(tenant=guest.tenant, network=network, guest=guest, position=position, mac=mac)
    Address.objects.create(tenant=guest.tenant, subnet=subnet, port=port, ip=ip)
    use_begin(port, guest, network, ip)
    counter_begin(port)
    return port


def ports_release(ports: QuerySet[Port]) -> None:
    """Forget cards that are off their host: their addresses are free, and it stays written down who had them."""
    uses_end(ports)
    ports.delete()


def address_change(port: Port, guest: Guest, ip: str = "") -> tuple[str, str]:
    """The card has ``ip`` or the pool's lowest free address, and holds the former one until ``uses_end``: both are returned.

    Runs in the caller's transaction; its MAC stays. Raises as ``port_create``.
    """
    subnet = Subnet.objects.select_for_update().get(network=port.network_id, family=4)
    former = port.addresses.get(subnet=subnet).ip
    if ip != former:
        ip = address_free(subnet, ip, port=port)
        use_begin(port, guest, port.network, ip)
        address_write(port, ip)
    return former, ip


def address_write(port: Port, ip: str) -> None:
    """The card's address is ``ip``, which it holds."""
    address = port.addresses.get(subnet__family=4)
    address.ip = ip
    address.save(update_fields=["ip"])
    port.version += 1
    port.save(update_fields=["version"])


def address_free(subnet: Subnet, ip: str = "", *, port: Port | None = None) -> str:
    """``ip`` if nobody but ``port`` holds it, or the lowest free address of the pool; the caller has locked the subnet's row.

    An address that a card is changed from is held until its host lets it through no more.
    """
    if not ip:
        return addresses_free(subnet, 1)[0]
    if not is_usable(subnet, ip):
        message = _("%(ip)s is no address for a machine in %(range)s.")
        raise Conflict(message, code="invalid_address", hint="", ip=ip, range=subnet.cidr)
    if ip in _taken(subnet, besides=port):
        raise Conflict(_("%(ip)s is taken."), code="address_taken", hint=_("Choose another one."), ip=ip)
    return ip


def addresses_free(subnet: Subnet, count: int) -> list[str]:
    """The lowest so many free addresses of the pool; raises ``NoAddress`` where there are fewer."""
    taken = _taken(subnet)
    free = list(islice((each for each in pool_of(subnet) if each not in taken), count))
    if len(free) < count:
        raise NoAddress
    return free


def _taken(subnet: Subnet, *, besides: Port | None = None) -> set[str]:
    """Addresses that a card has, or is still let through with on its host."""
    taken = set(Address.objects.filter(subnet=subnet).values_list("ip", flat=True))
    held = AddressUse.objects.filter(network_id=subnet.network_id, until=None).values_list("ip", "port_id")
    return taken | {ip for ip, holder in held if besides is None or holder != besides.pk}


def is_usable(subnet: Subnet, ip: str) -> bool:
    """Can a card of the subnet have that address? Also one outside the pool."""
    try:
        address, cidr = ipaddress.IPv4Address(ip), ipaddress.IPv4Network(subnet.cidr)
    except ValueError:
        return False
    edges = (cidr.network_address, cidr.broadcast_address)
    return address in cidr and address not in edges and str(address) != subnet.gateway


def _mac(ip: str, *, further: bool) -> str:
    """The address's own MAC, or any other where a card that was given another address since took that along."""
    mac = mac_of(ip, further=further)
    while Port.objects.filter(mac=mac).exists():
        mac = (FURTHER_CARD if further else FIRST_CARD) + "".join(f":{byte:02x}" for byte in secrets.token_bytes(4))
    return mac


def mac_of(ip: str, *, further: bool = False) -> str:
    """The MAC of whoever is first to hold an IPv4 address: ``52:54`` (locally administered) and its four bytes.

    Ranges never overlap in an installation, so neither do MACs; and a network's DHCP knows every pair from the start, which
    spares a live update of some 0.4 s for each machine. A ``further`` card of a machine has another one.
    """
    prefix = FURTHER_CARD if further else FIRST_CARD
    return prefix + "".join(f":{byte:02x}" for byte in ipaddress.IPv4Address(ip).packed)


def address_plan(subnet: Subnet) -> list[tuple[str, str]]:
    """Every (MAC, address) that the network's DHCP is made with: those held, and those that first cards will have."""
    held = dict(Address.objects.filter(subnet=subnet).values_list("ip", "port__mac"))
    macs = set(held.values())
    free = [ip for ip in islice(_usual(subnet), KNOWN_MAX) if ip not in held]
    return [(mac, ip) for ip, mac in held.items()] + [(mac_of(ip), ip) for ip in free if mac_of(ip) not in macs]


def pool_of(subnet: Subnet) -> Iterator[str]:
    """The addresses that are handed out unasked, lowest first."""
    if subnet.first is None or subnet.last is None:
        yield from _usual(subnet)
        return
    first, last = ipaddress.IPv4Address(subnet.first), ipaddress.IPv4Address(subnet.last)
    for number in range(int(first), int(last) + 1):
        ip = str(ipaddress.IPv4Address(number))
        if ip != subnet.gateway:
            yield ip


def _usual(subnet: Subnet) -> Iterator[str]:
    """The pool where nobody says: the first nine addresses of a larger range are left for the network's own use."""
    cidr = ipaddress.ip_network(subnet.cidr)
    first = 10 if cidr.num_addresses >= 32 else 2
    for offset in range(first, cidr.num_addresses - 1):
        ip = str(cidr.network_address + offset)
        if ip != subnet.gateway:
            yield ip
