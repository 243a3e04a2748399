"""The two ends of a console in tests: things that stand beside a guest, and a browser."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection

from tests.lab.waiting import wait_until
from tests.support import services
from vms.consoles import rfb

SERVER_INIT = (
    struct.pack(">HH16sI", 64, 48, b"\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00" + bytes(3), 4) + b"fake"
)


class Beside:
    """A unix socket beside a guest; ``serve`` runs in a thread for each client."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.folder = path.parent
        self.clients: list[socket.socket] = []
        self.received = bytearray()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        os.unlink(self.path)
        self.hang_up()

    def hang_up(self) -> None:
        for client in self.clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
        self.clients.clear()

    def say(self, data: bytes) -> None:
        for client in self.clients:
            client.sendall(data)

    def serve(self, client: socket.socket) -> None:
        while data := client.recv(65536):
            self.received += data

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.clients.append(client)
            threading.Thread(target=self._guarded, args=(client,), daemon=True).start()

    def _guarded(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self.serve(client)


class Display(Beside):
    """A VNC server with a password (or, misconfigured, without), whose picture is what the test ``say``s."""

    def __init__(self, path: Path, password: str = "geheim12", *, types: bytes = b"\x02") -> None:
        self.password = password
        self.types = types
        self.shared = b""
        super().__init__(path)

    def serve(self, client: socket.socket) -> None:
        client.sendall(rfb.VERSION)
        client.recv(12)
        client.sendall(bytes([len(self.types)]) + self.types)
        client.recv(1)
        challenge = os.urandom(16)
        client.sendall(challenge)
        if client.recv(16) != rfb.respond(challenge, self.password):
            client.sendall(b"\0\0\0\1\0\0\0\3bad")
            return
        client.sendall(rfb.OK)
        self.shared = client.recv(1)
        client.sendall(SERVER_INIT)
        super().serve(client)


class Stream:
    """A browser's WebSocket as a stream of bytes."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.rest = bytearray()

    def read(self, number: int, timeout_s: float = 60) -> bytes:
        while len(self.rest) < number:
            self._receive(timeout_s)
        taken = bytes(self.rest[:number])
        del self.rest[:number]
        return taken

    def read_until(self, wanted: bytes, timeout_s: float = 60) -> bytes:
        looked_at = 0
        while (found := self.rest.find(wanted, looked_at)) < 0:
            looked_at = max(0, len(self.rest) - len(wanted))
            self._receive(timeout_s)
        return self.read(found + len(wanted))

    def _receive(self, timeout_s: float) -> None:
        message = self.connection.recv(timeout=timeout_s)
        assert isinstance(message, bytes)
        self.rest += message

    def write(self, data: bytes) -> None:
        self.connection.send(data)

    def shake_hands(self) -> tuple[int, int]:
        """RFB 3.8 with security type None up to ServerInit; returns the screen's size."""
        assert self.read(12) == rfb.VERSION
        self.write(rfb.VERSION)
        assert self.read(2) == b"\x01\x01"
        self.write(b"\x01")
        assert self.read(4) == rfb.OK
        self.write(b"\x00")
        width, height, _, length = struct.unpack(">HH16sI", self.read(24))
        self.read(length)
        return width, height


@contextlib.contextmanager
def qemu(directory: Path, *, password: str) -> Iterator[Path]:
    """A real QEMU without disks: ``vnc`` (with ``password``) and ``line``, a chardev with the monitor behind it."""
    log = directory / "qemu.log"
    command = [
        "qemu-system-x86_64", "-accel", "tcg,tb-size=8", "-machine", "pc", "-m", "32", "-nodefaults", "-vga", "std",
        "-display", "none", "-vnc", f"unix:{directory}/vnc,password=on",
        "-qmp", f"unix:{directory}/qmp,server=on,wait=off",
        "-chardev", f"socket,id=line,path={directory}/line,server=on,wait=off", "-mon", "chardev=line,mode=readline",
    ]  # fmt: skip
    with services.child(command, log=log, signal_name="KILL"):
        services.require((directory / "qmp").is_socket, log)
        tell_qemu(directory / "qmp", "set_password", protocol="vnc", password=password)
        yield directory


def tell_qemu(path: Path, command: str, **arguments: Any) -> None:
    def try_connect() -> socket.socket | None:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(OSError):
            control.connect(str(path))
            return control
        control.close()
        return None

    with (
        wait_until(try_connect, timeout_s=10, what="QEMU's control socket") as control,
        control.makefile("rwb") as lines,
    ):
        lines.readline()
        for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            lines.write(json.dumps(words).encode() + b"\n")
            lines.flush()
            assert "return" in json.loads(lines.readline())


class ProxyProcess:
    """A console proxy as ``manage.py console_proxy`` starts it, and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.port = wait_until(self._find_port, timeout_s=20, what="the proxy to listen")

    @property
    def log(self) -> str:
        return self._log.read_text()

    def _find_port(self) -> int | None:
        for line in self.log.splitlines():
            if "console_proxy_listening" in line:
                return int(json.loads(line)["address"][1])
        return None
