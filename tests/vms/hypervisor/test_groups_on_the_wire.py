"""Security groups against real packets: what the rules say is what two cards on a bridge of a real host can do.

The same conversations are asked of ``vms.firewall``, which is what people are told, so neither can be wrong alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.hosts import Host
from tests.vms.hypervisor import clinger, talkers
from vms.firewall import Direction, Packet, Protocol, Rule, allowing
from vms.hypervisor import libvirt_driver
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.groups import group_filter, port_filter

A, B, C = "10.92.0.10", "10.92.0.11", "10.92.0.12"
CARDS = {"a": A, "b": B, "c": C}
GATEWAY = "10.92.0.1"
IN, OUT = Direction.IN, Direction.OUT
EVERYWHERE = Rule(direction=OUT)
PORTS = (22, 80, 443, 8080)
BINDING = """
<filterbinding><owner><name>{card}</name><uuid>0198a3c2-aaaa-7cc0-b0e1-0000000000{number:02d}</uuid></owner>
  <portdev name='wp{card}'/><mac address='52:54:0a:5c:00:{number:02d}'/>
  <filterref filter='gh-wire-p-{card}'><parameter name='IP' value='{ip}'/></filterref></filterbinding>"""
BRIDGE = """
ip link add wbr type bridge stp_state 0
ip addr add 10.92.0.1/24 dev wbr
ip link set wbr up
for card in a:10 b:11 c:12; do
  name=${card%:*} number=${card#*:}
  ip netns add wire-$name
  ip link add w$name type veth peer name wp$name
  ip link set wp$name master wbr up
  ip link set w$name netns wire-$name address 52:54:0a:5c:00:$number
  ip -n wire-$name addr add 10.92.0.$number/24 dev w$name
  ip -n wire-$name link set lo up
  ip -n wire-$name link set w$name up
  ip -n wire-$name route add default via 10.92.0.1
done"""
UNBRIDGE = "for card in a b c; do ip netns del wire-$card; done; ip link del wbr"


@dataclass(frozen=True)
class Wire:
    """Three cards on one bridge of a host, each with the rules it was given last."""

    host: Host
    hypervisor: Hypervisor
    rules: dict[str, tuple[Rule, ...]] = field(default_factory=dict)

    def members(self) -> dict[str, frozenset[str]]:
        return {f"group-{card}": frozenset({ip}) for card, ip in CARDS.items()}

    def give(self, card: str, *rules: Rule) -> None:
        self.rules[card] = rules
        self.hypervisor.ensure_filter(group_filter(name=f"gh-wire-g-{card}", rules=rules, members=self.members()))

    def expected(self, caller: str, called: str, protocol: Protocol, port: int | None) -> bool:
        packet = Packet(source=CARDS[caller], destination=CARDS[called], protocol=protocol, port=port)
        sent = allowing(self.rules[caller], OUT, packet, self.members())
        return sent is not None and allowing(self.rules[called], IN, packet, self.members()) is not None

    def talk(self) -> dict[str, bool]:
        """Everybody calls everybody else by everything: ``a b tcp 22`` and whether it was answered."""
        done = self.host.exec(sys.executable, talkers.__file__, json.dumps(CARDS), json.dumps(PORTS), timeout_s=120)
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def wire(lab_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder = tmp_path_factory.mktemp("wire")
    folder.chmod(0o755)
    hypervisor = libvirt_driver.connect(lab_host.uri)
    made = Wire(lab_host, hypervisor)
    lab_host.exec("sh", "-ec", BRIDGE)
    try:
        hypervisor.ensure_filter(guest_filter(name="gh-wire-f", subnet="10.92.0.0/24", gateway=GATEWAY))
        for number, (card, ip) in enumerate(CARDS.items(), start=10):
            made.give(card, EVERYWHERE)
            hypervisor.ensure_filter(
                port_filter(
                    name=f"gh-wire-p-{card}", network="gh-wire-f", groups=[f"gh-wire-g-{card}"], gateway=GATEWAY
                )
            )
            bind(lab_host, folder / f"{card}.xml", card, number, ip)
        yield made
        for card in CARDS:
            lab_host.virsh("nwfilter-binding-delete", f"wp{card}")
    finally:
        lab_host.exec("sh", "-c", UNBRIDGE)
        for name in (*(f"gh-wire-p-{card}" for card in CARDS), *(f"gh-wire-g-{card}" for card in CARDS), "gh-wire-f"):
            hypervisor.remove_filter(name)
        hypervisor.close()


def bind(host: Host, file: Path, card: str, number: int, ip: str) -> None:
    file.write_text(BINDING.format(card=card, number=number, ip=ip))
    host.virsh("nwfilter-binding-create", file)


CASES: dict[str, dict[str, tuple[Rule, ...]]] = {
    "nobody is let in by default": {},
    "a group's machines, one port, a range of ports from one neighbour": {
        "a": (Rule(direction=IN, group="group-c"), EVERYWHERE),
        "b": (Rule(direction=IN, protocol=Protocol.TCP, ports=(22, 22)), EVERYWHERE),
        "c": (Rule(direction=IN, protocol=Protocol.TCP, ports=(80, 443), cidr=f"{A}/32"), EVERYWHERE),
    },
    "one that calls one port of one other, and one that hears datagrams of some, and pings": {
        "a": (Rule(direction=OUT, protocol=Protocol.TCP, ports=(443, 443), group="group-b"), Rule(direction=IN)),
        "b": (
            Rule(direction=IN, protocol=Protocol.UDP, cidr="10.92.0.12/31"),
            Rule(direction=IN, protocol=Protocol.TCP, cidr="0.0.0.0/0"),
            Rule(direction=IN, protocol=Protocol.ICMP),
            EVERYWHERE,
        ),
    },
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_rules_say_is_what_the_packets_do(wire: Wire, name: str):
    for card in CARDS:
        wire.give(card, *CASES[name].get(card, (EVERYWHERE,)))

    answered = wire.talk()

    said = {key: wire.expected(*_read(key)) for key in answered}
    assert answered == said
    assert len(answered) == len(CARDS) * (len(CARDS) - 1) * (2 * len(PORTS) + 1)


def _read(key: str) -> tuple[str, str, Protocol, int | None]:
    caller, called, protocol, port = key.split()
    return caller, called, Protocol(protocol), int(port) or None


def test_a_conversation_ends_with_the_rule_that_allowed_it(wire: Wire):
    web = Rule(direction=IN, protocol=Protocol.TCP, ports=(80, 80))
    wire.give("a", EVERYWHERE)
    wire.give("b", EVERYWHERE, web)
    argv = wire.host.inside(sys.executable, clinger.__file__, "a", "b", B, "80")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as talk:
        assert talk.stdin is not None
        assert talk.stdout is not None
        assert talk.stdout.readline() == "up\n"
        said = []
        for rules in ((EVERYWHERE, web), (EVERYWHERE,)):
            wire.give("b", *rules)
            talk.stdin.write("\n")
            said.append(talk.stdout.readline().strip())
        talk.stdin.close()

    assert said == ["heard", "silent"]
