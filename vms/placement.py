"""Which host takes a machine, or why none does; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal
from uuid import UUID

from vms.states import TRAITS, HostState, Trait

RESERVE_MIB: Final = 512
"""Memory a host keeps for itself."""
SLOTS_MAX: Final = 1000
"""More than this many of a kind are not counted."""

type Lack = Literal[
    "",
    "disabled",
    "maintenance",
    "silent",
    "set_aside",
    "label",
    "untested",
    "uefi",
    "secure_boot",
    "tpm",
    "storage_class",
    "apart",
    "together",
    "unguarded",
    "unwired",
    "no_way_out",
    "too_few_cpus",
    "cpu",
    "memory",
    "disk",
    "reserve",
]
"""What a host lacks for a machine, in the order in which it is asked; nothing where it takes it."""


@dataclass(frozen=True, slots=True)
class Need:
    """One machine to be placed: memory in MiB, disk in GiB.

    ``lineage`` are the ids of its tenant and of those above it. ``apart_from`` are hosts it must not be on, ``beside`` the only
    ones it may be on (None: any); ``rather_not`` and ``rather`` are the same as wishes. ``near`` are the segments where others
    of its networks are: it goes there where it can. One without network cards needs nobody to guard them. ``goes_out`` says that
    one of its networks leads outwards. ``traits`` are what it is built of that not every host has.
    """

    vcpus: int
    memory_mib: int
    disk_gib: int
    lineage: frozenset[UUID] = frozenset()
    labels: frozenset[str] = frozenset()
    traits: frozenset[Trait] = frozenset()
    classes: frozenset[UUID] = frozenset()
    apart_from: frozenset[UUID] = frozenset()
    beside: frozenset[UUID] | None = None
    rather_not: frozenset[UUID] = frozenset()
    rather: frozenset[UUID] = frozenset()
    near: frozenset[UUID] = frozenset()
    has_cards: bool = True
    goes_out: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """What machines of one group want of each other: hosts of their own, or one for all; ``strict`` or as long as it can be.

    ``hosts`` are those that machines of it are on.
    """

    kind: Literal["", "apart", "together"] = ""
    strict: bool = False
    hosts: frozenset[UUID] = frozenset()

    def of(self, need: Need) -> Need:
        """What the next machine of the group asks for."""
        if not self.hosts or not self.kind:
            return need
        if self.kind == "apart":
            return replace(need, apart_from=self.hosts) if self.strict else replace(need, rather_not=self.hosts)
        return replace(need, beside=self.hosts) if self.strict else replace(need, rather=self.hosts)

    def with_one(self, host: UUID) -> Rule:
        """The same once a machine of the group is on that host, too."""
        return replace(self, hosts=self.hosts | {host})


NO_RULE: Final = Rule()


@dataclass(frozen=True, slots=True)
class Kin:
    """What holds for all hosts of a pool: how many of its largest may fail without leaving a machine nowhere to go, and
    whether machines are packed onto few hosts or spread over all.
    """

    pk: UUID | None = None
    spare_hosts: int = 0
    packs: bool = False


ALONE: Final = Kin()


@dataclass(frozen=True, slots=True)
class Room:
    """One host's capacity and what is claimed of it; memory in MiB, disk in GiB (None: the pool has not been measured).

    ``vcpus`` and ``memory_mib`` are what may be claimed, overcommit included; ``set_aside`` is the only tenant whose machines
    (and those of its children) it takes, if there is one.
    """

    pk: UUID
    name: str
    state: HostState
    enabled: bool
    maintenance: bool
    cpus: int
    vcpus: int
    memory_mib: int
    claimed_vcpus: int
    claimed_memory_mib: int
    disk_free_gib: int | None
    kin: Kin = ALONE
    labels: frozenset[str] = frozenset()
    traits: frozenset[Trait] | None = None
    """What machines can be built of there; None: nobody knows yet."""
    classes: frozenset[UUID] = frozenset()
    set_aside: UUID | None = None
    guards: bool = True
    """Do security groups hold there?"""
    wired: bool = True
    """Do its machines' networks reach it?"""
    leads_out: bool = True
    """Can a network lead outwards from there?"""
    segment: UUID | None = None
    """Machines of one network meet where this is the same."""

    @property
    def serves(self) -> bool:
        """Is it there to take machines, room apart?"""
        return self.enabled and not self.maintenance and self.state == HostState.UP

    def lacks(self, need: Need) -> Lack:
        """What the host itself lacks for the machine; what its pool keeps back is not looked at."""
        if not self.enabled:
            return "disabled"
        if self.maintenance:
            return "maintenance"
        if self.state != HostState.UP:
            return "silent"
        return self._lacks_right(need) or self._lacks_room(need)

    def _lacks_right(self, need: Need) -> Lack:
        if self.set_aside is not None and self.set_aside not in need.lineage:
            return "set_aside"
        if not need.labels <= self.labels:
            return "label"
        if lack := trait_lacking(need.traits, self.traits):
            return lack
        if not need.classes <= self.classes:
            return "storage_class"
        if self.pk in need.apart_from:
            return "apart"
        if need.beside is not None and self.pk not in need.beside:
            return "together"
        if need.has_cards and not self.guards:
            return "unguarded"
        if need.has_cards and not self.wired:
            return "unwired"
        if need.goes_out and not self.leads_out:
            return "no_way_out"
        return ""

    def _lacks_room(self, need: Need) -> Lack:
        if need.vcpus > self.cpus:
            return "too_few_cpus"
        if self.claimed_vcpus + need.vcpus > self.vcpus:
            return "cpu"
        if self.claimed_memory_mib + need.memory_mib > self.memory_mib:
            return "memory"
        if self.disk_free_gib is not None and need.disk_gib > self.disk_free_gib:
            return "disk"
        return ""

    def slots(self, need: Need) -> int:
        """How many such machines the host itself takes, at most ``SLOTS_MAX``."""
        if self.lacks(need):
            return 0
        by_cpu = (self.vcpus - self.claimed_vcpus) // need.vcpus
        by_memory = (self.memory_mib - self.claimed_memory_mib) // need.memory_mib
        by_disk = SLOTS_MAX if self.disk_free_gib is None else self.disk_free_gib // max(1, need.disk_gib)
        return max(0, min(by_cpu, by_memory, by_disk, SLOTS_MAX))

    def with_one(self, need: Need) -> Room:
        """The same host once it has taken the machine."""
        return replace(
            self,
            claimed_vcpus=self.claimed_vcpus + need.vcpus,
            claimed_memory_mib=self.claimed_memory_mib + need.memory_mib,
            disk_free_gib=None if self.disk_free_gib is None else self.disk_free_gib - need.disk_gib,
        )

    def taken(self) -> float:
        """The share that is claimed of what it is shortest of, from 0 on."""
        return max(self.claimed_vcpus / (self.vcpus or 1), self.claimed_memory_mib / (self.memory_mib or 1))


def trait_lacking(wanted: frozenset[Trait], there: Collection[Trait] | None) -> Trait | Literal["", "untested"]:
    """The first of ``wanted`` that a host with these does not have; nothing where it has all. What is unknown is not there."""
    if wanted and there is None:
        return "untested"
    return next((trait for trait in TRAITS if trait in wanted and trait not in (there or ())), "")


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen host, or None; and by host name what each of the others lacked, for operators."""

    room: Room | None
    lacking: dict[str, Lack]


def verdicts(rooms: Sequence[Room], need: Need) -> dict[UUID, Lack]:
    """By host, what it lacks for the machine, with what is set aside for a tenant and what pools keep back."""
    has_own = any(room.set_aside in need.lineage for room in rooms)
    kept = {pk for pk, left in _left(rooms).items() if left.vcpus < need.vcpus or left.memory_mib < need.memory_mib}
    lacking: dict[UUID, Lack] = {}
    for room in rooms:
        lack = "set_aside" if has_own and room.set_aside is None and room.serves else room.lacks(need)
        lacking[room.pk] = lack or ("reserve" if room.kin.pk in kept else "")
    return lacking


def choose(rooms: Sequence[Room], need: Need, *, only: Collection[UUID] | None = None) -> Choice:
    """The host for one machine, among ``only`` these where they are given; of equal ones that whose name sorts first."""
    lacking = verdicts(rooms, need)
    fitting = [room for room in rooms if not lacking[room.pk] and (only is None or room.pk in only)]
    best = min(fitting, key=lambda room: _rank(room, need), default=None)
    return Choice(best, {room.name: lacking[room.pk] for room in rooms if lacking[room.pk]})


def _rank(room: Room, need: Need) -> tuple[int, bool, float, str]:
    against = int(room.pk in need.rather_not) + int(bool(need.rather) and room.pk not in need.rather)
    far = bool(need.near) and room.segment not in need.near
    return against, far, (-room.taken() if room.kin.packs else room.taken()), room.name


@dataclass(frozen=True, slots=True)
class Plan:
    """A host for each of several machines, as many as could be placed; and what the next one met, by host name."""

    hosts: list[UUID]
    lacking: dict[str, Lack]


def plan_many(
    rooms: Sequence[Room],
    need: Need,
    count: int,
    *,
    rule: Rule = NO_RULE,
    only: Collection[UUID] | None = None,
) -> Plan:
    """Place so many machines alike one after the other, each with those before it in place; ends at the first that finds none."""
    current = {room.pk: room for room in rooms}
    hosts: list[UUID] = []
    for _number in range(count):
        choice = choose(list(current.values()), rule.of(need), only=only)
        if choice.room is None:
            return Plan(hosts, choice.lacking)
        pk = choice.room.pk
        hosts.append(pk)
        rule = rule.with_one(pk)
        if choice.room.segment is not None:
            need = replace(need, near=need.near | {choice.room.segment})
        current[pk] = choice.room.with_one(need)
    return Plan(hosts, {})


def slots_of(rooms: Sequence[Room], need: Need, *, rule: Rule = NO_RULE) -> int:
    """How many such machines fit, at most ``SLOTS_MAX``."""
    need = rule.of(need)
    lacking, left = verdicts(rooms, need), _left(rooms)
    alone, as_one = rule.strict and rule.kind == "apart", rule.strict and rule.kind == "together"
    by_pool: dict[UUID | None, list[int]] = {}
    for room in rooms:
        if not lacking[room.pk]:
            slots = room.slots(need)
            by_pool.setdefault(room.kin.pk, []).append(min(1, slots) if alone else slots)
    sums = [0]
    for pk, each in by_pool.items():
        kept = left.get(pk)
        whole = max(each) if as_one else sum(each)
        sums.append(whole if kept is None else min(whole, kept.vcpus // need.vcpus, kept.memory_mib // need.memory_mib))
    return min(SLOTS_MAX, max(sums) if as_one else sum(sums))


@dataclass(frozen=True, slots=True)
class Left:
    """What a pool can still take without using what it keeps for hosts that fail."""

    vcpus: int
    memory_mib: int


def _left(rooms: Collection[Room]) -> dict[UUID | None, Left]:
    """By pool that keeps something back: the sum of its serving hosts but for the largest ``spare_hosts``, less what is claimed.

    Sums, not shapes: that each machine of a failed host finds one hole large enough is not promised.
    """
    pools: dict[UUID | None, list[Room]] = {}
    for room in rooms:
        if room.kin.spare_hosts and room.serves:
            pools.setdefault(room.kin.pk, []).append(room)
    left = {}
    for pk, members in pools.items():
        keep = max(0, len(members) - members[0].kin.spare_hosts)
        left[pk] = Left(
            sum(sorted(room.vcpus for room in members)[:keep]) - sum(room.claimed_vcpus for room in members),
            sum(sorted(room.memory_mib for room in members)[:keep]) - sum(room.claimed_memory_mib for room in members),
        )
    return left
