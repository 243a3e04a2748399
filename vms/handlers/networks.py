"""Networks on hosts: made, changed, told who is on them, and taken off again."""

from __future__ import annotations

from collections.abc import Collection

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms import design
from vms.guards import card_wanted
from vms.handlers.place import Wired, over_there
from vms.hypervisor import errors
from vms.hypervisor.xml.network import DhcpHost, DnsName
from vms.models import Guest, Network, Port
from vms.names import network_name
from vms.selectors.fabrics import through
from vms.selectors.networks import hosts_with, names_on
from vms.services.networks import network_record_drawing, network_use_host


@handles("network.delete")
def delete(run: Run) -> None:
    """Remove the network from every host; refuses once a machine has been connected meanwhile."""
    network = Network.objects.filter(pk=run.operation.subject_id).first()
    if network is None:
        return
    if network.ports.exists():
        raise Conflict(
            _("Machines are connected to this network."), code="network_in_use", hint=_("Delete them first.")
        )
    for host in through(hosts_with(network)):
        with over_there(host) as there, run.effect("drop_network"):
            there.net.remove_network(network_name(there.owner, network.pk))
        with run.effect("drop_bar"):
            there.net.unbar(network_name(there.owner, network.pk))


@handles("network.change")
def change(run: Run) -> None:
    """Bring it to every host that has it as it is drawn now; a host where a machine on it is on says so."""
    network = Network.objects.filter(pk=run.operation.subject_id).first()
    if network is None:
        raise Conflict(_("The network is gone."), code="gone", hint="")
    for host in through(hosts_with(network)):
        with over_there(host) as there:
            try:
                ensure_network(run, there, network, standing=None)
            except errors.Busy as error:
                raise Conflict(
                    _("A machine on this network is on."),
                    code="machines_on",
                    hint=_("Once all of them have been off, the next that starts brings the change."),
                    detail=error.detail,
                ) from error


def ensure_network(run: Run, there: Wired, network: Network, *, standing: Collection[str] | None) -> None:
    """The network is there as it is drawn; ``standing`` are those that were seen there.

    One that stands in another shape is left as it is while machines are plugged in; with None it raises ``Busy``.
    """
    use, subnet = network_use_host(there.host, network), network.subnets.get(family=4)
    net = design.network_wanted(network, subnet, there.owner, there.host, names=names_on(network, there.host))
    if net.spec.name in (standing or ()) and use.drawing == network.drawing:
        return
    run.say(_("Connecting the network"), 60)
    with run.effect("bar"):
        there.net.bar(net)
    with run.effect("network"):
        try:
            there.net.ensure_network(net)
        except errors.Busy:
            if standing is None or net.spec.name not in there.net.standing({net.spec.name}):
                raise
            return
    network_record_drawing(use, network.drawing)


def ensure_known(run: Run, there: Wired, port: Port) -> None:
    """The port's network, which is on the host, gives its card its address, and answers its machine's name with that."""
    card = card_wanted(port, there.owner)
    seen = there.net.members(card.network)
    if DhcpHost(mac=card.mac, ip=card.ip) in seen.hosts and DnsName(ip=card.ip, name=card.machine) in seen.names:
        return
    with run.effect("introduce"):
        there.net.introduce(card)


def forget_names(run: Run, there: Wired, guest: Guest) -> None:
    """No network of the host answers the machine's name any more; it is off."""
    for port in Port.objects.filter(guest=guest, network__on_hosts__host=there.host).prefetch_related("addresses"):
        for address in port.addresses.all():
            with run.effect("forget_name"):
                there.net.forget(network_name(there.owner, port.network_id), address.ip)
