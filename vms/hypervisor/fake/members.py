"""Who is on a ``FakeHost``'s networks."""

from __future__ import annotations

from dataclasses import replace

from vms.hypervisor.errors import Missing, Refused
from vms.hypervisor.fake.networks import Networks, must_be_ours
from vms.hypervisor.members import SeenMembers
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.network import DhcpHost, DnsName, NetworkSpec


class Members(Networks):
    """The protocol's verbs for who is on a network."""

    def members(self, network: str) -> SeenMembers:
        with self._host.call("members"):
            spec = self._spec(network)
            return SeenMembers(frozenset(spec.hosts), frozenset(spec.names))

    def introduce(self, network: str, *, host: DhcpHost, name: str, owner: Owner) -> None:
        with self._host.call("introduce"):
            spec = self._spec(network)
            must_be_ours(spec, network, owner)
            hosts = [each for each in spec.hosts if host.mac != each.mac and host.ip != each.ip]
            names = spec.names
            if name:
                others = [each for each in spec.names if each.ip != host.ip and each.name != name]
                names = tuple(sorted([*others, DnsName(ip=host.ip, name=name)]))
            self._host.networks[network] = replace(spec, hosts=tuple(sorted([*hosts, host])), names=names)

    def forget(self, network: str, ip: str, *, owner: Owner) -> None:
        with self._host.call("forget"):
            if network not in self._host.networks:
                return
            spec = self._spec(network)
            must_be_ours(spec, network, owner)
            names = tuple(each for each in spec.names if each.ip != ip)
            self._host.networks[network] = replace(spec, names=names)

    def _spec(self, network: str) -> NetworkSpec:
        if network not in self._host.networks:
            raise Missing(f"no network {network}")
        spec = self._host.networks[network]
        if spec is None:
            raise Refused(f"network {network} does not belong to this portal")
        return spec
