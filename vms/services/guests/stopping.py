"""Stops that waited for their host are carried out once it is back (``vms.services.guests.kept``)."""

from __future__ import annotations

from typing import Final

from tenants.scoping import every_tenant
from vms.models import Guest
from vms.services.guests.again import power_again
from vms.services.guests.kept import STOP_WAITS, stop_is_kept
from vms.states import HostState, Power

WHY: Final = "host_back"
NOT_OFF: Final = (Power.RUNNING, Power.PAUSED, Power.SUSPENDED, Power.CRASHED)


def guests_stop() -> int:
    """Ask for the Stops that waited, on hosts that are back; how many. Safe to repeat: what cannot be asked now waits on."""
    with every_tenant(why="machines of every tenant wait for their host"):
        waiting = Guest.objects.filter(
            problem_code=STOP_WAITS, want_power=Power.STOPPED, seen_power__in=NOT_OFF, host__state=HostState.UP
        )
        rows = list(waiting.filter(binned_at=None).select_related("tenant").order_by("pk"))
    return sum(power_again(guest, "stop", still=stop_is_kept, why=WHY) for guest in rows)
