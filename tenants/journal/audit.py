"""The audit log: append-only, hash-chained per tenant. Secrets never go into ``changes``."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import structlog

from portal.core.clock import now, rfc3339
from tenants.journal.ledger import journal_lock
from tenants.journal.models import AuditEntry

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from tenants.actors import Actor
    from tenants.models import Tenant


def audit_record(
    actor: Actor, action: str, subject: Any = None, *, tenant: Tenant | None = None, **changes: Any
) -> AuditEntry | None:
    """Write down that ``actor`` did ``action`` to ``subject``; in the transaction of the change.

    ``changes`` are JSON values; a pair ``[before, after]`` for what was edited. Without any tenant (an operator adding a
    flavor) there is no chain to write to: the portal's log has the line, and the operators' site its own record.
    """
    owner = tenant or actor.tenant or getattr(subject, "tenant", None)
    if owner is None:
        log.info(
            "operator_change", action=action, actor=actor.label, via=actor.via, subject=str(subject), changes=changes
        )
        return None
    journal = journal_lock(owner)
    entry = AuditEntry(
        tenant=owner,
        seq=journal.audit_seq + 1,
        at=now(),
        actor=actor.user,
        actor_label=actor.label,
        via=actor.via,
        address=actor.address,
        request_id=actor.request_id,
        action=action,
        subject_type=type(subject).__name__.lower() if subject is not None else "",
        subject_id=str(getattr(subject, "pk", "") or ""),
        subject_name=str(getattr(subject, "name", "") or "")[:120],
        changes=json.loads(json.dumps(changes, default=str)),
        prev_hash=journal.audit_hash,
    )
    entry.hash = audit_hash(entry)
    entry.save(force_insert=True)
    journal.audit_seq, journal.audit_hash = entry.seq, entry.hash
    journal.save(update_fields=["audit_seq", "audit_hash"])
    return entry


def audit_hash(entry: AuditEntry) -> str:
    """SHA-256 over the previous hash and everything the entry says, as canonical JSON."""
    said = [
        str(entry.tenant_id),
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
    text = json.dumps([entry.prev_hash, said], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
