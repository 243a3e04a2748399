"""A console is opened: allowed, running, and a ticket for the proxy; no queue and no hypervisor."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import redis
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid, Unreachable
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.consoles import registry, tickets
from vms.consoles.origins import origin_of
from vms.models import Guest
from vms.states import Power

TICKET_S: Final = 30
LONGEST: Final = timedelta(hours=8)
"""An open console ends after this, however it is used; sooner where the token that opened it does."""


@dataclass(frozen=True, slots=True)
class ConsoleOpening:
    """What a browser needs to open a console once; the address holds the ticket."""

    url: str
    ticket: str
    expires_at: datetime
    kind: str


@lru_cache(maxsize=1)
def console_redis() -> redis.Redis:
    """The Redis that tickets and revocations go through."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3)


@transaction.atomic
def console_open(guest: Guest, *, kind: str, actor: Actor) -> ConsoleOpening:
    """A ticket of 30 s for the guest's screen or serial line, bound to who asks and to the guest's present generation.

    Raises ``Conflict`` unless the machine is known to run (or is paused), ``Unreachable`` without Redis: no ticket then.
    """
    if kind not in ("vnc", "serial"):
        raise Invalid(errors=[FieldError("/kind", "invalid_kind", _("Choose vnc or serial."))])
    try:
        since = registry.mark(console_redis())
        actor.require(Permission.GUEST_CONSOLE, guest)
        guest.refresh_from_db()
        socket = guest.seen_display.get(kind, "")
        if Power(guest.seen_power) not in (Power.RUNNING, Power.PAUSED) or not socket:
            raise Conflict(
                _("A console needs a running machine."), code="not_running", hint=_("Start the machine first.")
            )
        grant = tickets.Grant(
            user=str(actor.user.pk) if actor.user else "system",
            tenant=str(guest.tenant_id),
            guest=str(guest.pk),
            generation=guest.seen_generation,
            kind=tickets.Kind(kind),
            target=socket,
            password=guest.display_password if kind == "vnc" else "",
            session=actor.session,
            origin=origin_of(settings.PUBLIC_URL),
            expires_at=min(filter(None, (now() + LONGEST, actor.until))).timestamp(),
            writable=True,
            log_path=guest.seen_display.get("log", "") if kind == "serial" else "",
        )
        ticket = tickets.issue(console_redis(), grant, ttl_s=TICKET_S, since=since)
    except redis.RedisError as error:
        raise Unreachable(detail=str(error)) from error
    audit_record(actor, "guest.console", guest, kind=kind)
    return ConsoleOpening(
        url=tickets.address(settings.CONSOLE_URL, ticket),
        ticket=ticket,
        expires_at=(now() + timedelta(seconds=TICKET_S)).astimezone(UTC),
        kind=kind,
    )


def console_watchers(guest: Guest) -> list[registry.Watcher]:
    """Who has a console of this guest open; empty when Redis cannot say."""
    try:
        return list(registry.watchers(console_redis(), str(guest.pk)))
    except redis.RedisError:
        return []
