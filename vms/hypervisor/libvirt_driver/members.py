"""Who is on a network: reserved addresses and names, changed while it runs and for its next start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import libvirt

from vms.hypervisor.errors import Missing
from vms.hypervisor.libvirt_driver.link import must_be_ours
from vms.hypervisor.libvirt_driver.networks import Networks
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.members import SeenMembers
from vms.hypervisor.xml.build import to_xml
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.network import DhcpHost, DnsName
from vms.hypervisor.xml.parse import NetworkDetails, network_details

KEPT: Final = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
LIVE: Final = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
ADD: Final = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
DELETE: Final = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE
HOSTS: Final = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
NAMES: Final = libvirt.VIR_NETWORK_SECTION_DNS_HOST


class Members(Networks):
    """The part of the driver that speaks of who is on a network."""

    def members(self, network: str) -> SeenMembers:
        """See the protocol."""
        with translated(f"look who is on {network}"):
            raw = self._find_network(network)
            if raw is None:
                raise Missing(f"no network {network}")
            details = network_details(raw.XMLDesc(0))
            return SeenMembers(details.hosts, details.names)

    def introduce(self, network: str, *, host: DhcpHost, name: str, owner: Owner) -> None:
        """See the protocol."""
        with translated(f"introduce {host.ip} to {network}"):
            raw = self._find_network(network)
            if raw is None:
                raise Missing(f"no network {network}")
            for flag, there in _definitions(raw):
                must_be_ours(there.tag, owner, f"network {network}")
                if host not in there.hosts:
                    for other in sorted(there.hosts):
                        if other.mac == host.mac or other.ip == host.ip:
                            raw.update(DELETE, HOSTS, -1, to_xml(other.element()), flag)
                    raw.update(ADD, HOSTS, -1, to_xml(host.element()), flag)
                wanted = DnsName(ip=host.ip, name=name)
                if name and wanted not in there.names:
                    _drop(raw, [each for each in there.names if each.ip == host.ip or each.name == name], flag)
                    raw.update(ADD, NAMES, -1, to_xml(wanted.element()), flag)

    def forget(self, network: str, ip: str, *, owner: Owner) -> None:
        """See the protocol."""
        with translated(f"forget {ip} on {network}"):
            raw = self._find_network(network)
            if raw is None:
                return
            for flag, there in _definitions(raw):
                must_be_ours(there.tag, owner, f"network {network}")
                _drop(raw, [each for each in there.names if each.ip == ip], flag)


def _definitions(raw: Any) -> Iterator[tuple[int, NetworkDetails]]:
    """The network as it runs, if it does, then as it will start; each read when it is its turn."""
    if raw.isActive():
        yield LIVE, network_details(raw.XMLDesc(0))
    yield KEPT, network_details(raw.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE))


def _drop(raw: Any, names: list[DnsName], flag: int) -> None:
    for name in sorted(names):
        raw.update(DELETE, NAMES, -1, to_xml(name.element()), flag)
