"""What this room does when the ones below announce something."""

from __future__ import annotations

import redis
import structlog
from django.db import transaction

from portal.core.errors import Conflict
from tenants.actors import Actor, system_actor
from tenants.models import Tenant, User
from tenants.reactions import reacts
from tenants.scoping import tenant_scope
from vms.consoles import registry
from vms.models import Guest
from vms.services.consoles import console_redis
from vms.services.guests.power import guest_power
from vms.states import HostState, Power

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


@reacts("tenant.suspended")
def stop_guests(*, tenant: Tenant, actor: Actor) -> None:
    """A suspended tenant's machines are stopped; those that cannot be now (busy, silent host) are left to the operator."""
    with tenant_scope(tenant):
        on = Guest.objects.filter(seen_power__in=[Power.RUNNING, Power.PAUSED], host__state=HostState.UP)
        # All of them before the first one's journal entry: an observation locks its guest, then the journal.
        for guest in list(on.select_for_update(of=("self",)).order_by("pk")):
            try:
                with transaction.atomic():
                    guest_power(
                        guest,
                        "shutdown" if guest.seen_power == Power.RUNNING else "stop",
                        actor=system_actor(tenant, why="suspend"),
                    )
            except Conflict as error:
                log.warning("guest_not_stopped", guest=str(guest.pk), code=error.code)
