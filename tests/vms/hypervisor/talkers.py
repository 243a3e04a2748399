"""Machines that call each other, each in a network namespace ``wire-NAME`` of its own; run inside a lab host, as root.

``python talkers.py CARDS PORTS``: CARDS maps names to IPv4 addresses. Everybody listens at each TCP and UDP port, and calls
everybody else at each, and pings. Prints a JSON object: ``"a b tcp 22"`` → was there an answer? (``icmp 0`` for pings.)
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
from pathlib import Path

_WAIT_S = 1.0


def enter(name: str) -> None:
    """Sockets made from here on belong to that machine."""
    with Path(f"/run/netns/wire-{name}").open() as file:
        os.setns(file.fileno(), os.CLONE_NEWNET)


def main(cards: dict[str, str], ports: list[int]) -> None:
    ears = [ear for name, ip in cards.items() for ear in listen(name, ip, ports)]
    calls: dict[socket.socket, str] = {}
    for caller in cards:
        enter(caller)
        for called, ip in cards.items():
            if called != caller:
                calls |= call(caller, called, ip, ports)
    print(json.dumps(answered(calls, ears)))


def listen(name: str, ip: str, ports: list[int]) -> list[socket.socket]:
    enter(name)
    ears = []
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            ear = socket.socket(socket.AF_INET, kind)
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ear.bind((ip, port))
            if kind == socket.SOCK_STREAM:
                ear.listen()
            ears.append(ear)
    return ears


def call(caller: str, called: str, ip: str, ports: list[int]) -> dict[socket.socket, str]:
    calls = {}
    for port in ports:
        stream = socket.socket()
        stream.setblocking(False)
        stream.connect_ex((ip, port))
        calls[stream] = f"{caller} {called} tcp {port}"
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.connect((ip, port))
        datagram.send(b"?")
        calls[datagram] = f"{caller} {called} udp {port}"
    ping = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    ping.connect((ip, 0))
    ping.send(echo(os.getpid() & 0xFFFF))
    calls[ping] = f"{caller} {called} icmp 0"
    return calls


def echo(identity: int) -> bytes:
    head = struct.pack(">BBHHH", 8, 0, 0, identity, 1)
    total = sum(struct.unpack(">4H", head))
    return head[:2] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + head[4:]


def answered(calls: dict[socket.socket, str], ears: list[socket.socket]) -> dict[str, bool]:
    """Answer what is heard, until nothing has moved for a while."""
    result = dict.fromkeys(calls.values(), False)
    waiting = dict(calls)
    while True:
        streams = [each for each, key in waiting.items() if " tcp " in key]
        others = [each for each, key in waiting.items() if " tcp " not in key]
        heard, ready, _ = select.select([*ears, *others], streams, [], _WAIT_S)
        if not heard and not ready:
            return result
        for each in heard:
            if each in calls:
                # What pings hears the other's pings, too.
                if is_answer(each, calls[each]):
                    result[calls[each]] = True
                    del waiting[each]
            elif each.type == socket.SOCK_DGRAM:
                _data, sender = each.recvfrom(16)
                each.sendto(b"!", sender)
            else:
                each.accept()
        for each in ready:
            result[waiting.pop(each)] = each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def is_answer(each: socket.socket, key: str) -> bool:
    data = each.recv(256)
    return data == b"!" if " udp " in key else data[20] == 0


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), json.loads(sys.argv[2]))
