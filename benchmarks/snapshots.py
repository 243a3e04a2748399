"""Snapshots and reverts by the driver against the barest calls that do the same, in turn, on one host.

    .venv/bin/python -m benchmarks.snapshots --uri URI [--pool-path DIRECTORY] [--rounds 9]

URI is a libvirtd's that nothing depends on, such as a lab's (``tests/lab/lab --dir DIR up 1``). Makes a pool there and a
machine with two disks, whose firmware runs and nothing else, and takes both away again. Prints a table in Markdown;
``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import libvirt

from vms.hypervisor.driver import Roots
from vms.hypervisor.libvirt_driver import LibvirtHypervisor, connect, monitor
from vms.hypervisor.snapshots import Awake
from vms.hypervisor.xml.devices import Disk
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.metadata import Owner, Tag
from vms.hypervisor.xml.parse import root_of
from vms.hypervisor.xml.snapshot import snapshot_xml

OWNER = Owner("bench", 1)
UUID = "6a5c7d1e-0000-4000-8000-736e61707368"
POOL, SIZE = "gh-bench", 1 << 30
REDEFINE = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
BOOKS = libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY


class Bench:
    """One machine with two disks, and both ways of asking."""

    def __init__(self, hv: LibvirtHypervisor, path: str) -> None:
        self.hv, self.roots = hv, Roots(storage=(path,), run=(path,), log=(path,))
        hv.ensure_pool(POOL, path)
        self.paths = [hv.create_empty(POOL, f"{name}.qcow2", capacity=SIZE).path for name in "ab"]
        disks = tuple(Disk(path=p, target=f"vd{n}", backing=()) for p, n in zip(self.paths, "ab", strict=True))
        self.spec = DomainSpec(
            uuid=UUID, name="gh-bench-snapshots", tag=Tag(owner=OWNER, subject="bench", generation=1), vcpus=1,
            memory_mib=64, tb_cache_mib=16, disks=disks,
        )  # fmt: skip
        hv.define(self.spec, roots=self.roots)
        self.common: dict[str, Any] = {"owner": OWNER, "roots": self.roots}

    @property
    def raw(self) -> Any:
        return self.hv.raw.lookupByUUIDString(UUID)

    def take(self, *, freeze: bool = False) -> None:
        self.hv.take_snapshot("ours", self.paths, uuid=UUID, freeze=freeze, **self.common)

    def drop(self, name: str = "ours") -> None:
        self.hv.drop_snapshot(name, self.paths, uuid=UUID, **self.common)

    def known(self, state: str = "shutoff") -> Any:
        definition = root_of(self.raw.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        return self.raw.snapshotCreateXML(snapshot_xml("bare", domain=definition, state=state), REDEFINE)

    def take_bare_off(self) -> None:
        self.raw.snapshotCreateXML(snapshot_xml("bare"), 0)

    def take_bare_live(self) -> None:
        monitor.take(self.raw, monitor.nodes_on(self.raw, self.paths), "bare")


def timed(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


@contextmanager
def running(bench: Bench) -> Iterator[None]:
    bench.hv.start(UUID)
    yield
    bench.hv.pull_plug(UUID)


def off(bench: Bench, found: dict[str, list[float]]) -> None:
    """Of a machine that is off: taken, gone back to, deleted, by us and by libvirt on the machine's own definition."""
    found["take, off: ours"].append(timed(bench.take))
    found["take, off: bare"].append(timed(bench.take_bare_off))
    revert = lambda: bench.hv.revert_snapshot("ours", bench.paths, **bench.common)  # noqa: E731
    found["revert, off: ours"].append(timed(revert))
    known = bench.raw.snapshotLookupByName("bare")
    found["revert, off: bare"].append(timed(lambda: bench.raw.revertToSnapshot(known, 0)))
    found["delete, off: ours"].append(timed(bench.drop))
    found["delete, off: bare"].append(timed(lambda: known.delete(0)))


def live(bench: Bench, found: dict[str, list[float]]) -> None:
    """Of one that runs: the disks at one moment, and with memory."""
    with running(bench):
        found["take, running: ours"].append(timed(bench.take))
        found["take, running: bare"].append(timed(bench.take_bare_live))
        bench.drop()
        bench.drop("bare")
        kept: list[str] = []
        take = lambda: kept.append(bench.hv.take_memory("ours", uuid=UUID, owner=OWNER))  # noqa: E731
        found["take, memory: ours"].append(timed(take))
        bare = lambda: bench.raw.snapshotCreateXML(snapshot_xml("bare"), 0)  # noqa: E731
        found["take, memory: bare"].append(timed(bare))
    awake = Awake(definition=kept[0], paths=bench.paths, tag=replace(bench.spec.tag, generation=2), password="x")
    wake = lambda: bench.hv.wake_snapshot("ours", awake, uuid=UUID, **bench.common)  # noqa: E731
    found["revert, memory: ours"].append(timed(wake))
    bench.hv.pull_plug(UUID)
    known = bench.raw.snapshotLookupByName("bare")
    back = lambda: bench.raw.revertToSnapshot(known, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING)  # noqa: E731
    found["revert, memory: bare"].append(timed(back))
    known.delete(BOOKS)
    bench.drop()
    bench.drop("bare")
    bench.hv.pull_plug(UUID)
    bench.hv.define(replace(bench.spec, tag=awake.tag), roots=bench.roots)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", required=True)
    parser.add_argument("--pool-path", default="/var/lib/libvirt/images/gh-bench")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    hv = connect(given.uri)
    assert isinstance(hv, LibvirtHypervisor)
    bench = Bench(hv, given.pool_path)
    names = [f"{deed}, {how}" for how in ("off", "running", "memory") for deed in ("take", "revert", "delete")]
    found: dict[str, list[float]] = {f"{name}: {who}": [] for name in names for who in ("ours", "bare")}
    try:
        for _round in range(given.rounds):
            off(bench, found)
            live(bench, found)
    finally:
        hv.pull_plug(UUID)
        hv.undefine(UUID, owner=OWNER)
        for volume in hv.volumes(POOL):
            hv.delete_volume(POOL, volume.name)
        hv.remove_pool(POOL)
    print(
        "| what | ours, median ms | best | bare, median ms | best | ratio of medians |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in names:
        ours, bare = found[f"{name}: ours"], found[f"{name}: bare"]
        if ours:
            a, b = statistics.median(ours), statistics.median(bare)
            print(f"| {name} | {a:.0f} | {min(ours):.0f} | {b:.0f} | {min(bare):.0f} | {a / b:.2f} |")


if __name__ == "__main__":
    main()
