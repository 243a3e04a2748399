"""Networks: every range is handed out once; what their shape is on hosts follows the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from itertools import count
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from operations.states import LIVE
from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.quota import Line, quota_foresee, quota_release, quota_reserve
from vms.models import Guest, Host, Network, NetworkOnHost, Port, Subnet
from vms.selectors.fabrics import spanned
from vms.services.addresses import NoAddress
from vms.services.ranges import RangeTaken, cidr_errors, range_free, range_taken, ranges_taken, wish_errors
from vms.specs import NAME, NetworkWish
from vms.states import Power

DEFAULT_NAME: Final = "private"
OUTWARD: Final = ("nat", "isolated")
ANEW: Final = frozenset({"outward", "dns", "domain", "mtu", "routes"})
"""What a network is taken down for to change it: libvirt hands none of it to a network that runs."""
OFF: Final = (Power.STOPPED, Power.CRASHED, Power.ABSENT)


@transaction.atomic
def network_create(tenant: Tenant, wish: NetworkWish, *, actor: Actor, is_default: bool = False) -> Network:
    """A private network with its own range; it is made on a host when the first guest needs it there.

    Raises ``Invalid`` with every field that is wrong, ``OverQuota``, ``RangeTaken``, or ``Conflict`` (``name_taken``).
    """
    actor.require(Permission.NETWORK_MANAGE)
    _check(wish)
    return _network_make(tenant, wish, actor=actor, is_default=is_default)


def _check(wish: NetworkWish) -> None:
    """Raise ``Invalid`` with all that is wrong in itself, whoever else is there."""
    errors = _word_errors(name=wish.name, description=wish.description, outward=wish.outward)
    errors += cidr_errors(wish.cidr) if wish.cidr else []
    if not errors:
        cidr = IPv4Network(wish.cidr) if wish.cidr else range_free(ranges_taken())
        if cidr is None:
            raise NoAddress
        errors = wish_errors(wish, cidr, wish.gateway or _first_of(cidr))
    if errors:
        raise Invalid(errors=errors)


def _word_errors(*, name: str, description: str, outward: str) -> list[FieldError]:
    errors = []
    if not NAME.match(name) or len(name) > 40:
        errors.append(FieldError("/name", "invalid_name", _("Use small letters, digits and hyphens, at most 40.")))
    if len(description) > 200 or not description.isprintable():
        errors.append(FieldError("/description", "invalid_description", _("One line of at most 200 characters.")))
    if outward not in OUTWARD:
        errors.append(FieldError("/outward", "invalid_choice", _("Choose nat or isolated.")))
    return errors


def _first_of(cidr: IPv4Network) -> str:
    return str(cidr.network_address + 1)


def _network_make(tenant: Tenant, wish: NetworkWish, *, actor: Actor, is_default: bool) -> Network:
    quota_reserve(tenant, {"networks": 1})
    try:
        with transaction.atomic():
            network = Network.objects.create(
                tenant=tenant,
                name=wish.name,
                description=wish.description,
                outward=wish.outward,
                domain=f"{wish.name}.internal" if wish.domain is None else wish.domain,
                mtu=wish.mtu,
                is_default=is_default,
            )
    except IntegrityError as error:
        raise Conflict(_("A network with this name exists."), code="name_taken", hint="") from error
    subnet = _subnet_make(network, wish)
    audit_record(actor, "network.create", network, cidr=subnet.cidr, outward=wish.outward)
    event_append(tenant, "network.changed", "network", network.pk)
    return network


def _subnet_make(network: Network, wish: NetworkWish) -> Subnet:
    """The network's range. The database decides between two that ask at once; the loser of a free choice takes the next one.

    No rows are locked: others who make machines hold a host and want their subnet, and we hold subnets and want a host.
    """
    while True:
        cidr = _range_for(wish)
        try:
            with transaction.atomic():
                return Subnet.objects.create(
                    tenant=network.tenant,
                    network=network,
                    family=cidr.version,
                    cidr=str(cidr),
                    gateway=_plain(wish.gateway) or _first_of(cidr),
                    first=_plain(wish.first),
                    last=_plain(wish.last),
                    dns=list(wish.dns),
                    routes=_stored(wish.routes),
                )
        except IntegrityError as error:
            if wish.cidr:
                raise range_taken() from error
            if _range_for(wish) == cidr:
                raise


def _plain(text: str) -> str | None:
    """An address as the database writes it; None for none."""
    return str(IPv4Address(text)) if text else None


def _stored(routes: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"to": to, "via": via} for to, via in routes]


def _range_for(wish: NetworkWish) -> IPv4Network:
    """The range that was chosen, or the next free one; raises ``RangeTaken`` or ``NoAddress``."""
    taken = ranges_taken()
    if wish.cidr:
        cidr = IPv4Network(wish.cidr)
        if any(cidr.overlaps(each) for each in taken):
            raise range_taken()
        return cidr
    free = range_free(taken)
    if free is None:
        raise NoAddress
    return free


@dataclass(frozen=True, slots=True)
class NetworkFit:
    """Could it be made, why not, what the quota would be, and which range and gateway it would have."""

    fits: bool
    reasons: list[tuple[str, str]]
    quota: list[Line]
    cidr: str = ""
    gateway: str = ""


def network_fit(tenant: Tenant, wish: NetworkWish, *, actor: Actor) -> NetworkFit:
    """The answer that ``network_create`` would give, without changing anything."""
    actor.require(Permission.NETWORK_MANAGE)
    reasons, cidr = [], None
    try:
        _check(wish)
        cidr = _range_for(wish)
    except Invalid as error:
        reasons += [(fault.code, fault.message) for fault in error.errors]
    except (RangeTaken, NoAddress) as error:
        reasons.append((error.code, error.sentence))
    if Network.objects.filter(name=wish.name).exists():
        reasons.append(("name_taken", _("A network with this name exists.")))
    lines = quota_foresee(tenant, {"networks": 1})
    reasons += [("over_quota", line.refusal().sentence) for line in lines if line.is_short]
    gateway = "" if cidr is None else wish.gateway or _first_of(cidr)
    return NetworkFit(not reasons, reasons, lines, "" if cidr is None else str(cidr), gateway)


@transaction.atomic
def network_edit(network: Network, *, actor: Actor, **changes: Any) -> tuple[Network, Operation | None]:
    """Change what is named of ``NetworkWish``, but for its range and its gateway, which are for good.

    Name, description and pool hold at once. The others (``ANEW``) are brought to the hosts that have it by the operation that is
    returned, and only while no machine on it is on. Raises ``Invalid``, or ``Conflict`` (``name_taken``, ``machines_on``).
    """
    actor.require(Permission.NETWORK_MANAGE, network)
    rows = Network.objects.select_for_update(of=("self",), no_key=True).select_related("tenant")
    found = rows.filter(pk=network.pk).first()
    if found is None:
        raise Missing
    network, subnet = found, Subnet.objects.select_for_update().get(network=found, family=4)
    before = _wish_of(network, subnet)
    wish = replace(before, **changes)
    errors = _word_errors(name=wish.name, description=wish.description, outward=wish.outward)
    errors += wish_errors(wish, IPv4Network(subnet.cidr), subnet.gateway)
    if errors:
        raise Invalid(errors=errors)
    pairs = {name: [getattr(before, name), getattr(wish, name)] for name in changes}
    differs: dict[str, Any] = {name: both for name, both in pairs.items() if both[0] != both[1]}
    if not differs:
        return network, None
    anew = bool(ANEW & set(differs)) and NetworkOnHost.objects.filter(network=network).exists()
    if anew:
        _refuse_on(network)
    network.name, network.description, network.outward = wish.name, wish.description, wish.outward
    network.domain, network.mtu = wish.domain or "", wish.mtu
    subnet.first, subnet.last = _plain(wish.first), _plain(wish.last)
    subnet.dns, subnet.routes = list(wish.dns), _stored(wish.routes)
    network.version += 1
    network.drawing += int(bool(ANEW & set(differs)))
    try:
        with transaction.atomic():
            network.save(update_fields=["name", "description", "outward", "domain", "mtu", "version", "drawing"])
    except IntegrityError as error:
        raise Conflict(_("A network with this name exists."), code="name_taken", hint="") from error
    subnet.save(update_fields=["first", "last", "dns", "routes"])
    audit_record(actor, "network.edit", network, **differs)
    operation = None
    if anew:
        operation = operation_submit(network, kind="network.change", actor=actor, holds=[Hold("network", network.pk)])
    event_append(network.tenant, "network.changed", "network", network.pk)
    return network, operation


def _wish_of(network: Network, subnet: Subnet) -> NetworkWish:
    return NetworkWish(
        name=network.name,
        description=network.description,
        outward=network.outward,
        cidr=subnet.cidr,
        gateway=subnet.gateway,
        first=subnet.first or "",
        last=subnet.last or "",
        dns=tuple(subnet.dns),
        domain=network.domain,
        mtu=network.mtu,
        routes=tuple((route["to"], route["via"]) for route in subnet.routes),
    )


def _refuse_on(network: Network) -> None:
    on = Guest.objects.filter(ports__network=network).exclude(seen_power__in=OFF).distinct()
    names = list(on.order_by("name").values_list("name", flat=True)[:4])
    if names:
        message = _("Machines on this network are on: %(names)s. It is taken down to change this.")
        named = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        hint = _("Stop them, change it, and start them again.")
        raise Conflict(message, code="machines_on", hint=hint, names=named)


def network_mend(network: Network) -> Operation | None:
    """Its fabric has it otherwise than it is drawn: have it made so. None while somebody is at it."""
    try:
        with tenant_scope(network.tenant), transaction.atomic():
            actor = system_actor(network.tenant, why="sweep")
            return operation_submit(network, kind="network.change", actor=actor, holds=[Hold("network", network.pk)])
    except Conflict:
        return None


def network_settle_change(operation: Operation) -> None:
    """Its page says on which hosts it is as it is drawn; where it is not yet, the next start of a machine there brings it."""
    network = Network.objects.filter(pk=operation.subject_id).first()
    if network is not None:
        event_append(network.tenant, "network.changed", "network", network.pk)


def network_default(tenant: Tenant, *, actor: Actor) -> Network:
    """The tenant's default network, made with its first need under a name of its own; runs in the caller's transaction."""
    network = Network.objects.filter(is_default=True).first()
    if network is not None:
        return network
    names = set(Network.objects.filter(name__startswith=DEFAULT_NAME).values_list("name", flat=True))
    free = (f"{DEFAULT_NAME}-{number}" for number in count(2))
    name = DEFAULT_NAME if DEFAULT_NAME not in names else next(each for each in free if each not in names)
    return _network_make(tenant, NetworkWish(name=name), actor=actor, is_default=True)


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


def network_use_host(host: Host, network: Network) -> NetworkOnHost:
    """The network is, or is about to be, on that host. Safe to repeat."""
    return NetworkOnHost.objects.get_or_create(tenant=network.tenant, network=network, host=host)[0]


def network_record_drawing(use: NetworkOnHost, drawing: int) -> None:
    """It is on that host, and on all that share its fabric, as it was drawn then."""
    made = NetworkOnHost.objects.filter(network=use.network_id, host__in=spanned(use.host))
    made.filter(drawing__lt=drawing).update(drawing=drawing)


def network_is_used(host: Host, network: Network, *, but: Guest) -> bool:
    """Does a guest of that host, or of one that shares its fabric, other than ``but`` need the network there?

    Not those that are off the host already and being purged: of two that go at once, the last one must clean up.
    """
    going = Operation.objects.filter(kind="guest.purge", subject_id=OuterRef("guest"), status__in=LIVE)
    others = Port.objects.filter(network=network, guest__host__in=spanned(host)).exclude(guest=but)
    return others.exclude(Exists(going), guest__seen_power=Power.ABSENT).exists()


def network_left_host(host: Host, network: Network) -> None:
    """The network is off that host, and off all that share its fabric. Safe to repeat."""
    NetworkOnHost.objects.filter(network=network, host__in=spanned(host)).delete()
