"""What hosts have and what is claimed of it, as placement looks at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from django.db.models import Q

from portal.core.units import GIB
from tenants.scoping import every_tenant
from vms.models import Host, StoragePool
from vms.models.hosts import offers_of
from vms.placement import RESERVE_MIB, Kin, Room
from vms.pool_kinds import home_of
from vms.selectors.claims import claims_by_host
from vms.states import HostState

_COLUMNS: Final = (
    "pk", "name", "state", "enabled", "maintenance", "cpus", "memory_mib", "labels", "accelerated", "set_aside__tenant_id",
    "data_dir", "pool__cpu_overcommit", "pool__memory_overcommit", "pool_id", "pool__spare_hosts", "pool__packs", "unenforced",
    "pool__fabric_id", "pool__fabric__enabled", "pool__fabric__joined", "pool__fabric__physnet",
    "traits",
)  # fmt: skip
_DISKS: Final = ("host_id", "path", "capacity", "available", "enabled", "ready_at", "storage_class_id")


def host_rooms(only: Collection[UUID] | None = None) -> list[Room]:
    """Every host's capacity and claims, sorted by name; three queries. ``only`` these and those whose pool counts with them."""
    hosts = Host.objects.order_by("name")
    if only is not None:
        hosts = hosts.filter(Q(pk__in=only) | Q(pool__spare_hosts__gt=0, pool__hosts__in=only)).distinct()
    rows = list(hosts.values_list(*_COLUMNS))
    pks = None if only is None else [row[0] for row in rows]
    with every_tenant(why="a host's room is shared by all tenants"):
        claims = claims_by_host(pks)
    disks: defaultdict[UUID, list[tuple[Any, ...]]] = defaultdict(list)
    for disk in StoragePool.objects.filter(**({} if pks is None else {"host__in": pks})).values_list(*_DISKS):
        disks[disk[0]].append(disk[1:])
    kin: dict[UUID, Kin] = {}
    return [_room(row, claims.get(row[0], {}), disks[row[0]], kin) for row in rows]


def _room(row: tuple[Any, ...], claims: dict[str, int], disks: list[tuple[Any, ...]], kin: dict[UUID, Kin]) -> Room:
    pk, name, state, enabled, maintenance, cpus, memory_mib, labels, accelerated, set_aside, data_dir, *of_pool = row
    cpu_overcommit, memory_overcommit, pool, spare_hosts, packs, unenforced, *of_fabric = of_pool
    fabric, fabric_enabled, joined, physnet, traits = of_fabric
    home = home_of(data_dir)
    measured = [available for path, capacity, available, *_rest in disks if capacity and path == home]
    return Room(
        pk=pk,
        name=name,
        state=HostState(state),
        enabled=enabled,
        maintenance=maintenance,
        cpus=cpus,
        vcpus=int(cpus * cpu_overcommit),
        memory_mib=int(max(0, memory_mib - RESERVE_MIB) * memory_overcommit),
        claimed_vcpus=claims.get("v", 0),
        claimed_memory_mib=claims.get("m", 0),
        disk_free_gib=sum(measured) // GIB if measured else None,
        kin=kin.setdefault(pool, Kin(pool, spare_hosts, packs)),
        labels=frozenset(offers_of(labels, accelerated=accelerated)),
        traits=None if traits is None else frozenset(traits),
        classes=frozenset(disk[5] for disk in disks if disk[3] and disk[4] is not None),
        set_aside=set_aside,
        guards="groups" not in unenforced,
        wired=fabric is None or (fabric_enabled and str(pk) in joined),
        leads_out=fabric is None or bool(physnet),
        segment=fabric or pk,
    )
