"""Hours are closed one after another: their records are written once, and what turns out later in new revisions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import batched
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext_lazy as _

from billing.anchor import Anchor, anchor_read, anchor_write
from billing.metering import HOUR, LAG, Standing, beside, hour_of, line_of, revisions, windows
from billing.models import Account, ClosedHour, Closing, UsageRecord
from billing.selectors.ledger import first_moment, late_since, spans
from billing.selectors.records import standing_in, standing_of, written_by
from operations import runner
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.scoping import every_tenant

log = structlog.get_logger(__name__)
GRACE: Final = timedelta(minutes=5)
"""So long after its end an hour is closed: what happened in it is written down by then."""
BATCH: Final = 2000
LOOKED_BACK: Final = timedelta(days=3)
"""What was written late within this before an hour's end is looked at again when the hour is closed."""


class DatabaseIsOlder(Conflict):
    """Hours were closed of which this database knows nothing: it was restored from a copy."""

    code = "usage_database_older"
    message = _("The database is older than the usage that was closed with it: it was restored from a copy.")
    hint = _("Compare bills that went out since, then go on with: manage.py verify_usage --accept-restored.")


def hours_close(*, at: datetime, most: int | None = None) -> int:
    """Close every hour that is over by ``at`` and not closed yet, oldest first, at most ``most``; how many.

    Safe to repeat, at once and by several: each hour is one transaction under one lock, and a death leaves nothing of it.
    Raises ``DatabaseIsOlder``.
    """
    done = 0
    while most is None or done < most:
        with every_tenant(why="usage of all tenants is closed alike"):
            anchor = hour_close(at=at)
        if anchor is None:
            break
        runner.checkpoint("usage.close:anchor:before")
        anchor_write(anchor)
        runner.checkpoint("usage.close:anchor:after")
        done += 1
    return done


@transaction.atomic
def hour_close(*, at: datetime) -> Anchor | None:
    """Close the next hour, if it is over by ``at``; how far that is then, None where none was due."""
    closing = closing_lock()
    refuse_older(closing)
    start = closing.until or _first_hour()
    if start is None or start + HOUR + GRACE > at:
        return None
    writer = Writer(closing.digest, recorded_at=start + HOUR)
    writer.write(Standing(window, 1) for window in windows(spans(start, start + HOUR), start, start + HOUR))
    runner.checkpoint("usage.close:hour:after")
    final = start - LAG * HOUR
    writer.write(_became_final(final))
    runner.checkpoint("usage.close:final:after")
    writer.write(_corrections(late_since(start + HOUR - LOOKED_BACK), upto=final + HOUR), correction=True)
    runner.checkpoint("usage.close:corrections:after")
    digest = writer.finish()
    ClosedHour.objects.create(
        start=start, first_id=writer.before + 1, last_id=writer.last_id(), digest=digest, closed_at=now()
    )
    closing.until, closing.digest = start + HOUR, digest
    closing.save(update_fields=["until", "digest"])
    runner.checkpoint("usage.close:hour:before_commit")
    return Anchor(closing.until, closing.digest)


def closing_lock() -> Closing:
    """The row of whoever closes hours, locked until the transaction ends."""
    row = Closing.objects.select_for_update().first()
    if row is None:
        Closing.objects.get_or_create(pk=1)
        row = Closing.objects.select_for_update().get(pk=1)
    return row


def refuse_older(closing: Closing) -> None:
    """Raise ``DatabaseIsOlder`` where what was kept outside the database is not in it."""
    anchor = anchor_read()
    if anchor is not None and is_older(closing, anchor):
        raise DatabaseIsOlder


def is_older(closing: Closing, anchor: Anchor) -> bool:
    """Does the database not know the hour that was closed last, or another one of that name?"""
    if closing.until is None or anchor.until > closing.until:
        return True
    digest = ClosedHour.objects.filter(start=anchor.until - HOUR).values_list("digest", flat=True).first()
    return digest != anchor.digest


@transaction.atomic
def restored_accept(*, actor: Actor) -> Anchor | None:
    """An operator knows that the database was restored: hours are closed again from what it knows. Safe to repeat."""
    actor.require(Permission.OPERATE)
    closing, kept = closing_lock(), anchor_read()
    anchor = Anchor(closing.until, closing.digest) if closing.until is not None else None
    if kept is None or not is_older(closing, kept):
        return anchor
    known = closing.until.isoformat() if closing.until is not None else ""
    audit_record(actor, "usage.accept_restored", None, closed_before=kept.until.isoformat(), known=known)
    return anchor


def _first_hour() -> datetime | None:
    moment = first_moment()
    return None if moment is None else hour_of(moment)


def _became_final(start: datetime) -> Iterator[Standing]:
    """What is to be written so that the hour that becomes final says what the ledger says of it now."""
    hour = ClosedHour.objects.filter(start=start).first()
    if hour is None:
        return
    rows = written_by(hour).filter(window_start__gte=start)
    for _pk, standing, derived in beside(standing_of(rows), windows(spans(start, start + HOUR), start, start + HOUR)):
        yield from revisions(standing, derived)


def _corrections(late: dict[UUID, datetime], *, upto: datetime) -> Iterator[Standing]:
    """What is to be written of hours that are final, for the things of which something was written down late."""
    for pk, earliest in sorted(late.items()):
        since = hour_of(earliest)
        if since < upto:
            derived = windows(spans(since, upto, resource_id=pk), since, upto)
            yield from revisions(standing_in(since, upto, resource_id=pk), derived)


class Writer:
    """Writes the records of one closing, with the numbers of their tenants and the digest of it all."""

    def __init__(self, digest: str, *, recorded_at: datetime) -> None:
        self.recorded_at = recorded_at
        self.before = _newest_id()
        self.hash = hashlib.sha256(digest.encode())
        self.seqs: dict[Any, int] = dict(Account.objects.values_list("tenant_id", "record_seq"))
        self.known = dict(self.seqs)

    def write(self, found: Iterable[Standing], *, correction: bool = False) -> None:
        """Every one of ``found``, in its order, a few thousand at once."""
        for some in batched(found, BATCH):
            UsageRecord.objects.bulk_create([self._record(each, correction) for each in some])

    def _record(self, each: Standing, correction: bool) -> UsageRecord:
        window = each.window
        self.hash.update(line_of(window, revision=each.revision, correction=correction))
        seq = self.seqs[window.tenant] = self.seqs.get(window.tenant, 0) + 1
        return UsageRecord(
            tenant_id=window.tenant, seq=seq, resource_type=window.resource_type, resource_id=window.resource,
            meter=window.meter, window_start=window.start, window_end=window.end, quantity=window.amount,
            attributes=window.attributes, revision=each.revision, correction=correction, recorded_at=self.recorded_at,
        )  # fmt: skip

    def finish(self) -> str:
        """Keep the tenants' newest numbers; the digest of everything up to here."""
        moved = {tenant: seq for tenant, seq in self.seqs.items() if self.known.get(tenant) != seq}
        rows = [Account(tenant_id=tenant, record_seq=seq) for tenant, seq in sorted(moved.items())]
        Account.objects.bulk_create(
            rows, batch_size=BATCH, update_conflicts=True, unique_fields=["tenant"], update_fields=["record_seq"]
        )
        return self.hash.hexdigest()

    def last_id(self) -> int:
        """The newest id there is; without records, that of before."""
        return _newest_id()


def _newest_id() -> int:
    return UsageRecord.objects.aggregate(newest=Max("id"))["newest"] or 0
