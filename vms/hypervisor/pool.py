"""One connection per process and host, opened when first needed, opened anew when it broke.

A connection never survives a fork (Celery's prefork workers): what an ancestor opened is forgotten, not closed, because
its socket is still the ancestor's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from urllib.parse import urlsplit

from vms.hypervisor.driver import Connector, Hypervisor
from vms.hypervisor.errors import HypervisorError

_lock = threading.Lock()
_connections: dict[tuple[int, str], Hypervisor] = {}
_opening: dict[str, threading.Lock] = {}
_connectors: dict[str, Connector] = {}


def register(scheme: str, connector: Connector) -> None:
    """Serve URIs of ``scheme`` by ``connector`` instead of libvirt; for tests (``fake``)."""
    _connectors[scheme] = connector


def get(uri: str) -> Hypervisor:
    """A connection to the host at ``uri`` that answers now; raises ``Unreachable``.

    Asks a kept one whether it lives (about a millisecond on a unix socket, two seconds at most), so that a caller's
    first real call does not meet a dead line. Callers to different hosts never wait for each other.
    """
    with _turn(uri):
        key = (os.getpid(), uri)
        kept = _connections.get(key)
        if kept is not None:
            try:
                kept.alive()
            except HypervisorError:
                drop(uri)
            else:
                return kept
        made = _connector(uri)(uri)
        _connections[key] = made
        return made


def drop(uri: str) -> None:
    """Close and forget this process's connection to ``uri``, if there is one."""
    kept = _connections.pop((os.getpid(), uri), None)
    if kept is not None:
        with contextlib.suppress(HypervisorError):
            kept.close()


def close_all() -> None:
    """Close every connection of this process."""
    for pid, uri in list(_connections):
        if pid == os.getpid():
            drop(uri)


def _turn(uri: str) -> threading.Lock:
    with _lock:
        return _opening.setdefault(uri, threading.Lock())


def _connector(uri: str) -> Connector:
    scheme = urlsplit(uri).scheme
    if scheme in _connectors:
        return _connectors[scheme]
    from vms.hypervisor.libvirt_driver import connect  # the fake must do without libvirt installed

    return connect


def _after_fork() -> None:
    """Locks held by a thread of the parent would stay locked for ever; its connections are not ours to use or close."""
    global _lock
    _lock = threading.Lock()
    _opening.clear()
    _inherited.extend(_connections.values())
    _connections.clear()


_inherited: list[Hypervisor] = []
"""Connections of an ancestor, kept referenced: libvirt's finalizer would speak on the ancestor's socket."""

os.register_at_fork(after_in_child=_after_fork)
