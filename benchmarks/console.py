"""Console throughput, round trip and memory: our proxy beside plain websockify and no proxy at all, in one run.

Run by hand: ``python -m benchmarks.console``. Every way leads from one client process to one source process on the
same machine; rounds are interleaved. On a busy machine the best round and the processor time are the columns to trust.
Memory is the growth of the proportional set size of the proxy and its children over ``OPEN`` consoles, divided by
``OPEN``.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import multiprocessing
import os
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis import Redis

from vms.consoles import registry, rfb, tickets
from vms.consoles.config import Config
from vms.consoles.tickets import Grant, Kind

ORIGIN, PASSWORD = "http://127.0.0.1:8000", "geheim12"
STREAM_MIB, ROUNDS, ECHOES, OPEN = 128, 21, 500, 20
STREAM, ECHO = b"S", b"E"


class Source:
    """A process that streams or echoes on two unix sockets: ``plain`` at once, ``vnc`` after RFB's VncAuth."""

    def __init__(self, folder: Path) -> None:
        for name in ("plain", "vnc"):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(folder / name))
            listener.listen(64)
            multiprocessing.Process(target=accept, args=(listener, name == "vnc"), daemon=True).start()


def accept(listener: socket.socket, with_password: bool) -> None:
    while True:
        client, _ = listener.accept()
        multiprocessing.process.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
        multiprocessing.Process(target=serve, args=(client, with_password), daemon=False).start()
        client.close()


def serve(client: socket.socket, with_password: bool) -> None:
    if with_password:
        client.sendall(rfb.VERSION)
        read(client, 12)
        client.sendall(b"\x01\x02")
        read(client, 1)
        challenge = os.urandom(16)
        client.sendall(challenge)
        assert read(client, 16) == rfb.respond(challenge, PASSWORD)
        client.sendall(rfb.OK)
        read(client, 1)
    block = bytes(65536)
    with contextlib.suppress(OSError):
        while True:
            command, number = struct.unpack(">cI", read(client, 5))
            for _ in range(number):
                client.sendall(block * 16 if command == STREAM else read(client, 8))


def read(sock: socket.socket, number: int) -> bytes:
    data = b""
    while len(data) < number:
        more = sock.recv(number - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


class Client:
    """As quick a reader as Python allows: counts bytes and looks at no frame while streaming."""

    def __init__(self, sock: socket.socket, *, framed: bool) -> None:
        self.sock = sock
        self.framed = framed

    def send(self, data: bytes) -> None:
        self.sock.sendall(b"\x82" + bytes([0x80 | len(data)]) + bytes(4) + data if self.framed else data)

    def receive(self) -> bytes:
        """One small message."""
        if not self.framed:
            return read(self.sock, 8)
        return read(self.sock, read(self.sock, 2)[1])

    def stream(self) -> float:
        """MiB per second."""
        self.send(struct.pack(">cI", STREAM, STREAM_MIB))
        left, room = STREAM_MIB << 20, bytearray(1 << 20)
        started = time.perf_counter()
        while left > 0:
            left -= self.sock.recv_into(room)
        taken = time.perf_counter() - started
        self.settle()  # the frames' headers were counted as data
        return STREAM_MIB / taken

    def settle(self) -> None:
        """Read until nothing comes: the end of a stream, or the past of a serial line."""
        self.sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while self.sock.recv(1 << 20):
                continue
        self.sock.settimeout(20)

    def echo(self) -> float:
        """Median round trip in microseconds."""
        self.send(struct.pack(">cI", ECHO, ECHOES))
        trips = []
        for _ in range(ECHOES):
            started = time.perf_counter()
            self.send(b"12345678")
            self.receive()
            trips.append(time.perf_counter() - started)
        return statistics.median(trips) * 1e6


@dataclass
class Way:
    name: str
    open: Callable[[], Client]
    process: subprocess.Popen[bytes] | None = None


def upgrade(port: int, path: str) -> Client:
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: {ORIGIN}\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += read(sock, 1)
    assert b" 101 " in answer, answer
    return Client(sock, framed=True)


def shake_hands(client: Client) -> Client:
    client.receive()
    client.send(rfb.VERSION)
    client.receive()
    client.send(b"\x01")
    client.receive()
    client.send(b"\x01")
    return client


def direct(path: Path) -> Client:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(str(path))
    sock.settimeout(20)
    return Client(sock, framed=False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_port(port: int) -> None:
    for _ in range(400):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise TimeoutError


def cpu_s(process: subprocess.Popen[bytes] | None) -> float:
    """Processor seconds of a process and its living children."""
    if process is None:
        return 0.0
    main = psutil.Process(process.pid)
    return sum(one.cpu_times().user + one.cpu_times().system for one in (main, *main.children(recursive=True)))


def memory_mib(process: subprocess.Popen[bytes]) -> float:
    """Proportional set size of a process and its children."""
    main = psutil.Process(process.pid)
    total = 0
    for one in (main, *main.children(recursive=True)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{one.pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total / 1024


@contextlib.contextmanager
def ways(folder: Path) -> Iterator[list[Way]]:
    Source(folder)
    redis_socket, ours, plain = folder / "redis", free_port(), free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:

        def start(*command: str, feed: str = "") -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, **quiet)  # type: ignore[call-overload]
            process.stdin.write(feed.encode())
            process.stdin.close()
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        start("redis-server", "--port", "0", "--unixsocket", str(redis_socket), "--save", "", "--dir", str(folder))
        config = Config(f"127.0.0.1:{ours}", f"unix://{redis_socket}", (ORIGIN,), "bench", str(folder), 99, 99)
        portal = start(sys.executable, "-m", "vms.consoles", feed=config.to_json())
        other = start(
            sys.executable, "-W", "ignore", "-m", "websockify", f"--unix-target={folder}/plain", f"127.0.0.1:{plain}"
        )
        await_port(ours)
        await_port(plain)
        redis = Redis.from_url(f"unix://{redis_socket}")
        while not registry.is_alive(redis):
            time.sleep(0.05)

        def console(kind: Kind) -> Client:
            target = folder / ("vnc" if kind is Kind.VNC else "plain")
            grant = Grant("u", "t", "g", 1, kind, str(target), PASSWORD, "s", ORIGIN, time.time() + 3600, True)
            client = upgrade(ours, f"/?ticket={tickets.issue(redis, grant)}")
            return shake_hands(client) if kind is Kind.VNC else client

        yield [
            Way("no proxy (unix socket)", lambda: direct(folder / "plain")),
            Way("plain websockify", lambda: upgrade(plain, "/"), other),
            Way("ours, screen", lambda: console(Kind.VNC), portal),
            Way("ours, serial", lambda: console(Kind.SERIAL), portal),
        ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="gh-bench-") as name, ways(Path(name)) as all_ways:
        speed: dict[str, list[float]] = {way.name: [] for way in all_ways}
        trip: dict[str, list[float]] = {way.name: [] for way in all_ways}
        work: dict[str, list[float]] = {way.name: [] for way in all_ways}
        for way in [way for _ in range(ROUNDS) for way in all_ways]:
            client = way.open()
            client.settle()
            trip[way.name].append(client.echo())
            before = cpu_s(way.process)
            speed[way.name].append(client.stream())
            work[way.name].append((cpu_s(way.process) - before) * 1000 * 1024 / STREAM_MIB)
            client.sock.close()
            time.sleep(0.2)
        lines = [
            "| way | MiB/s best | median | CPU ms a GiB | round trip µs | at rest MiB | each open console MiB |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for way in all_ways:
            memory = measure_memory(way) if way.process else "- | -"
            numbers = [max(speed[way.name]), *(statistics.median(found[way.name]) for found in (speed, work, trip))]
            lines.append(f"| {way.name} | {' | '.join(f'{number:.0f}' for number in numbers)} | {memory} |")
        sys.stdout.write("\n".join(lines) + "\n")


def measure_memory(way: Way) -> str:
    assert way.process
    before = memory_mib(way.process)
    clients = [way.open() for _ in range(OPEN)]
    for client in clients:
        client.send(struct.pack(">cI", STREAM, 2))
        left = 2 << 20
        while left > 0:
            left -= len(client.sock.recv(1 << 20))
    time.sleep(1)
    each = (memory_mib(way.process) - before) / OPEN
    for client in clients:
        client.sock.close()
    time.sleep(1)
    return f"{before:.1f} | {each:.2f}"


if __name__ == "__main__":
    main()
