"""Everything a tenant has, to take along: JSON lines, written as they are read, without secrets.

The first line says what the file holds, the last one (``{"end": true, "lines": N}``) that nothing is missing. Between them each
line is ``{"section": NAME, …}``. The rooms above register their own sections.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

from django.db import transaction

from portal.core.clock import now, rfc3339
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.counters import UsageCount
from tenants.journal.models import AuditEntry, UsageInterval
from tenants.journal.search import entry_facts
from tenants.models import ApiToken, Invitation, Member, Quota, Role, Tenant
from tenants.policy import Permission
from tenants.scoping import tenant_scope

FORMAT: Final = "guesthouse-tenant-export/1"
CHUNK: Final = 500

Facts = dict[str, Any]
Rows = Callable[[Tenant, Actor], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Section:
    """A kind of thing that a tenant has, and what one must be allowed in order to read it."""

    name: str
    permission: Permission
    rows: Rows


_sections: dict[str, Section] = {}


def exports(name: str, permission: Permission) -> Callable[[Rows], Rows]:
    """Register a section; its function gives a row after the other, is called in the tenant's scope, and names no secret."""

    def register(rows: Rows) -> Rows:
        _sections[name] = Section(name, permission, rows)
        return rows

    return register


@transaction.atomic
def tenant_export(tenant: Tenant, *, actor: Actor) -> Iterator[str]:
    """The lines of a tenant's export: every section that ``actor`` may read; the others are named in the first line.

    Written down in the audit log, since data leaves. The lines are read later, in the tenant's scope, in pieces.
    """
    actor.require(Permission.TENANT_EXPORT)
    sections = [section for section in _sections.values() if actor.may(section.permission)]
    without = sorted(set(_sections) - {section.name for section in sections})
    audit_record(actor, "tenant.export", tenant, tenant=tenant, without=without)
    head = {
        "format": FORMAT,
        "tenant": tenant.slug,
        "at": rfc3339(now()),
        "sections": [section.name for section in sections],
        "without": without,
    }
    return _lines(head, tenant, actor, sections)


def _lines(head: Facts, tenant: Tenant, actor: Actor, sections: list[Section]) -> Iterator[str]:
    yield _line(head)
    count = 0
    for section in sections:
        for facts in _in_pieces(section, tenant, actor):
            count += 1
            yield _line({"section": section.name, **facts})
    yield _line({"end": True, "lines": count})


def _in_pieces(section: Section, tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    """The rows of a section; the scope is open only while they are read, never while the reader is waited for."""
    with tenant_scope(tenant):
        rows = iter(section.rows(tenant, actor))
    while True:
        with tenant_scope(tenant):
            piece = list(islice(rows, CHUNK))
        if not piece:
            return
        yield from piece


def _line(facts: Facts) -> str:
    return json.dumps(facts, default=_plain, ensure_ascii=False) + "\n"


def _plain(value: object) -> str:
    return str(rfc3339(value) if isinstance(value, datetime) else value)


@exports("project", Permission.TENANT_VIEW)
def _project(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    columns = ("id", "slug", "name", "state", "state_since", "state_reason", "purge_after", "timezone", "language")
    facts = {name: getattr(tenant, name) for name in (*columns, "bin_days", "require_second_factor", "created_at")}
    yield {**facts, "parent": tenant.parent.slug if tenant.parent is not None else None}


@exports("quota", Permission.QUOTA_VIEW)
def _quota(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    columns = ("resource", "limit", "soft_limit", "grant_limit", "grant_until", "used")
    yield from Quota.objects.filter(tenant=tenant).order_by("resource").values(*columns)


@exports("roles", Permission.MEMBER_VIEW)
def _roles(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = Role.objects.filter(tenant=tenant).order_by("name")
    yield from rows.values("id", "name", "permissions", "tagged", "tags", "created_at")


@exports("members", Permission.MEMBER_VIEW)
def _members(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    rows = Member.objects.select_related("user", "role").order_by("created_at", "pk")
    for member in rows.iterator(chunk_size=CHUNK):
        who = {"email": member.user.email, "name": member.user.name, "role": member.role.name}
        yield {"id": member.pk, **who, "created_at": member.created_at}


@exports("invitations", Permission.MEMBER_VIEW)
def _invitations(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = Invitation.objects.order_by("created_at", "pk")
    yield from rows.values(
        "id", "email", "role__name", "created_at", "expires_at", "accepted_at", "revoked_at", "declined"
    ).iterator(chunk_size=CHUNK)  # fmt: skip


@exports("tokens", Permission.TOKEN_VIEW)
def _tokens(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = ApiToken.objects.filter(tenant=tenant).order_by("created_at", "pk")
    if not actor.may(Permission.TOKEN_MANAGE):
        rows = rows.filter(user=actor.user, user__isnull=False)
    columns = ("id", "name", "prefix", "user__email", "role__name", "permissions", "tags", "networks")
    yield from rows.values(*columns, "created_at", "expires_at", "last_used_at", "revoked_at").iterator(
        chunk_size=CHUNK
    )


@exports("usage", Permission.USAGE_VIEW)
def _usage(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = UsageInterval.objects.order_by("started_at", "pk")
    columns = ("id", "resource_type", "resource_id", "meter", "quantity", "attributes", "started_at", "ended_at")
    yield from rows.values(*columns).iterator(chunk_size=CHUNK)


@exports("usage_counts", Permission.USAGE_VIEW)
def _usage_counts(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = UsageCount.objects.order_by("starts_at", "pk")
    columns = ("id", "resource_type", "resource_id", "meter", "quantity", "attributes", "starts_at")
    yield from rows.values(*columns).iterator(chunk_size=CHUNK)


@exports("audit", Permission.AUDIT_VIEW)
def _audit(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    for entry in AuditEntry.objects.order_by("seq").iterator(chunk_size=CHUNK):
        yield entry_facts(entry)
