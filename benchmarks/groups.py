"""Security groups: what they add to a machine's start, and how long a change of rules takes to be in force.

    .venv/bin/python -m benchmarks.groups --uri URI [--rounds 9] [--cards 4]

URI is a libvirtd's that nothing depends on, such as a lab's (``tests/lab/lab --dir DIR up 1``). Makes a network there and
machines without disks, whose firmware runs and nothing else, and takes them away again. In force is what libvirt says is: it
answers once every running card has the rules (``tests/vms/hypervisor/test_groups_on_the_wire.py`` sends packets). Prints tables
in Markdown; ``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from vms.firewall import Direction, Protocol, Rule
from vms.hypervisor.driver import Hypervisor, Roots
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.groups import group_filter, port_filter
from vms.hypervisor.libvirt_driver import connect
from vms.hypervisor.xml.devices import FilterRef, Nic
from vms.hypervisor.xml.domain import DomainSpec
from vms.hypervisor.xml.metadata import Owner, Tag
from vms.hypervisor.xml.network import NetworkSpec

OWNER: Final = Owner("bench", 1)
NET, FILTER, GROUP = "gh-bench-n", "gh-bench-f", "gh-bench-g"
GATEWAY = "10.94.0.1"
ROOTS = Roots(storage=("/var/lib/libvirt/images",), run=("/run",), log=("/var/log",))
OUT = Rule(direction=Direction.OUT)
SIZES: Final = (2, 10, 50)
"""Entries of the group; the first of them lets the machine out."""


def rules(number: int, first: int = 1) -> list[Rule]:
    """As many entries: out to everybody, and in at single ports."""
    ports = range(first, first + number - 1)
    return [OUT, *(Rule(direction=Direction.IN, protocol=Protocol.TCP, ports=(port, port)) for port in ports)]


class Bench:
    """A network, and machines on it that differ by their cards' filters."""

    def __init__(self, hv: Hypervisor, cards: int) -> None:
        self.hv, self.cards = hv, range(cards)
        tag = Tag(owner=OWNER, subject="bench", tenant="bench")
        hv.ensure_network(NetworkSpec(name=NET, tag=tag, bridge="ghbench0", gateway=GATEWAY, prefix=24))
        hv.ensure_filter(guest_filter(name=FILTER, subnet="10.94.0.0/24", gateway=GATEWAY))
        self.put(SIZES[0])
        for card in self.cards:
            hv.ensure_filter(port_filter(name=port(card), network=FILTER, groups=[GROUP], gateway=GATEWAY))

    def put(self, number: int, first: int = 1) -> None:
        self.hv.ensure_filter(group_filter(name=GROUP, rules=rules(number, first), members={}))

    def define(self, card: int, guard: str) -> str:
        uuid = f"6a5c7d1e-0000-4000-8000-67726f7570{card:02x}"
        ref = FilterRef(name=guard, ip=f"10.94.0.{10 + card}") if guard else None
        nic = Nic(mac=f"52:54:0a:5e:00:{card:02x}", network=NET, filter=ref)
        tag = Tag(owner=OWNER, subject=uuid, generation=1)
        spec = DomainSpec(
            uuid=uuid, name=f"gh-bench-{card}", tag=tag, vcpus=1, memory_mib=64, tb_cache_mib=16, nics=(nic,)
        )
        self.hv.define(spec, roots=ROOTS)
        return uuid

    def start(self, guard: str) -> float:
        """Milliseconds that one machine takes to start."""
        uuid = self.define(0, guard)
        took = timed(lambda: self.hv.start(uuid))
        self.hv.pull_plug(uuid)
        return took

    def clear(self) -> None:
        for domain in self.hv.domains():
            if domain.owner == OWNER:
                self.hv.pull_plug(domain.uuid)
                self.hv.undefine(domain.uuid, owner=OWNER)
        self.hv.remove_network(NET, owner=OWNER)
        for name in (*map(port, self.cards), GROUP, FILTER):
            self.hv.remove_filter(name)


def port(card: int) -> str:
    """The filter of that machine's card."""
    return f"gh-bench-p-{card}"


def timed(act: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def starts(bench: Bench, rounds: int) -> None:
    ways = {"no filter": "", "its network's filter": FILTER} | {f"and a group of {size}": port(0) for size in SIZES}
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _round in range(rounds):
        for way, guard in ways.items():
            if guard == port(0):
                bench.put(int(way.rsplit(" ", 1)[1]))
            found[way].append(bench.start(guard))
    bare = statistics.median(found["its network's filter"])
    print(
        "| start, the card has | median ms | least ms | beside its network's filter alone |\n| --- | --- | --- | --- |"
    )
    for way, took in found.items():
        middle = statistics.median(took)
        print(f"| {way} | {middle:.0f} | {min(took):.0f} | {middle - bare:+.0f} |")


def changes(bench: Bench, rounds: int) -> None:
    print("\n| change of a group of | running cards | p50 ms | p95 ms | least ms |\n| --- | --- | --- | --- | --- |")
    for cards in (1, len(bench.cards)):
        for card in range(cards):
            uuid = bench.define(card, port(card))
            if bench.hv.domain(uuid).power != "running":  # type: ignore[union-attr]
                bench.hv.start(uuid)
        for size in SIZES:
            took = [timed(lambda: bench.put(size, 1000 + number)) for number in range(rounds)]  # noqa: B023
            p95 = statistics.quantiles(took, n=20, method="inclusive")[18]
            print(f"| {size} | {cards} | {statistics.median(took):.0f} | {p95:.0f} | {min(took):.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cards", type=int, default=4)
    given = parser.parse_args()
    hv = connect(given.uri)
    bench = Bench(hv, given.cards)
    try:
        starts(bench, given.rounds)
        changes(bench, given.rounds)
    finally:
        bench.clear()


if __name__ == "__main__":
    main()
