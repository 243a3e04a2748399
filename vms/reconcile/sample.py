"""What a host's machines use: counters read once a minute, their differences written as points.

Beside the ear and never on its thread: one frozen guest would make the whole host look silent. A call that does not come
back is left behind, and the next one passes that guest by.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from django.db import connection

from portal.core.clock import now
from tenants.scoping import every_tenant
from vms.hypervisor import errors
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.stats import DomainStats, Traffic
from vms.models import Guest, Host, MetricPoint
from vms.models.metrics import MINUTE
from vms.reconcile.counting import looks_of
from vms.services.counting import traffic_record
from vms.services.metrics import metric_points_write
from vms.states import ON

log = structlog.get_logger(__name__)
LONGEST_S: Final = 150.0
"""Counters further apart are not compared: what lies between is a gap, not an even stretch."""
ASKING_MAX: Final = 3
"""Calls to one host that may wait at once. Each newly frozen guest holds one; the daemon serves a client five."""
SPREAD_S: Final = 10
"""Hosts are asked within the first seconds of each minute, so that not all write at once."""
TOO_MUCH: Final = 2**62
"""No counter of a minute goes there; a difference of unsigned counters that were set back does."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters and when they were read, by a clock that nobody sets."""

    stats: DomainStats
    read_at_s: float


class Sampler:
    """Remembers the last reading of each machine of one host; a new one, after a restart of the watcher, begins with a gap."""

    def __init__(self, host: Host, hv: Hypervisor) -> None:
        self._host, self._hv = host, hv
        self._offset_s = zlib.crc32(host.pk.bytes) % SPREAD_S
        self._minute: int | None = None
        self._lock = threading.Lock()
        self._last: dict[str, Reading] = {}
        self._newest = 0
        self._threads: list[threading.Thread] = []

    def tick(self) -> None:
        """To be called every few seconds; begins to read when a minute has begun, and does not wait for it."""
        minute = int(now().timestamp() - self._offset_s) // 60
        if minute == self._minute:
            return
        self._minute = minute
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= ASKING_MAX:
            log.warning("sampling_stuck", host=self._host.name, waiting=len(self._threads))
            return
        name = f"sample-{self._host.name}"
        self._threads.append(threading.Thread(target=self._run, args=(minute,), name=name, daemon=True))
        self._threads[-1].start()

    def _run(self, turn: int) -> None:
        try:
            with every_tenant(why="a host carries guests of many tenants"):
                self.sample(turn)
        except errors.HypervisorError as error:
            log.info("sample_failed", host=self._host.name, code=error.code, detail=error.detail)
        except Exception:
            log.exception("sample_failed", host=self._host.name)
        finally:
            connection.close()

    def sample(self, turn: int) -> int:
        """Read and write once; returns how many points. ``turn`` rises: a reading that comes back late changes nothing."""
        rows = Guest.objects.filter(host=self._host, seen_power__in=ON).only("tenant", "vcpus", "memory_mib")
        guests = {str(guest.pk): guest for guest in rows}
        if not guests:
            return 0
        stats = self._hv.stats(guests.keys())
        read_at_s, at = time.monotonic(), now()
        after = {each.uuid: Reading(each, read_at_s) for each in stats}
        with self._lock:
            if turn < self._newest:
                return 0
            self._newest = turn
            before, self._last = self._last, after
        traffic_record(self._host, looks_of(self._host, stats, at=at))
        both = after.keys() & before.keys()
        found = (point_of(guests[uuid], before[uuid], after[uuid], at) for uuid in both)
        points = [point for point in found if point is not None]
        metric_points_write(points)
        return len(points)


def point_of(guest: Guest, before: Reading, after: Reading, at: datetime) -> MetricPoint | None:
    """What ``guest`` used between two readings, in the minute of their middle; None where they cannot be compared.

    They cannot where it was started anew, was elsewhere, a counter was set back, or too much time lies between.
    """
    seconds = after.read_at_s - before.read_at_s
    amounts = used(before.stats, after.stats)
    if not 0 < seconds <= LONGEST_S or amounts is None:
        return None
    seen_ms = round(seconds * 1000)
    memory_s = round(seconds) if _has_told(before.stats, after.stats) else 0
    return MetricPoint(
        tenant_id=guest.tenant_id,
        guest_id=guest.pk,
        minutes=MINUTE,
        minute=int(at.timestamp() - seconds / 2) // 60,
        seen_ms=seen_ms,
        vcpu_ms=seen_ms * guest.vcpus,
        memory_s=memory_s,
        memory_mib_s=memory_s * _memory_mib(after.stats, most=guest.memory_mib),
        **amounts,
    )


def used(before: DomainStats, after: DomainStats) -> dict[str, int] | None:
    """The differences of the counters, by column; None where any cannot be told. Devices come and go between the two."""
    disk, net = _moved(before.disks, after.disks), _moved(before.nics, after.nics)
    amounts = {
        "cpu_ms": (after.cpu_ns - before.cpu_ns) // 1_000_000,
        "disk_read_bytes": disk.in_bytes,
        "disk_written_bytes": disk.out_bytes,
        "disk_reads": disk.in_count,
        "disk_writes": disk.out_count,
        "net_received_bytes": net.in_bytes,
        "net_sent_bytes": net.out_bytes,
        "net_received_packets": net.in_count,
        "net_sent_packets": net.out_count,
    }
    known = before.run == after.run and all(0 <= amount < TOO_MUCH for amount in amounts.values())
    return amounts if known else None


def _moved(before: Mapping[str, Traffic], after: Mapping[str, Traffic]) -> Traffic:
    """The sum over the devices; one that was plugged in meanwhile began at zero, one that was unplugged is forgotten."""
    pairs = [(before.get(name, Traffic()), traffic) for name, traffic in after.items()]
    return Traffic(
        in_bytes=sum(new.in_bytes - old.in_bytes for old, new in pairs),
        out_bytes=sum(new.out_bytes - old.out_bytes for old, new in pairs),
        in_count=sum(new.in_count - old.in_count for old, new in pairs),
        out_count=sum(new.out_count - old.out_count for old, new in pairs),
    )


def _has_told(before: DomainStats, after: DomainStats) -> bool:
    """Has the guest spoken of its memory since the last reading? One without a driver, or hung, repeats old words."""
    return after.memory_used_kib is not None and after.memory_told_at > before.memory_told_at


def _memory_mib(stats: DomainStats, *, most: int) -> int:
    """What the guest says it uses, which may be anything, held within what it has."""
    return min(max(0, (stats.memory_used_kib or 0) // 1024), most)
