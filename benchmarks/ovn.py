"""A fabric's northbound database at size: what a change costs, beside bare ovn-nbctl in the same database, and what memory holds.

    .venv/bin/python -m benchmarks.ovn [--networks 1000] [--cards 10] [--groups 100] [--rules 100] [--rounds 20]

Starts databases and northd of its own in a folder that goes with it; no host is joined, so "translated" is what northd has made
of a change. Everything is made by the engine (``vms/hypervisor/ovn``). ovn-nbctl runs as a daemon, whose copy of the database
is as warm as ours. Prints tables in Markdown; ``benchmarks/README.md`` keeps the results.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final, cast

from vms.firewall import Direction, Protocol, Rule
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.engines import Card, Group, Net
from vms.hypervisor.ovn import wire
from vms.hypervisor.ovn.engine import Overlay
from vms.hypervisor.ovn.routers import Outside
from vms.hypervisor.xml.metadata import Owner, Tag
from vms.hypervisor.xml.network import NetworkSpec

OWNER: Final = Owner("bench", 1)
FIRST: Final = IPv4Address("10.0.0.0")
OUTSIDE: Final = Outside(physnet="outer", address="198.51.100.5/24", gateway="198.51.100.1", chassis=("host1",))
SCHEMAS: Final = Path("/usr/share/ovn")
WAIT_S: Final = 600.0


class Central:
    """Both databases and northd, and an ovn-nbctl that stays."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.directory, self._stack = directory, stack
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("nb", "sb"):
            file = directory / f"{name}.db"
            subprocess.run(["ovsdb-tool", "create", file, SCHEMAS / f"ovn-{name}.ovsschema"], check=True)
            self._start(name, "ovsdb-server", str(file), f"--remote=punix:{directory / name}.sock")
        nb, sb = (f"unix:{directory / name}.sock" for name in ("nb", "sb"))
        self._start("northd", "ovn-northd", f"--ovnnb-db={nb}", f"--ovnsb-db={sb}")
        self._start("nbctl", "ovn-nbctl", f"--db={nb}", "-vconsole:off")
        self.remote = nb

    def _start(self, name: str, *command: str) -> None:
        control = self.directory / f"{name}.ctl"
        argv = [*command, f"--unixctl={control}", f"--log-file={self.directory / name}.log"]
        if name == "nbctl":
            argv = [*command, "--detach", f"--pidfile={self.directory / 'nbctl.pid'}", f"--unixctl={control}"]
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
            pid = int((self.directory / "nbctl.pid").read_text())
            self._stack.callback(os.kill, pid, 9)
            return
        with (self.directory / f"{name}.out").open("wb") as log:
            child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv], stdout=log, stderr=log)
        self._stack.callback(child.wait)
        self._stack.callback(child.kill)
        self.children[name] = child
        end = time.monotonic() + 30
        while not control.exists():
            if time.monotonic() > end:
                raise TimeoutError((self.directory / f"{name}.out").read_text())
            os.sched_yield()

    def nbctl(self, *argv: str) -> None:
        """One transaction by the daemon, said to it as the ovn-nbctl program does."""
        control = self.directory / "nbctl.ctl"
        subprocess.run(
            ["ovn-nbctl", *argv], check=True, env={**os.environ, "OVN_NB_DAEMON": str(control)},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def memory_mib(self, name: str) -> float:
        status = Path(f"/proc/{self.children[name].pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def gateway(number: int) -> IPv4Address:
    return FIRST + number * 256 + 1


def network(number: int) -> Net:
    tag = Tag(owner=OWNER, subject=f"net-{number}", tenant="bench")
    name = f"gh-bench-{number:04}"
    return Net(
        spec=NetworkSpec(
            name=name, tag=tag, bridge="", gateway=str(gateway(number)), prefix=24, domain="bench.internal"
        )
    )


def card(number: int, which: int, groups: int) -> Card:
    return Card(
        name=f"gh-bench-p-{number:04}-{which:03}",
        network=network(number).spec.name,
        mac=f"52:54:{which:02x}:{number // 256:02x}:{number % 256:02x}:01",
        ip=str(gateway(number) + 9 + which),
        gateway=str(gateway(number)),
        machine=f"m-{number}-{which}",
        groups=(group_name(number % groups),),
    )


def group_name(number: int) -> str:
    return f"gh-bench-g-{number:03}"


def group(number: int, rules: int, first: int = 1) -> Group:
    ports = range(first, first + rules - 1)
    read = [Rule(direction=Direction.IN, protocol=Protocol.TCP, ports=(port, port)) for port in ports]
    return Group(name=group_name(number), rules=(Rule(direction=Direction.OUT), *read))


def timed(act: Callable[[], Any]) -> float:
    began = time.monotonic()
    act()
    return 1000 * (time.monotonic() - began)


@contextlib.contextmanager
def central() -> Iterator[Central]:
    with tempfile.TemporaryDirectory(prefix="ghovn-") as folder, contextlib.ExitStack() as stack:
        yield Central(Path(folder), stack)


def row(what: str, times: list[float]) -> str:
    ordered = sorted(times)
    return f"| {what} | {statistics.median(times):.1f} | {ordered[0]:.1f} | {ordered[int(0.95 * (len(ordered) - 1))]:.1f} |"


def own_mib() -> float:
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("networks", 1000), ("cards", 10), ("groups", 100), ("rules", 100), ("rounds", 20)):
        parser.add_argument(f"--{name}", type=int, default=number)
    asked = parser.parse_args()
    with central() as fabric:
        line = wire.northbound(fabric.remote, "")
        net = Overlay(line, cast("Hypervisor", None), OWNER, outside=OUTSIDE)
        began_mib = own_mib()
        began = time.monotonic()
        for number in range(asked.groups):
            net.ensure_group(group(number, asked.rules))
        for number in range(asked.networks):
            net.ensure_network(network(number))
            for which in range(asked.cards):
                wanted = card(number, which, asked.groups)
                net.introduce(wanted)
                net.guard(wanted)
        built = time.monotonic() - began
        assert line.translated(timeout_s=WAIT_S)
        settled = time.monotonic() - began
        print(f"load {os.getloadavg()[0]:.1f}; {asked.networks} networks, {asked.networks * asked.cards} cards, "
              f"{asked.groups * asked.rules} rules made in {built:.0f} s, translated after {settled:.0f} s\n")  # fmt: skip
        print("| memory | MiB |\n| --- | --- |")
        for name in ("nb", "sb", "northd"):
            print(f"| {name} | {fabric.memory_mib(name):.0f} |")
        print(f"| the portal's copy | {own_mib() - began_mib:.0f} |\n")
        print("| one change at that size | median ms | best | p95 |\n| --- | --- | --- | --- |")
        for what, times in measure(fabric, net, asked).items():
            print(row(what, times))
        wire.hang_up(fabric.remote, "")


def measure(fabric: Central, net: Overlay, asked: argparse.Namespace) -> dict[str, list[float]]:
    """Ours and bare in turn, so that both meet the same load."""
    found: dict[str, list[float]] = {}

    def note(what: str, act: Callable[[], Any]) -> None:
        found.setdefault(what, []).append(timed(act))

    for turn in range(asked.rounds):
        number = asked.networks + turn
        wanted = card(number, 0, asked.groups)
        note("network made, engine", lambda number=number: net.ensure_network(network(number)))
        note("network made, bare (a switch alone)", lambda turn=turn: fabric.nbctl("ls-add", f"bare-{turn}"))
        note("card made and guarded, engine", lambda wanted=wanted: (net.introduce(wanted), net.guard(wanted)))
        speaks = f"{wanted.mac} {wanted.ip}"
        switch, port = f"bare-{turn}", f"bare-port-{turn}"
        bare = (
            "lsp-add",
            switch,
            port,
            "--",
            "lsp-set-addresses",
            port,
            speaks,
            "--",
            "lsp-set-port-security",
            port,
            speaks,
        )
        note("card made, bare", lambda bare=bare: fabric.nbctl(*bare))
        note("what is so looked at: a card", lambda wanted=wanted: net.is_guarded(wanted))
        changed = group(turn % asked.groups, asked.rules, first=2 + turn // asked.groups)
        note("what is so looked at: a group", lambda changed=changed: net.has_group(changed))
        note("one rule of a group changed, engine", lambda changed=changed: net.ensure_group(changed))
        pg = group_name(turn % asked.groups).replace("-", "_")
        match = f"outport == @{pg} && tcp.dst == {5000 + turn}"
        rule = ("--type=port-group", "acl-add", pg, "to-lport", "1001", match, "drop")
        note("one rule of a group changed, bare", lambda rule=rule: fabric.nbctl(*rule))
        note("…translated by northd", lambda: net.line.translated(timeout_s=WAIT_S))
        names = [network(number).spec.name]
        note("what is so looked at: a network", lambda names=names: net.standing(names))
        note("what is so looked at: everything, as a sweep does", lambda: (net.networks(), net.guards()))
        moved = replace(wanted, groups=(group_name((turn + 7) % asked.groups),))
        note("card moved to another group, engine", lambda moved=moved: net.guard(moved))
    return found


if __name__ == "__main__":
    main()
