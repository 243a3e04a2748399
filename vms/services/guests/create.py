"""A guest is made: allowed? possible? paid for, placed, written down, asked for; one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid, OverQuota, PortalError
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.usage import usage_switch
from tenants.models import Quota, Tenant
from tenants.policy import Permission
from tenants.services.quota import RESOURCES, quota_reserve, tenant_lineage
from vms.models import Flavor, Guest, HostClaim, Network, StorageClass, Volume
from vms.services.guests.check import guest_spec_check, password_hash
from vms.services.guests.tagging import guest_set_tags
from vms.services.hosts import NoRoom, host_choose, host_rooms
from vms.services.networks import network_default, port_create
from vms.specs import GuestSpec
from vms.states import Power


def guest_cost(flavor: Flavor, *, ports: int, count: int = 1) -> dict[str, int]:
    """What ``count`` machines of a flavor take from the quota."""
    one = {
        "guests": 1,
        "vcpus": flavor.vcpus,
        "memory_mib": flavor.memory_mib,
        "disk_gib": flavor.disk_gib,
        "volumes": 1,
        "addresses": ports,
    }
    return {name: amount * count for name, amount in one.items()}


@transaction.atomic
def guest_create(tenant: Tenant, spec: GuestSpec, *, actor: Actor) -> Operation:
    """Make one machine or ``spec.count`` of them; the operation returned is the one to watch (a parent for several).

    Raises ``Invalid`` with every field that is wrong, ``OverQuota``, ``NoRoom`` or ``Conflict`` (a name is taken); then
    nothing was changed.
    """
    actor.require(Permission.GUEST_CREATE)
    guest_spec_check(spec)
    if not actor.reaches(Permission.GUEST_CREATE, spec.tags):
        message = _("Your role makes machines only with one of its tags.")
        raise Invalid(errors=[FieldError("/tags", "own_reach", message)])
    quota_reserve(tenant, guest_cost(spec.flavor, ports=max(1, len(spec.networks)), count=spec.count))
    networks = list(spec.networks) or [network_default(tenant, actor=actor)]
    hashed = password_hash(spec.password)
    guests = [_guest_write(tenant, spec, name, networks, hashed) for name in spec.names()]
    parent = None
    if len(guests) > 1:
        parent = operation_submit(
            Batch(guests[0].pk, f"{len(guests)} × {spec.name}"), kind="guest.batch", actor=actor, tenant=tenant
        )
    operations = [_guest_ask(guest, actor=actor, parent=parent, tags=spec.tags) for guest in guests]
    return parent or operations[0]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a parent operation is about: several machines, named together."""

    pk: Any
    name: str


def _guest_write(tenant: Tenant, spec: GuestSpec, name: str, networks: Iterable[Network], hashed: str) -> Guest:
    """The rows of one machine: itself, its place, its disk, its cards."""
    flavor = spec.flavor
    host = host_choose(flavor)
    try:
        with transaction.atomic():
            guest = Guest.objects.create(
                tenant=tenant,
                name=name,
                flavor=flavor,
                image=spec.image,
                host=host,
                vcpus=flavor.vcpus,
                memory_mib=flavor.memory_mib,
                disk_gib=flavor.disk_gib,
                firmware=spec.image.firmware,
                protected=spec.protected,
                user_data=spec.user_data,
                password_hash=hashed,
                ssh_keys=[key.public_key for key in spec.ssh_keys] + list(spec.inline_keys),
                want_power=Power.RUNNING if spec.start else Power.STOPPED,
            )
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
        disk_gib=flavor.disk_gib,
    )
    storage_class = StorageClass.objects.get(is_default=True)
    volume = Volume.objects.create(
        tenant=tenant,
        name="root",
        guest=guest,
        position=0,
        image=spec.image,
        storage_class=storage_class,
        pool=host.storage_pools.filter(storage_class=storage_class).first(),
        size_gib=flavor.disk_gib,
    )
    for position, network in enumerate(networks):
        port_create(guest, network, position=position)
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


def _guest_ask(guest: Guest, *, actor: Actor, parent: Operation | None, tags: Iterable[str]) -> Operation:
    """Ask the worker for a written guest, and say so in the journal."""
    guest_set_tags(guest, tags)
    assert guest.host is not None
    operation = operation_submit(
        guest,
        kind="guest.create",
        actor=actor,
        holds=[Hold("guest", guest.pk)],
        lane=guest.host.lane,
        generation=guest.want_generation,
        parent=parent,
    )
    HostClaim.objects.filter(guest=guest).update(operation_id=operation.pk)
    audit_record(
        actor,
        "guest.create",
        guest,
        flavor=guest.flavor.name,
        image=guest.image.name,
        tags=sorted(tags),
        user_data=bool(guest.user_data),
        ssh_keys=len(guest.ssh_keys),
    )
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return operation


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """One resource before and after; ``limit`` None is no limit."""

    name: str
    before: int
    after: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Fit:
    """Would it fit, why not, what the quota would be, and how many more after that."""

    fits: bool
    reasons: list[tuple[str, str]]
    quota: list[QuotaLine]
    more_fit: int


def guest_fit(tenant: Tenant, spec: GuestSpec, *, actor: Actor) -> Fit:
    """The answer that ``guest_create`` would give, without changing anything; also how many more would fit afterwards."""
    actor.require(Permission.GUEST_CREATE)
    reasons: list[tuple[str, str]] = []
    try:
        guest_spec_check(spec)
    except Invalid as error:
        reasons += [(fault.code, fault.message) for fault in error.errors] or [(error.code, error.sentence)]
    one = guest_cost(spec.flavor, ports=max(1, len(spec.networks)))
    needs_first = not spec.networks and not Network.objects.filter(is_default=True).exists()
    first_network = {"networks": 1} if needs_first else {}
    lines = _quota_lines(tenant, {**{n: a * spec.count for n, a in one.items()}, **first_network})
    reasons += [("over_quota", _short(line)) for line in lines if line.limit is not None and line.after > line.limit]
    rooms = host_rooms()
    slots = sum(room.slots(spec.flavor.vcpus, spec.flavor.memory_mib, spec.flavor.disk_gib) for room in rooms)
    if slots < spec.count:
        reasons.append((NoRoom.code, NoRoom().sentence))
    left = [
        (line.limit - line.after) // one[line.name] for line in lines if line.limit is not None and line.name in one
    ]
    more = max(0, min([*left, slots - spec.count])) if not reasons else 0
    return Fit(not reasons, reasons, lines, more)


def _quota_lines(tenant: Tenant, cost: dict[str, int]) -> list[QuotaLine]:
    """Per resource the tightest of the tenant's own limit and its ancestors'."""
    lines: dict[str, QuotaLine] = {}
    for ancestor in reversed(tenant_lineage(tenant)):
        for row in Quota.objects.filter(tenant=ancestor, resource__in=cost):
            line = QuotaLine(row.resource, row.used, row.used + cost[row.resource], row.limit)
            known = lines.get(row.resource)
            if known is None or (known.limit is None and line.limit is not None) or _left(line) < _left(known):
                lines[row.resource] = line
    return [lines[name] for name in RESOURCES if name in lines]


def _left(line: QuotaLine) -> float:
    return float("inf") if line.limit is None else line.limit - line.after


def _short(line: QuotaLine) -> str:
    error: PortalError = OverQuota(
        name=RESOURCES[line.name], limit=line.limit, used=line.before, asked=line.after - line.before
    )
    return error.sentence
