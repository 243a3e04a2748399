"""What tenants were told that they owe, and by which lists."""

from __future__ import annotations

from typing import Any

from django.db import models

from billing.models.prices import PriceList
from tenants.scoping import TenantOwned


class ListTurn(models.Model):
    """From ``since`` until the next turn this list's prices are everybody's; never changed: the past keeps its prices."""

    since = models.DateTimeField(primary_key=True)
    price_list = models.ForeignKey(PriceList, on_delete=models.PROTECT, related_name="+")


class Statement(TenantOwned):
    """What a tenant used in a month (``period``, ``2026-03``) and owes for it, as it was issued; never changed nor deleted.

    ``content`` is what REST answers. Triggers of migration 0005 refuse every change.
    """

    period = models.CharField(max_length=7)
    content: models.JSONField[Any, Any] = models.JSONField()
    issued_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "period", name="statement_once_a_month")]
