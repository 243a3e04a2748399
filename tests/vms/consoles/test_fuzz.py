"""P-A14: hostile bytes from both sides: each connection ends cleanly, the proxy stays, and holds on to nothing."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from pathlib import Path

import pytest
from redis import Redis

from tests.lab.waiting import wait_until
from tests.vms.consoles.conftest import ORIGIN, make_grant, run_proxy
from tests.vms.consoles.peers import Beside, Display, ProxyProcess
from tests.vms.consoles.test_door import ask, status, upgrade
from tests.vms.consoles.test_serial import memory_kib
from vms.consoles import registry, rfb, tickets

ROUNDS, LONG_ROUNDS = 100, 5000
GROWTH_KIB = 16 * 1024
PATIENCE_S = 20
SHAKEN = b"".join(b"\x82" + bytes([0x80 | len(word)]) + bytes(4) + word for word in (rfb.VERSION, b"\1", b"\0"))
"""A browser's whole handshake, in frames under a mask of zeros."""


class Hostile(Beside):
    """A display that says anything: the right words up to some point, then noise, and then it hangs up or stays."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.chance = chance
        super().__init__(path)

    def serve(self, client: socket.socket) -> None:
        words = [rfb.VERSION, b"\x01\x02", os.urandom(16), rfb.OK]
        for word in words[: self.chance.randrange(len(words) + 1)]:
            client.sendall(word)
        kind = self.chance.choice(["noise", "flood", "count", "slow"])
        if kind == "noise":
            client.sendall(self.chance.randbytes(self.chance.randrange(1, 4096)))
        elif kind == "flood":
            client.settimeout(2)
            for _ in range(64):
                client.sendall(bytes(65536))
        elif kind == "count":
            client.sendall(rfb.VERSION + b"\x00" + struct.pack(">I", 2**32 - 1) + b"x" * 4096)
        else:
            client.sendall(b"R")
        client.shutdown(socket.SHUT_RDWR)


def frame(chance: random.Random) -> bytes:
    """Something like a WebSocket frame: any opcode and flags, masked or not, of a length that it has or only claims."""
    body = chance.randbytes(chance.choice([0, 1, 12, 125, 126, 70000]))
    claimed = chance.choice([len(body), len(body), 2**20 + 1, 2**62, 65535])
    first, masked = chance.randrange(256), chance.random() < 0.8
    head = bytes([first if chance.random() < 0.5 else 0x82])
    if claimed < 126:
        head += bytes([(0x80 if masked else 0) | claimed])
    elif claimed < 65536:
        head += struct.pack(">BH", (0x80 if masked else 0) | 126, claimed)
    else:
        head += struct.pack(">BQ", (0x80 if masked else 0) | 127, claimed)
    return head + (chance.randbytes(4) if masked else b"") + body


def attack(proxy: ProxyProcess, words: list[bytes]) -> None:
    """Say all of it, read whatever comes, until the proxy has hung up."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as line:
        reader = threading.Thread(target=_drain, args=(line,), daemon=True)
        reader.start()
        for word in words:
            line.sendall(word)
        line.shutdown(socket.SHUT_WR)
        reader.join(PATIENCE_S)
        assert not reader.is_alive(), "the proxy holds on to a browser that has said its last word"


def _drain(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while line.recv(65536):
            continue


@pytest.mark.parametrize("seed", range(3))
def test_hostile_bytes_from_both_sides_end_their_connection_and_nothing_else(
    private_redis: str, redis: Redis, folder: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    rounds = LONG_ROUNDS if request.config.getoption("--long") else ROUNDS
    chance = random.Random(seed)
    sound, hostile = Display(folder / "sound"), Hostile(folder / "hostile", chance)
    with run_proxy(private_redis, folder) as proxy:
        wait_until(lambda: registry.is_alive(redis), timeout_s=PATIENCE_S, what="the proxy's heartbeat")
        before, guests = 0, []
        for number in range(rounds):
            if number == 10:
                before = memory_kib(proxy)
            grant = make_grant(target=chance.choice([sound, hostile]).path, writable=chance.random() < 0.5)
            guests.append(grant.guest)
            opening = upgrade(f"/?ticket={tickets.issue(redis, grant)}", f"Origin: {ORIGIN}").encode()
            shaken = b"".join(
                b"\x82\x80\0\0\0\0"[:1] + bytes([0x80 | len(w)]) + bytes(4) + w for w in (rfb.VERSION, b"\1", b"\0")
            )
            words = [opening] + ([shaken] if chance.random() < 0.6 else [])
            if chance.random() < 0.2:
                words = [chance.randbytes(chance.choice([1, 100, 70000]))]
            attack(proxy, [*words, *(frame(chance) for _ in range(chance.randrange(4)))])

        assert status(ask(proxy, "GET /healthz HTTP/1.1\r\nHost: portal\r\n\r\n")) == 200
        wait_until(
            lambda: not any(registry.watchers(redis, guest) for guest in guests),
            timeout_s=PATIENCE_S,
            what="all to be closed",
        )
        assert memory_kib(proxy) - before < GROWTH_KIB
        broken = [line for line in proxy.log.splitlines() if "console_connection_broke" in line]
        assert not broken, broken[:3]
    sound.close()
    hostile.close()
