"""Network cards as hosts and pages see them."""

from __future__ import annotations

from vms.models import CardCounter, Flavor, Host, Port


def port_speed(port: Port, flavor: Flavor) -> tuple[int, int]:
    """How fast a card may be to its machine and from it, in Mbit a second; 0 is no limit.

    The tighter of its own limit and its machine's size, unless an operator lets its own hold above that.
    """
    above = port.above_size
    return _tighter(port.in_mbit, flavor.net_mbit, above=above), _tighter(port.out_mbit, flavor.net_mbit, above=above)


def _tighter(own: int, of_size: int, *, above: bool) -> int:
    if own and above:
        return own
    return min(filter(None, (own, of_size)), default=0)


def speed_is_enforced(host: Host | None) -> bool:
    """Does the host hold cards to their limits, as far as is known? One that is not placed yet is not known to refuse."""
    return host is None or "bandwidth" not in host.unenforced


def counter_of(port: Port) -> CardCounter | None:
    """What a card, read with its counter, has carried; None for one from before cards were counted that was not seen since."""
    return getattr(port, "counter", None)
