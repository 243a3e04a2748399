"""Cards of machines that need no machine: network namespaces of this computer, plugged into the switches of a lab's hosts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.lab.hosts import Host
from tests.lab.machine import run
from tests.lab.namespaces import Pid
from tests.lab.waiting import wait_until


@dataclass(frozen=True)
class WireCard:
    """A namespace ``wire-NAME`` with a card ``eth0``, which is ``port`` on its host's switch."""

    host: Host
    name: str
    mac: str
    ip: str
    port: str
    gateway: str
    mtu: int = 1400

    def plug(self) -> None:
        """Made and plugged in; a former one of that name goes."""
        self.unplug()
        inner, outer = f"wi{self.name}", self._outer
        init = Pid.read(self.host.directory / "init.pid")
        assert init is not None
        run(f"ip netns add wire-{self.name}")
        run(f"ip link add {inner} address {self.mac} type veth peer name {outer}")
        run(f"ip link set {outer} netns {init.number}")
        run(f"ip link set {inner} netns wire-{self.name} name eth0 mtu {self.mtu}")
        run(f"ip netns exec wire-{self.name} ethtool -K eth0 tx off")
        run(f"ip -n wire-{self.name} addr add {self.ip}/24 dev eth0")
        run(f"ip -n wire-{self.name} link set lo up")
        run(f"ip -n wire-{self.name} link set eth0 up")
        run(f"ip -n wire-{self.name} route add default via {self.gateway}")
        self.host.exec("ip", "link", "set", outer, "up")
        place = ["--", "set", "interface", outer, f"external_ids:iface-id={self.port}"]
        self.host.exec("ovs-vsctl", "--may-exist", "add-port", "br-int", outer, *place)

    def await_bound(self) -> None:
        """Wait until the host's controller has put the port in place."""

        def is_bound() -> bool:
            said = self.host.exec(
                "ovs-vsctl", "get", "interface", self._outer, "external_ids:ovn-installed", check=False
            )
            return "true" in said.stdout

        wait_until(is_bound, timeout_s=60, what=f"{self.name} is bound on {self.host.name}")

    def unplug(self) -> None:
        run(f"ip netns del wire-{self.name}", check=False)
        if self.host.is_up:
            self.host.exec("ovs-vsctl", "--if-exists", "del-port", "br-int", self._outer)
            self.host.exec("ip", "link", "del", self._outer, check=False)

    @property
    def _outer(self) -> str:
        return f"wo{self.name}"


def talk(cards: Iterable[WireCard], ports: Iterable[int]) -> dict[str, bool]:
    """Everybody calls everybody else by everything: ``a b tcp 22`` and whether it was answered."""
    told = {card.name: card.ip for card in cards}
    argv = [sys.executable, "-m", "tests.vms.hypervisor.talkers", json.dumps(told), json.dumps(list(ports))]
    return json.loads(run(argv, timeout_s=120).stdout)


def whisper(speaker: WireCard, hearers: Iterable[WireCard], frames: Mapping[str, bytes]) -> set[str]:
    """The names of the frames that ``speaker`` sent and one of ``hearers`` heard."""
    argv = [sys.executable, "-m", "tests.vms.hypervisor.whispers", speaker.name, *(card.name for card in hearers)]
    told = json.dumps({name: frame.hex() for name, frame in frames.items()})
    return set(json.loads(run(argv, stdin=told, timeout_s=120).stdout))
