"""Counters of many domains by one call."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import libvirt

from vms.hypervisor.libvirt_driver.domains import Domains
from vms.hypervisor.libvirt_driver.translate import is_missing, translated
from vms.hypervisor.stats import DomainStats, Traffic
from vms.hypervisor.xml.parse import card_devices, root_of, tag_of

_GROUPS: Final = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_DISK: Final = ("rd.bytes", "wr.bytes", "rd.reqs", "wr.reqs")
_NIC: Final = ("rx.bytes", "tx.bytes", "rx.pkts", "tx.pkts")


class Stats(Domains):
    """The part of the driver that reads counters."""

    def __init__(self, uri: str, raw: Any) -> None:
        super().__init__(uri, raw)
        self._starts: dict[str, Start] = {}

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
            readings = [(raw, stats_from(raw.UUIDString(), raw.ID(), figures)) for raw, figures in found]
            self._starts = {uuid: start for uuid, start in self._starts.items() if uuid in uuids}
            return tuple(self._told(raw, reading) for raw, reading in readings if reading is not None)

    def card_traffic(self, uuid: str) -> DomainStats | None:
        """See the protocol. Of all groups of figures only this one asks neither the guest's monitor nor for its turn there.

        Tried on a frozen QEMU with another call waiting for it (libvirt 9.0).
        """
        with translated(f"read the cards' counters of {uuid}"):
            raw = self._find(uuid)
            if raw is None or not raw.isActive():
                return None
            found = self.raw.domainListGetStats([raw], libvirt.VIR_DOMAIN_STATS_INTERFACE, 0)
            nics = [_traffic(figures, "net", _NIC) for _raw, figures in found]
            if not nics or nics[0] is None:
                return None
            return self._told(raw, DomainStats(uuid=uuid, run=raw.ID(), nics=nics[0]))

    def _told(self, raw: Any, reading: DomainStats) -> DomainStats:
        """With the cards by MAC; the definition is read once for each start, and when a card has come or gone."""
        start = self._starts.get(reading.uuid)
        if start is None or start.run != reading.run or start.macs.keys() != reading.nics.keys():
            try:
                root = root_of(raw.XMLDesc(0))
            except libvirt.libvirtError as error:
                if not is_missing(error):
                    raise
                return reading
            tag, macs = tag_of(root), card_devices(root)
            start = Start(
                reading.run, tag.generation if tag else 0, {name: macs.get(name, name) for name in reading.nics}
            )
            self._starts[reading.uuid] = start
        nics = {start.macs[name]: traffic for name, traffic in reading.nics.items()}
        return replace(reading, generation=start.generation, nics=nics)


@dataclass(frozen=True, slots=True)
class Start:
    """What does not change while a domain runs with the same cards: ``macs`` are by the device on the host."""

    run: int
    generation: int
    macs: Mapping[str, str]


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
