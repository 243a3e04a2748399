"""A line between a client and a server that a test can cut, hold still and watch."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from pathlib import Path


class FaultyLine:
    """Passes bytes between whoever connects to ``address`` and the unix socket ``target``, until a test has it otherwise.

    ``address`` is a path, or None for a port of loopback (then ``port``).
    """

    def __init__(self, target: Path, *, address: Path | None = None) -> None:
        self.target = target
        self.refuses = False
        """Hang up on whoever connects."""
        self.cuts_after: tuple[bytes, bytes] | None = None
        """Once a client that said the first word says the second, the server hears it, and its answer is lost."""
        self.cut = threading.Event()
        """A connection was cut like that."""
        self._lock = threading.Lock()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._held: set[socket.socket] = set()
        if address is None:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self.port = int(self._listener.getsockname()[1])
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(address))
            self._listener.listen(128)
            os.chmod(address, 0o777)
        threading.Thread(target=self._accept, daemon=True, name="faulty line").start()

    def hold(self) -> None:
        """Nothing passes any more on the connections that are open now, though both ends stay open: a peer that is gone."""
        with self._lock:
            self._held.update(self._pairs)

    def hang_up(self) -> None:
        """Cut all connections."""
        with self._lock:
            pairs = list(self._pairs.items())
        for client, server in pairs:
            _shut(client)
            _shut(server)

    def close(self) -> None:
        """Cut everything, and listen no more."""
        _shut(self._listener)
        self._listener.close()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                if self.refuses:
                    raise ConnectionRefusedError
                server.connect(str(self.target))
            except OSError:
                client.close()
                server.close()
                continue
            with self._lock:
                self._pairs[client] = server
            threading.Thread(target=self._carry, args=(client, server), daemon=True, name="faulty line").start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        said = bytearray()
        with contextlib.suppress(OSError):
            while self._pass_on(client, server, said):
                continue
        with self._lock:
            self._pairs.pop(client)
            self._held.discard(client)
        client.close()
        server.close()

    def _pass_on(self, client: socket.socket, server: socket.socket, said: bytearray) -> bool:
        """Carry what is there; False once the connection is over. ``said`` is what the client has said."""
        ready, _, _ = select.select([client, server], [], [])
        for source in ready:
            data = source.recv(65536)
            if not data:
                return False
            if client in self._held:
                continue
            (server if source is client else client).sendall(data)
            if source is client and self.cuts_after is not None:
                said += data
                mark, word = self.cuts_after
                if mark in said and word in data:
                    self.cuts_after = None
                    server.recv(65536)
                    self.cut.set()
                    return False
        return True


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
