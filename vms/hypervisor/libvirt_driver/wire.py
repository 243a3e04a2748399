"""Is a libvirtd alive? One RPC with a hard deadline, before (and instead of) ``libvirt.open``, which has none.

``virConnectOpen`` against a frozen daemon or a silent host blocks for ever, and keepalive can only be switched on after
it returned. This sends the protocol's first call, AUTH_LIST, by hand and waits for the header of the answer.
A message is its length, then program, version, procedure, type, serial and status, 28 bytes in all.
Source: https://libvirt.org/kbase/internals/rpc.html
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

_PROGRAM, _AUTH_LIST, _CALL, _REPLY = 0x20008086, 66, 0, 1
_CALL_BYTES = struct.pack(">IIIiIIi", 28, _PROGRAM, 1, _AUTH_LIST, _CALL, 1, 0)
_LONGEST_REPLY = 64 * 1024
_SOCKETS = ("/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock")
_PORTS = {"tcp": 16509, "tls": 16514}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a libvirt URI leads: a unix socket's path, or a host and a port, the latter perhaps under TLS."""

    kind: Literal["unix", "tcp", "tls"]
    path: str = ""
    host: str = ""
    port: int = 0
    pki: str = ""
    verify: bool = True


def endpoint(uri: str) -> Endpoint | None:
    """The daemon behind ``uri``; None where none can be asked directly (ssh, session, drivers inside the process)."""
    parts = urlsplit(uri)
    driver, _, transport = parts.scheme.partition("+")
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    host = parts.hostname or ""
    if not transport:
        if not host and (driver != "qemu" or parts.path != "/system"):
            return None
        transport = "tls" if host else "unix"
    if transport == "unix":
        return Endpoint("unix", path=query.get("socket", "") or _default_socket())
    if transport == "tcp":
        return Endpoint("tcp", host=host, port=parts.port or _PORTS["tcp"])
    if transport == "tls":
        verify = query.get("no_verify", "0") == "0"
        return Endpoint("tls", host=host, port=parts.port or _PORTS["tls"], pki=query.get("pkipath", ""), verify=verify)
    return None


def knock(uri: str, *, deadline_s: float) -> None:
    """Raise ``OSError`` unless the daemon behind ``uri`` answers a call within ``deadline_s`` seconds in all."""
    where = endpoint(uri)
    if where is None:
        return
    end = time.monotonic() + deadline_s
    with _connect(where, end) as line:
        line.settimeout(_left(end))
        line.sendall(_CALL_BYTES)
        (length,) = struct.unpack(">I", _receive(line, 4, end))
        if not 28 <= length <= _LONGEST_REPLY:
            raise ConnectionError("not a libvirt daemon")
        program, _version, procedure, kind, _serial, _status = struct.unpack(">IIiIIi", _receive(line, 24, end))
        if (program, procedure, kind) != (_PROGRAM, _AUTH_LIST, _REPLY):
            raise ConnectionError("not a libvirt daemon")


def _connect(where: Endpoint, end: float) -> socket.socket:
    if where.kind == "unix":
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(_left(end))
        try:
            line.connect(where.path)
        except OSError:
            line.close()
            raise
        return line
    line = socket.create_connection((where.host, where.port), _left(end))
    if where.kind == "tcp":
        return line
    return _under_tls(line, where, end)


def _under_tls(line: socket.socket, where: Endpoint, end: float) -> socket.socket:
    """Shake hands; libvirtd then says with one byte whether it accepts our certificate."""
    try:
        line.settimeout(_left(end))
        secure = _tls_context(where).wrap_socket(line, server_hostname=where.host)
    except OSError:
        line.close()
        raise
    try:
        if _receive(secure, 1, end) != b"\1":
            raise ConnectionError("the daemon refused our certificate")
    except OSError:
        secure.close()
        raise
    return secure


def _tls_context(where: Endpoint) -> ssl.SSLContext:
    flat = Path(where.pki) if where.pki else None
    authority = flat / "cacert.pem" if flat else Path("/etc/pki/CA/cacert.pem")
    certificate = flat / "clientcert.pem" if flat else Path("/etc/pki/libvirt/clientcert.pem")
    key = flat / "clientkey.pem" if flat else Path("/etc/pki/libvirt/private/clientkey.pem")
    context = ssl.create_default_context(cafile=str(authority))
    if not where.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(str(certificate), str(key))
    return context


def _receive(line: socket.socket, count: int, end: float) -> bytes:
    parts = b""
    while len(parts) < count:
        line.settimeout(_left(end))
        part = line.recv(count - len(parts))
        if not part:
            raise ConnectionError("the daemon hung up")
        parts += part
    return parts


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def _default_socket() -> str:
    """As libvirt's own client decides: the modular daemon's socket where it is there, else the classic one."""
    return next((path for path in _SOCKETS if os.path.exists(path)), _SOCKETS[-1])
