"""Stops that waited for their host are carried out once it is back (``vms.services.guests.kept``)."""

from __future__ import annotations

from typing import Final

import structlog
from django.db import transaction

from portal.core.errors import PortalError
from tenants.actors import system_actor
from tenants.scoping import every_tenant, tenant_scope
from vms.models import Guest
from vms.services.guests.kept import STOP_WAITS, stop_is_kept
from vms.services.guests.power import guest_power
from vms.services.volumes.check import guest_locked
from vms.states import HostState, Power

log = structlog.get_logger(__name__)
WHY: Final = "host_back"
NOT_OFF: Final = (Power.RUNNING, Power.PAUSED, Power.SUSPENDED, Power.CRASHED)


def guests_stop() -> int:
    """Ask for the Stops that waited, on hosts that are back; how many. Safe to repeat: what cannot be asked now waits on."""
    with every_tenant(why="machines of every tenant wait for their host"):
        waiting = Guest.objects.filter(
            problem_code=STOP_WAITS, want_power=Power.STOPPED, seen_power__in=NOT_OFF, host__state=HostState.UP
        )
        rows = list(waiting.filter(binned_at=None).select_related("tenant").order_by("pk"))
    return sum(_stop(guest) for guest in rows)


def _stop(guest: Guest) -> bool:
    with tenant_scope(guest.tenant):
        try:
            with transaction.atomic():
                if not stop_is_kept(guest_locked(guest.pk)):
                    return False
                guest_power(guest, "stop", actor=system_actor(guest.tenant, why=WHY))
        except PortalError as error:
            log.info("stop_waits", guest=str(guest.pk), code=error.code)
            return False
    return True
