"""What this room does when the ones below announce something."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import redis
import structlog
from django.db import transaction
from django.db.models import F

from operations.dispatch import call
from portal.core.clock import now
from tenants.actors import Actor
from tenants.models import Tenant, User
from tenants.reactions import reacts
from tenants.scoping import tenant_scope
from vms.consoles import registry
from vms.models import Guest
from vms.services.consoles import console_redis
from vms.services.halting import HALT_TASK, ON, guest_halt
from vms.states import HostState

log = structlog.get_logger(__name__)


@reacts("access.revoked")
def close_consoles(*, user: User | None, tenant: Tenant | None, session: str, reason: str) -> None:
    """Whoever lost access loses the screens they have open, within two seconds of the commit."""
    subjects = {
        "user": str(user.pk) if user else None,
        "tenant": str(tenant.pk) if tenant else None,
        "session": session or None,
    }
    if any(subjects.values()):
        transaction.on_commit(lambda: _revoke(reason=reason, **subjects), robust=True)


@reacts("guest.gone")
@reacts("guest.dark")
def close_consoles_of(*, guest: Guest) -> None:
    """A machine that is off or gone has no screen."""
    pk = str(guest.pk)
    transaction.on_commit(lambda: _revoke(guest=pk, reason="machine is off"), robust=True)


def _revoke(*, reason: str, **subjects: str | None) -> None:
    try:
        registry.revoke(console_redis(), reason=reason, **subjects)
    except redis.RedisError:
        log.error("consoles_not_revoked", reason=reason, exc_info=True)


@reacts("operations.ending")
def lock_machines(*, tenant: Tenant | None, subjects: Sequence[UUID]) -> None:
    """Who ends several operations at once holds all their machines before the first one's journal entry, in one order."""
    if tenant is not None:
        with tenant_scope(tenant):
            rows = Guest.objects.select_for_update(of=("self",)).filter(pk__in=subjects)
            list(rows.order_by("pk").values("pk"))


@reacts("tenant.suspended")
def stop_guests(*, tenant: Tenant, actor: Actor) -> None:
    """A halted tenant's machines are stopped; those that cannot be now (busy, silent host) are asked again by ``halting``.

    So are those of the tenants below it, each tenant in a transaction of its own: a worker is rung for them at once.
    """
    with tenant_scope(tenant):
        on = Guest.objects.filter(seen_power__in=ON, host__state=HostState.UP)
        # All of them before the first one's journal entry: an observation locks its guest, then the journal.
        for guest in list(on.select_for_update(of=("self",)).order_by("pk")):
            guest_halt(guest)
    transaction.on_commit(lambda: call(HALT_TASK), robust=True)


@reacts("tenant.revived")
def lengthen_bins(*, tenant: Tenant, since: datetime) -> None:
    """What lay in the bin could not be restored meanwhile: it stays there for as much longer."""
    with tenant_scope(tenant):
        Guest.objects.filter(purge_after__isnull=False).update(purge_after=F("purge_after") + (now() - since))
