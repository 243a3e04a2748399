"""A world for the engines' contract: each engine behind the same few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.lab.fabric import Fabric
from tests.vms.hypervisor.conftest import OWNER
from vms.hypervisor import fake
from vms.hypervisor.engines import Net, NetworkEngine
from vms.hypervisor.ovn import wire
from vms.hypervisor.ovn.engine import Overlay
from vms.hypervisor.ovn.routers import Outside
from vms.hypervisor.xml.metadata import Owner, Tag
from vms.hypervisor.xml.network import NetworkSpec

OUTSIDE = Outside(physnet="outer", address="198.51.100.5/24", gateway="198.51.100.1", chassis=("host1", "host2"))
NETWORK, GATEWAY = "gh-contract-n", "10.93.0.1"


@dataclass(frozen=True)
class EngineWorld:
    """One engine under test; ``plant`` makes a network of that name as an operator would, behind the portal's back."""

    net: NetworkEngine
    plant: Callable[[str], None]
    owner: Owner = OWNER

    def make(self, net: Net) -> None:
        """The network, as handlers make it."""
        self.net.bar(net)
        self.net.ensure_network(net)

    def wanted(self, name: str = NETWORK, **changes: object) -> Net:
        spec = NetworkSpec(
            name=name,
            tag=Tag(owner=self.owner, subject="net-1", tenant="acme"),
            bridge="ghcontract0",
            gateway=GATEWAY,
            prefix=24,
            domain="private.internal",
        )
        return Net(spec=replace(spec, **changes), forbidden=("203.0.113.0/24",))  # type: ignore[arg-type]


def fabric_world(fabric: Fabric) -> Iterator[EngineWorld]:
    """A fabric's engine; afterwards nothing is in its database."""
    line = wire.northbound(fabric.remote, str(fabric.pki))
    world = EngineWorld(
        Overlay(line, fake.connect("fake://contract"), OWNER, outside=OUTSIDE),
        lambda name: fabric.nbctl("ls-add", name) and None,
    )
    yield world
    clear(fabric)


def clear(fabric: Fabric) -> None:
    """Nothing of anybody's in the northbound database."""
    for table in ("Logical_Switch", "Logical_Router", "Port_Group", "Address_Set", "DHCP_Options", "DNS"):
        fabric.nbctl("--all", "destroy", table)
