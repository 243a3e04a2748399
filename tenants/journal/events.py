"""The outbox: events with a number per tenant that rises in commit order, announced after commit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction

from portal.core.clock import now, rfc3339
from tenants.journal.ledger import journal_lock
from tenants.journal.models import Event

if TYPE_CHECKING:
    from tenants.models import Tenant

_publishers: list[Callable[[Tenant, dict[str, Any]], None]] = []


def publishes(function: Callable[[Tenant, dict[str, Any]], None]) -> Callable[[Tenant, dict[str, Any]], None]:
    """Register who carries committed events to browsers (``operations.events``)."""
    _publishers.append(function)
    return function


def event_append(tenant: Tenant, kind: str, resource_type: str, resource_id: Any) -> Event:
    """Write that a thing changed; must run inside the transaction of the change. Announced on commit."""
    journal = journal_lock(tenant)
    journal.event_seq += 1
    journal.save(update_fields=["event_seq"])
    event = Event.objects.create(
        tenant=tenant,
        seq=journal.event_seq,
        type=kind,
        resource_type=resource_type,
        resource_id=str(resource_id),
        at=now(),
    )
    message = event_message(event)
    for publish in _publishers:
        transaction.on_commit(partial(publish, tenant, message), robust=True)
    return event


def event_message(event: Event) -> dict[str, Any]:
    """The event as browsers and REST see it."""
    return {
        "seq": event.seq,
        "type": event.type,
        "resource": {"type": event.resource_type, "id": event.resource_id},
        "at": rfc3339(event.at),
    }
