"""Read libvirt's XML; what a guest can influence is in there, so entities, DTDs and the network stay shut."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from portal.core.units import GIB, MIB
from vms.hypervisor.cards import SeenCard
from vms.hypervisor.disks import SeenDisk
from vms.hypervisor.sizes import SeenSize
from vms.hypervisor.xml.build import Element
from vms.hypervisor.xml.metadata import NAMESPACE, Owner, Tag
from vms.hypervisor.xml.network import DNSMASQ, DhcpHost, DnsName

_BYTES = {"b": 1, "bytes": 1, "KiB": 1024, "k": 1024, "MiB": MIB, "GiB": GIB}


class BadXml(ValueError):
    """Not well-formed, or with a document type, which no XML of libvirt has."""


def root_of(xml: str) -> Element:
    """The root element of ``xml``; raises ``BadXml``."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(xml, parser)
    except etree.XMLSyntaxError as error:
        raise BadXml("not well-formed") from error
    if root.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # the stubs leave it out
        raise BadXml("a document type is not welcome")
    return root


@dataclass(frozen=True, slots=True)
class DomainDetails:
    """What the portal reads of a domain's XML; ``tag`` is None when it is not ours or not readable."""

    uuid: str
    name: str
    tag: Tag | None
    vnc_socket: str
    serial_socket: str


@dataclass(frozen=True, slots=True)
class NetworkDetails:
    """A network's XML without its DHCP hosts and names (``shape``), and those beside it."""

    uuid: str
    name: str
    bridge: str
    mac: str
    tag: Tag | None
    shape: tuple[str, ...]
    hosts: frozenset[DhcpHost]
    names: frozenset[DnsName]


def tag_of(root: Element) -> Tag | None:
    """Our element in ``<metadata>``, or None: absent, or not as we write it."""
    found = root.find(f"metadata/{{{NAMESPACE}}}owner")
    if found is None:
        return None
    try:
        return Tag(
            owner=Owner(found.get("installation", ""), int(found.get("epoch", ""))),
            subject=found.get("subject", ""),
            tenant=found.get("tenant", ""),
            generation=int(found.get("generation", "")),
        )
    except ValueError:
        return None


def domain_details(xml: str) -> DomainDetails:
    root = root_of(xml)
    return DomainDetails(
        uuid=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        tag=tag_of(root),
        vnc_socket=_attribute(root, "devices/graphics[@type='vnc']/listen[@type='socket']", "socket"),
        serial_socket=_attribute(root, "devices/serial[@type='unix']/source", "path"),
    )


def disks_of(root: Element) -> tuple[SeenDisk, ...]:
    """The disks of a domain that have something in them, in its order."""
    return tuple(
        SeenDisk(
            path=source_of(source),
            target=_attribute(disk, "target", "dev"),
            bytes_per_s=int(disk.findtext("iotune/total_bytes_sec") or 0),
            iops=int(disk.findtext("iotune/total_iops_sec") or 0),
            boot_order=int(_attribute(disk, "boot", "order") or 0),
            is_open=_attribute(disk, "target", "tray") == "open",
        )
        for disk in root.findall("devices/disk")
        if (source := disk.find("source")) is not None and source_of(source)
    )


def cards_of(root: Element) -> tuple[SeenCard, ...]:
    """The network cards of a domain, in its order."""
    return tuple(
        SeenCard(
            mac=_attribute(card, "mac", "address"),
            network=_attribute(card, "source", "network"),
            filter=_attribute(card, "filterref", "filter"),
            ip=_attribute(card, "filterref/parameter[@name='IP']", "value"),
            link_up=_attribute(card, "link", "state") != "down",
            limits=limits_of(card),
            port=_attribute(card, "virtualport/parameters", "interfaceid"),
        )
        for card in root.findall("devices/interface")
    )


def card_devices(root: Element) -> dict[str, str]:
    """The MAC of each network card of a running domain, by its device on the host."""
    cards = root.findall("devices/interface")
    return {_attribute(card, "target", "dev"): _attribute(card, "mac", "address") for card in cards}


def limits_of(card: Element) -> tuple[int, int]:
    """The limits of a network card, to the guest and from it, in KiB a second; 0 is none."""
    inbound, outbound = (_attribute(card, f"bandwidth/{way}", "average") for way in ("inbound", "outbound"))
    return int(inbound or 0), int(outbound or 0)


def source_of(source: Element) -> str:
    """Where a disk's bytes lie: a file, a block device, or ``pool/image`` of a Ceph cluster."""
    return source.get("file") or source.get("dev") or source.get("name") or ""


def size_of(root: Element) -> SeenSize:
    """How large a domain is: vCPUs, memory with its plugged modules, and how far both can grow."""
    vcpu = root.find("vcpu")
    most = int(root.findtext("vcpu") or 0)
    now = most if vcpu is None else int(vcpu.get("current") or most)
    memory_mib, slots = _mib(root.find("memory")), _attribute(root, "maxMemory", "slots")
    return SeenSize(
        vcpus=now,
        memory_mib=memory_mib,
        vcpus_max=most,
        memory_mib_max=_mib(root.find("maxMemory")) or memory_mib,
        slots_free=int(slots or 0) - len(root.findall("devices/memory")),
    )


def _mib(element: Element | None) -> int:
    """A size of libvirt's in MiB, whatever its unit; libvirt itself writes KiB."""
    if element is None:
        return 0
    return int(element.text or 0) * _BYTES[element.get("unit", "KiB")] // MIB


def network_details(xml: str) -> NetworkDetails:
    root = root_of(xml)
    return NetworkDetails(
        uuid=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        bridge=_attribute(root, "bridge", "name"),
        mac=_attribute(root, "mac", "address"),
        tag=tag_of(root),
        shape=network_shape(root),
        hosts=frozenset(
            DhcpHost(mac=host.get("mac", ""), ip=host.get("ip", ""), name=host.get("name", ""))
            for host in root.findall("ip/dhcp/host")
        ),
        names=frozenset(
            DnsName(ip=host.get("ip", ""), name=name.text or "")
            for host in root.findall("dns/host")
            for name in host.findall("hostname")
        ),
    )


def network_shape(root: Element) -> tuple[str, ...]:
    """Everything of a network that cannot change while it runs, comparable between what we write and what is there."""
    ip = [f"{each.get('address')}/{each.get('prefix')}" for each in root.findall("ip")]
    ranges = [f"{each.get('start')}-{each.get('end')}" for each in root.findall("ip/dhcp/range")]
    options = [str(each.get("value")) for each in root.findall(f"{{{DNSMASQ}}}options/{{{DNSMASQ}}}option")]
    return (
        _attribute(root, "forward", "mode"),
        _attribute(root, "bridge", "name"),
        _attribute(root, "mtu", "size"),
        _attribute(root, "domain", "name"),
        *sorted(ip),
        *sorted(ranges),
        *options,
    )


def _attribute(root: Element, path: str, name: str) -> str:
    found = root.find(path)
    return "" if found is None else str(found.get(name, ""))
