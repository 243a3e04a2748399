"""Which prices hold."""

from __future__ import annotations

from datetime import datetime

from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber

from billing.models import Price
from billing.rating import Prices
from portal.core.clock import now
from portal.core.ports import answers_tariff


def prices_at(moment: datetime) -> QuerySet[Price]:
    """The prices that hold then, of every list: of each meter and word the one that began last."""
    newest = Window(RowNumber(), partition_by=["price_list", "meter", "word"], order_by=F("valid_from").desc())
    return Price.objects.filter(valid_from__lte=moment).annotate(place=newest).filter(place=1)


@answers_tariff
def tariff_now() -> Prices | None:
    """What the default list says today, by one query; None where there is none, or nothing on it yet."""
    rows = list(prices_at(now()).filter(price_list__is_default=True).select_related("price_list"))
    if not rows:
        return None
    return Prices(rows[0].price_list.currency, {(row.meter, row.word): row.amount for row in rows})
