"""Machines of tenants that are suspended or being closed do not run, whoever keeps them from being stopped at first."""

from __future__ import annotations

from typing import Final

import structlog
from django.db import transaction

from operations.models import Operation
from operations.states import Status
from portal.core.errors import Conflict
from tenants.actors import system_actor
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tenants.services.tenants import tenants_down
from vms.models import Guest
from vms.services.guests.power import guest_power
from vms.states import HostState, Power

log = structlog.get_logger(__name__)
ON: Final = (Power.RUNNING, Power.PAUSED)
WHY: Final = "suspend"
HALT_TASK: Final = "vms.tasks.halt_guests"


def guests_halt() -> int:
    """One round over every tenant whose machines may not run; how many were asked to stop. Safe to repeat."""
    return sum(_halt(tenant) for tenant in tenants_down() if not tenant.may_run)


def _halt(tenant: Tenant) -> int:
    with tenant_scope(tenant):
        on = Guest.objects.filter(seen_power__in=ON, host__state=HostState.UP, binned_at=None)
        return sum(guest_halt(guest) for guest in on.select_related("tenant").order_by("pk"))


def guest_halt(guest: Guest) -> bool:
    """Shut a machine down; pull its plug where it is paused, or did not listen before. False where it cannot be now."""
    polite = guest.seen_power == Power.RUNNING and not _was_deaf(guest)
    try:
        with transaction.atomic():
            guest_power(guest, "shutdown" if polite else "stop", actor=system_actor(guest.tenant, why=WHY))
    except Conflict as error:
        log.warning("guest_not_stopped", guest=str(guest.pk), code=error.code)
        return False
    return True


def _was_deaf(guest: Guest) -> bool:
    """Did a shutdown that a halt asked for come to nothing since the machine was last seen to change?"""
    asked = Operation.objects.filter(
        subject_id=guest.pk, kind="guest.shutdown", requested_via=WHY, status=Status.FAILED
    )
    return asked.filter(created_at__gte=guest.seen_since or guest.created_at).exists()
