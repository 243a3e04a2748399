"""Machines that no definition is kept of: libvirt calls them transient, and takes them away with our connection."""

from __future__ import annotations

import libvirt

from vms.hypervisor import allowlist
from vms.hypervisor.driver import Roots
from vms.hypervisor.errors import Refused
from vms.hypervisor.libvirt_driver.domains import Domains
from vms.hypervisor.libvirt_driver.translate import translated
from vms.hypervisor.xml.domain import DomainSpec


class Moments(Domains):
    """The part of the driver that starts a machine once."""

    def start_once(self, spec: DomainSpec, *, roots: Roots) -> None:
        try:
            allowlist.check_domain(spec.element(), roots=roots)
        except ValueError as error:
            raise Refused(f"start {spec.uuid} once: {error}") from error
        with translated(f"start domain {spec.uuid} once"):
            self._refuse_taken(spec)
            standing = self._find(spec.uuid)
            if standing is not None and standing.isPersistent():
                raise Refused(f"domain {spec.uuid} is defined: it is not there for a moment")
            if standing is None:
                self.raw.createXML(spec.xml(), libvirt.VIR_DOMAIN_START_AUTODESTROY | libvirt.VIR_DOMAIN_START_VALIDATE)
