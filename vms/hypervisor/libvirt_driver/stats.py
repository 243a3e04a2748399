"""Counters of many domains by one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import libvirt

from vms.hypervisor.libvirt_driver.link import Link
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.stats import DomainStats, Traffic

_GROUPS: Final = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_DISK: Final = ("rd.bytes", "wr.bytes", "rd.reqs", "wr.reqs")
_NIC: Final = ("rx.bytes", "tx.bytes", "rx.pkts", "tx.pkts")


class Stats(Link):
    """The part of the driver that reads counters."""

    def stats(self, uuids: Collection[str]) -> tuple[DomainStats, ...]:
        """See the protocol.

        NOWAIT passes by a guest that another call waits for, and only such a one: on a QEMU that has just been frozen the
        first call waits itself, until that guest goes on or is destroyed (libvirt 9.0, tried). Later calls do not.
        """
        with translated("read the guests' counters"):
            running = self.raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            asked = [raw for raw in running if raw.UUIDString() in uuids]
            if not asked:
                return ()
            found = self.raw.domainListGetStats(asked, _GROUPS, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
            readings = (stats_from(raw.UUIDString(), raw.ID(), figures) for raw, figures in found)
            return tuple(reading for reading in readings if reading is not None)


def stats_from(uuid: str, run: int, figures: Mapping[str, Any]) -> DomainStats | None:
    """libvirt's flat figures as counters; None where some are missing, because the guest's monitor did not answer.

    Source: https://libvirt.org/html/libvirt-libvirt-domain.html#virConnectGetAllDomainStats
    """
    if "cpu.time" not in figures:
        return None
    disks, nics = _traffic(figures, "block", _DISK), _traffic(figures, "net", _NIC)
    if disks is None or nics is None:
        return None
    total, free = figures.get("balloon.available"), figures.get("balloon.usable", figures.get("balloon.unused"))
    return DomainStats(
        uuid=uuid,
        run=run,
        cpu_ns=figures["cpu.time"],
        memory_used_kib=None if total is None or free is None else total - free,
        memory_told_at=figures.get("balloon.last-update", 0),
        disks=disks,
        nics=nics,
    )


def _traffic(figures: Mapping[str, Any], kind: str, names: tuple[str, ...]) -> dict[str, Traffic] | None:
    """By device; None where one has no figures. An empty CD drive has none, and no path either."""
    found: dict[str, Traffic] = {}
    for number in range(figures.get(f"{kind}.count", 0)):
        device = f"{kind}.{number}"
        values: list[Any] = [figures.get(f"{device}.{name}") for name in names]
        if None not in values:
            found[str(figures.get(f"{device}.name", number))] = Traffic(*values)
        elif kind != "block" or f"{device}.path" in figures:
            return None
    return found
