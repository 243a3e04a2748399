"""Is what was recorded what the ledger says? Counted again, another way: unique, without gap or overlap, to the second."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import Count, Max

from billing.anchor import anchor_read
from billing.invoicing import month
from billing.metering import HOUR, Span, Standing, Window, beside, line_of, text_of, windows
from billing.models import Account, ClosedHour, Closing, ListTurn, Statement, UsageRecord
from billing.models.records import START_DIGEST
from billing.selectors.ledger import late_since, spans
from billing.selectors.records import closed_until, final_until, hours_closed, standing_in, written_by
from billing.selectors.statements import written
from tenants.journal.guard import missing
from tenants.models import Tenant

MOST: Final = 100
"""So many findings are told; what is wrong everywhere need not be said of each."""
GUARDS: Final = {"postgresql": ("written_once", "never_emptied"), "sqlite": ("no_change", "no_loss", "no_replacement")}


@dataclass(slots=True)
class Proof:
    """What a look at [``since``, ``until``) found; ``digest`` is of every record that stands there, to be kept and compared.

    ``pending``: things of which something was written down that the next closings record.
    """

    since: datetime
    until: datetime
    records: int = 0
    resources: int = 0
    seconds: int = 0
    pending: int = 0
    digest: str = ""
    findings: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Nothing was found."""
        return not self.findings

    def find(self, sentence: str) -> None:
        """One more finding, up to ``MOST``."""
        if len(self.findings) < MOST:
            self.findings.append(sentence)


def prove(since: datetime, until: datetime, tenant: Tenant | None = None) -> Proof:
    """Count the closed part of [``since``, ``until``) again, of one tenant or (None, in every tenant's scope) of all.

    Begins and ends at full hours. Reads each record once, one thing at a time in memory.
    """
    closed = closed_until()
    proof = Proof(since, max(since, min(until, closed)) if closed is not None else since)
    of: dict[str, Any] = {} if tenant is None else {"tenant": tenant}
    lately, final = _late(), final_until() or since
    digest = hashlib.sha256()
    sides = beside(standing_in(proof.since, proof.until, **of), spans(proof.since, proof.until, **of))
    for pk, standing, held in sides:
        proof.resources += 1
        _resource(proof, pk, standing, held, firm=since if pk in lately else final)
        for each in sorted(standing, key=lambda each: each.window.key):
            digest.update(line_of(each.window, revision=each.revision, correction=False))
    proof.digest = digest.hexdigest()
    _numbers(proof, of)
    _statements(proof, of)
    return proof


def prove_closings(since: datetime, until: datetime) -> list[str]:
    """Are the closings of these hours what their chained digests say, and the newest the one that was kept outside?"""
    found = [
        f"the database does not guard what was recorded: trigger {name} is missing or off" for name in _unguarded()
    ]
    before = ClosedHour.objects.filter(start__lt=since).order_by("-start").first()
    digest, last, at = (START_DIGEST, 0, None) if before is None else (before.digest, before.last_id, before.start)
    for hour in hours_closed(since, until):
        if at is not None and hour.start != at + HOUR:
            found.append(f"between {text_of(at)} and {text_of(hour.start)} hours are missing")
        chain = hashlib.sha256(digest.encode())
        for row in written_by(hour).iterator(chunk_size=5000):
            chain.update(line_of(row.standing.window, revision=row.revision, correction=row.correction))
        if chain.hexdigest() != hour.digest or hour.first_id != last + 1:
            found.append(f"what the closing of {text_of(hour.start)} wrote is not what is there")
        digest, last, at = hour.digest, hour.last_id, hour.start
    return [*found, *_anchored()]


def _anchored() -> list[str]:
    closing = Closing.objects.first() or Closing()
    kept = anchor_read()
    if kept is None:
        return []
    hour = ClosedHour.objects.filter(start=kept.until - HOUR).first()
    if closing.until is None or kept.until > closing.until:
        return [
            f"the database was restored from a copy: hours were closed until {text_of(kept.until)}, and it ends before"
        ]
    if hour is None or hour.digest != kept.digest:
        return [f"the database was restored from a copy: it closed the hour before {text_of(kept.until)} otherwise"]
    return []


def _unguarded() -> list[str]:
    tables = [model._meta.db_table for model in (UsageRecord, ClosedHour, ListTurn, Statement)]
    return missing({f"{table}_{kind}" for table in tables for kind in GUARDS[connection.vendor]})


def _late() -> set[UUID]:
    """Of what something was written down late since the newest hour was closed."""
    newest = ClosedHour.objects.order_by("-start").values_list("closed_at", flat=True).first()
    return set() if newest is None else set(late_since(newest - timedelta(minutes=1)))


def _resource(proof: Proof, pk: UUID, standing: list[Standing], held: list[Span], *, firm: datetime) -> None:
    """One thing; what begins from ``firm`` on may still be written otherwise."""
    derived = {window.key: window for window in windows(held, proof.since, proof.until)}
    real = {each.window.key: each.window for each in standing if each.window.end > each.window.start}
    proof.records += len(real)
    proof.seconds += sum(_seconds(window) for window in real.values())
    differing = [key for key in derived.keys() | real.keys() if derived.get(key) != real.get(key)]
    wrong = [key for key in differing if key[2] < firm]
    proof.pending += bool(differing) and not wrong
    for key in sorted(wrong):
        proof.find(
            f"{key[1]} of {pk} from {text_of(key[2])}: {_said(real.get(key))}, and the ledger says {_said(derived.get(key))}"
        )
    if not differing:
        _lifetime(proof, pk, list(real.values()), held)


def _lifetime(proof: Proof, pk: UUID, real: list[Window], held: list[Span]) -> None:
    """The windows of each meter follow each other, and sum up to the time that it was in use, and to how much."""
    by_meter: defaultdict[str, list[Window]] = defaultdict(list)
    for window in real:
        by_meter[window.meter].append(window)
    for meter, rows in by_meter.items():
        rows.sort(key=lambda window: window.start)
        for before, after in pairwise(rows):
            if before.end > after.start:
                proof.find(f"{meter} of {pk}: windows overlap at {text_of(after.start)}")
        lives = [_life(span, proof) for span in held if span.meter == meter]
        recorded = sum(map(_seconds, rows)), sum(window.amount for window in rows)
        real_life = sum(seconds for seconds, _amount in lives), sum(amount for _seconds, amount in lives)
        if recorded != real_life:
            proof.find(f"{meter} of {pk}: {recorded} seconds and units are recorded, its life has {real_life}")


def _life(span: Span, proof: Proof) -> tuple[int, int]:
    end = proof.until if span.ended is None else min(span.ended, proof.until)
    seconds = int((end - max(span.started, proof.since)).total_seconds())
    return seconds, seconds * span.quantity


def _seconds(window: Window) -> int:
    return (window.end - window.start) // timedelta(seconds=1)


def _said(window: Window | None) -> str:
    if window is None:
        return "nothing"
    return f"{window.amount} until {text_of(window.end)} {dict(window.attributes)}"


def _statements(proof: Proof, of: dict[str, Any]) -> None:
    """What was issued for months that end by then is what their records come to, in every line and sum."""
    for row in Statement.objects.filter(**of).select_related("tenant").order_by("tenant", "period"):
        since, until = month(row.period)
        if proof.since < until <= proof.until and row.content != written(row.tenant, since, until):
            proof.find(f"the statement of {row.tenant.slug} for {row.period} is not what its records come to")


def _numbers(proof: Proof, of: dict[str, Any]) -> None:
    """Each tenant's records are numbered from one on without a gap."""
    rows = UsageRecord.objects.filter(**of).values_list("tenant").annotate(Count("id"), Max("seq"))
    known = dict(Account.objects.filter(**of).values_list("tenant", "record_seq"))
    counted = {tenant: (count, newest) for tenant, count, newest in rows}
    for tenant, seq in sorted(known.items()):
        if counted.get(tenant, (0, 0)) != (seq, seq):
            proof.find(f"records of {tenant} are not numbered from 1 to {seq}")
