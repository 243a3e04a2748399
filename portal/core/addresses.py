"""Whose connection it is, behind proxies that were told to say so; pure, for the console process too."""

from __future__ import annotations

LONGEST = 45
"""An IPv6 address that holds an IPv4 one, written out."""


def caller_address(peer: str, forwarded_for: str, *, hops: int) -> str:
    """The caller's address: what the last ``hops`` proxies say of it, else the connection's ``peer``.

    ``forwarded_for`` is the header X-Forwarded-For; of its list only what our own proxies appended is believed, so a shorter
    one than ``hops`` did not come through them.
    """
    chain = [part.strip() for part in forwarded_for.split(",") if part.strip()]
    return (chain[-hops] if 0 < hops <= len(chain) else peer)[:LONGEST]
