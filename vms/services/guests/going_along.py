"""Machines that were shut down because their host was are wanted on again once it is back; what somebody shut down stays off.

A host that is shut down in an orderly way asks its machines first, one after the other (Debian's libvirt-guests does, and starts
none of them again): nothing that is heard then differs from an owner's shutdown. What tells them apart comes later: the host
fell silent right after the last of them, and has begun anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import transaction

from portal.core.errors import OverQuota
from tenants.journal.events import event_append
from tenants.scoping import every_tenant, tenant_scope
from vms.models import Guest, Host
from vms.services.guests.observe import say_lost
from vms.services.guests.wanting import WISH, guest_want
from vms.services.volumes.check import guest_locked
from vms.states import LOST, Power

log = structlog.get_logger(__name__)
EACH: Final = timedelta(minutes=6)
"""How long a host may wait for one machine that does not listen before it goes on with the next, or down: libvirt-guests' own
limit, and the minute between two looks at a host."""
ANEW_S: Final = 60
"""By how much a host's life must be shorter than it was, since a counter may step back a little."""


def guests_went_along(host: Host, *, up_s: int, at: datetime) -> int:
    """The host was just found to be up for ``up_s`` seconds; how many are wanted on again. Before that is written down.

    Safe to repeat: who was told to stay off meanwhile stays off.
    """
    if host.up_s is None or host.swept_at is None or up_s > host.up_s - ANEW_S:
        return 0
    began = at - timedelta(seconds=up_s)
    with every_tenant(why="a host carries machines of every tenant"):
        rows = Guest.objects.filter(host=host, built_at__isnull=False, binned_at=None, yielded_at__lt=began)
        along = went_along(rows.values_list("yielded_at", "pk"), heard=host.swept_at)
        guests = list(Guest.objects.select_related("tenant").filter(pk__in=along).order_by("pk"))
    return sum(_want_on(guest) for guest in guests)


def went_along(shut_down: Iterable[tuple[datetime | None, UUID]], *, heard: datetime) -> list[UUID]:
    """Of machines that were shut down by themselves, and when: those that their host took along, last ``heard`` then; pure."""
    along: list[UUID] = []
    before = heard
    for when, pk in sorted(((when, pk) for when, pk in shut_down if when is not None), reverse=True):
        if when < before - EACH:
            break
        along.append(pk)
        before = min(before, when)
    return along


def _want_on(guest: Guest) -> bool:
    with tenant_scope(guest.tenant), transaction.atomic():
        row = guest_locked(guest.pk)
        if row.yielded_at != guest.yielded_at or row.want_power != Power.STOPPED:
            return False
        try:
            # When it yielded stays, so that who follows it in the row is found again where this breaks off.
            guest_want(row, Power.RUNNING, yielded_at=guest.yielded_at)
        except OverQuota:
            log.info("guest_stays_off", guest=str(row.pk), code=OverQuota.code)
            return False
        if row.seen_power == Power.STOPPED:
            row.seen_reason = LOST
        row.version += 1
        row.save(update_fields=sorted({*WISH, "seen_reason", "version", *say_lost(row)}))
        event_append(row.tenant, "guest.changed", "guest", row.pk)
    return True
