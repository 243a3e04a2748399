"""The part of the interface that speaks of who is on a network: the address that a card is given, and the name it has.

Both are brought in line while the network runs. A name costs some 0.01 s, an address that the network was not made with 0.35 s,
since libvirt takes the network's firewall rules down and up for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vms.hypervisor.xml.metadata import Owner
from vms.hypervisor.xml.network import DhcpHost, DnsName


@dataclass(frozen=True, slots=True)
class SeenMembers:
    """What a network's DHCP and its resolver know, as it runs or else as it would."""

    hosts: frozenset[DhcpHost]
    names: frozenset[DnsName]


class Members(Protocol):
    """Verbs on who is on a network."""

    def members(self, network: str) -> SeenMembers:
        """``Missing`` where there is no such network."""

    def introduce(self, network: str, *, host: DhcpHost, name: str, owner: Owner) -> None:
        """Have the network give ``host.ip`` to that card alone, and answer ``name`` with it; an empty name answers nothing.

        Whatever else has that card, that address or that name gives way. ``Missing`` where there is no such network, ``Refused``
        where it is not ours.
        """

    def forget(self, network: str, ip: str, *, owner: Owner) -> None:
        """Have no name lead to that address any more; a network that is not there has none. DHCP stays as it is."""
