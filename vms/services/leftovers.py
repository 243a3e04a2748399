"""What is there again after its end: the work of a call that outlived the operation it belonged to.

A worker checks before each effect that the operation is still its own. One that is frozen inside a call to its host cannot:
thawed later, the call defines a machine that has been binned or purged meanwhile. So what a finished deletion names is taken
away once more, if it was seen again and again and does not run. Without such a deletion nothing is touched.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import transaction

from operations.models import Operation
from operations.services import Hold, operation_submit
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.actors import system_actor
from tenants.scoping import tenant_scope
from vms.models import Drift, Guest, Host
from vms.services.guests.remove import guest_withdraw

SURE_AFTER: Final = timedelta(seconds=60)
"""Since the first of at least two sightings."""


def was_purged(guest: UUID, host: Host, *, generation: int) -> bool:
    """Has a machine of that id been removed for good from this host, in this generation or a newer one?"""
    if Guest.objects.filter(pk=guest).exists():
        return False
    return Operation.objects.filter(
        kind="guest.purge", subject_id=guest, lane=host.lane, status=Status.SUCCEEDED, generation__gte=generation
    ).exists()


def leftover_clear(host: Host, guest: UUID, *, generation: int, drift: Drift) -> Operation | None:
    """Have a purged machine's definition, seen on ``host`` in ``generation``, removed; None where that is not certain.

    Refused once (it runs by then, or is not ours), it is left to the operator.
    """
    if not _sure(drift) or not was_purged(guest, host, generation=generation):
        return None
    facts = {"guest": str(guest), "generation": generation}
    if Operation.objects.filter(kind="host.clear", params=facts, status=Status.FAILED).exists():
        return None
    actor = system_actor(None, why="sweep")
    try:
        with transaction.atomic():
            holds = [Hold("guest", guest)]
            return operation_submit(host, kind="host.clear", actor=actor, holds=holds, lane=host.lane, params=facts)
    except Conflict:
        return None  # somebody is at it


def leftover_withdraw(guest: Guest, *, generation: int, drift: Drift) -> Operation | None:
    """Have a binned machine's definition, seen in an older ``generation`` than its deletion, removed; None where uncertain.

    Refused once, it is left to the operator.
    """
    if not _sure(drift) or generation >= guest.want_generation:
        return None
    try:
        with tenant_scope(guest.tenant), transaction.atomic():
            row = Guest.objects.select_for_update(of=("self",)).select_related("host", "tenant").get(pk=guest.pk)
            asked = Operation.objects.filter(kind="guest.withdraw", subject_id=row.pk, generation=row.want_generation)
            if row.binned_at is None or asked.filter(status=Status.FAILED).exists():
                return None
            return guest_withdraw(row, actor=system_actor(row.tenant, why="sweep"))
    except Conflict:
        return None  # somebody is at it


def _sure(drift: Drift) -> bool:
    return drift.sightings > 1 and now() - drift.first_seen_at >= SURE_AFTER
