"""Months are billed once they are final; what was issued stays as it is."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from billing.invoicing import after, period_of
from billing.metering import HOUR, LAG
from billing.models import Account, ClosedHour, Closing, ListTurn, Statement
from billing.selectors.records import final_until
from billing.selectors.statements import written
from billing.services.hours import closing_lock
from operations import runner
from tenants.models import Tenant
from tenants.scoping import every_tenant, tenant_scope


def statements_issue() -> int:
    """Issue the statements of every month that is final and not billed yet, oldest first; how many.

    Each is a transaction of its own and says the same whenever it is written: safe to repeat, at once and by several. Who owes
    nothing gets none, and a month in which nothing had a price is not billed.
    """
    done = 0
    while (start := _next_month()) is not None:
        for tenant in _unbilled(start):
            runner.checkpoint("statement.issue:before")
            with tenant_scope(tenant):
                done += _issue(tenant, start, after(start))
        runner.checkpoint("statement.billed:before")
        _billed(after(start))
    return done


def _next_month() -> datetime | None:
    """The first month that is not billed, if it is final."""
    final, turn = final_until(), ListTurn.objects.order_by("since").first()
    first = ClosedHour.objects.order_by("start").values_list("start", flat=True).first()
    if final is None or first is None or turn is None:
        return None
    billed = Closing.objects.values_list("billed_until", flat=True).get()
    start = billed or max(first, turn.since).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return start if after(start) <= final else None


def _unbilled(start: datetime) -> list[Tenant]:
    """Who ever used something and has no statement of that month."""
    with every_tenant(why="months of all tenants are billed"):
        issued = Statement.objects.filter(period=period_of(start)).values("tenant")
        users = Account.objects.filter(record_seq__gt=0).values("tenant")
        return list(Tenant.objects.filter(pk__in=users).exclude(pk__in=issued).order_by("pk"))


@transaction.atomic
def _issue(tenant: Tenant, since: datetime, until: datetime) -> bool:
    content = written(tenant, since, until)
    if not content["lines"]:
        return False
    row = Statement(tenant=tenant, period=period_of(since), content=content, issued_at=until + LAG * HOUR)
    if Statement.objects.filter(tenant=tenant, period=row.period).exists():
        return False
    Statement.objects.bulk_create([row], ignore_conflicts=True)
    return True


@transaction.atomic
def _billed(until: datetime) -> None:
    row = closing_lock()
    if row.billed_until is None or row.billed_until < until:
        row.billed_until = until
        row.save(update_fields=["billed_until"])
