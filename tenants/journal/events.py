"""The outbox: events with a number per tenant that rises in commit order, announced after commit."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction

from portal.core.clock import now, rfc3339
from tenants.journal.ledger import journal_lock
from tenants.journal.models import Event

if TYPE_CHECKING:
    from tenants.actors import Actor
    from tenants.models import Tenant

Looker = Callable[["Actor", "Collection[str]"], "set[str]"]
_lookers: dict[str, Looker] = {}
HIDDEN: Final = "other"
"""How an event calls a thing that its reader may not see."""
_publishers: list[Callable[[Tenant, dict[str, Any]], None]] = []


def publishes(function: Callable[[Tenant, dict[str, Any]], None]) -> Callable[[Tenant, dict[str, Any]], None]:
    """Register who carries committed events to browsers (``operations.events``)."""
    _publishers.append(function)
    return function


def shows(resource_type: str) -> Callable[[Looker], Looker]:
    """Register who says which ids of a type somebody narrowed to tags may see; called in the tenant's scope."""

    def register(function: Looker) -> Looker:
        _lookers[resource_type] = function
        return function

    return register


def events_shown(actor: Actor, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events as ``actor`` may read them; of what they may not see there is the number and the time alone.

    So that nobody misses a number, and nobody learns an id. For who sees every machine, no query.
    """
    if not actor.narrowed:
        return messages
    seen = {
        kind: look(actor, {m["resource"]["id"] for m in messages if m["resource"]["type"] == kind})
        for kind, look in _lookers.items()
        if any(m["resource"]["type"] == kind for m in messages)
    }
    return [_as_seen(message, seen) for message in messages]


def _as_seen(message: dict[str, Any], seen: dict[str, set[str]]) -> dict[str, Any]:
    thing = message["resource"]
    if thing["type"] not in seen or thing["id"] in seen[thing["type"]]:
        return message
    return {**message, "type": f"{HIDDEN}.changed", "resource": {"type": HIDDEN, "id": ""}}


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
