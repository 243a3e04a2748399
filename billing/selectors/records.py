"""Usage records: as they stand, as they were written, and which of them are final."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from django.db.models import Exists, F, OuterRef, QuerySet

from billing.metering import HOUR, LAG, Standing, hour_of
from billing.models import ClosedHour, Closing, UsageRecord
from billing.selectors.ledger import CHUNK

NEVER: Final = 2**63 - 1
"""Above every id."""


def closed_until() -> datetime | None:
    """The end of the last hour that is closed; None before the first."""
    return Closing.objects.values_list("until", flat=True).first()


def final_until() -> datetime | None:
    """What ends by then is final: it is the same for ever, and changes only by corrections."""
    until = closed_until()
    return None if until is None else until - LAG * HOUR


def standing_in(since: datetime, until: datetime, **of: Any) -> Iterator[Standing]:
    """Of each record that begins in [``since``, ``until``) the newest revision, by resource; a void one, too."""
    rows = UsageRecord.objects.filter(window_start__gte=since, window_start__lt=until, **of)
    return standing_of(rows)


def standing_of(rows: QuerySet[UsageRecord]) -> Iterator[Standing]:
    """Of each record of ``rows`` the newest revision among them, by resource; one resource at a time in memory."""
    newest: dict[Any, Standing] = {}
    at = None
    for row in rows.order_by("resource_id", "revision").iterator(chunk_size=CHUNK):
        if row.resource_id != at:
            yield from newest.values()
            newest, at = {}, row.resource_id
        newest[row.key] = row.standing
    yield from newest.values()


def written_by(hour: ClosedHour) -> QuerySet[UsageRecord]:
    """What the closing of ``hour`` wrote, in the order it did."""
    return UsageRecord.objects.filter(id__gte=hour.first_id, id__lte=hour.last_id).order_by("id")


def as_closed(rows: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
    """Of ``rows`` what held when their hours became final (or holds so far): no corrections, nothing superseded or void."""
    later = UsageRecord.objects.filter(
        resource_id=OuterRef("resource_id"),
        meter=OuterRef("meter"),
        window_start=OuterRef("window_start"),
        revision=OuterRef("revision") + 1,
        correction=False,
    )
    return rows.filter(correction=False, window_end__gt=F("window_start")).exclude(Exists(later))


def first_unfinal() -> int | None:
    """The id below which every record is final; None where nothing has been closed."""
    until = final_until()
    return None if until is None else first_id_of(until)


def first_id_of(moment: datetime) -> int:
    """No record of the hour of ``moment``, nor of a later one, has a smaller id than this."""
    hours = ClosedHour.objects.filter(start__gte=hour_of(moment)).order_by("start")
    first = hours.values_list("first_id", flat=True).first()
    return NEVER if first is None else first


def hours_closed(since: datetime, until: datetime) -> Iterable[ClosedHour]:
    """The closed hours that begin in [``since``, ``until``), one after another."""
    return ClosedHour.objects.filter(start__gte=since, start__lt=until).order_by("start").iterator(chunk_size=CHUNK)
