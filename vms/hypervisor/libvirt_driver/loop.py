"""libvirt's event loop: one thread per process, running before the first connection is opened.

Without a registered loop libvirt offers neither events nor keepalive, and a silent host would block a caller for ever.
Threads do not survive a fork, so a forked child that opens a connection gets a thread of its own.
"""

from __future__ import annotations

import os
import threading

import libvirt

_lock = threading.Lock()
_registered = False
_running_in = 0


def ensure_running() -> None:
    """Register the default loop once, and have a daemon thread of this very process turn it; safe to repeat."""
    global _registered, _running_in
    with _lock:
        if not _registered:
            libvirt.virEventRegisterDefaultImpl()
            _registered = True
        if _running_in != os.getpid():
            _running_in = os.getpid()
            threading.Thread(target=_turn, args=(_running_in,), name="libvirt-events", daemon=True).start()


def _turn(pid: int) -> None:
    while os.getpid() == pid:
        libvirt.virEventRunDefaultImpl()


def _after_fork() -> None:
    """A lock that another thread held while we were forked would never be released here."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
