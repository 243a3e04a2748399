"""The networks of a fabric, held against their rows: one that was changed or lost there is brought back by an operation."""

from __future__ import annotations

from vms import design
from vms.hypervisor.engines import NetworkEngine
from vms.hypervisor.errors import Unsupported
from vms.models import Host, Network, NetworkOnHost
from vms.names import Owner
from vms.selectors.fabrics import spanned, speaks
from vms.services.hosts import drift_record
from vms.services.networks import network_mend


def networks_mend(host: Host, net: NetworkEngine, owner: Owner) -> None:
    """Show each network that is otherwise, and have it made as it is drawn; of bridges a start of a machine does that.

    Of the hosts of a fabric one does so for all.
    """
    if not net.mends or not speaks(host):
        return
    made = NetworkOnHost.objects.filter(host__in=spanned(host), drawing__gt=0).values("network")
    for network in Network.objects.filter(pk__in=made).select_related("tenant").order_by("pk"):
        wanted = design.network_wanted(network, network.subnets.get(family=4), owner, host)
        try:
            if net.has_network(wanted):
                continue
        except Unsupported as error:
            drift_record(host, "other_network", network.name, detail=error.detail)
            continue
        drift_record(host, "other_network", network.name, detail=wanted.spec.name)
        network_mend(network)
