"""What a machine is wanted to do: the one writer of ``want_power``, and with it of how many machines a tenant runs."""

from __future__ import annotations

from tenants.services.quota import quota_release, quota_reserve
from vms.models import Guest
from vms.states import ON, Power


def guest_want(guest: Guest, power: Power | str, *, forced: bool = False) -> None:
    """Set the wish and move the tenant's ``running_guests``; saves nothing else of the guest, which the caller has locked.

    Raises ``OverQuota`` where one more running machine is too many; ``forced`` does not, for where the portal only follows
    what a host was seen to do: it happened, so it counts.
    """
    before, after = guest.want_power in ON, power in ON
    if after and not before:
        quota_reserve(guest.tenant, {"running_guests": 1}, forced=forced)
    if before and not after:
        quota_release(guest.tenant, {"running_guests": 1})
    guest.want_power = power
