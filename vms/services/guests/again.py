"""What was wished of a machine and could not be done then is asked for again by the portal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count

from operations.models import Operation, OperationLock
from operations.states import LIVE
from portal.core.errors import PortalError
from tenants.actors import system_actor
from tenants.scoping import tenant_scope
from vms.models import Guest
from vms.models.hosts import host_lane
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


def few_each(turn: Iterable[tuple[UUID, UUID]]) -> list[UUID]:
    """Of (machine, host) in their turn, of each host's no more than soon begin there, so that none waits past its deadline.

    None that something is done with.
    """
    starts = Operation.objects.filter(kind="guest.start", status__in=LIVE).values_list("lane").annotate(Count("pk"))
    asked = Counter(dict(starts))
    busy = set(OperationLock.objects.filter(resource_type="guest").values_list("resource_id", flat=True))
    few = []
    for guest, host in turn:
        lane = host_lane(host)
        if guest not in busy and asked[lane] < 2 * settings.LANE_WIDTH:
            asked[lane] += 1
            few.append(guest)
    return few
