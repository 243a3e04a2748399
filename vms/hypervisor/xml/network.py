"""A tenant's network on one host: a bridge with dnsmasq behind it, by libvirt's network driver.

Source: https://libvirt.org/formatnetwork.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from vms.hypervisor.xml.build import Element, node, to_xml
from vms.hypervisor.xml.metadata import Tag

DNSMASQ = "http://libvirt.org/schemas/network/dnsmasq/1.0"
FURTHER: Final = "52:56"
"""How the MAC of a card begins that is not its machine's first."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DhcpHost:
    """One reserved address: the card, its IPv4 address and a host name (RFC 1123 label)."""

    mac: str
    ip: str
    name: str = ""

    def element(self) -> Element:
        return node("host", {"mac": self.mac, "name": self.name or None, "ip": self.ip})


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DnsName:
    """A name (RFC 1123 label) that the network's resolver answers with an address; its domain is added there."""

    ip: str
    name: str

    def element(self) -> Element:
        return node("host", {"ip": self.ip}, node("hostname", None, self.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A network as it should be on a host. ``bridge`` has at most 15 characters; ``gateway`` is the host's own address.

    ``mode`` ``nat`` lets guests out through the host, ``isolated`` keeps them among themselves. DHCP gives
    ``dhcp_start``–``dhcp_end`` to anybody, or only the reserved ``hosts`` where both are empty. ``dns`` are servers that it tells
    instead of itself, ``routes`` pairs of a range and the address that leads there. A card whose MAC begins with ``FURTHER``
    is not its machine's first: it gets no default route.
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
    names: tuple[DnsName, ...] = ()
    dns: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()

    def element(self, *, uuid: str | None = None, mac: str | None = None) -> Element:
        """``uuid`` and ``mac`` (of the bridge) keep the identity of a network that is defined again."""
        options = [
            node(f"{{{DNSMASQ}}}option", {"value": each}, nsmap={"dnsmasq": DNSMASQ}) for each in self._options()
        ]
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
            node("dns", None, *(name.element() for name in sorted(self.names))) if self.names else None,
            node("ip", {"family": "ipv4", "address": self.gateway, "prefix": self.prefix}, self._dhcp()),
            node(f"{{{DNSMASQ}}}options", None, *options, nsmap={"dnsmasq": DNSMASQ}),
        )

    def xml(self, *, uuid: str | None = None, mac: str | None = None) -> str:
        return to_xml(self.element(uuid=uuid, mac=mac))

    def _options(self) -> list[str]:
        """What dnsmasq is told beside libvirt's words (dnsmasq(8)).

        It pings an address for three seconds before it offers it; ours are reserved in the database. Names come from the portal
        alone, not from whoever asks for an address. Who hears of routes listens to no router beside them (RFC 3442).
        """
        options = [
            "no-ping",
            "dhcp-ignore-names",
            f"dhcp-mac=set:further,{FURTHER}:*:*:*:*",
            "dhcp-option=tag:further,3",
        ]
        if self.dns:
            options.append("dhcp-option=6," + ",".join(self.dns))
        if self.mtu:
            options.append(f"dhcp-option=26,{self.mtu}")
        if self.routes:
            routes = ",".join(f"{to},{via}" for to, via in self.routes)
            options.append(f"dhcp-option=tag:further,121,{routes}")
            options.append(f"dhcp-option=tag:!further,121,0.0.0.0/0,{self.gateway},{routes}")
        return options

    def _dhcp(self) -> Element:
        range_ = node("range", {"start": self.dhcp_start, "end": self.dhcp_end}) if self.dhcp_start else None
        return node("dhcp", None, range_, *(host.element() for host in sorted(self.hosts)))
