"""Carries committed events to the browsers: one channel group a tenant, and one for a person's or session's end of access."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from operations import publisher
from tenants.journal.events import publishes
from tenants.models import Tenant, User
from tenants.reactions import reacts

ACCESS_GROUP = "access"
OPERATIONS_GROUP = "operation.{}"
"""One group an operation, for those who wait for it by REST; the id in hex."""


def tenant_group(tenant: Tenant) -> str:
    """The channel group of a tenant's open pages."""
    return f"tenant.{tenant.pk.hex}"


@publishes
def push_event(tenant: Tenant, message: dict[str, Any]) -> None:
    """Tell the tenant's open pages that something changed."""
    publisher.send(tenant_group(tenant), {"type": "event.push", "event": message})
    if message["type"] == "operation.changed":
        publisher.send(OPERATIONS_GROUP.format(message["resource"]["id"].replace("-", "")), {"type": "event.push"})


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
    transaction.on_commit(lambda: publisher.send(ACCESS_GROUP, message), robust=True)
