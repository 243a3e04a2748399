"""Which addresses the portal may connect to on somebody's word: the public internet, and what operators allow; pure."""

from __future__ import annotations

import ipaddress
import socket

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 ranges that carry an IPv4 address to somewhere else: mapped and compatible, NAT64, 6to4, Teredo, ISATAP's prefix.
_TRANSLATED = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
    )
)
# Nobody's server, whatever operators allow: link-local (where clouds keep their metadata), this host, multicast, reserved.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "fe80::/10", "ff00::/8", "::/128", "fd00:ec2::/32")
)


class NotReached(Exception):
    """We do not go there: ``sentence`` is for whoever gave the address, ``code`` for programs, ``detail`` for operators."""

    def __init__(self, sentence: str, *, code: str, detail: str) -> None:
        super().__init__(f"{sentence} ({detail})")
        self.sentence, self.code, self.detail = sentence, code, detail


def resolve(host: str, port: int, *, allow_private: bool) -> list[Address]:
    """The addresses of a host, all of them checked; connect to one of these and never to the name again.

    Raises ``NotReached`` where any is not allowed: an answer that mixes public and private addresses is an attack.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotReached("This host name does not resolve.", code="url_host", detail=str(error)) from error
    # An IPv6 address may carry a zone after a percent sign: only link-local ones have use for it.
    texts = dict.fromkeys(str(answer[4][0]) for answer in answers)
    for text in texts:
        if not is_allowed(text, allow_private=allow_private):
            raise NotReached("This address leads into a private network.", code="url_private", detail=f"{host}: {text}")
    return [ipaddress.ip_address(text) for text in texts]


def is_allowed(text: str, *, allow_private: bool) -> bool:
    """May we connect there? ``allow_private`` admits private and loopback addresses, never link-local or special ones."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return False
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    if allow_private and (address.is_loopback or address.is_private) and not _is_translated(address):
        return True
    return address.is_global and not address.is_multicast and not _is_translated(address)


def _is_translated(address: Address) -> bool:
    if not isinstance(address, ipaddress.IPv6Address) or address == ipaddress.IPv6Address("::1"):
        return False
    return any(address in network for network in _TRANSLATED) or address.packed[8:12] == b"\x00\x00\x5e\xfe"
