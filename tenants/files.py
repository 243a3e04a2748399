"""What leaves the portal as a file that is written while it is read."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import StreamingHttpResponse

from tenants.actors import Actor
from tenants.journal.search import AuditSearch, audit_csv, audit_lines
from tenants.listings import audit_entries
from tenants.models import Tenant
from tenants.services.export import tenant_export

KINDS = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


def export_response(tenant: Tenant, actor: Actor) -> StreamingHttpResponse:
    """Everything that a tenant has and ``actor`` may read."""
    return _attached(tenant_export(tenant, actor=actor), f"{tenant.slug}.jsonl", "jsonl")


def audit_response(tenant: Tenant, search: AuditSearch, kind: str) -> StreamingHttpResponse:
    """A tenant's audit log as ``jsonl`` or ``csv``."""
    rows = audit_entries(tenant).filter(search.condition())
    lines = audit_csv(rows) if kind == "csv" else audit_lines(rows)
    return _attached(lines, f"audit-{tenant.slug}.{kind}", kind)


def _attached(lines: Iterator[str], name: str, kind: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(lines, content_type=KINDS[kind])
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
