"""Networks and addresses: every range and every address is handed out once, under a constraint of the database."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.services import Hold, operation_submit
from operations.states import LIVE
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.scoping import every_tenant
from tenants.services.quota import quota_release, quota_reserve
from vms.models import Address, Guest, Host, Network, NetworkOnHost, Port, Subnet
from vms.specs import NAME
from vms.states import Power

DEFAULT_NAME = "private"


class NoAddress(Conflict):
    """The subnet, or the installation's supernet, is used up."""

    code = "no_address"
    message = gettext_lazy("There is no free address left.")


@transaction.atomic
def network_create(
    tenant: Tenant, *, name: str, actor: Actor, outward: str = "nat", is_default: bool = False
) -> Network:
    """A private network with its own range; it is made on a host when the first guest needs it there."""
    actor.require(Permission.NETWORK_MANAGE)
    if not NAME.match(name) or len(name) > 40:
        raise Invalid(
            errors=[FieldError("/name", "invalid_name", _("Use small letters, digits and hyphens, at most 40."))]
        )
    if outward not in ("nat", "isolated"):
        raise Invalid(errors=[FieldError("/outward", "invalid_choice", _("Choose nat or isolated."))])
    return _network_make(tenant, name=name, actor=actor, outward=outward, is_default=is_default)


def _network_make(tenant: Tenant, *, name: str, actor: Actor, outward: str, is_default: bool) -> Network:
    quota_reserve(tenant, {"networks": 1})
    try:
        with transaction.atomic():
            network = Network.objects.create(tenant=tenant, name=name, outward=outward, is_default=is_default)
    except IntegrityError as error:
        raise Conflict(_("A network with this name exists."), code="name_taken", hint="") from error
    subnet = _subnet_make(network)
    audit_record(actor, "network.create", network, cidr=subnet.cidr, outward=outward)
    event_append(tenant, "network.changed", "network", network.pk)
    return network


def _subnet_make(network: Network) -> Subnet:
    """The network's range. The unique column decides between two that ask at once; the loser takes the next one.

    No rows are locked: others who make machines hold a host and want their subnet, and we hold subnets and want a host.
    """
    while True:
        cidr = _free_range()
        try:
            with transaction.atomic():
                return Subnet.objects.create(
                    tenant=network.tenant,
                    network=network,
                    family=cidr.version,
                    cidr=str(cidr),
                    gateway=str(cidr.network_address + 1),
                )
        except IntegrityError:
            if _free_range() == cidr:
                raise


def _free_range() -> ipaddress.IPv4Network:
    """The lowest range of the supernet that no tenant has; raises ``NoAddress``."""
    supernet = ipaddress.IPv4Network(settings.TENANT_NETWORK_SUPERNET)
    with every_tenant(why="ranges must not overlap between tenants"):
        taken = set(Subnet.objects.filter(family=4).values_list("cidr", flat=True))
    for cidr in supernet.subnets(new_prefix=settings.TENANT_NETWORK_PREFIX):
        if str(cidr) not in taken:
            return cidr
    raise NoAddress


def network_default(tenant: Tenant, *, actor: Actor) -> Network:
    """The tenant's default network, made with its first need; runs in the caller's transaction."""
    network = Network.objects.filter(is_default=True).first()
    if network is not None:
        return network
    return _network_make(tenant, name=DEFAULT_NAME, actor=actor, outward="nat", is_default=True)


@transaction.atomic
def network_delete(network: Network, *, actor: Actor) -> Operation:
    """Take an unused network off the hosts and forget it; refuses while a machine is on it."""
    actor.require(Permission.NETWORK_MANAGE, network)
    _refuse_used(network)
    operation = operation_submit(network, kind="network.delete", actor=actor, holds=[Hold("network", network.pk)])
    audit_record(actor, "network.delete", network)
    return operation


def _refuse_used(network: Network) -> None:
    if network.ports.exists():
        raise Conflict(
            _("Machines are connected to this network."), code="network_in_use", hint=_("Delete them first.")
        )


def network_settle_delete(operation: Operation) -> None:
    """Gone from the hosts: forget the rows and return the quota. Anything else leaves the network as it was.

    Raises ``Conflict`` (``network_in_use``) where a machine was made on it meanwhile; it has failed then.
    """
    if operation.status != "succeeded":
        return
    network = Network.objects.filter(pk=operation.subject_id).first()
    if network is None:
        return
    _refuse_used(network)
    tenant = network.tenant
    quota_release(tenant, {"networks": 1})
    NetworkOnHost.objects.filter(network=network).delete()
    network.delete()
    event_append(tenant, "network.changed", "network", operation.subject_id)


def port_create(guest: Guest, network: Network, *, position: int) -> Port:
    """A card with the subnet's lowest free address and the MAC that belongs to it; runs in the caller's transaction."""
    subnet = Subnet.objects.select_for_update().get(network=network, family=4)
    ip = _free_address(subnet)
    port = Port.objects.create(tenant=guest.tenant, network=network, guest=guest, position=position, mac=mac_of(ip))
    Address.objects.create(tenant=guest.tenant, subnet=subnet, port=port, ip=ip)
    return port


def mac_of(ip: str) -> str:
    """The MAC of whoever holds an IPv4 address: ``52:54`` (locally administered) and its four bytes.

    Ranges never overlap in an installation, so neither do MACs; and a network's DHCP knows every pair from the start, which
    spares a live update of some 0.4 s for each machine.
    """
    return "52:54:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(ip).packed)


def address_plan(subnet: Subnet) -> list[tuple[str, str]]:
    """Every (MAC, address) that a port of the subnet can have."""
    return [(mac_of(ip), ip) for ip in _usable(subnet)]


def _free_address(subnet: Subnet) -> str:
    """The lowest address not held; the caller has locked the subnet's row."""
    taken = set(Address.objects.filter(subnet=subnet).values_list("ip", flat=True))
    for ip in _usable(subnet):
        if ip not in taken:
            return ip
    raise NoAddress


def _usable(subnet: Subnet) -> Iterator[str]:
    """The addresses that ports can have: the first nine of a larger range are left for the network's own use."""
    cidr = ipaddress.ip_network(subnet.cidr)
    first = 10 if cidr.num_addresses >= 32 else 2
    for offset in range(first, cidr.num_addresses - 1):
        ip = str(cidr.network_address + offset)
        if ip != subnet.gateway:
            yield ip


def network_use_host(host: Host, network: Network) -> None:
    """The network is, or is about to be, on that host. Safe to repeat."""
    NetworkOnHost.objects.get_or_create(tenant=network.tenant, network=network, host=host)


def network_is_used(host: Host, network: Network, *, but: Guest) -> bool:
    """Does a guest of that host other than ``but`` need the network there?

    Not those that are off the host already and being purged: of two that go at once, the last one must clean up.
    """
    going = Operation.objects.filter(kind="guest.purge", subject_id=OuterRef("guest"), status__in=LIVE)
    others = Port.objects.filter(network=network, guest__host=host).exclude(guest=but)
    return others.exclude(Exists(going), guest__seen_power=Power.ABSENT).exists()


def network_left_host(host: Host, network: Network) -> None:
    """The network is off that host. Safe to repeat."""
    NetworkOnHost.objects.filter(network=network, host=host).delete()
