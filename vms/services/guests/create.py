"""A guest is made: allowed? possible? paid for, placed, written down, asked for; one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.ports import Money
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.usage import usage_switch
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.services.quota import Kind, Line, class_disk, kind_of, quota_foresee, quota_reserve
from vms.models import Guest, Host, HostClaim, Network, SecurityGroup, StorageClass, Subnet, Volume
from vms.placement import Need
from vms.pool_kinds import home_path
from vms.selectors.networks import segments_of
from vms.selectors.placement_groups import placement_rule
from vms.selectors.prices import machine_price
from vms.services.addresses import address_free, addresses_free, port_create
from vms.services.discs import disc_lay
from vms.services.guarding import guards_choose, guards_joined, guards_write
from vms.services.guests.asking import guest_ask
from vms.services.guests.check import guest_spec_check, password_hash
from vms.services.guests.hardware import hardware_like, hardware_of, hardware_take
from vms.services.guests.tagging import guest_set_tags
from vms.services.networks import network_default
from vms.services.placement_groups import placement_group_hold
from vms.services.placing import hosts_could_take, hosts_take, need_of
from vms.services.volumes.create import copy_params, pool_choose, pool_needs
from vms.services.volumes.record import made_of, source_holds, volume_cost, volume_meter
from vms.specs import GuestSpec
from vms.states import ImageKind, Power


def guest_cost(spec: GuestSpec) -> dict[str, int]:
    """What the machines of a spec ask of the quota: what all of them hold, how big each is, how many are made."""
    flavor, ports = spec.flavor, max(1, len(spec.networks))
    one: Counter[str] = Counter()
    for disk in spec.volumes:
        one.update(volume_cost(disk.storage_class or root_class(), disk.size_gib))
    first = {
        "guests": 1,
        "running_guests": int(spec.start),
        "vcpus": flavor.vcpus,
        "memory_mib": flavor.memory_mib,
        "disk_gib": spec.root_gib,
        class_disk(root_class().name): spec.root_gib,
        "volumes": 1,
        "ports": ports,
        "addresses": ports,
        "guest_creates_per_day": 1,
    }
    one.update(first)
    each = {
        "guest_vcpus": flavor.vcpus,
        "guest_memory_mib": flavor.memory_mib,
        "guest_disk_gib": flavor.disk_gib + spec.more_gib,
        "guest_ports": ports,
        "guest_volumes": 1 + len(spec.volumes),
    }
    return {name: amount * spec.count for name, amount in one.items()} | each


def root_class() -> StorageClass:
    """The storage class that first disks are made of."""
    return StorageClass.objects.get(is_default=True)


@transaction.atomic
def guest_create(tenant: Tenant, spec: GuestSpec, *, actor: Actor) -> Operation:
    """Make one machine or ``spec.count`` of them; the operation returned is the one to watch (a parent for several).

    Raises ``Invalid`` with every field that is wrong, ``OverQuota``, ``NoRoom`` or ``Conflict`` (a name is taken); then
    nothing was changed.
    """
    actor.require(Permission.GUEST_CREATE)
    if spec.volumes:
        actor.require(Permission.VOLUME_MANAGE)
    guest_spec_check(spec)
    _refuse_out_of_reach(spec, actor)
    quota_reserve(tenant, guest_cost(spec))
    guarding = guards_choose(tenant, spec, actor=actor)
    networks = list(spec.networks) or [network_default(tenant, actor=actor)]
    hashed = password_hash(spec.password)
    cards = [(network, guarding.on(network)) for network in networks]
    if spec.placement_group is not None:
        placement_group_hold(spec.placement_group)
    hosts = hosts_take(_need(tenant, spec, networks), spec.count, rule=placement_rule(spec.placement_group))
    guests = [
        _guest_write(tenant, spec, name, host, cards, hashed) for name, host in zip(spec.names(), hosts, strict=True)
    ]
    parent = None
    if len(guests) > 1:
        parent = operation_submit(
            Batch(guests[0].pk, f"{len(guests)} × {spec.name}"), kind="guest.batch", actor=actor, tenant=tenant
        )
    operations = [_guest_ask(guest, spec, actor=actor, parent=parent) for guest in guests]
    guards_joined({group.pk for _network, groups in cards for group in groups})
    return parent or operations[0]


def _refuse_out_of_reach(spec: GuestSpec, actor: Actor) -> None:
    if not actor.reaches(Permission.GUEST_CREATE, spec.tags):
        message = _("Your role makes machines only with one of its tags.")
        raise Invalid(errors=[FieldError("/tags", "own_reach", message)])


@dataclass(frozen=True, slots=True)
class Batch:
    """What a parent operation is about: several machines, named together."""

    pk: Any
    name: str


def _guest_write(
    tenant: Tenant,
    spec: GuestSpec,
    name: str,
    host: Host,
    cards: Iterable[tuple[Network, Collection[SecurityGroup]]],
    hashed: str,
) -> Guest:
    """The rows of one machine: itself, its place, its disk, its cards."""
    flavor = spec.flavor
    try:
        with transaction.atomic():
            guest = Guest(
                tenant=tenant,
                name=name,
                flavor=flavor,
                image=spec.image,
                host=host,
                placement_group=spec.placement_group,
                keeps_apart=spec.placement_group is not None and spec.placement_group.keeps_apart,
                vcpus=flavor.vcpus,
                memory_mib=flavor.memory_mib,
                disk_gib=spec.root_gib,
                protected=spec.protected,
                user_data=spec.user_data,
                password_hash=hashed,
                ssh_keys=[key.public_key for key in spec.ssh_keys] + list(spec.inline_keys),
                want_power=Power.RUNNING if spec.start else Power.STOPPED,
                charged_running=spec.start,
            )
            if spec.like is None:
                hardware_take(guest, spec.image, former=hardware_of(spec))
            else:
                hardware_like(guest, spec.like)
            guest.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(
            _("A machine called %(name)s exists."), code="name_taken", hint=_("Choose another name."), name=name
        ) from error
    HostClaim.objects.create(
        tenant=tenant,
        host=host,
        guest=guest,
        generation=1,
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=spec.root_gib,
    )
    from_cd = spec.image.kind == ImageKind.ISO
    if from_cd and spec.root is None:
        disc_lay(guest, spec.image)
    storage_class = root_class()
    volume = Volume.objects.create(
        tenant=tenant,
        name="root",
        guest=guest,
        position=0,
        boot_order=1,
        image=spec.image if spec.root is None and not from_cd else None,
        **made_of(spec.root),
        storage_class=storage_class,
        pool=host.storage_pools.filter(path=home_path(host)).first(),
        size_gib=spec.root_gib,
    )
    _volumes_write(guest, spec)
    for position, ((network, groups), ip) in enumerate(zip(cards, chain(spec.ips, repeat("")), strict=False)):
        guards_write(port_create(guest, network, position=position, ip=ip), groups)
    usage_switch(
        tenant,
        resource_type="volume",
        resource_id=volume.pk,
        meter="disk_gib",
        quantity=volume.size_gib,
        at=now(),
        storage_class=storage_class.name,
    )
    return guest


def _need(tenant: Tenant, spec: GuestSpec, networks: Collection[Network]) -> Need:
    """What one of its machines asks of a host: on those networks, or on the default one that comes with it."""
    classes = {disk.storage_class for disk in spec.volumes if disk.storage_class is not None}
    goes_out = not networks or any(network.outward != "isolated" for network in networks)
    return need_of(
        spec.flavor,
        tenant,
        more_gib=_beside(spec),
        traits=hardware_of(spec).traits,
        classes=classes,
        near=segments_of(networks),
        goes_out=goes_out,
    )


def _beside(spec: GuestSpec) -> int:
    """How many GiB of its further disks may come to lie where its first one does."""
    if not spec.volumes:
        return 0
    first = root_class()
    return sum(disk.size_gib for disk in spec.volumes if disk.storage_class in (None, first))


def _volumes_write(guest: Guest, spec: GuestSpec) -> None:
    """The rows of its further disks, in the places after the first; they lie beside it on its host."""
    for position, disk in enumerate(spec.volumes, start=1):
        storage_class = disk.storage_class or root_class()
        volume_meter(
            Volume.objects.create(
                tenant=guest.tenant,
                name=disk.name,
                guest=guest,
                position=position,
                delete_with_guest=disk.delete_with_guest,
                **made_of(disk.source),
                storage_class=storage_class,
                pool=pool_choose(storage_class, disk.size_gib, guest=guest, can=pool_needs(disk)),
                size_gib=disk.size_gib,
                iops=disk.iops,
                mbps=disk.mbps,
            )
        )


def _guest_ask(guest: Guest, spec: GuestSpec, *, actor: Actor, parent: Operation | None) -> Operation:
    """Ask the worker for a written guest, and say so in the journal."""
    guest_set_tags(guest, spec.tags)
    rows = Volume.objects.select_related("snapshot_disk").filter(guest=guest)
    disks, sources = list(rows), source_holds(rows)
    operation = guest_ask(
        guest,
        "guest.create" if spec.like is None else "guest.clone",
        actor=actor,
        params=copy_params(disks),
        parent=parent,
        more=sources,
        long=bool(sources),
    )
    HostClaim.objects.filter(guest=guest).update(operation_id=operation.pk)
    audit_record(
        actor,
        "guest.create",
        guest,
        flavor=guest.flavor.name,
        image=guest.image.name,
        tags=sorted(spec.tags),
        placement_group=spec.placement_group.name if spec.placement_group is not None else "",
        user_data=bool(guest.user_data),
        ssh_keys=len(guest.ssh_keys),
    )
    return operation


@dataclass(frozen=True, slots=True)
class Fit:
    """Would it fit, why not, what the quota would be, how many more after that, and what it costs while it runs."""

    fits: bool
    reasons: list[tuple[str, str]]
    quota: list[Line]
    more_fit: int
    price: Money | None = None


def guest_fit(tenant: Tenant, spec: GuestSpec, *, actor: Actor) -> Fit:
    """The answer that ``guest_create`` would give, without changing anything; also how many more would fit afterwards."""
    actor.require(Permission.GUEST_CREATE)
    if spec.volumes:
        actor.require(Permission.VOLUME_MANAGE)
    reasons: list[tuple[str, str]] = []
    try:
        guest_spec_check(spec)
        _refuse_out_of_reach(spec, actor)
    except Invalid as error:
        reasons += [(fault.code, fault.message) for fault in error.errors] or [(error.code, error.sentence)]
    networks = list(spec.networks or Network.objects.filter(is_default=True))
    reasons += _taken(spec, networks)
    cost = guest_cost(spec)
    lines = quota_foresee(tenant, cost | ({"networks": 1} if not networks else {}))
    reasons += [("over_quota", line.refusal().sentence) for line in lines if line.is_short]
    slots, refusal = hosts_could_take(
        _need(tenant, spec, networks), spec.count, rule=placement_rule(spec.placement_group)
    )
    if refusal is not None:
        reasons.append((refusal.code, refusal.sentence))
    left = [
        (line.limit - line.after) // (cost[line.name] // spec.count)
        for line in lines
        if line.limit is not None and line.name in cost and kind_of(line.name) != Kind.EACH
    ]
    more = max(0, min([*left, slots - spec.count])) if not reasons else 0
    disks = [(disk.size_gib, disk.storage_class.name if disk.storage_class else "") for disk in spec.volumes]
    price = machine_price(spec.flavor, [(spec.root_gib, ""), *disks], count=spec.count)
    return Fit(not reasons, reasons, lines, more, price)


def _taken(spec: GuestSpec, networks: Iterable[Network]) -> list[tuple[str, str]]:
    """What another has by now of its names and addresses."""
    names = Guest.objects.filter(name__in=spec.names(), binned_at=None).order_by("name").values_list("name", flat=True)
    reasons = [("name_taken", _("A machine called %(name)s exists.") % {"name": name}) for name in names[:1]]
    for network, ip in zip(networks, chain(spec.ips, repeat("")), strict=False):
        subnet = Subnet.objects.get(network=network, family=4)
        try:
            _free = address_free(subnet, ip) if ip else addresses_free(subnet, spec.count)
        except Conflict as error:
            reasons.append((error.code, error.sentence))
    return reasons
