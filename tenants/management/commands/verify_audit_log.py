"""``manage.py verify_audit_log [TENANT]``: is every audit log still what was written?"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants.journal.chain import Verdict, chain_verify
from tenants.journal.guard import guards_missing
from tenants.models import Tenant
from tenants.scoping import tenant_scope

INSTALLATION = "(installation)"


class Command(BaseCommand):
    """Follows each chain from end to end; one line a log, exit 0 when all are whole and guarded, else 1 with the places."""

    help = "Check the audit log of a tenant, or of all and the installation's own; changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", nargs="?", default="", help="the short name of one tenant")

    def handle(self, *args: Any, **options: Any) -> str:
        slug: str = options["tenant"]
        tenants = Tenant.objects.filter(slug=slug) if slug else Tenant.objects.order_by("slug")
        names = [tenant.slug for tenant in tenants]
        if slug and not names:
            raise CommandError(f"There is no tenant {slug}.")
        verdicts = {} if slug else {INSTALLATION: chain_verify(None)}
        for tenant in tenants:
            with tenant_scope(tenant):
                verdicts[tenant.slug] = chain_verify(tenant)
        lines = [f"{name}: {_line(verdict)}" for name, verdict in verdicts.items()]
        missing = guards_missing()
        lines += [f"NOT GUARDED by the database: trigger {name} is missing or off" for name in missing]
        if missing or not all(verdict.is_whole for verdict in verdicts.values()):
            raise CommandError("\n".join(lines))
        return "\n".join(lines)


def _line(verdict: Verdict) -> str:
    if verdict.is_whole:
        return f"whole, entries {verdict.start.seq + 1} to {verdict.end.seq}, hash {verdict.end.hash}"
    return f"BROKEN at {verdict.place} ({verdict.fault}): {verdict.sentence}"
