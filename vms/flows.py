"""What a card has carried, out of looks at counters that begin anew with each start of its machine. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the counters of a card: bytes to its machine and from it since it was plugged into this run of it.

    ``run`` names one start of the machine on one host. ``cpu_ns`` is what its processors had done by then: of two looks at one
    run the one with more is the later, whoever took them; None where it was not read. ``at`` is when, by the portal's clock.
    """

    run: str
    in_bytes: int
    out_bytes: int
    at: datetime
    cpu_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """What a look adds, and the look that the next one is held against; ``is_new_run``: the machine was started since."""

    in_bytes: int
    out_bytes: int
    last: Look
    is_new_run: bool = False


def moved(last: Look | None, look: Look, *, is_closed: bool = False) -> Moved | None:
    """What ``look`` adds to all that was counted up to ``last``; None for one that tells nothing new.

    A look that came late is never taken for a counter that began anew, so nothing is counted twice: within a run the machine's
    own processors are the clock, and none begins anew after the last look at it (``is_closed``); between runs it is the
    portal's clock, and since counters are sums, what a wrong clock passes over is in the next look. Counters that were set back
    within a run (a card that was unplugged and plugged in again by hand) count from zero; where they have passed the last look
    by then, what they carried before that is lost.
    """
    if last is None:
        return Moved(look.in_bytes, look.out_bytes, look, is_new_run=True)
    if look.run != last.run:
        return None if look.at <= last.at else Moved(look.in_bytes, look.out_bytes, look, is_new_run=True)
    if look.cpu_ns is not None and last.cpu_ns is not None and look.cpu_ns < last.cpu_ns:
        return None
    if look.in_bytes >= last.in_bytes and look.out_bytes >= last.out_bytes:
        return Moved(look.in_bytes - last.in_bytes, look.out_bytes - last.out_bytes, _latest(last, look))
    is_later = look.cpu_ns is not None and last.cpu_ns is not None and look.cpu_ns > last.cpu_ns
    if is_closed or not is_later:
        return None
    return Moved(look.in_bytes, look.out_bytes, _latest(last, look))


def _latest(last: Look, look: Look) -> Look:
    """The look, with the clocks no earlier than they were."""
    clocks = [ns for ns in (last.cpu_ns, look.cpu_ns) if ns is not None]
    return replace(look, cpu_ns=max(clocks, default=None), at=max(last.at, look.at))
