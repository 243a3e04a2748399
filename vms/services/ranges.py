"""What a network's range may be, and what belongs into it: checked before a row is written."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from django.conf import settings
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError
from tenants.scoping import every_tenant
from vms.models import Host, Subnet
from vms.specs import NetworkWish

PRIVATE: Final = tuple(IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
PREFIXES: Final = (16, 29)
MTUS: Final = (576, 9000)
DNS_MAX: Final = 4
ROUTES_MAX: Final = 16
_DOMAIN: Final = re.compile(
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*", re.ASCII
)
_DOMAIN_MAX: Final = 120


class RangeTaken(Conflict):
    """Somebody has a part of the range already, or the hosts themselves do."""

    code = "range_taken"


def range_taken() -> RangeTaken:
    """The refusal, in words that say nothing of who has it."""
    return RangeTaken(
        _("This range, or a part of it, is in use in this installation."),
        hint=_("Choose another one, or leave it to the portal."),
    )


def ranges_taken() -> list[IPv4Network]:
    """Every range that no new network may touch: tenants', the hosts' own addresses, and what the operator keeps."""
    with every_tenant(why="ranges must not overlap between tenants"):
        held = list(Subnet.objects.filter(family=4).values_list("cidr", flat=True))
    own = [address for addresses in Host.objects.values_list("addresses", flat=True) for address in addresses]
    return [IPv4Network(each, strict=False) for each in (*held, *own, *settings.RESERVED_NETWORKS) if ":" not in each]


def range_free(taken: Iterable[IPv4Network]) -> IPv4Network | None:
    """The lowest range of the usual size that touches nothing of ``taken``."""
    supernet = IPv4Network(settings.TENANT_NETWORK_SUPERNET)
    prefix: int = settings.TENANT_NETWORK_PREFIX
    step = 1 << (32 - prefix)
    used = {
        number
        for each in taken
        if each.overlaps(supernet)
        for number in range(int(each.network_address) // step, int(each.broadcast_address) // step + 1)
    }
    first, last = int(supernet.network_address) // step, int(supernet.broadcast_address) // step
    free = next((number for number in range(first, last + 1) if number not in used), None)
    return None if free is None else IPv4Network((free * step, prefix))


def cidr_errors(text: str) -> list[FieldError]:
    """What is wrong with a range that a customer chose, but for who else has it."""
    try:
        cidr = IPv4Network(text)
    except ValueError:
        return [FieldError("/cidr", "invalid_range", _("A range looks like 10.20.0.0/24, its first address first."))]
    if not any(cidr.subnet_of(each) for each in PRIVATE):
        message = _("A network's range lies in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16.")
        return [FieldError("/cidr", "not_private", message)]
    if not PREFIXES[0] <= cidr.prefixlen <= PREFIXES[1]:
        message = _("Between /%(large)d and /%(small)d.") % {"large": PREFIXES[0], "small": PREFIXES[1]}
        return [FieldError("/cidr", "invalid_size", message)]
    return []


def wish_errors(wish: NetworkWish, cidr: IPv4Network, gateway: str) -> list[FieldError]:
    """What is wrong with the rest of a wish, in a range that is right."""
    errors = [*_inside(cidr, "/gateway", [gateway] if gateway else [])]
    if errors:
        return errors
    errors += _pool(wish, cidr, gateway)
    errors += _dns(wish.dns, cidr)
    errors += _routes(wish, gateway)
    if wish.domain and (len(wish.domain) > _DOMAIN_MAX or not _DOMAIN.fullmatch(wish.domain)):
        errors.append(
            FieldError("/domain", "invalid_domain", _("Small letters, digits, hyphens, and dots between them."))
        )
    if not MTUS[0] <= wish.mtu <= MTUS[1]:
        message = _("Between %(least)d and %(most)d.") % {"least": MTUS[0], "most": MTUS[1]}
        errors.append(FieldError("/mtu", "invalid_mtu", message))
    return errors


def _inside(cidr: IPv4Network, pointer: str, addresses: Sequence[str]) -> list[FieldError]:
    """Every one must be an address of the range that a machine could have."""
    for text in addresses:
        found = address_of(text)
        if found is None:
            return [FieldError(pointer, "invalid_address", _("An address looks like 10.20.0.1."))]
        if found not in cidr or found in (cidr.network_address, cidr.broadcast_address):
            message = _("It must lie in %s, and be neither its first nor its last address.") % cidr
            return [FieldError(pointer, "outside_range", message)]
    return []


def _pool(wish: NetworkWish, cidr: IPv4Network, gateway: str) -> list[FieldError]:
    errors = [
        *_inside(cidr, "/first", [wish.first] if wish.first else []),
        *_inside(cidr, "/last", [wish.last] if wish.last else []),
    ]
    if errors or not (wish.first or wish.last):
        return errors
    if not (wish.first and wish.last):
        pointer = "/last" if wish.first else "/first"
        return [FieldError(pointer, "required", _("The pool has a first and a last address, or neither."))]
    if IPv4Address(wish.first) > IPv4Address(wish.last):
        return [FieldError("/last", "invalid_pool", _("The last address does not come before the first."))]
    if wish.first == wish.last == gateway:
        return [FieldError("/last", "invalid_pool", _("The pool holds no address but the gateway's."))]
    return []


def _dns(servers: Sequence[str], cidr: IPv4Network) -> list[FieldError]:
    if len(servers) > DNS_MAX:
        return [FieldError("/dns", "too_many", _("At most %d.") % DNS_MAX)]
    for number, text in enumerate(servers):
        found = address_of(text)
        if found is None:
            return [FieldError(f"/dns/{number}", "invalid_address", _("An address looks like 10.20.0.1."))]
        if found not in cidr and not found.is_global:
            message = _("Machines reach no private address outside their network: name one in it, or a public one.")
            return [FieldError(f"/dns/{number}", "unreachable", message)]
    return []


def _routes(wish: NetworkWish, gateway: str) -> list[FieldError]:
    if len(wish.routes) > ROUTES_MAX:
        return [FieldError("/routes", "too_many", _("At most %d.") % ROUTES_MAX)]
    if wish.routes and wish.outward != "nat":
        return [FieldError("/routes", "no_way_out", _("An isolated network leads nowhere."))]
    for number, (to, via) in enumerate(wish.routes):
        try:
            there = IPv4Network(to)
        except ValueError:
            message = _("A range looks like 10.20.0.0/24, its first address first.")
            return [FieldError(f"/routes/{number}/to", "invalid_range", message)]
        if not there.is_global or there.is_multicast or there.prefixlen == 0:
            message = _("Only to public ranges: no packet of a machine leaves its network for a private one.")
            return [FieldError(f"/routes/{number}/to", "unreachable", message)]
        if via != gateway:
            message = _("Only through the gateway, %s: a machine takes no packets that are not its own.") % gateway
            return [FieldError(f"/routes/{number}/via", "not_the_gateway", message)]
    return []


def address_of(text: str) -> IPv4Address | None:
    """The IPv4 address that a text is, or None."""
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None
