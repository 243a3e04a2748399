"""What a machine is wanted to do: the one writer of ``want_power``, and of whether the machine counts as running.

It counts from the moment it is wanted on until it is both wanted off and seen off. Were its place given back when it is asked
to stop, one that does not listen would run on beside whatever was started in its place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tenants.services.quota import quota_release, quota_reserve
from vms.models import Guest
from vms.states import LOST, ON, Power

WISH: Final = ("want_power", "charged_running", "yielded_at")
"""The columns that ``guest_want`` sets, for whoever saves them."""


def guest_want(guest: Guest, power: Power | str, *, forced: bool = False, yielded_at: datetime | None = None) -> None:
    """Set the wish and move the tenant's ``running_guests``; saves nothing of the guest, which the caller has locked.

    ``yielded_at`` is when it was seen to shut down by itself, if that is what the wish follows.

    Raises ``OverQuota`` where one more running machine is too many; ``forced`` does not, for where the portal only follows
    what a host was seen to do: it happened, so it counts.
    """
    if power in ON and not guest.charged_running:
        quota_reserve(guest.tenant, {"running_guests": 1}, forced=forced)
        guest.charged_running = True
    guest.want_power = power
    guest.yielded_at = yielded_at
    guest_follow(guest)


def guest_follow(guest: Guest) -> None:
    """Have ``charged_running`` follow what the machine was last seen to do, and what has become of it; saves nothing.

    Silence is not evidence: of a machine that nobody hears it stays what it was. What runs though nobody may have started it
    counts, whatever the limit. Safe to repeat.
    """
    runs = guest_runs(guest)
    if runs is None or runs == guest.charged_running:
        return
    if runs:
        quota_reserve(guest.tenant, {"running_guests": 1}, forced=True)
    else:
        quota_release(guest.tenant, {"running_guests": 1})
    guest.charged_running = runs


def guest_gone(guest: Guest) -> None:
    """It is off its host for good, so it counts no more, whatever was last seen of it; saves nothing."""
    if guest.charged_running:
        quota_release(guest.tenant, {"running_guests": 1})
        guest.charged_running = False


def is_lost(guest: Guest) -> bool:
    """Is it wanted on, and off since its host restarted? What was paused has lost what it was paused with: it stays off."""
    return (guest.want_power, guest.seen_power, guest.seen_reason) == (Power.RUNNING, Power.STOPPED, LOST)


def is_crashed(guest: Guest) -> bool:
    """Is it wanted on, and off without anybody having asked for it? Not one that was paused: what it was paused with is gone."""
    return (guest.want_power, guest.seen_power) == (Power.RUNNING, Power.CRASHED)


def is_on(guest: Guest) -> bool:
    """Is it on, or would be if its host had not restarted? What is done with it in between leaves it on afterwards."""
    return guest.seen_power in ON or is_lost(guest)


def guest_runs(guest: Guest) -> bool | None:
    """Should it count as running? None where nobody knows: its host is silent, and it is not wanted on."""
    if guest.binned_at is not None:
        return False
    if guest.want_power in ON or guest.seen_power in ON:
        return True
    return None if guest.seen_power == Power.UNKNOWN else False
