"""The whole installation at a glance, for operators: a fixed number of queries however many hosts and tenants there are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import redis
from django.conf import settings
from django.db.models import Count, ExpressionWrapper, F, FloatField, Q, QuerySet, Sum

from operations.models import Operation
from operations.states import LIVE, Status
from portal.core.units import GIB
from tenants.models import Letter, Quota, Tenant
from tenants.scoping import every_tenant
from vms.consoles import registry
from vms.models import Drift, Guest, Host
from vms.placement import RESERVE_MIB
from vms.selectors.claims import claims_by_host
from vms.states import HostState, Power

NEAR_QUOTA_PERCENT: Final = 80
STUCK_AFTER: Final = timedelta(minutes=10)
STUCK_ATTEMPTS: Final = 3
SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class Share:
    """How much there is of one thing, how much of it is promised, and how much is in use; all in one unit."""

    total: int
    sold: int
    used: int

    @property
    def sold_percent(self) -> int:
        """Of the total, 0 to 100; 100 where more is sold than there is."""
        return _percent(self.sold, self.total)

    @property
    def used_percent(self) -> int:
        """Of the total, 0 to 100."""
        return _percent(self.used, self.total)

    @property
    def free_percent(self) -> int:
        """What is left to sell, 0 to 100."""
        return 100 - self.sold_percent if self.total else 0

    def __add__(self, other: Share) -> Share:
        return Share(self.total + other.total, self.sold + other.sold, self.used + other.used)


@dataclass(frozen=True, slots=True)
class HostLoad:
    """One host: vCPUs and memory (MiB) after overcommit, disk in GiB; ``guests`` and ``running`` count machines."""

    host: Host
    vcpus: Share
    memory_mib: Share
    disk_gib: Share
    guests: int
    running: int
    unknown: int

    @property
    def takes_guests(self) -> bool:
        """May new machines be put on it, room apart?"""
        return self.host.enabled and not self.host.maintenance and self.host.state == HostState.UP


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """The sum of a pool's hosts that take guests; ``hosts`` counts all of them."""

    name: str
    hosts: int
    vcpus: Share
    memory_mib: Share
    disk_gib: Share


@dataclass(frozen=True, slots=True)
class NearQuota:
    """A tenant that has used most of one resource."""

    tenant: Tenant
    resource: str
    used: int
    limit: int
    percent: int

    @property
    def level(self) -> str:
        """How a gauge shows it."""
        return "full" if self.percent >= 100 else "warn"


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the dashboard shows. ``consoles`` is None where Redis cannot say.

    ``operations`` (by status) and ``letters_given_up`` count 24 hours.
    """

    hosts: list[HostLoad]
    pools: list[PoolLoad]
    hosts_by_state: dict[str, int]
    guests: int
    running: int
    unknown: int
    tenants: int
    suspended: int
    operations: dict[str, int]
    failing: list[Operation]
    stuck: list[Operation]
    near_quota: list[NearQuota]
    drift: list[Drift]
    drift_count: int
    swept_at: datetime | None
    consoles: int | None
    versions: list[tuple[str, int]]
    letters_given_up: int

    @property
    def silent(self) -> list[HostLoad]:
        """Hosts that do not answer, in service or not."""
        return [load for load in self.hosts if load.host.state == HostState.DOWN and load.host.enabled]

    @property
    def troubled(self) -> list[Operation]:
        """What waits too long, then what failed."""
        return [*self.stuck, *self.failing]

    @property
    def operations_total(self) -> int:
        """How many were asked for in 24 h."""
        return sum(self.operations.values())

    @property
    def operations_live(self) -> int:
        """How many of them are under way."""
        return sum(self.operations.get(status.value, 0) for status in LIVE)


def fleet_overview(*, at: datetime) -> Fleet:
    """Everything the operators' dashboard shows, as of ``at``."""
    with every_tenant(why="operators look at the whole installation"):
        hosts = fleet_hosts()
        tenants: Counter[str] = Counter(dict(Tenant.objects.order_by().values_list("state").annotate(n=Count("pk"))))
        unplaced = Guest.objects.filter(host=None, binned_at=None).count()
        drift = list(Drift.objects.select_related("host")[:SHOWN])
        drift_count = Drift.objects.count()
    day = Operation.objects.filter(pk__gte=first_id_at(at - timedelta(days=1)))
    states = Counter("maintenance" if load.host.maintenance else str(load.host.state) for load in hosts)
    return Fleet(
        hosts=hosts,
        pools=_pools(hosts),
        hosts_by_state=dict(states),
        guests=sum(load.guests for load in hosts) + unplaced,
        running=sum(load.running for load in hosts),
        unknown=sum(load.unknown for load in hosts),
        tenants=tenants.total() - tenants["closed"],
        suspended=tenants["suspended"],
        operations=dict(day.order_by().values_list("status").annotate(n=Count("pk"))),
        failing=list(_operations(day.filter(status=Status.FAILED)).order_by("-pk")[:SHOWN]),
        stuck=fleet_stuck(at=at),
        near_quota=fleet_near_quota(),
        drift=drift,
        drift_count=drift_count,
        swept_at=min((load.host.swept_at for load in hosts if load.host.swept_at), default=None),
        consoles=fleet_consoles(),
        versions=_versions(load.host for load in hosts),
        letters_given_up=Letter.objects.filter(given_up_at__gte=at - timedelta(days=1)).count(),
    )


def fleet_hosts(hosts: QuerySet[Host] | None = None) -> list[HostLoad]:
    """Every host (or those given), sorted by name, with what is sold and used; four queries. Needs a scope of all tenants."""
    rows = list(
        (hosts if hosts is not None else Host.objects.all())
        .select_related("pool")
        .prefetch_related("storage_pools")
        .order_by("name")
    )
    claims = claims_by_host()
    powers: defaultdict[UUID, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in (
        Guest.objects.filter(binned_at=None, host__isnull=False)
        .order_by()
        .values("host", "seen_power")
        .annotate(n=Count("pk"), v=Sum("vcpus"), m=Sum("memory_mib"))
    ):
        powers[row["host"]][row["seen_power"]] = dict(row)
    return [_load(host, claims.get(host.pk, {}), powers[host.pk]) for host in rows]


def _load(host: Host, claims: dict[str, Any], powers: dict[str, dict[str, Any]]) -> HostLoad:
    on = [powers[power] for power in (Power.RUNNING, Power.PAUSED) if power in powers]
    pools = list(host.storage_pools.all())
    memory_mib = max(0, host.memory_mib - RESERVE_MIB)
    return HostLoad(
        host=host,
        vcpus=Share(int(host.cpus * host.pool.cpu_overcommit), claims.get("v") or 0, sum(row["v"] for row in on)),
        memory_mib=Share(
            int(memory_mib * host.pool.memory_overcommit), claims.get("m") or 0, sum(row["m"] for row in on)
        ),
        disk_gib=Share(
            sum(pool.capacity for pool in pools) // GIB,
            claims.get("d") or 0,
            sum(pool.allocation for pool in pools) // GIB,
        ),
        guests=sum(row["n"] for row in powers.values()),
        running=powers.get(Power.RUNNING, {}).get("n", 0),
        unknown=powers.get(Power.UNKNOWN, {}).get("n", 0),
    )


def _pools(hosts: Iterable[HostLoad]) -> list[PoolLoad]:
    by_pool: defaultdict[str, list[HostLoad]] = defaultdict(list)
    for load in hosts:
        by_pool[load.host.pool.name].append(load)
    nothing = Share(0, 0, 0)
    return [
        PoolLoad(
            name=name,
            hosts=len(loads),
            vcpus=sum((load.vcpus for load in loads if load.takes_guests), nothing),
            memory_mib=sum((load.memory_mib for load in loads if load.takes_guests), nothing),
            disk_gib=sum((load.disk_gib for load in loads if load.takes_guests), nothing),
        )
        for name, loads in sorted(by_pool.items())
    ]


def fleet_stuck(*, at: datetime) -> list[Operation]:
    """Live work that is ten minutes old or has been tried again and again, oldest first."""
    old = Q(pk__lt=first_id_at(at - STUCK_AFTER)) | Q(attempts__gte=STUCK_ATTEMPTS)
    return list(_operations(Operation.objects.filter(old, status__in=[s.value for s in LIVE])).order_by("pk")[:SHOWN])


def _operations(rows: QuerySet[Operation]) -> QuerySet[Operation]:
    """With the tenant; without those whose children tell more."""
    return rows.select_related("tenant").exclude(kind="guest.batch")


def fleet_near_quota() -> list[NearQuota]:
    """Who has used 80 percent or more of something, fullest first."""
    share = ExpressionWrapper(F("used") * 100.0 / F("limit"), output_field=FloatField())
    rows = (
        Quota.objects.filter(limit__gt=0, used__gt=0)
        .annotate(share=share)
        .filter(share__gte=NEAR_QUOTA_PERCENT)
        .exclude(tenant__state="closed")
        .select_related("tenant")
        .order_by("-share", "tenant__slug", "resource")[:SHOWN]
    )
    return [NearQuota(row.tenant, row.resource, row.used, row.limit or 0, int(row.share)) for row in rows]


def fleet_consoles() -> int | None:
    """How many consoles are open now; None where Redis cannot say."""
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
            return registry.total(client)
    except redis.RedisError:
        return None


def _versions(hosts: Iterable[Host]) -> list[tuple[str, int]]:
    """``libvirt 9.0.0, QEMU 7.2.9`` and how many hosts run it, commonest first."""
    said = Counter(
        f"libvirt {host.facts['libvirt_version']}, QEMU {host.facts.get('qemu_version', '?')}"
        for host in hosts
        if host.facts.get("libvirt_version")
    )
    return said.most_common()


def first_id_at(at: datetime) -> UUID:
    """The smallest UUIDv7 of a moment: ``pk__gte`` of it selects what was made since, by the primary key alone."""
    return UUID(int=(int(at.timestamp() * 1000) & (2**48 - 1)) << 80)


def _percent(part: int, whole: int) -> int:
    return min(100, max(0, round(100 * part / whole))) if whole else 0
