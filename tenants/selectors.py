"""What pages read of people, tenants and the journal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from django.db.models import Q, QuerySet

from portal.core.clock import now
from portal.core.paging import LIMIT, Page, keyset_page
from tenants.actors import Actor
from tenants.journal.models import AuditEntry
from tenants.journal.search import AuditSearch
from tenants.listings import JOURNAL_SORTS, tokens
from tenants.models import ApiToken, Member, Tenant

DEEPEST: Final = 20
"""Well above how deep tenants may stand: where a search ends that rows in a circle would keep from ending."""
_LINE: Final = """
    WITH RECURSIVE line AS (
        SELECT tenants_tenant.*, 0 AS height FROM tenants_tenant WHERE slug = %s
        UNION ALL
        SELECT above.*, line.height + 1 FROM tenants_tenant above JOIN line ON above.id = line.parent_id WHERE line.height < %s
    )
    SELECT line.*, (SELECT event_seq FROM tenants_journal WHERE tenants_journal.tenant_id = line.id) AS events_at
    FROM line ORDER BY height
"""
"""Every request begins with it, so it is not put together anew each time, nor is each generation asked for by itself."""


def tenant_with_line(slug: str) -> Tenant | None:
    """The tenant of that slug in whatever state, with those above it read: one query, however deep it stands.

    ``events_at`` is the number of its newest event at that moment.
    """
    line = list(Tenant.objects.raw(_LINE, [slug, DEEPEST]))
    for tenant, above in pairwise(line):
        tenant.parent = above
    return line[0] if line else None


def members_of() -> QuerySet[Member]:
    """Who belongs to the scope's tenant, in the order they came."""
    return Member.objects.select_related("user", "role", "tenant").order_by("created_at", "pk")


def tokens_visible(actor: Actor) -> QuerySet[ApiToken]:
    """The living tokens that open this tenant only, and the actor's own that open it among others; newest first."""
    rows = tokens(actor)
    if actor.user is not None:
        rows = rows | ApiToken.objects.filter(tenant=None, user=actor.user).select_related("user", "tenant", "role")
    alive = rows.filter(Q(expires_at=None) | Q(expires_at__gt=now()), revoked_at=None)
    return alive.order_by("-created_at", "-pk")


def audit_page(search: AuditSearch | None = None, *, cursor: str = "", limit: int = LIMIT) -> Page[AuditEntry]:
    """A page of what is looked for in the scope's audit log, or of all of it, newest first."""
    rows = AuditEntry.objects.filter((search or AuditSearch()).condition())
    return keyset_page(rows, sorts=JOURNAL_SORTS, sort="-seq", cursor=cursor, limit=limit)


def audit_of(subject_id: str, *, limit: int) -> list[AuditEntry]:
    """The newest entries about one thing."""
    return list(AuditEntry.objects.filter(subject_id=subject_id).order_by("-seq")[:limit])


def subjects_gone(entries: Sequence[AuditEntry]) -> set[str]:
    """Ids of subjects of ``entries`` that have been removed for good since; one query."""
    named = {entry.subject_id for entry in entries if entry.subject_id}
    removed = AuditEntry.objects.filter(subject_id__in=named, action="guest.purged")
    return set(removed.values_list("subject_id", flat=True))
