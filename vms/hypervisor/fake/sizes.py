"""How large the domains and volumes of a ``FakeHost`` are."""

from __future__ import annotations

from dataclasses import replace

from vms.hypervisor.errors import Refused
from vms.hypervisor.fake.domains import Domains
from vms.hypervisor.fake.host import FakeDomain
from vms.hypervisor.fake.link import ACTIVE
from vms.hypervisor.fake.storage import Storage
from vms.hypervisor.sizes import SLOTS, SeenSize
from vms.hypervisor.xml.domain import DomainSpec


class Sizes(Domains, Storage):
    """The protocol's verbs for sizes; ``FakeDomain.live`` is what a running one has, its ``spec`` that of the next start."""

    def size(self, uuid: str) -> SeenSize:
        with self._host.call("size"):
            return _size(self._get(uuid))

    def add_vcpus(self, uuid: str, vcpus: int) -> None:
        with self._host.call("add_vcpus"):
            domain, now = self._must_run(uuid), _size(self._get(uuid))
            if vcpus <= now.vcpus:
                return
            if not now.can_grow_to(vcpus, now.memory_mib):
                raise Refused(f"domain {uuid} cannot have {vcpus} vCPUs")
            domain.live_spec = replace(_spec(domain), vcpus=vcpus)

    def add_memory(self, uuid: str, memory_mib: int) -> None:
        with self._host.call("add_memory"):
            domain, now = self._must_run(uuid), _size(self._get(uuid))
            if memory_mib <= now.memory_mib:
                return
            if not now.can_grow_to(now.vcpus, memory_mib):
                raise Refused(f"domain {uuid} cannot have {memory_mib} MiB")
            domain.live_spec = replace(_spec(domain), memory_mib=memory_mib)
            domain.modules += 1


def _spec(domain: FakeDomain) -> DomainSpec:
    spec = domain.live_spec if domain.power in ACTIVE else domain.spec
    if spec is None:
        raise Refused(f"domain {domain.uuid} does not belong to this portal")
    return spec


def _size(domain: FakeDomain) -> SeenSize:
    spec = _spec(domain)
    return SeenSize(
        vcpus=spec.vcpus,
        memory_mib=spec.memory_mib,
        vcpus_max=max(spec.vcpus, spec.vcpus_max),
        memory_mib_max=max(spec.memory_mib, spec.memory_mib_max),
        slots_free=SLOTS - domain.modules if spec.memory_mib_max else 0,
    )
