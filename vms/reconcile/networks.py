"""The networks of a fabric, held against their rows: one that was changed or lost there is brought back by an operation."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vms import design
from vms.hypervisor.engines import Net, NetworkEngine
from vms.hypervisor.errors import Unsupported
from vms.models import Host, Network, NetworkOnHost
from vms.names import Owner
from vms.selectors.fabrics import spanned, speaks
from vms.services.hosts import drift_record
from vms.services.networks import network_mend


def networks_differ(host: Host, net: NetworkEngine, owner: Owner, *, busy: Collection[str]) -> Iterator[str]:
    """I2: each network of a fabric is there as it is drawn, but for ``busy`` ones; of bridges that cannot be read back."""
    for network, wanted in _made(host, net, owner):
        if str(network.pk) not in busy and not _is_so(net, wanted):
            yield f"I2 host {host.name}: network {wanted.spec.name} is otherwise on its fabric than it is drawn"


def networks_mend(host: Host, net: NetworkEngine, owner: Owner) -> None:
    """Show each network that is otherwise, and have it made as it is drawn; of bridges a start of a machine does that.

    Of the hosts of a fabric one does so for all.
    """
    for network, wanted in _made(host, net, owner):
        if not _is_so(net, wanted):
            drift_record(host, "other_network", network.name, detail=wanted.spec.name)
            network_mend(network)


def _made(host: Host, net: NetworkEngine, owner: Owner) -> Iterator[tuple[Network, Net]]:
    if not net.mends or not speaks(host):
        return
    made = NetworkOnHost.objects.filter(host__in=spanned(host), drawing__gt=0).values("network")
    rows = Network.objects.filter(pk__in=made).select_related("tenant").prefetch_related("subnets").order_by("pk")
    for network in rows:
        subnet = next(each for each in network.subnets.all() if each.family == 4)
        yield network, design.network_wanted(network, subnet, owner, host)


def _is_so(net: NetworkEngine, wanted: Net) -> bool:
    """False also for one that leads outwards where its fabric does not any more."""
    try:
        return net.has_network(wanted)
    except Unsupported:
        return False
