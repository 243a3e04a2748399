"""A small internet in a network namespace: public and internal addresses side by side, and a record of who was asked.

The namespace belongs to one thread; what is to happen in it runs there through ``run``.
"""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PUBLIC = "8.8.8.8"
FILE = os.urandom(300_000)
_INTERNAL = (
    "10.0.0.1/32", "172.16.0.1/32", "192.168.0.1/32", "169.254.169.254/32", "100.64.0.1/32", "198.18.0.1/32",
    "192.0.2.1/32", "fd00:ec2::254/128", "fc00::1/128", "fe80::1/128", "2002:7f00:1::1/128", "64:ff9b::7f00:1/128",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2/128", "::ffff:0:7f00:1/128",
)  # fmt: skip


class Internet:
    """Servers that answer on every address, port 80 (and 443 with a certificate), and the addresses they were asked at."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self.asked: list[str] = []
        self.stopped = threading.Event()

    def run[T](self, what: Callable[[], T]) -> T:
        """Do something inside, and hand on what it returns or raises."""
        return self._thread.submit(what).result()

    def serve(self, family: socket.AddressFamily, address: str, port: int, trust: ssl.SSLContext | None) -> _Server:
        server = self.run(lambda: _Server(self, family, address, port, trust))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server


@contextmanager
def internet(*, certificate: Path | None = None) -> Iterator[Internet]:
    """Bring one up; ``certificate`` is a directory with server-cert.pem and server-key.pem for port 443."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        made = Internet(thread)
        made.run(_enter)
        trust = None
        if certificate:
            trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            trust.load_cert_chain(certificate / "server-cert.pem", certificate / "server-key.pem")
        servers = [
            made.serve(socket.AF_INET, "0.0.0.0", 80, None),
            made.serve(socket.AF_INET6, "::", 80, None),
            *([made.serve(socket.AF_INET, "0.0.0.0", 443, trust)] if trust else []),
        ]
        try:
            yield made
        finally:
            made.stopped.set()
            for server in servers:
                server.shutdown()
                server.server_close()


def _enter() -> None:
    os.unshare(os.CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (f"{PUBLIC}/32", *_INTERNAL):
        subprocess.run(["ip", "addr", "add", address, "dev", "lo", *(["nodad"] if ":" in address else [])], check=True)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(
        self, internet: Internet, family: socket.AddressFamily, address: str, port: int, trust: ssl.SSLContext | None
    ) -> None:
        self.internet = internet
        self.address_family = family
        self._trust = trust
        super().__init__((address, port), _Handler, bind_and_activate=False)
        if family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.server_bind()
        self.server_activate()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        self.internet.asked.append(connection.getsockname()[0])
        if self._trust:
            connection = self._trust.wrap_socket(connection, server_side=True)
        return connection, peer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        name, _, argument = parts.path.strip("/").partition("/")
        match name:
            case "file":
                self._answer(200, {"Content-Length": str(len(FILE))}, FILE)
            case "to":
                self._answer(int(argument or 302), {"Location": query["u"][0], "Content-Length": "0"})
            case "hop":
                left = int(argument) - 1
                self._answer(302, {"Location": f"/hop/{left}" if left else "/file", "Content-Length": "0"})
            case "zipped":
                self._answer(200, {"Content-Length": "10", "Content-Encoding": "gzip"}, b"0123456789")
            case "cut":
                self._answer(200, {"Content-Length": str(len(FILE) * 2)}, FILE)
            case "endless":
                self._answer(200, {"Connection": "close"})
                self._drip(b"x" * 65536, every_s=0)
            case "drip":
                self._answer(200, {"Connection": "close"})
                self._drip(b"x", every_s=0.05)
            case "dripping-head":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                self._drip(b"x", every_s=0.05)
            case "silent":
                self.server.internet.stopped.wait()
            case _:
                self._answer(404, {"Content-Length": "0"})
        self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, data: bytes, *, every_s: float) -> None:
        while not self.server.internet.stopped.wait(every_s):
            self.wfile.write(data)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Quiet."""
