"""Networks and filters of a ``FakeHost``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vms.hypervisor.driver import Lease, SeenNetwork
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.fake.host import filters_under
from vms.hypervisor.fake.link import ACTIVE, Link
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.network import NetworkSpec
from vms.hypervisor.xml.nwfilter import FilterSpec
from vms.hypervisor.xml.parse import network_shape


class Networks(Link):
    """The protocol's verbs for networks, their leases and filters."""

    def networks(self) -> tuple[SeenNetwork, ...]:
        with self._host.call("networks"):
            return tuple(_seen(name, spec) for name, spec in self._host.networks.items())

    def networks_running(self) -> tuple[str, ...]:
        with self._host.call("networks_running"):
            return tuple(sorted(self._host.networks))

    def ensure_network(self, spec: NetworkSpec) -> SeenNetwork:
        with self._host.call("ensure_network"):
            _checked_xml(spec.xml)
            if spec.name in self._host.networks:
                standing = self._host.networks[spec.name]
                must_be_ours(standing, spec.name, spec.tag.owner)
                if standing and network_shape(standing.element()) != network_shape(spec.element()):
                    self._must_be_unplugged(spec.name)
                if standing and network_shape(standing.element()) == network_shape(spec.element()):
                    spec = replace(spec, names=standing.names)
            self._host.networks[spec.name] = spec
            return _seen(spec.name, spec)

    def remove_network(self, name: str, *, owner: Owner) -> None:
        with self._host.call("remove_network"):
            if name in self._host.networks:
                must_be_ours(self._host.networks[name], name, owner)
                del self._host.networks[name]

    def leases(self, name: str) -> tuple[Lease, ...]:
        with self._host.call("leases"):
            if name not in self._host.networks:
                raise Missing(f"no network {name}")
            return self._host.leases.get(name, ())

    def filters(self) -> tuple[str, ...]:
        with self._host.call("filters"):
            return tuple(sorted(self._host.filters))

    def filter(self, name: str) -> FilterSpec | None:
        with self._host.call("filter"):
            return self._host.filters.get(name)

    def ensure_filter(self, spec: FilterSpec) -> None:
        with self._host.call("ensure_filter"):
            _checked_xml(spec.xml)
            self._host.filters[spec.name] = spec

    def remove_filter(self, name: str) -> None:
        with self._host.call("remove_filter"):
            used = {
                each
                for domain in self._host.domains.values()
                if domain.power in ACTIVE
                for each in filters_under(self._host, domain)
            }
            if name in self._host.filters and name in used:
                raise Refused(f"filter {name} is in use")
            self._host.filters.pop(name, None)

    def _must_be_unplugged(self, network: str) -> None:
        for domain in self._host.domains.values():
            if domain.power in ACTIVE and domain.spec and any(nic.network == network for nic in domain.spec.nics):
                raise Busy(f"network {network} must be restarted to change, and guests are plugged in")


def must_be_ours(spec: NetworkSpec | None, name: str, owner: Owner) -> None:
    """Raise ``Refused`` for a network of somebody else's."""
    if spec is None or spec.tag.owner != owner:
        raise Refused(f"network {name} does not belong to this portal")


def _seen(name: str, spec: NetworkSpec | None) -> SeenNetwork:
    if spec is None:
        return SeenNetwork(name, "virbr0", active=True)
    return SeenNetwork(name, spec.bridge, active=True, owner=spec.tag.owner, network=spec.tag.subject)


def _checked_xml(write: Callable[[], str]) -> None:
    try:
        write()
    except ValueError as error:
        raise Refused(str(error)) from error
