"""Networks on hosts: made, changed, told who is on them, and taken off again."""

from __future__ import annotations

from collections.abc import Collection

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms import design
from vms.handlers.place import There, over_there
from vms.hypervisor import errors
from vms.hypervisor.xml.network import DhcpHost, DnsName
from vms.models import Guest, Network, NetworkOnHost, Port
from vms.names import filter_name, network_name
from vms.selectors.networks import names_on
from vms.services.networks import network_record_drawing, network_use_host


@handles("network.delete")
def delete(run: Run) -> None:
    """Remove network and filter from every host; refuses once a machine has been connected meanwhile."""
    network = Network.objects.filter(pk=run.operation.subject_id).first()
    if network is None:
        return
    if network.ports.exists():
        raise Conflict(
            _("Machines are connected to this network."), code="network_in_use", hint=_("Delete them first.")
        )
    for use in NetworkOnHost.objects.filter(network=network).select_related("host"):
        with over_there(use.host) as there:
            with run.effect("drop_network"):
                there.hv.remove_network(network_name(there.owner, network.pk), owner=there.owner)
            with run.effect("drop_filter"):
                there.hv.remove_filter(filter_name(there.owner, network.pk))


@handles("network.change")
def change(run: Run) -> None:
    """Bring it to every host that has it as it is drawn now; a host where a machine on it is on says so."""
    network = Network.objects.filter(pk=run.operation.subject_id).first()
    if network is None:
        raise Conflict(_("The network is gone."), code="gone", hint="")
    for use in NetworkOnHost.objects.filter(network=network).select_related("host"):
        with over_there(use.host) as there:
            try:
                ensure_network(run, there, network, running=(), filters=there.hv.filters())
            except errors.Busy as error:
                raise Conflict(
                    _("A machine on this network is on."),
                    code="machines_on",
                    hint=_("Once all of them have been off, the next that starts brings the change."),
                    detail=error.detail,
                ) from error


def ensure_network(
    run: Run, there: There, network: Network, *, running: Collection[str], filters: Collection[str]
) -> None:
    """The network and its filter are on the host, as they are drawn; ``running`` and ``filters`` are what was seen there.

    One that runs in another shape is left as it is while machines are plugged in; raises ``Busy`` where it is not in ``running``.
    """
    use, subnet = network_use_host(there.host, network), network.subnets.get(family=4)
    spec = design.network_spec(network, subnet, there.owner, names=names_on(network, there.host))
    if filter_name(there.owner, network.pk) not in filters:
        run.say(_("Connecting the network"), 60)
        with run.effect("filter"):
            there.hv.ensure_filter(design.filter_spec(network, subnet, there.owner, there.host))
    if spec.name in running and use.drawing == network.drawing:
        return
    run.say(_("Connecting the network"), 60)
    with run.effect("network"):
        try:
            there.hv.ensure_network(spec)
        except errors.Busy:
            if spec.name not in running:
                raise
            return
    network_record_drawing(use, network.drawing)


def ensure_known(run: Run, there: There, port: Port) -> None:
    """The port's network, which is on the host, gives its card its address, and answers its machine's name with that."""
    name = network_name(there.owner, port.network_id)
    seen = there.hv.members(name)
    for address in port.addresses.filter(subnet__family=4):
        host = DhcpHost(mac=port.mac, ip=address.ip)
        if host in seen.hosts and DnsName(ip=address.ip, name=port.guest.name) in seen.names:
            continue
        with run.effect("introduce"):
            there.hv.introduce(name, host=host, name=port.guest.name, owner=there.owner)


def forget_names(run: Run, there: There, guest: Guest) -> None:
    """No network of the host answers the machine's name any more; it is off."""
    for port in Port.objects.filter(guest=guest, network__on_hosts__host=there.host).prefetch_related("addresses"):
        forget_name(run, there, port)


def forget_name(run: Run, there: There, port: Port) -> None:
    """The port's network does not answer its machine's name with its address any more."""
    for address in port.addresses.all():
        with run.effect("forget_name"):
            there.hv.forget(network_name(there.owner, port.network_id), address.ip, owner=there.owner)
