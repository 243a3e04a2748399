"""A host is found for machines and held until what they take of it is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.errors import Conflict
from tenants.models import Tenant
from vms.models import Flavor, Guest, Host, HostClaim, HostPool, Image, StorageClass
from vms.placement import NO_RULE, Lack, Need, Room, Rule, choose, plan_many, slots_of, verdicts
from vms.selectors.rooms import host_rooms
from vms.states import TRAITS, Trait

TRIES: Final = 3
"""How often hosts are chosen by a look and held after it, before all of them are held for the look itself."""


NOT_BUILT_THERE: Final[frozenset[Lack]] = frozenset({"untested", *TRAITS})
OUT_OF_SERVICE: Final[frozenset[Lack]] = frozenset({"disabled", "maintenance", "silent"})
NO_SUCH_HOST: Final = gettext_lazy("No host in service has what this size asks for.")
NO_SUCH_DISKS: Final = gettext_lazy("No host in service has storage of this class.")
NO_WAY_OUT: Final = gettext_lazy("No host in service has a way out for networks that lead outwards.")
NO_SUCH_HARDWARE: Final = gettext_lazy("No host in service has the firmware or the TPM that this machine asks for.")
NONE_APART: Final = gettext_lazy("No host without a machine of this placement group has room right now.")
NONE_TOGETHER: Final = gettext_lazy("The host of this placement group's machines has no room right now.")


class NoRoom(Conflict):
    """Placement found no host; the details say, for operators, what each lacked."""

    code = "no_room"
    message = gettext_lazy("No host has room for a machine this size right now.")
    hint = gettext_lazy("Try a smaller size, or again later.")


def need_of(
    flavor: Flavor,
    tenant: Tenant | None = None,
    *,
    more_gib: int = 0,
    traits: frozenset[Trait] = frozenset(),
    classes: Collection[StorageClass] = (),
    near: frozenset[UUID] = frozenset(),
    goes_out: bool = False,
) -> Need:
    """What a new machine of this size asks of its host, with so many GiB beside its first disk; the rest as in ``Need``."""
    return Need(
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=flavor.disk_gib + more_gib,
        lineage=lineage_of(tenant),
        labels=frozenset(flavor.labels),
        traits=traits,
        classes=frozenset(one.pk for one in classes),
        near=near,
        goes_out=goes_out,
    )


def lineage_of(tenant: Tenant | None) -> frozenset[UUID]:
    """The ids of a tenant and of those above it; of nobody where there is none."""
    return frozenset() if tenant is None else frozenset(each.pk for each in tenant.line())


def hosts_take(need: Need, count: int = 1, *, rule: Rule = NO_RULE) -> list[Host]:
    """A host for each of so many machines alike, of one group with that rule; their rows are locked until the transaction ends.

    Raises ``NoRoom``.

    They are chosen by a look that holds nobody up, held in the order of their ids, and chosen again among those that are held:
    what others took meanwhile is seen then. Where that does not work out, all hosts are held for it.
    """
    for _try in range(TRIES):
        wanted = set(_planned(host_rooms(), need, count, rule))
        with suppress(NoRoom), transaction.atomic():
            held = _hold(Host.objects.filter(pk__in=wanted))
            return [held[pk] for pk in _planned(host_rooms(only=wanted), need, count, rule, only=wanted)]
    held = _hold(Host.objects.all())
    return [held[pk] for pk in _planned(host_rooms(), need, count, rule)]


def _planned(
    rooms: Sequence[Room], need: Need, count: int, rule: Rule, *, only: Collection[UUID] | None = None
) -> list[UUID]:
    plan = plan_many(rooms, need, count, rule=rule, only=only)
    if len(plan.hosts) < count:
        raise _refusal(plan.lacking, placed=len(plan.hosts))
    return plan.hosts


def _refusal(lacking: Mapping[str, Lack], *, placed: int) -> NoRoom:
    """What a tenant is told: nothing of any host, but what would help."""
    met = set(lacking.values())
    if placed:
        return NoRoom(
            _("There is room for %(placed)d of these machines right now, not for all."), placed=placed, lacking=lacking
        )
    if not met or met <= OUT_OF_SERVICE:
        return NoRoom(_("No host is in service right now."), hint=_("Try again later."), lacking=lacking)
    for lack, message in (("label", NO_SUCH_HOST), ("storage_class", NO_SUCH_DISKS), ("no_way_out", NO_WAY_OUT)):
        if lack in met and met <= OUT_OF_SERVICE | {lack, "set_aside"}:
            return NoRoom(message, hint=_("Choose another, or ask the operator."), lacking=lacking)
    if met & NOT_BUILT_THERE and met <= OUT_OF_SERVICE | NOT_BUILT_THERE | {"set_aside"}:
        hint = _("Choose another image, or ask the operator.")
        return NoRoom(NO_SUCH_HARDWARE, hint=hint, lacking=lacking)
    for lack, message in (("apart", NONE_APART), ("together", NONE_TOGETHER)):
        if lack in met:
            hint = _("Try a smaller size or again later, or a group whose rule holds only where it can.")
            return NoRoom(message, hint=hint, lacking=lacking)
    return NoRoom(lacking=lacking)


def _hold(hosts: QuerySet[Host]) -> dict[UUID, Host]:
    """Lock these hosts, and before them the pools that keep something back, whose hosts count together; by their ids."""
    pools = HostPool.objects.filter(spare_hosts__gt=0, hosts__in=hosts.order_by()).order_by()
    list(HostPool.objects.select_for_update(no_key=True).filter(pk__in=pools.values("pk")).order_by("pk"))
    return {host.pk: host for host in hosts.select_for_update(no_key=True).order_by("pk")}


def hosts_could_take(need: Need, count: int, *, rule: Rule = NO_RULE) -> tuple[int, NoRoom | None]:
    """How many such machines fit right now, and why not ``count`` of them; holds nothing."""
    rooms = host_rooms()
    try:
        _planned(rooms, need, count, rule)
    except NoRoom as refusal:
        return slots_of(rooms, need, rule=rule), refusal
    return slots_of(rooms, need, rule=rule), None


@dataclass(frozen=True, slots=True)
class HostLook:
    """What a host lacks for a machine, or nothing and how many such it takes (at most ``SLOTS_MAX``)."""

    host: Host
    lack: Lack
    slots: int


@dataclass(frozen=True, slots=True)
class Look:
    """Every host's answer, sorted by name; ``chosen`` is where the next one would go, ``fit`` how many of them fit in all."""

    hosts: list[HostLook]
    chosen: Host | None
    fit: int


def placement_look(flavor: Flavor, tenant: Tenant | None = None, *, image: Image | None = None) -> Look:
    """Where a machine of this size (of that tenant, of that image) would go right now, and why not elsewhere.

    For operators; holds nothing.
    """
    need = need_of(flavor, tenant, traits=frozenset() if image is None else image.traits)
    rooms, hosts = host_rooms(), Host.objects.select_related("pool").in_bulk()
    lacking = verdicts(rooms, need)
    looks = [HostLook(hosts[room.pk], lacking[room.pk], 0 if lacking[room.pk] else room.slots(need)) for room in rooms]
    best = choose(rooms, need).room
    return Look(looks, None if best is None else hosts[best.pk], slots_of(rooms, need))


def host_claimable(guest: Guest) -> Host:
    """The guest's own host (its disks lie there) if it has room for it again; raises ``NoRoom``. The host's row is locked."""
    if HostClaim.objects.filter(guest=guest).exists() and guest.host is not None:
        return guest.host
    need = Need(guest.charged_vcpus, guest.charged_memory_mib, 0)
    return _at_home(
        guest, need, HostClaim(), _("The host that keeps this machine's disks has no room for it right now.")
    )


def host_has_room_for(guest: Guest, *, disk_gib: int) -> None:
    """Raise ``NoRoom`` unless the guest's host has room for what is charged of it beyond what it has claimed there.

    The host's row is locked. What grows nowhere is never refused.
    """
    claim = HostClaim.objects.get(guest=guest)
    vcpus, memory_mib, disk = guest.charged_vcpus, guest.charged_memory_mib, disk_gib - claim.disk_gib
    if vcpus <= claim.vcpus and memory_mib <= claim.memory_mib and disk <= 0:
        return
    message = _("The host of this machine has no room for it in this size right now.")
    _at_home(guest, Need(vcpus, memory_mib, max(0, disk), has_cards=False), claim, message)


def _at_home(guest: Guest, need: Need, claim: HostClaim, message: str) -> Host:
    """The guest's host, held, where it has room for ``need`` without ``claim``. It may stay there, whatever may come there."""
    held = _hold(Host.objects.filter(guests=guest))
    rooms = host_rooms(only=held)
    home = next(room for room in rooms if room.pk in held)
    rooms[rooms.index(home)] = replace(
        home,
        claimed_vcpus=home.claimed_vcpus - (claim.vcpus or 0),
        claimed_memory_mib=home.claimed_memory_mib - (claim.memory_mib or 0),
        set_aside=None,
    )
    choice = choose(rooms, need, only=held)
    if choice.room is None:
        raise NoRoom(message, lacking={home.name: choice.lacking.get(home.name, "")})
    return held[home.pk]
