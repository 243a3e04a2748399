"""A tenant's network on one host: a bridge with dnsmasq behind it, by libvirt's network driver.

Source: https://libvirt.org/formatnetwork.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vms.hypervisor.xml.build import Element, node, to_xml
from vms.hypervisor.xml.metadata import Tag

DNSMASQ = "http://libvirt.org/schemas/network/dnsmasq/1.0"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DhcpHost:
    """One reserved address: the card, its IPv4 address and a host name (RFC 1123 label)."""

    mac: str
    ip: str
    name: str = ""

    def element(self) -> Element:
        return node("host", {"mac": self.mac, "name": self.name or None, "ip": self.ip})


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A network as it should be on a host. ``bridge`` has at most 15 characters; ``gateway`` is the host's own address.

    ``mode`` ``nat`` lets guests out through the host, ``isolated`` keeps them among themselves. DHCP gives
    ``dhcp_start``–``dhcp_end`` to anybody, or only the reserved ``hosts`` where both are empty.
    """

    name: str
    tag: Tag
    bridge: str
    gateway: str
    prefix: int
    mode: Literal["nat", "isolated"] = "nat"
    dhcp_start: str = ""
    dhcp_end: str = ""
    hosts: tuple[DhcpHost, ...] = ()
    domain: str = ""
    mtu: int | None = None

    def element(self, *, uuid: str | None = None, mac: str | None = None) -> Element:
        """``uuid`` and ``mac`` (of the bridge) keep the identity of a network that is defined again."""
        # dnsmasq pings an address for three seconds before it offers it; ours are reserved in the database.
        no_ping = node(f"{{{DNSMASQ}}}option", {"value": "no-ping"}, nsmap={"dnsmasq": DNSMASQ})
        return node(
            "network",
            None,
            node("name", None, self.name),
            node("uuid", None, uuid) if uuid else None,
            self.tag.element(),
            node("forward", {"mode": "nat"}) if self.mode == "nat" else None,
            node("bridge", {"name": self.bridge, "stp": "on", "delay": 0}),
            node("mtu", {"size": self.mtu}) if self.mtu else None,
            node("mac", {"address": mac}) if mac else None,
            node("domain", {"name": self.domain, "localOnly": True}) if self.domain else None,
            node("ip", {"family": "ipv4", "address": self.gateway, "prefix": self.prefix}, self._dhcp()),
            node(f"{{{DNSMASQ}}}options", None, no_ping, nsmap={"dnsmasq": DNSMASQ}),
        )

    def xml(self, *, uuid: str | None = None, mac: str | None = None) -> str:
        return to_xml(self.element(uuid=uuid, mac=mac))

    def _dhcp(self) -> Element:
        range_ = node("range", {"start": self.dhcp_start, "end": self.dhcp_end}) if self.dhcp_start else None
        return node("dhcp", None, range_, *(host.element() for host in sorted(self.hosts)))
