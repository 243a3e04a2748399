"""The consoles this process holds open, and why each of them ends."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from enum import IntEnum

from vms.consoles.registry import Watcher
from vms.consoles.tickets import Grant


class CloseCode(IntEnum):
    """WebSocket close codes a browser may see; 4000 and up are ours."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    TOO_BIG = 1009
    REVOKED = 4401
    EXPIRED = 4408
    SILENT = 4409
    FULL = 4429
    NO_TARGET = 4502
    NO_REDIS = 4503


@dataclass(frozen=True, slots=True)
class Ending:
    """``cause`` is a short code for counters and logs, ``reason`` what the browser is told (at most 123 bytes)."""

    code: CloseCode
    cause: str
    reason: str


class Ended(Exception):
    """Raised in a console's own thread to leave whatever it is doing."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.cause)
        self.ending = ending


class Session:
    """One open console. ``end`` may be called from any thread; the console's own thread polls ``wake``."""

    def __init__(self, grant: Grant, watcher: Watcher) -> None:
        self.grant = grant
        self.watcher = watcher
        self.ending: Ending | None = None
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False

    def end(self, ending: Ending) -> None:
        """Ask the console to close; the first ending wins, repeats and calls after ``close`` do nothing."""
        with self._lock:
            if self.ending is None and not self._closed:
                self.ending = ending
                os.eventfd_write(self.wake, 1)

    def close(self) -> None:
        """Free the descriptor; safe to repeat."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.wake)
