"""The usage ledger: one interval closes and the next opens in the transaction that changes what is in use."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from tenants.journal.models import UsageInterval
from tenants.models import Tenant


def usage_switch(
    tenant: Tenant, *, resource_type: str, resource_id: UUID, meter: str, quantity: int, at: datetime, **attributes: Any
) -> None:
    """From ``at`` on, the resource uses ``quantity`` of ``meter``; zero closes the interval.

    Seconds are whole: ``at`` is cut to the second, so intervals join without a gap. Repeating with the same quantity and
    attributes changes nothing.
    """
    at = at.replace(microsecond=0)
    open_now = (
        UsageInterval.objects.select_for_update()
        .filter(tenant=tenant, resource_id=resource_id, meter=meter, ended_at=None)
        .first()
    )
    if open_now is not None:
        if open_now.quantity == quantity and open_now.attributes == attributes:
            return
        at = max(at, open_now.started_at)
        open_now.ended_at = at
        open_now.save(update_fields=["ended_at"])
    if quantity:
        UsageInterval.objects.create(
            tenant=tenant,
            resource_type=resource_type,
            resource_id=resource_id,
            meter=meter,
            quantity=quantity,
            attributes=attributes,
            started_at=at,
        )
