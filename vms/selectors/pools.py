"""Storage pools with what is sold of them."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from vms.models import StoragePool, Volume


def pools_shown() -> QuerySet[StoragePool]:
    """Every pool with ``sold_gib``, of what is shared that of all hosts together; needs a scope of all tenants."""
    volumes = Volume.objects.order_by()
    own = _sums(volumes.filter(pool=OuterRef("pk")), "pool")
    shared = _sums(volumes.filter(pool__share=OuterRef("share")).exclude(pool__share=""), "pool__share")
    sold = Coalesce(Subquery(shared), Subquery(own), 0)
    return StoragePool.objects.select_related("host", "storage_class").annotate(sold_gib=sold)


def _sums(volumes: QuerySet[Volume], by: str) -> QuerySet[Any, Any]:
    rows: QuerySet[Any, Any] = volumes.values(by).annotate(sold=Sum("size_gib"))
    return rows.values("sold")
