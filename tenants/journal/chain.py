"""Is an audit log still what was written? Read from one end to the other, in little memory, one query for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final, cast

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tenants.journal.audit import Said, audit_hash
from tenants.journal.models import AuditEntry, Chain, InstallationEntry, InstallationJournal, Journal
from tenants.models import Tenant

CHUNK: Final = 2000
COLUMNS: Final = (
    "seq", "at", "actor_id", "actor_label", "via", "address", "request_id", "action", "subject_type", "subject_id",
    "subject_name", "changes", "prev_hash", "hash",
)  # fmt: skip


class Fault(StrEnum):
    """What is wrong with a log."""

    CHANGED = "changed"
    MISSING = "missing"
    ADDED = "added"
    ANCHOR_DIFFERS = "anchor_differs"
    ANCHOR_FORGOTTEN = "anchor_forgotten"


SENTENCES: Final[dict[Fault, str | Promise]] = {
    Fault.CHANGED: _("Entry %(place)d is not what was written, or an earlier one was replaced."),
    Fault.MISSING: _("Entry %(place)d is missing."),
    Fault.ADDED: _("Entry %(place)d was added without the portal."),
    Fault.ANCHOR_DIFFERS: _("Entry %(place)d does not have the hash that you kept: the log was rewritten."),
    Fault.ANCHOR_FORGOTTEN: _("Entry %(place)d is older than what is kept, so that it cannot be compared."),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a chain: the number of an entry and its hash; keep one to compare with later."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at a log found: whole from ``start`` to ``end``, or the first ``fault`` and the entry it is at.

    ``more``: the look stopped at its limit; go on from ``end``.
    """

    start: Mark
    end: Mark
    fault: Fault | None = None
    place: int = 0
    more: bool = False

    @property
    def is_whole(self) -> bool:
        """Nothing was found."""
        return self.fault is None

    @property
    def sentence(self) -> str:
        """The fault for people; empty where there is none."""
        return str(SENTENCES[self.fault]) % {"place": self.place} if self.fault is not None else ""


def chain_verify(tenant: Tenant | None, *, after: Mark | None = None, limit: int | None = None) -> Verdict:
    """Follow the chain of ``tenant`` (None: the installation's) from the last entry that retention let go, or from ``after``.

    ``after`` is a place that somebody kept earlier: the entry must still have that hash. ``limit`` bounds how many entries
    are looked at. Entries written meanwhile do no harm. Tenants' entries need their tenant's scope, or every tenant's.
    """
    while True:
        journal = _journal(tenant)
        verdict = _follow(tenant, journal, after=after, limit=limit)
        if verdict.is_whole or _journal(tenant).audit_floor == journal.audit_floor:
            return verdict
        # Retention let entries go while we read: look again from where the log begins now.


def _journal(tenant: Tenant | None) -> Chain:
    if tenant is None:
        return InstallationJournal.objects.first() or InstallationJournal()
    return Journal.objects.filter(tenant=tenant).first() or Journal()


def _rows(tenant: Tenant | None) -> Any:
    rows: Any = AuditEntry.objects.filter(tenant=tenant) if tenant is not None else InstallationEntry.objects.all()
    columns = (*COLUMNS, "tenant_id") if tenant is not None else COLUMNS
    return rows.order_by("seq").values_list(*columns, named=True)


def _follow(tenant: Tenant | None, journal: Chain, *, after: Mark | None, limit: int | None) -> Verdict:
    start = after or Mark(journal.audit_floor, journal.audit_floor_hash)
    fault = _anchor_fault(tenant, journal, after) if after is not None else None
    if fault is not None:
        return Verdict(start, start, fault, start.seq)
    end, newest = start, Mark(journal.audit_seq, journal.audit_hash)
    rows = _rows(tenant).filter(seq__gt=start.seq).iterator(chunk_size=CHUNK)
    for row in islice(rows, limit):
        if row.seq != end.seq + 1:
            return Verdict(start, end, Fault.MISSING, end.seq + 1)
        if row.seq > newest.seq:
            now_at = _journal(tenant)
            newest = Mark(now_at.audit_seq, now_at.audit_hash)
            if row.seq > newest.seq:
                return Verdict(start, end, Fault.ADDED, row.seq)
        if row.prev_hash != end.hash or not _is_true(row) or (row.seq == newest.seq and row.hash != newest.hash):
            return Verdict(start, end, Fault.CHANGED, row.seq)
        end = Mark(row.seq, row.hash)
    if limit is not None and end.seq == start.seq + limit and end.seq < newest.seq:
        return Verdict(start, end, more=True)
    if end.seq < newest.seq:
        return Verdict(start, end, Fault.MISSING, end.seq + 1)
    return Verdict(start, end)


def _anchor_fault(tenant: Tenant | None, journal: Chain, after: Mark) -> Fault | None:
    if after.seq < journal.audit_floor:
        return Fault.ANCHOR_FORGOTTEN
    if after.seq == journal.audit_floor:
        return None if after.hash == journal.audit_floor_hash else Fault.ANCHOR_DIFFERS
    row = _rows(tenant).filter(seq=after.seq).first()
    return None if row is not None and row.hash == after.hash and _is_true(row) else Fault.ANCHOR_DIFFERS


def _is_true(row: Any) -> bool:
    return bool(row.hash == audit_hash(cast("Said", row)))
