"""The audit log: append-only, hash-chained per tenant, and one chain for what operators do outside any.

Secrets never go into ``changes``.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from portal.core.clock import now, rfc3339
from tenants.journal.ledger import installation_journal_lock, journal_lock
from tenants.journal.models import AuditEntry, Deed, InstallationEntry

if TYPE_CHECKING:
    from datetime import datetime

    from tenants.actors import Actor
    from tenants.models import Tenant


class Said(Protocol):
    """What the hash of an entry covers, besides the tenant's id; a row of the log is one."""

    @property
    def seq(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def actor_id(self) -> UUID | None: ...
    @property
    def actor_label(self) -> str: ...
    @property
    def via(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def request_id(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def subject_type(self) -> str: ...
    @property
    def subject_id(self) -> str: ...
    @property
    def subject_name(self) -> str: ...
    @property
    def changes(self) -> Any: ...
    @property
    def prev_hash(self) -> str: ...


def audit_record(
    actor: Actor, action: str, subject: Any = None, *, tenant: Tenant | None = None, **changes: Any
) -> Deed:
    """Write down that ``actor`` did ``action`` to ``subject``; in the transaction of the change.

    ``changes`` are JSON values; a pair ``[before, after]`` for what was edited. What belongs to no tenant (an operator adds a
    flavor) goes to the installation's own chain.
    """
    owner = tenant or actor.tenant or getattr(subject, "tenant", None)
    journal = journal_lock(owner) if owner is not None else installation_journal_lock()
    facts = {
        "seq": journal.audit_seq + 1,
        "at": now(),
        "actor": actor.user,
        "actor_label": actor.label[:254],
        "via": actor.via[:16],
        "address": actor.address,
        "request_id": actor.request_id,
        "action": action,
        "subject_type": subject.__class__.__name__.lower() if subject is not None else "",
        "subject_id": str(getattr(subject, "pk", "") or ""),
        "subject_name": str(getattr(subject, "name", "") or "")[:120],
        "changes": _plain(changes),
        "prev_hash": journal.audit_hash,
    }
    entry: Deed = AuditEntry(tenant=owner, **facts) if owner is not None else InstallationEntry(**facts)
    entry.hash = audit_hash(entry)
    entry.save(force_insert=True)
    journal.audit_seq, journal.audit_hash = entry.seq, entry.hash
    journal.save(update_fields=["audit_seq", "audit_hash"])
    return entry


def _plain(changes: dict[str, Any]) -> Any:
    """JSON that every database gives back as it was written; of fractions each has its own idea, so they are text."""
    return json.loads(json.dumps(changes, default=str), parse_float=str, parse_constant=str)


def audit_said(entry: Said) -> list[Any]:
    """What the hash of an entry covers, in its order."""
    return [
        str(getattr(entry, "tenant_id", "") or ""),
        entry.seq,
        rfc3339(entry.at),
        str(entry.actor_id or ""),
        entry.actor_label,
        entry.via,
        entry.address,
        entry.request_id,
        entry.action,
        entry.subject_type,
        entry.subject_id,
        entry.subject_name,
        entry.changes,
    ]


def audit_hash(entry: Said) -> str:
    """SHA-256 over the previous hash and everything the entry says, as canonical JSON."""
    text = json.dumps([entry.prev_hash, audit_said(entry)], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
