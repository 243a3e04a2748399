"""A machine for a while: at the end of its lease it goes to the bin, from where it can be had back for the grace period."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation, OperationLock
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid, PortalError
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.tenants import tenants_down
from vms.models import Guest
from vms.services.guests.remove import guest_delete
from vms.services.volumes.check import guest_locked

log = structlog.get_logger(__name__)
SOONEST: Final = timedelta(minutes=10)
LATEST: Final = timedelta(days=5 * 366)
AGAIN_AFTER: Final = timedelta(hours=1)
WHY: Final = "lease"


@transaction.atomic
def guest_lease(guest: Guest, ends_at: datetime | None, *, actor: Actor) -> Guest:
    """Say when the machine goes to the bin by itself; None is never. Whoever may delete it may say so.

    Raises ``Conflict`` for a protected machine or one in the bin, ``Invalid`` for a moment too near or too far.
    """
    actor.require(Permission.GUEST_DELETE, guest)
    guest = guest_locked(guest.pk)
    if guest.lease_ends_at == ends_at:
        return guest
    if guest.binned_at is not None:
        raise Conflict(_("This machine is in the bin."), code="in_bin", hint=_("Restore it first."))
    if ends_at is not None:
        if guest.protected:
            raise Conflict(
                _("This machine is protected against deletion."),
                code="protected",
                hint=_("Take the protection off first."),
            )
        if not SOONEST <= ends_at - now() <= LATEST:
            message = _("Between ten minutes and five years from now.")
            raise Invalid(errors=[FieldError("/ends_at", "invalid_end", message)])
    before, guest.lease_ends_at = guest.lease_ends_at, ends_at
    guest.version += 1
    guest.save(update_fields=["lease_ends_at", "version"])
    words = [moment.isoformat() if moment is not None else None for moment in (before, ends_at)]
    audit_record(actor, "guest.lease", guest, ends_at=words)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return guest


def leases_end(*, at: datetime) -> int:
    """Ask for the deletion of what has reached its end, a few at a time; how many were asked. Safe to repeat.

    One that was protected since stays until it is not; so does one of a project that is suspended. What is being worked on
    waits without a place among the few: a deletion that waits for a silent host would keep it for days. One that failed is asked
    for again after ``AGAIN_AFTER``.
    """
    busy = OperationLock.objects.filter(resource_type="guest").values("resource_id")
    failed = Operation.objects.filter(
        kind="guest.delete", requested_via=WHY, status=Status.FAILED, finished_at__gt=at - AGAIN_AFTER
    )
    with every_tenant(why="leases of every tenant end"):
        due = list(
            Guest.objects.select_related("tenant")
            .filter(lease_ends_at__lte=at, binned_at=None, protected=False)
            .exclude(tenant__in=tenants_down())
            .exclude(pk__in=busy)
            .exclude(pk__in=failed.values("subject_id"))
            .order_by("lease_ends_at")[: settings.CAPS["batch"]]
        )
    ended = 0
    for guest in due:
        with tenant_scope(guest.tenant):
            try:
                ended += _end(guest, at=at)
            except PortalError as error:
                log.info("lease_waits", guest=str(guest.pk), code=error.code)
    return ended


@transaction.atomic
def _end(guest: Guest, *, at: datetime) -> bool:
    """Ask for its deletion, unless its lease was prolonged, or it has gone, since it was found."""
    if not Guest.objects.select_for_update().filter(pk=guest.pk, lease_ends_at__lte=at).exists():
        return False
    guest_delete(guest, actor=system_actor(guest.tenant, why=WHY))
    return True
