"""Telling the pages that an operation moved."""

from __future__ import annotations

from operations.models import Operation
from tenants.journal.events import event_append
from tenants.scoping import tenant_scope


def announce(operation: Operation) -> None:
    """Tell the tenant's pages; an operation without a tenant has nobody to tell."""
    if operation.tenant is None:
        return
    with tenant_scope(operation.tenant):
        event_append(operation.tenant, "operation.changed", "operation", operation.pk)
