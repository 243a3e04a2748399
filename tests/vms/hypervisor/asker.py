"""A machine that asks its network who it is and who others are; run as root.

``python -m tests.vms.hypervisor.asker NAME MAC GATEWAY WORD…`` in the namespace ``wire-NAME`` with a card ``eth0``: asks DHCP,
and the name server at GATEWAY for each WORD. Prints a JSON object: ``ip``, the DHCP options by number in hexadecimal, and for
each word its address or an empty text.
"""

from __future__ import annotations

import json
import socket
import struct
import sys

from tests.vms.hypervisor.frames import listener
from tests.vms.hypervisor.talkers import enter
from tests.vms.hypervisor.test_filters import ALL, UDP, ethernet, ipv4, mac

_TRANSACTION = 0x67687368
_TRIES = 5


def main(name: str, address: str, gateway: str, *words: str) -> None:
    enter(name)
    ip, options = offered(address)
    print(json.dumps({"ip": ip, "options": options, "names": {word: looked_up(gateway, word) for word in words}}))


def offered(address: str) -> tuple[str, dict[str, str]]:
    """What DHCP offers (RFC 2131); empty where nobody does."""
    head = struct.pack(">BBBBIHH", 1, 1, 6, 0, _TRANSACTION, 0, 0x8000) + bytes(16)
    asked = bytes([1, 3, 6, 15, 26, 121, 51, 54])
    body = head + mac(address).ljust(16, b"\0") + bytes(192) + b"\x63\x82\x53\x63"
    body += bytes([53, 1, 1, 55, len(asked)]) + asked + b"\xff"
    datagram = struct.pack(">HHHH", 68, 67, 8 + len(body), 0) + body
    line = listener("eth0")
    line.settimeout(1)
    for _try in range(_TRIES):
        line.send(ethernet(ipv4("0.0.0.0", "255.255.255.255", UDP, datagram), 0x0800, src=address, dst=ALL))
        try:
            while True:
                frame = line.recv(2048)
                if frame[12:14] == b"\x08\x00" and frame[23] == UDP and frame[34:38] == struct.pack(">HH", 67, 68):
                    return read(frame[42:])
        except TimeoutError:
            continue
    return "", {}


def read(reply: bytes) -> tuple[str, dict[str, str]]:
    options, rest = {}, reply[240:]
    while rest and rest[0] != 0xFF:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        options[str(rest[0])] = rest[2 : 2 + rest[1]].hex()
        rest = rest[2 + rest[1] :]
    return socket.inet_ntoa(reply[16:20]), options


def looked_up(server: str, word: str) -> str:
    """The address that a name has (RFC 1035); empty where nobody says."""
    name = b"".join(bytes([len(part)]) + part.encode() for part in word.split(".")) + b"\0"
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.settimeout(1)
    for _try in range(_TRIES):
        line.sendto(struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1), (server, 53))
        try:
            said = line.recv(512)
        except TimeoutError:
            continue
        return socket.inet_ntoa(said[-4:]) if struct.unpack(">H", said[6:8])[0] else ""
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
