"""What a log can be searched by, the same from a page and from REST; and the log as a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet

from portal.core.clock import rfc3339
from tenants.journal.chain import CHUNK
from tenants.journal.models import Deed

COLUMNS: Final = (
    "seq", "at", "actor", "actor_id", "via", "address", "request_id", "action", "subject_type", "subject_id",
    "subject_name", "changes", "prev_hash", "hash",
)  # fmt: skip
"""What a file of a log holds of each entry; with the tenant's id, all that its hash covers."""
LIVELY: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet would run; source: https://owasp.org/www-community/attacks/CSV_Injection"""


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """Which entries: each word narrows, an empty one does not; ``until`` is exclusive."""

    q: str = ""
    action: str = ""
    actor: str = ""
    subject_type: str = ""
    subject_id: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def condition(self) -> Q:
        """The same for the database. An action is one (``guest.stop``) or all of a noun (``guest.``)."""
        words: dict[str, Any] = {
            "action__startswith" if self.action.endswith(".") else "action": self.action,
            "actor_label__iexact": self.actor,
            "subject_type": self.subject_type,
            "subject_id": self.subject_id,
            "at__gte": self.since,
            "at__lt": self.until,
        }
        found = Q(**{name: value for name, value in words.items() if value})
        if self.q:
            found &= Q(action__icontains=self.q) | Q(subject_name__icontains=self.q) | Q(actor_label__icontains=self.q)
        return found


def entry_facts(entry: Deed) -> dict[str, Any]:
    """An entry as a file shows it."""
    facts = {name: getattr(entry, name) for name in COLUMNS if name not in ("at", "actor", "actor_id")}
    return {**facts, "at": rfc3339(entry.at), "actor": entry.actor_label, "actor_id": str(entry.actor_id or "")}


def audit_lines(rows: QuerySet[Any]) -> Iterator[str]:
    """JSON, an entry a line, oldest first; read from the database in pieces."""
    for entry in rows.order_by("seq").iterator(chunk_size=CHUNK):
        yield json.dumps(entry_facts(entry), ensure_ascii=False) + "\n"


def audit_csv(rows: QuerySet[Any]) -> Iterator[str]:
    """Comma-separated values with a head, oldest first; no cell is one that a spreadsheet would run."""
    writer = csv.DictWriter(_Echo(), COLUMNS)
    yield writer.writer.writerow(COLUMNS)
    for entry in rows.order_by("seq").iterator(chunk_size=CHUNK):
        facts = entry_facts(entry)
        facts["changes"] = json.dumps(facts["changes"], ensure_ascii=False)
        yield writer.writer.writerow([tame(facts[name]) for name in COLUMNS])


def tame(value: Any) -> Any:
    """Text that a spreadsheet shows and does not run: an apostrophe stands before what looks like a formula."""
    if isinstance(value, str) and value.lstrip(" ").startswith(LIVELY):
        return f"'{value}"
    return value


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text
