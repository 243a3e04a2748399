"""How large domains and volumes are, and making them larger while they run.

Source: https://libvirt.org/formatdomain.html#memory-devices
"""

from __future__ import annotations

import libvirt

from vms.hypervisor.errors import Refused
from vms.hypervisor.libvirt_driver.domains import Domains
from vms.hypervisor.libvirt_driver.storage import Storage
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.sizes import SeenSize
from vms.hypervisor.xml.build import to_xml
from vms.hypervisor.xml.devices import Dimm
from vms.hypervisor.xml.parse import root_of, size_of


class Sizes(Domains, Storage):
    """The part of the driver that makes things larger."""

    def size(self, uuid: str) -> SeenSize:
        with translated(f"look at the size of {uuid}"):
            return size_of(root_of(self._get(uuid).XMLDesc(0)))

    def add_vcpus(self, uuid: str, vcpus: int) -> None:
        with translated(f"add vCPUs to {uuid}"):
            now = self.size(uuid)
            if vcpus <= now.vcpus:
                return
            if not now.can_grow_to(vcpus, now.memory_mib):
                raise Refused(f"domain {uuid} cannot have {vcpus} vCPUs: {now}")
            self._get(uuid).setVcpusFlags(vcpus, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def add_memory(self, uuid: str, memory_mib: int) -> None:
        with translated(f"add memory to {uuid}"):
            now = self.size(uuid)
            if memory_mib <= now.memory_mib:
                return
            if not now.can_grow_to(now.vcpus, memory_mib):
                raise Refused(f"domain {uuid} cannot have {memory_mib} MiB: {now}")
            module = Dimm(size_mib=memory_mib - now.memory_mib)
            self._get(uuid).attachDeviceFlags(to_xml(module.element()), libvirt.VIR_DOMAIN_AFFECT_LIVE)
