"""Which engine carries the packets of a host's machines."""

from __future__ import annotations

from vms.hypervisor.bridges import Bridges
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.engines import NetworkEngine
from vms.models import Host
from vms.names import Owner


def engine_at(host: Host, hv: Hypervisor, owner: Owner) -> NetworkEngine:
    """The engine of ``host``, to which ``hv`` is a connection."""
    return Bridges(hv, owner)
