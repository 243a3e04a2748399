"""Networks of ours and the packet filters on their guests' cards."""

from __future__ import annotations

from typing import Any

import libvirt

from vms.hypervisor.driver import Lease, SeenNetwork
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.libvirt_driver.link import Link, must_be_ours
from vms.hypervisor.libvirt_driver.translate import is_missing, translated
from vms.hypervisor.xml.build import to_xml
from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.network import DhcpHost, NetworkSpec
from vms.hypervisor.xml.nwfilter import FilterSpec, spec_of
from vms.hypervisor.xml.parse import NetworkDetails, network_details, network_shape, root_of


class Networks(Link):
    """The part of the driver that speaks of networks and filters."""

    def networks(self) -> tuple[SeenNetwork, ...]:
        with translated("list networks"):
            return tuple(_seen(raw) for raw in self.raw.listAllNetworks(0))

    def networks_running(self) -> tuple[str, ...]:
        with translated("list running networks"):
            return tuple(sorted(self.raw.listNetworks()))

    def ensure_network(self, spec: NetworkSpec) -> SeenNetwork:
        """See the protocol. ``Busy`` where it must change in a way that needs a restart while guests are plugged in."""
        with translated(f"ensure network {spec.name}"):
            raw = self._find_network(spec.name)
            if raw is None:
                raw = self.raw.networkDefineXML(_xml(spec))
            else:
                standing = _details(raw, libvirt.VIR_NETWORK_XML_INACTIVE)
                must_be_ours(standing.tag, spec.tag.owner, f"network {spec.name}")
                if standing.shape != network_shape(spec.element()) or standing.tag != spec.tag:
                    raw = self._redefine(raw, standing, spec)
                else:
                    _bring_hosts(raw, standing.hosts, spec, libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG)
            if not raw.isActive():
                raw.create()
            else:
                _bring_hosts(raw, _details(raw, 0).hosts, spec, libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE)
            if not raw.autostart():
                raw.setAutostart(1)
            return _seen(raw)

    def remove_network(self, name: str, *, owner: Owner) -> None:
        with translated(f"remove network {name}"):
            raw = self._find_network(name)
            if raw is None:
                return
            must_be_ours(_details(raw, 0).tag, owner, f"network {name}")
            if raw.isActive():
                raw.destroy()
            if raw.isPersistent():
                raw.undefine()

    def leases(self, name: str) -> tuple[Lease, ...]:
        with translated(f"read the leases of {name}"):
            raw = self._find_network(name)
            if raw is None:
                raise Missing(f"no network {name}")
            if not raw.isActive():
                return ()
            return tuple(
                Lease(mac=each.get("mac") or "", ip=each.get("ipaddr") or "", hostname=each.get("hostname") or "")
                for each in raw.DHCPLeases()
            )

    # --- filters ------------------------------------------------------------------------------------------------
    def filters(self) -> tuple[str, ...]:
        with translated("list filters"):
            return tuple(sorted(raw.name() for raw in self.raw.listAllNWFilters(0)))

    def filter(self, name: str) -> FilterSpec | None:
        """See the protocol. ``Refused`` for one that holds what none of ours does."""
        with translated(f"read filter {name}"):
            raw = self._find_filter(name)
            if raw is None:
                return None
            try:
                return spec_of(root_of(raw.XMLDesc(0)))
            except ValueError as error:
                raise Refused(f"filter {name}: {error}") from error

    def ensure_filter(self, spec: FilterSpec) -> None:
        """See the protocol. libvirt compares, and rewrites the rules of running guests only where something changed."""
        with translated(f"ensure filter {spec.name}"):
            raw = self._find_filter(spec.name)
            try:
                xml = spec.xml(uuid=raw.UUIDString() if raw is not None else None)
            except ValueError as error:
                raise Refused(f"filter {spec.name}: {error}") from error
            self.raw.nwfilterDefineXML(xml)

    def remove_filter(self, name: str) -> None:
        with translated(f"remove filter {name}"):
            raw = self._find_filter(name)
            if raw is None:
                return
            try:
                raw.undefine()
            except libvirt.libvirtError as error:
                if "is in use" not in (error.get_error_message() or ""):
                    raise
                raise Refused(f"filter {name} is in use") from error

    # --- helpers ------------------------------------------------------------------------------------------------
    def _find_network(self, name: str) -> Any | None:
        try:
            return self.raw.networkLookupByName(name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def _find_filter(self, name: str) -> Any | None:
        try:
            return self.raw.nwfilterLookupByName(name)
        except libvirt.libvirtError as error:
            if is_missing(error):
                return None
            raise

    def _redefine(self, raw: Any, standing: NetworkDetails, spec: NetworkSpec) -> Any:
        """Define anew under the same identity, and restart where the running one would otherwise stay as it was."""
        live = _details(raw, 0) if raw.isActive() else None
        restart = live is not None and live.shape != network_shape(spec.element())
        if restart and raw.listAllPorts():
            raise Busy(f"network {spec.name} must be restarted to change, and guests are plugged in")
        raw = self.raw.networkDefineXML(_xml(spec, uuid=standing.uuid, mac=standing.mac or None))
        if restart:
            raw.destroy()
        return raw


def _xml(spec: NetworkSpec, *, uuid: str | None = None, mac: str | None = None) -> str:
    try:
        return spec.xml(uuid=uuid, mac=mac)
    except ValueError as error:
        raise Refused(f"network {spec.name}: {error}") from error


def _details(raw: Any, flags: int) -> NetworkDetails:
    return network_details(raw.XMLDesc(flags))


def _seen(raw: Any) -> SeenNetwork:
    details = _details(raw, 0)
    return SeenNetwork(
        name=details.name,
        bridge=details.bridge,
        active=bool(raw.isActive()),
        owner=details.tag.owner if details.tag else None,
        network=details.tag.subject if details.tag else "",
    )


def _bring_hosts(raw: Any, standing: frozenset[DhcpHost], spec: NetworkSpec, flags: int) -> None:
    """Make the reserved addresses those of ``spec``, one update each: an address given up is free for the next.

    libvirt takes a live network's firewall rules down and up again for every one (some 0.4 s): pass addresses ahead.
    """
    wanted = {host.mac: host for host in spec.hosts}
    before = {host.mac: host for host in standing}
    section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
    gone = [host for mac, host in before.items() if mac not in wanted]
    moved = [host for mac, host in wanted.items() if mac in before and before[mac] != host]
    new = [host for mac, host in wanted.items() if mac not in before]
    for command, hosts in (
        (libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, gone),
        (libvirt.VIR_NETWORK_UPDATE_COMMAND_MODIFY, moved),
        (libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, new),
    ):
        for host in sorted(hosts):
            raw.update(command, section, -1, to_xml(host.element()), flags)
