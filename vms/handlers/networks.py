"""Taking a network off the hosts it is on."""

from __future__ import annotations

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms.handlers.place import connect, host_words
from vms.models import Network, NetworkOnHost
from vms.names import filter_name, network_name
from vms.selectors.installation import installation_owner


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
    owner = installation_owner()
    for use in NetworkOnHost.objects.filter(network=network).select_related("host"):
        with host_words(use.host):
            hv = connect(use.host)
            with run.effect("drop_network"):
                hv.remove_network(network_name(owner, network.pk), owner=owner)
            with run.effect("drop_filter"):
                hv.remove_filter(filter_name(owner, network.pk))
