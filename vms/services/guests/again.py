"""What was wished of a machine and could not be done then is asked for again by the portal."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.db import transaction

from portal.core.errors import PortalError
from tenants.actors import system_actor
from tenants.scoping import tenant_scope
from vms.models import Guest
from vms.services.guests.power import guest_power
from vms.services.volumes.check import guest_locked

log = structlog.get_logger(__name__)


def power_again(guest: Guest, verb: str, *, still: Callable[[Guest], bool], why: str) -> bool:
    """Ask for ``verb`` if it is ``still`` so of the locked machine; was it asked? What is refused now waits on."""
    with tenant_scope(guest.tenant):
        try:
            with transaction.atomic():
                if not still(guest_locked(guest.pk)):
                    return False
                guest_power(guest, verb, actor=system_actor(guest.tenant, why=why))
        except PortalError as error:
            log.info("power_waits", verb=verb, guest=str(guest.pk), code=error.code)
            return False
    return True
