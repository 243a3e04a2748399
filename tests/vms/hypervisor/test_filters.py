"""The guests' filter, attacked frame by frame on a real bridge with real ebtables (incidents P-H1 to P-H4)."""

from __future__ import annotations

import ipaddress
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.hosts import Host
from tests.vms.hypervisor import frames
from vms.hypervisor import libvirt_driver
from vms.hypervisor.filters import guest_filter

MINE, THEIRS, HOST = "52:54:00:00:00:0a", "52:54:00:00:00:0b", "52:54:00:00:00:01"
ALL = "ff:ff:ff:ff:ff:ff"
IP, NEIGHBOUR, GATEWAY = "10.93.0.10", "10.93.0.11", "10.93.0.1"
BARRED, INTERNET = "203.0.113.9", "198.51.100.7"
LINK_LOCAL, LINK_LOCAL_2 = "fe80::5054:ff:fe00:a", "fe80::5054:ff:fe00:b"
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(payload: bytes, kind: int, *, src: str = MINE, dst: str = HOST) -> bytes:
    return mac(dst) + mac(src) + struct.pack(">H", kind) + payload.ljust(46, b"\0")


def ports(sport: int, dport: int) -> bytes:
    """The start TCP and UDP share, and enough behind it that no frame needs padding, which a bridge would trim."""
    return struct.pack(">HHHH", sport, dport, 32, 0) + bytes(24)


def ipv4(src: str, dst: str, protocol: int, inner: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(inner), 1, 0, 64, protocol, 0)
    head += ipaddress.IPv4Address(src).packed + ipaddress.IPv4Address(dst).packed
    total = sum(struct.unpack(">10H", head))
    checksum = ~(total % 0xFFFF) & 0xFFFF
    return head[:10] + struct.pack(">H", checksum) + head[12:] + inner


def ipv6(src: str, dst: str, protocol: int, inner: bytes) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(inner), protocol, 255)
    return head + ipaddress.IPv6Address(src).packed + ipaddress.IPv6Address(dst).packed + inner


def arp(opcode: int, sender_mac: str, sender_ip: str, target_ip: str) -> bytes:
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, opcode)
    return (
        head
        + mac(sender_mac)
        + ipaddress.IPv4Address(sender_ip).packed
        + bytes(6)
        + ipaddress.IPv4Address(target_ip).packed
    )


def from_guest(dst: str, protocol: int = UDP, sport: int = 4000, dport: int = 4000, *, src: str = IP) -> bytes:
    return ethernet(ipv4(src, dst, protocol, ports(sport, dport)), 0x0800)


def to_guest(src: str, dst: str, sport: int = 4000, dport: int = 4000) -> bytes:
    return ethernet(ipv4(src, dst, UDP, ports(sport, dport)), 0x0800, src=HOST, dst=MINE)


def icmp6(kind: int, src: str = LINK_LOCAL, dst: str = "ff02::1", *, sender: str = MINE, receiver: str = HOST) -> bytes:
    return ethernet(ipv6(src, dst, ICMPV6, struct.pack(">BBHI", kind, 0, 0, 0)), 0x86DD, src=sender, dst=receiver)


PASS = {
    "a DHCP question": ethernet(ipv4("0.0.0.0", "255.255.255.255", UDP, ports(68, 67)), 0x0800, dst=ALL),
    "a DHCP renewal": from_guest(GATEWAY, UDP, 68, 67),
    "DNS over UDP": from_guest(GATEWAY, UDP, 4000, 53),
    "DNS over TCP": from_guest(GATEWAY, TCP, 4000, 53),
    "ping to the gateway": from_guest(GATEWAY, ICMP, 8 << 8, 0),
    "a neighbour": from_guest(NEIGHBOUR, TCP, 4000, 22),
    "the internet": from_guest(INTERNET, TCP, 4000, 443),
    "an ARP request": ethernet(arp(1, MINE, IP, GATEWAY), 0x0806, dst=ALL),
    "an ARP reply": ethernet(arp(2, MINE, IP, GATEWAY), 0x0806),
    "an ARP probe": ethernet(arp(1, MINE, "0.0.0.0", IP), 0x0806, dst=ALL),
    "a neighbour solicitation": icmp6(135),
    "duplicate address detection": icmp6(135, "::", "ff02::1:ff00:a"),
    "IPv6 to a neighbour": ethernet(ipv6(LINK_LOCAL, LINK_LOCAL_2, TCP, ports(1, 2)), 0x86DD),
}
DROP = {
    "another MAC": ethernet(ipv4(IP, INTERNET, UDP, ports(1, 2)), 0x0800, src=THEIRS),
    "another address": from_guest(INTERNET, src=NEIGHBOUR),
    "an address of another tenant": from_guest(INTERNET, src="10.94.0.5"),
    "the gateway's address": from_guest(NEIGHBOUR, src=GATEWAY),
    "no address": from_guest(NEIGHBOUR, src="0.0.0.0"),
    "ARP with another MAC": ethernet(arp(2, THEIRS, IP, GATEWAY), 0x0806),
    "ARP for the gateway": ethernet(arp(2, MINE, GATEWAY, NEIGHBOUR), 0x0806, dst=ALL),
    "ARP for a neighbour": ethernet(arp(1, MINE, NEIGHBOUR, NEIGHBOUR), 0x0806, dst=ALL),
    "reverse ARP": ethernet(arp(3, MINE, IP, IP), 0x0806, dst=ALL),
    "RARP": ethernet(arp(3, MINE, IP, IP), 0x8035, dst=ALL),
    "a DHCP server's answer": from_guest(NEIGHBOUR, UDP, 67, 68),
    "a DHCP server's broadcast": ethernet(ipv4(IP, "255.255.255.255", UDP, ports(67, 68)), 0x0800, dst=ALL),
    "ssh on the host": from_guest(GATEWAY, TCP, 4000, 22),
    "the portal on the host": from_guest(GATEWAY, TCP, 4000, 8000),
    "libvirt on the host": from_guest(GATEWAY, TCP, 4000, 16509),
    "redis on the host": from_guest(GATEWAY, TCP, 4000, 6379),
    "TFTP on the host": from_guest(GATEWAY, UDP, 4000, 69),
    "DNS from the DHCP port": from_guest(GATEWAY, UDP, 67, 53),
    "a barred address": from_guest(BARRED, TCP, 4000, 443),
    "the loopback": from_guest("127.0.0.1", TCP, 4000, 22),
    "link-local metadata": from_guest("169.254.169.254", TCP, 4000, 80),
    "another tenant's network": from_guest("10.94.0.5", TCP, 4000, 22),
    "the office": from_guest("192.168.1.1", TCP, 4000, 80),
    "172.16/12": from_guest("172.20.0.1", TCP, 4000, 80),
    "carrier NAT": from_guest("100.64.0.1", TCP, 4000, 80),
    "multicast": ethernet(ipv4(IP, "224.0.0.251", UDP, ports(5353, 5353)), 0x0800, dst="01:00:5e:00:00:fb"),
    "a broadcast to everybody": ethernet(ipv4(IP, "255.255.255.255", UDP, ports(1, 2)), 0x0800, dst=ALL),
    "reserved addresses": from_guest("240.0.0.1"),
    "a VLAN tag": ethernet(struct.pack(">HH", 5, 0x0800) + ipv4(IP, INTERNET, UDP, ports(1, 2)), 0x8100),
    "a double VLAN tag": ethernet(struct.pack(">HH", 5, 0x8100) + bytes(20), 0x88A8),
    "PPPoE": ethernet(bytes(20), 0x8863, dst=ALL),
    "LLDP": ethernet(bytes(20), 0x88CC, dst=ALL),
    "MPLS": ethernet(bytes(20), 0x8847),
    "spanning tree": ethernet(b"\x42\x42\x03" + bytes(35), 38, dst="01:80:c2:00:00:00"),
    "an IPv6 router advertisement": icmp6(134),
    "an IPv6 redirect": icmp6(137, dst=LINK_LOCAL_2),
    "a DHCPv6 server's answer": ethernet(ipv6(LINK_LOCAL, LINK_LOCAL_2, UDP, ports(547, 546)), 0x86DD),
    "a global IPv6 source": ethernet(ipv6("2001:db8::1", LINK_LOCAL_2, UDP, ports(1, 2)), 0x86DD),
    "a global IPv6 destination": ethernet(ipv6(LINK_LOCAL, "2001:db8::1", UDP, ports(1, 2)), 0x86DD),
    "IPv6 site multicast": ethernet(ipv6(LINK_LOCAL, "ff05::2", UDP, ports(1, 2)), 0x86DD),
    "UDP from no IPv6 address": ethernet(ipv6("::", "ff02::1", UDP, ports(1, 2)), 0x86DD),
}
PASS_IN = {
    "the gateway's DHCP answer": to_guest(GATEWAY, IP, 67, 68),
    "its DHCP broadcast": to_guest(GATEWAY, "255.255.255.255", 67, 68),
    "an answer from the internet": to_guest(INTERNET, IP),
    "a neighbour's packet": to_guest(NEIGHBOUR, IP),
    "the subnet's broadcast": to_guest(NEIGHBOUR, "10.93.0.255"),
    "a neighbour's ARP": ethernet(arp(1, THEIRS, NEIGHBOUR, IP), 0x0806, src=THEIRS, dst=ALL),
    "a neighbour's solicitation": icmp6(135, LINK_LOCAL_2, LINK_LOCAL, sender=THEIRS, receiver=MINE),
}
DROP_IN = {
    "a rogue DHCP answer": to_guest(NEIGHBOUR, IP, 67, 68),
    "a rogue DHCP broadcast": to_guest(NEIGHBOUR, "255.255.255.255", 67, 68),
    "somebody else's packet": to_guest(INTERNET, NEIGHBOUR),
    "a rogue router advertisement": icmp6(134, LINK_LOCAL_2, sender=THEIRS, receiver=MINE),
    "a global IPv6 packet": ethernet(ipv6("2001:db8::1", LINK_LOCAL, UDP, ports(1, 2)), 0x86DD, src=HOST, dst=MINE),
    "a VLAN tag towards it": ethernet(struct.pack(">HH", 5, 0x0800) + bytes(30), 0x8100, src=HOST, dst=MINE),
}
BRIDGE = """
ip link add frbr type bridge stp_state 0 mcast_snooping 0
for end in g o; do
  ip link add fr$end type veth peer name frp$end
  ip link set frp$end master frbr
  sysctl -qw net.ipv6.conf.fr$end.disable_ipv6=1
  ip link set fr$end up
  ip link set frp$end up
done
ip link set frbr promisc on up"""
BINDING = """
<filterbinding><owner><name>frames</name><uuid>0198a3c2-aaaa-7cc0-b0e1-00000000000f</uuid></owner>
  <portdev name='{port}'/><mac address='{mac}'/>
  <filterref filter='gh-frames'><parameter name='IP' value='{ip}'/></filterref></filterbinding>"""


@dataclass(frozen=True)
class Outcome:
    """The names of what came through, without any filter and with ours."""

    bare: set[str]
    filtered: set[str]


@pytest.fixture(scope="module")
def outcome(lab_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Send everything twice past a card on a bridge of its own."""
    folder = tmp_path_factory.mktemp("frames")
    folder.chmod(0o755)
    binding = folder / "binding.xml"
    binding.write_text(BINDING.format(port="frpg", mac=MINE, ip=IP))
    spec = guest_filter(name="gh-frames", subnet="10.93.0.0/24", gateway=GATEWAY, forbidden=[BARRED])
    hypervisor = libvirt_driver.connect(lab_host.uri)
    hypervisor.ensure_filter(spec)
    lab_host.exec("sh", "-ec", BRIDGE)
    try:
        bare = send(lab_host)
        lab_host.virsh("nwfilter-binding-create", binding)
        yield Outcome(bare, send(lab_host))
        lab_host.virsh("nwfilter-binding-delete", "frpg")
    finally:
        lab_host.exec("sh", "-c", "ip link del frg; ip link del fro; ip link del frbr")
        hypervisor.remove_filter(spec.name)
        hypervisor.close()


def send(host: Host) -> set[str]:
    sides = {"guest": PASS | DROP, "other": PASS_IN | DROP_IN}
    lines = [
        json.dumps({"name": name, "from": side, "frame": frame.hex()})
        for side, cases in sides.items()
        for name, frame in cases.items()
    ]
    ends = ("frg", "fro", "frbr")
    done = host.exec(sys.executable, frames.__file__, *ends, stdin="\n".join(lines), timeout_s=120)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", PASS | PASS_IN)
def test_what_a_guest_needs_passes(outcome: Outcome, name: str):
    assert name in outcome.filtered


@pytest.mark.parametrize("name", DROP | DROP_IN)
def test_what_a_guest_must_not_do_is_dropped(outcome: Outcome, name: str):
    assert name in outcome.bare, "nothing is proven by what never arrives"
    assert name not in outcome.filtered
