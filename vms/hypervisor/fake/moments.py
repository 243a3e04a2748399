"""Machines of a ``FakeHost`` that no definition is kept of."""

from __future__ import annotations

from vms.hypervisor import allowlist
from vms.hypervisor.driver import Roots
from vms.hypervisor.errors import Refused
from vms.hypervisor.fake.domains import Domains, must_be_ours
from vms.hypervisor.fake.host import FakeDomain
from vms.hypervisor.xml.domain import DomainSpec
from vms.states import Power


class Moments(Domains):
    """The protocol's verbs for machines that live for a moment; a test ends a connection by ``FakeHost.forget_moments``."""

    def start_once(self, spec: DomainSpec, *, roots: Roots) -> None:
        with self._host.call("start_once"):
            try:
                allowlist.check_domain(spec.element(), roots=roots)
            except ValueError as error:
                raise Refused(f"start {spec.uuid} once: {error}") from error
            standing = self._host.domains.get(spec.uuid)
            if standing is not None:
                must_be_ours(standing, spec.tag.owner)
                if not standing.fleeting:
                    raise Refused(f"domain {spec.uuid} is defined: it is not there for a moment")
                return
            if any(other.name == spec.name for other in self._host.domains.values()):
                raise Refused(f"the name {spec.name} belongs to another domain")
            domain = FakeDomain(spec.uuid, spec.name, spec, fleeting=True)
            self._must_be_whole(domain)
            self._host.domains[spec.uuid] = domain
            domain.boot()
            self._power_firmware(domain)
            self._turn(domain, Power.RUNNING, "", told="booted")
