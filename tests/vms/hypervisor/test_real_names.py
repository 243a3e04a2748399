"""What a real network tells machines by DHCP, and what its resolver answers: asked from inside its host."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from vms.hypervisor import libvirt_driver
from vms.hypervisor.driver import Hypervisor, Owner
from vms.hypervisor.xml.metadata import Tag
from vms.hypervisor.xml.network import DhcpHost, NetworkSpec

OWNER = Owner("named", 1)
NET, BRIDGE, GATEWAY = "gh-named", "ghnamed0", "10.97.0.1"
FIRST = DhcpHost(mac="52:54:0a:61:00:0a", ip="10.97.0.10")
FURTHER = DhcpHost(mac="52:56:0a:61:00:0b", ip="10.97.0.11")
MASK, ROUTER, DNS, DOMAIN, MTU, ROUTES = "1", "3", "6", "15", "26", "121"

ASK_NAME = r"""
import socket, struct, sys
server, name = sys.argv[1:]
question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + bytes([0, 0, 1, 0, 1])
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.settimeout(5)
asked.sendto(struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + question, (server, 53))
answer = asked.recv(512)
found = struct.unpack(">H", answer[6:8])[0]
print(socket.inet_ntoa(answer[-4:]) if found else "")
"""
ASK_ADDRESS = r"""
import json, socket, struct, subprocess, sys
bridge, mac = sys.argv[1:]
card = bytes.fromhex(mac.replace(":", ""))
subprocess.run(["ip", "link", "add", "ghask0", "address", mac, "type", "veth", "peer", "name", "ghask1"], check=True)
try:
    subprocess.run(["ip", "link", "set", "ghask1", "master", bridge, "up"], check=True)
    subprocess.run(["ip", "link", "set", "ghask0", "up"], check=True)
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    line.bind(("ghask0", 0))
    line.settimeout(2)
    wanted = bytes([53, 1, 1, 55, 7, 1, 3, 6, 15, 26, 121, 54, 255])
    boot = struct.pack(">4BIHH16s", 1, 1, 6, 0, 7, 0, 0x8000, bytes(16)) + card + bytes(10 + 192) + bytes.fromhex("63825363")
    boot += wanted
    udp = struct.pack(">4H", 68, 67, 8 + len(boot), 0) + boot
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:]
    frame = b"\xff" * 6 + card + b"\x08\x00" + head + udp
    offer = b""
    for attempt in range(30):
        line.send(frame)
        try:
            while not offer:
                got = line.recv(2000)
                if got[23] == 17 and got[34:38] == struct.pack(">HH", 67, 68):
                    offer = got[42:]
        except TimeoutError:
            continue
        break
    told, rest = {"ip": socket.inet_ntoa(offer[16:20])}, offer[240:]
    while rest and rest[0] != 255:
        told[str(rest[0])] = rest[2 : 2 + rest[1]].hex()
        rest = rest[2 + rest[1] :]
    print(json.dumps(told))
finally:
    subprocess.run(["ip", "link", "del", "ghask0"], check=True)
"""


@pytest.fixture(scope="module")
def network(lab_host: Host) -> Iterator[Hypervisor]:
    hv = libvirt_driver.connect(lab_host.uri)
    hv.ensure_network(
        NetworkSpec(
            name=NET,
            tag=Tag(owner=OWNER, subject="n"),
            bridge=BRIDGE,
            gateway=GATEWAY,
            prefix=24,
            hosts=(FIRST, FURTHER),
            domain="lan.internal",
            mtu=1400,
            routes=(("9.9.9.0/24", GATEWAY),),
        )
    )
    yield hv
    hv.remove_network(NET, owner=OWNER)
    hv.close()


def resolves(host: Host, name: str) -> str:
    return host.exec(sys.executable, "-c", ASK_NAME, GATEWAY, name).stdout.strip()


def offered(host: Host, card: DhcpHost) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(host.exec(sys.executable, "-c", ASK_ADDRESS, BRIDGE, card.mac).stdout)
    return told


def packed(ip: str) -> str:
    return IPv4Address(ip).packed.hex()


def test_machines_find_each_other_by_name_and_a_new_name_holds_at_once(lab_host: Host, network: Hypervisor) -> None:
    network.introduce(NET, host=FIRST, name="web", owner=OWNER)
    wait_until(lambda: resolves(lab_host, "web.lan.internal") == FIRST.ip, timeout_s=60, what="its name")
    assert resolves(lab_host, "web") == FIRST.ip

    network.introduce(NET, host=FIRST, name="db", owner=OWNER)
    wait_until(lambda: resolves(lab_host, "db.lan.internal") == FIRST.ip, timeout_s=60, what="its new name")
    assert resolves(lab_host, "web.lan.internal") == ""

    network.forget(NET, FIRST.ip, owner=OWNER)
    wait_until(lambda: resolves(lab_host, "db.lan.internal") == "", timeout_s=60, what="that it is forgotten")


def test_a_first_card_is_told_the_way_out_and_a_further_one_is_not(lab_host: Host, network: Hypervisor) -> None:
    first, further = offered(lab_host, FIRST), offered(lab_host, FURTHER)

    assert (first["ip"], first[ROUTER]) == (FIRST.ip, packed(GATEWAY))
    assert first[ROUTES] == "00" + packed(GATEWAY) + "18090909" + packed(GATEWAY)
    assert (further["ip"], further.get(ROUTER, "")) == (FURTHER.ip, "")
    assert further[ROUTES] == "18090909" + packed(GATEWAY)
    for told in (first, further):
        assert (told[DNS], told[MTU], told[MASK]) == (packed(GATEWAY), "0578", "ffffff00")
        assert bytes.fromhex(told[DOMAIN]).decode() == "lan.internal"
