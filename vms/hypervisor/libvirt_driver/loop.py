"""libvirt's event loop: one thread per process, running before the first connection is opened.

Without a registered loop libvirt offers neither events nor keepalive, and a silent host would block a caller for ever.

The loop cannot be renewed after a fork: parent and child would share the file by which its thread is woken and steal
each other's wake-ups (tried: two of three children heard no event). So a process that forks workers must not open
connections itself, and a child of one that did is told so at once.
"""

from __future__ import annotations

import os
import threading

import libvirt

from vms.hypervisor.errors import Refused

_lock = threading.Lock()
_started_in = 0


def ensure_running() -> None:
    """Register the default loop once and have a daemon thread turn it; safe to repeat.

    Raises ``Refused`` in a process whose ancestor did so before it forked.
    """
    global _started_in
    with _lock:
        if _started_in == os.getpid():
            return
        if _started_in:
            raise Refused("this process was forked from one that had a connection open: open them only after forking")
        libvirt.virEventRegisterDefaultImpl()
        _started_in = os.getpid()
        threading.Thread(target=_turn, name="libvirt-events", daemon=True).start()


def _turn() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _after_fork() -> None:
    """A lock that another thread held while we were forked would never be released here."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
