"""PostgreSQL servers of a test's own, for what may not disturb the suite's: crashes, refusals and slow lines."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

from tests.support import services


class OwnPostgresql:
    """A cluster whose commits survive a crash of the server; ``url`` is the address of its first database."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"postgres://guesthouse@/{directory}/postgres"
        self.socket = directory / ".s.PGSQL.5432"
        self._starts = 0
        self._running = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        services.initialise_postgresql(directory)

    def start(self) -> None:
        """Serve, after whatever recovery a crash makes necessary."""
        self._starts += 1
        log = self.directory / f"postgresql-{self._starts}.log"
        server = services.postgresql_server(self.directory, fsync="off")  # the machine stays on, only the server dies
        self._process = self._running.enter_context(services.child(server, log=log, signal_name="INT"))
        services.require(lambda: "ready to accept connections" in log.read_text(errors="replace"), log)

    def crash(self) -> None:
        """Immediate shutdown: every session ends in the middle, no checkpoint is written."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(services.START_TIMEOUT_S)
        self._running.close()

    def stop(self) -> None:
        """End it; safe to repeat."""
        self._running.close()
