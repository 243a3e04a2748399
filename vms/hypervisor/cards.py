"""The part of the interface that speaks of a domain's network cards, live and for its next start.

A card is known by its MAC. Each verb looks at both definitions first and changes only what is not yet so, so that it mends what a
former call left half done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vms.hypervisor.xml.devices import Bandwidth, Nic
from vms.hypervisor.xml.metadata import Owner


@dataclass(frozen=True, slots=True)
class SeenCard:
    """A card as one of a domain's definitions has it; ``ip`` is what its packet filter lets it speak as.

    ``link_up`` is False while its cable is pulled, as it were. ``limits`` are those to the guest and from it, in KiB a second;
    0 is none. ``port`` is what it is to Open vSwitch, and empty for one on a libvirt network.
    """

    mac: str
    network: str
    filter: str = ""
    ip: str = ""
    link_up: bool = True
    limits: tuple[int, int] = (0, 0)
    port: str = ""


@dataclass(frozen=True, slots=True)
class SeenCards:
    """A domain's cards: those of its next start, and those it has now; ``live`` is None where it does not run."""

    kept: tuple[SeenCard, ...]
    live: tuple[SeenCard, ...] | None = None

    def everywhere(self) -> tuple[tuple[SeenCard, ...], ...]:
        """The definitions there are."""
        return (self.kept,) if self.live is None else (self.live, self.kept)


class Cards(Protocol):
    """Verbs on a domain's network cards."""

    def cards(self, uuid: str) -> SeenCards:
        """``Missing`` where there is no such domain."""

    def attach_card(self, uuid: str, card: Nic, *, owner: Owner) -> None:
        """Have the domain have ``card``, now if it runs and at its next start; first live, so that a refusal leaves nothing.

        ``Refused`` where the domain is not ours or leaves the allow-list, ``NoSlot`` where no slot is free; ``Missing`` without
        the domain or the card's network.
        """

    def detach_card(self, uuid: str, mac: str, *, owner: Owner, timeout_s: float) -> None:
        """Have the domain not have the card any more; a domain that is not there has none.

        Live first: a running guest has to let go. ``Busy`` where it did not within ``timeout_s``; then nothing has changed,
        but it may yet let go later.
        """

    def readdress_card(self, uuid: str, mac: str, ip: str, *, owner: Owner) -> None:
        """Have the card speak as ``ip`` alone, now if the domain runs and at its next start.

        A card that runs is unplugged for that, so that no frame passes while its filter is changed; plugged in again, most
        systems ask for an address anew. ``Refused`` where the domain is not ours or ``ip`` is none, ``Missing`` without the
        domain or the card.
        """

    def limit_card(self, uuid: str, mac: str, limit: Bandwidth | None, *, owner: Owner) -> None:
        """Give the card these limits, now and at the next start; None takes all off.

        ``Refused`` where the domain is not ours, ``Missing`` without the domain or the card, ``Unsupported`` (``bandwidth``)
        where the host cannot: then a running card has what it had.
        """

    def replug_card(self, uuid: str, mac: str, *, owner: Owner) -> None:
        """Pull the card's cable and put it in again, if the domain runs: most systems ask for an address anew then.

        ``Refused`` where the domain is not ours, ``Missing`` without the domain or the card.
        """
