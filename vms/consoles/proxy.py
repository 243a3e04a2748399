"""The console process: websockify's threading server around our handler, one warden, one set of serial hubs.

``run`` blocks until SIGTERM or SIGINT. Nothing of Django is imported; see ``__main__`` for how it is started lean.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from websockify.websocketproxy import LibProxyServer

from vms.consoles.config import Config
from vms.consoles.serial import Hubs
from vms.consoles.sessions import CloseCode, Ending
from vms.consoles.warden import Warden
from vms.consoles.websockify_plugin import ConsoleHandler

log = structlog.get_logger()

REDIS_TIMEOUT_S = 1.5
REQUEST_S = 15.0
DRAIN_S = 3.0
STACK_BYTES = 256 * 1024
DESCRIPTORS_EACH = 5


class ConsoleProxy(LibProxyServer):  # type: ignore[misc]  # websockify has no types
    """websockify's server, one thread per connection; measured against its fork in docs/decisions/0005-console.md."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, config: Config, redis: Redis) -> None:
        self.config = config
        self.redis = redis
        self.warden = Warden(redis, name=config.name)
        self.hubs = Hubs(Path(config.run_dir))
        # Each connection with the moment by which it must have become a console; None once it has.
        self._connections: dict[socket.socket, float | None] = {}
        self._lock = threading.Lock()
        unix, host, port = _endpoint(config.bind)
        self._unix, self._address = unix, (host, port)
        self.address_family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__(ConsoleHandler, listen_host=host, listen_port=port)

    def server_bind(self) -> None:
        """Bind without the name look-up of http.server; a unix socket is for the owner and group only."""
        if not self._unix:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self._address)
            self.server_address = self.socket.getsockname()
            return
        if os.path.exists(self._unix) and stat.S_ISSOCK(os.stat(self._unix).st_mode):
            os.unlink(self._unix)
        self.socket.bind(self._unix)
        os.chmod(self._unix, 0o660)
        self.server_address = self._unix

    def process_request(self, request: socket.socket, client_address: object) -> None:
        """Hang up at once on more connections than this process serves; websockify's method starts the thread."""
        with self._lock:
            is_full = len(self._connections) >= self.config.connections
            if not is_full:
                self._connections[request] = time.monotonic() + REQUEST_S
        if is_full:
            self.warden.count("refused:proxy_full")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:
        """Serve one connection and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections.pop(request, None)

    def keep(self, request: socket.socket) -> None:
        """Let a connection live on: its ticket was good."""
        with self._lock:
            self._connections[request] = None

    def service_actions(self) -> None:
        """Hang up on those who take too long over their request, a byte at a time."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, until in self._connections.items() if until is not None and until < now]
            for request in late:
                self._connections[request] = None
        for request in late:
            with suppress(OSError):  # it may have hung up just now
                request.shutdown(socket.SHUT_RDWR)

    def drain(self, timeout_s: float) -> None:
        """Wait until every connection has ended, at most ``timeout_s`` seconds."""
        deadline = time.monotonic() + timeout_s
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.02)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what broke one connection: a peer that hung up is no error, anything else is ours."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            log.error("console_connection_broke", exc_info=error)


def connect(url: str) -> Redis:
    """A client that fails within seconds and does not retry behind our back: the warden counts the silence."""
    return Redis.from_url(
        url,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def run(config: Config) -> None:
    """Serve consoles until SIGTERM or SIGINT; then every browser is told that the service restarts."""
    _raise_descriptor_limit(config.connections * DESCRIPTORS_EACH + 64)
    threading.stack_size(STACK_BYTES)
    proxy = ConsoleProxy(config, connect(config.redis_url))
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the loop that this handler interrupts, so it needs a thread of its own.
        signal.signal(number, lambda *_: threading.Thread(target=proxy.shutdown, daemon=True).start())
    proxy.warden.start()
    # Browsers that come now wait in the backlog for a moment, and are not turned away as if redis were down.
    proxy.warden.wait_until_trusted(REDIS_TIMEOUT_S)
    log.info("console_proxy_listening", address=proxy.server_address, origins=list(config.origins))
    try:
        proxy.serve_forever(poll_interval=0.2)
    finally:
        proxy.server_close()
        proxy.warden.end_all(Ending(CloseCode.GOING_AWAY, "proxy_stopped", "The console service is restarting."))
        proxy.drain(DRAIN_S)
        proxy.warden.stop()
        proxy.warden.join(DRAIN_S)
        log.info("console_proxy_stopped")


def _endpoint(bind: str) -> tuple[str, str, int]:
    """``(unix path, host, port)`` of a bind setting."""
    if bind.startswith("unix:"):
        return bind.removeprefix("unix:"), "", 0
    host, _, port = bind.rpartition(":")
    return "", host.strip("[]"), int(port)


def _raise_descriptor_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        reach = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (reach, hard))
