"""Carries committed events to the browsers: one channel group a tenant, and one for a person's or session's end of access."""

from __future__ import annotations

from typing import Any

import redis
import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from tenants.journal.events import publishes
from tenants.models import Tenant, User
from tenants.reactions import reacts

log = structlog.get_logger(__name__)
ACCESS_GROUP = "access"
OPERATIONS_GROUP = "operation.{}"
"""One group an operation, for those who wait for it by REST; the id in hex."""


def tenant_group(tenant: Tenant) -> str:
    """The channel group of a tenant's open pages."""
    return f"tenant.{tenant.pk.hex}"


def _send(group: str, message: dict[str, Any]) -> None:
    """Hand a message to the channel layer; the database row is the truth, so a lost one is caught up by ``?after=``."""
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(group, message)
    except (redis.RedisError, OSError) as error:
        log.warning("event_not_pushed", detail=str(error))


@publishes
def push_event(tenant: Tenant, message: dict[str, Any]) -> None:
    """Tell the tenant's open pages that something changed."""
    _send(tenant_group(tenant), {"type": "event.push", "event": message})
    if message["type"] == "operation.changed":
        _send(OPERATIONS_GROUP.format(message["resource"]["id"].replace("-", "")), {"type": "event.push"})


@reacts("access.revoked")
def push_revocation(*, user: User | None, tenant: Tenant | None, session: str, reason: str) -> None:
    """Tell every open page to check again whether it may stay; each decides for itself."""
    message = {
        "type": "access.check",
        "user": str(user.pk) if user else "",
        "tenant": str(tenant.pk) if tenant else "",
        "session": session,
        "reason": reason,
    }
    transaction.on_commit(lambda: _send(ACCESS_GROUP, message), robust=True)
