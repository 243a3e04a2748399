"""Soft limits: above one a tenant is warned, and after the grace it binds."""

from __future__ import annotations

from datetime import datetime

from django.urls import reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from tenants.models import NoticeKind, Quota, Tenant
from tenants.policy import Permission
from tenants.services.notices import notice_send
from tenants.services.quota.reckon import soft_hard_at
from tenants.services.quota.resources import resource_words


def soft_watch(tenant: Tenant, row: Quota, at: datetime) -> None:
    """Note that ``row`` went above its soft limit, or below it again; call after every change, under the gates.

    Whoever may ask for more is told of going above, once, in the same transaction.
    """
    above = row.soft_limit is not None and row.used > row.soft_limit
    if above == (row.soft_since is not None):
        return
    row.soft_since = at if above else None
    row.save(update_fields=["soft_since"])
    hard_at = soft_hard_at(row)
    if hard_at is None:
        return
    notice_send(
        tenant,
        Permission.QUOTA_REQUEST,
        NoticeKind.QUOTA,
        subject=format_lazy(
            _("{tenant} is above its soft limit: {name}"), tenant=tenant.name, name=resource_words(row.resource)
        ),
        text=format_lazy(
            _("{used} are in use and {limit} are meant to be. From {day} on nothing more can be added above that."),
            used=row.used,
            limit=row.soft_limit,
            day=hard_at.date().isoformat(),
        ),
        url=reverse("tenants:quota", args=[tenant.slug]),
    )
