"""Which engine carries the packets of a host's machines."""

from __future__ import annotations

from vms.hypervisor.bridges import Bridges
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.engines import NetworkEngine
from vms.hypervisor.ovn.engine import Overlay
from vms.hypervisor.ovn.routers import Outside
from vms.hypervisor.ovn.wire import northbound
from vms.models import Fabric, Host
from vms.names import Owner


def engine_at(host: Host, hv: Hypervisor, owner: Owner) -> NetworkEngine:
    """The engine of ``host``, to which ``hv`` is a connection; raises ``FabricSilent`` where a fabric does not answer."""
    fabric = host.pool.fabric
    if fabric is None:
        return Bridges(hv, owner)
    return Overlay(
        northbound(fabric.northbound, fabric.pki),
        hv,
        owner,
        mtu=fabric.mtu,
        offload=fabric.offload,
        outside=outside_of(fabric),
        resolvers=tuple(fabric.resolvers),
    )


def outside_of(fabric: Fabric) -> Outside | None:
    """Where the fabric meets the operator's own network; None where it does not."""
    if not fabric.physnet:
        return None
    return Outside(
        physnet=fabric.physnet,
        address=fabric.outer_address,
        gateway=fabric.outer_gateway,
        chassis=tuple(fabric.carriers),
    )
