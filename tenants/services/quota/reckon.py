"""What a wish makes of the limits: pure arithmetic over rows that were read, the same for a reservation and for a dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from portal.core.errors import FieldError, OverQuota
from tenants.models import Quota, Tenant
from tenants.services.quota.resources import RESOURCES, Kind, kind_of, resource_name

type Amounts = Mapping[str, int]
type Rows = Mapping[tuple[UUID, str], Quota]
"""By tenant and resource."""
type Rates = Mapping[tuple[UUID, str], int]
"""By tenant and resource: what was used of it within its window."""


@dataclass(frozen=True, slots=True)
class Line:
    """One resource of a tenant before and after a wish; ``limit`` None is no limit.

    Where an ancestor leaves less room than the tenant's own limit, ``limit`` is what that room comes to in the tenant's own
    terms and ``above`` is true: nobody learns what others under the same ancestor use.
    """

    name: str
    before: int
    after: int
    limit: int | None
    above: bool = False

    @property
    def is_short(self) -> bool:
        """Does the wish go past the limit?"""
        return self.limit is not None and self.after > self.limit and self.after > self.before

    def refusal(self) -> OverQuota:
        """The refusal that this line alone would be."""
        words: dict[str, Any] = {"name": resource_name(self.name), "limit": self.limit, "used": self.before}
        words["asked"] = self.after - self.before
        if self.above:
            words["left"] = max(0, (self.limit or 0) - self.before)
            return OverQuota(
                _(
                    "The quota of the project above this one leaves %(left)s for %(name)s, %(asked)s more are asked for."
                ),
                hint=_("Delete something, or ask whoever runs that project."),
                **words,
            )
        if kind_of(self.name) == Kind.EACH:
            return OverQuota(
                _("The quota does not cover this: %(name)s may be at most %(limit)s, %(asked)s are asked for."),
                hint=_("Choose a smaller one, or ask for a larger quota."),
                **words,
            )
        if kind_of(self.name) == Kind.RATE:
            return OverQuota(
                _("At most %(limit)s %(name)s: %(used)s in the last 24 hours, %(asked)s more are asked for."),
                hint=_("Wait, or ask for a larger quota."),
                **words,
            )
        return OverQuota(**words)


def hard_limit(row: Quota, at: datetime) -> int | None:
    """What a row really allows at a moment; None is no limit.

    A grant that has not ended raises the limit. Without one, a soft limit becomes the limit once the tenant has been above
    it for the grace (counted from the grant's end, if one covered it until then).
    """
    if row.grant_until is not None and row.grant_until > at:
        return None if row.limit is None else max(row.limit, row.grant_limit or 0)
    hard_at = soft_hard_at(row)
    if hard_at is not None and hard_at <= at:
        return row.soft_limit
    return row.limit


def soft_hard_at(row: Quota) -> datetime | None:
    """When the soft limit binds, or began to; None while the tenant is not above it."""
    if row.soft_limit is None or row.soft_since is None:
        return None
    since = max(row.soft_since, row.grant_until) if row.grant_until is not None else row.soft_since
    hard_at: datetime = since + settings.QUOTA_GRACE
    return hard_at


def reckon(lineage: Sequence[Tenant], rows: Rows, amounts: Amounts, rates: Rates, at: datetime) -> list[Line]:
    """``amounts`` held against every limit of ``lineage`` (root first, the asking tenant last), one line a resource.

    ``rows`` are those that exist; a missing one limits nothing. ``rates`` is what was used of rates in their window.
    """
    order = {name: number for number, name in enumerate(RESOURCES)}
    names = sorted(amounts, key=lambda name: (order.get(name, len(order)), name))
    return [_line(lineage, rows, name, amounts[name], rates, at) for name in names]


def _line(lineage: Sequence[Tenant], rows: Rows, name: str, amount: int, rates: Rates, at: datetime) -> Line:
    own = lineage[-1]
    before = _in_use(own, rows, name, rates)
    limit, above = None, False
    for tenant in reversed(lineage):
        row = rows.get((tenant.pk, name))
        hard = hard_limit(row, at) if row is not None else None
        if hard is None:
            continue
        room = before + hard - _in_use(tenant, rows, name, rates)
        if limit is None or room < limit:
            limit, above = max(0, room), tenant is not own
    return Line(name, before, before + amount, limit, above)


def _in_use(tenant: Tenant, rows: Rows, name: str, rates: Rates) -> int:
    kind = kind_of(name)
    if kind == Kind.RATE:
        return rates.get((tenant.pk, name), 0)
    row = rows.get((tenant.pk, name))
    return row.used if row is not None and kind == Kind.HELD else 0


def refuse_short(found: Sequence[Line]) -> None:
    """Raise ``OverQuota`` naming every line that is short, the first in the sentence."""
    short = [line for line in found if line.is_short]
    if not short:
        return
    refusal = short[0].refusal()
    refusal.errors = tuple(FieldError(f"/quota/{line.name}", "over_quota", line.refusal().sentence) for line in short)
    raise refusal
