"""``manage.py verify_usage [TENANT]``: is what was recorded of usage what the ledger says, and all of it still there?"""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.anchor import anchor_write
from billing.metering import hour_of, text_of
from billing.models import ClosedHour
from billing.selectors.proof import prove, prove_closings
from billing.selectors.records import closed_until
from billing.services.hours import restored_accept
from tenants.actors import system_actor
from tenants.models import Tenant
from tenants.scoping import every_tenant


class Command(BaseCommand):
    """Counts again, one line a finding; exit 0 when there is none, else 1."""

    help = "Check usage records against the ledger, and closed hours against their digests; changes nothing by itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", nargs="?", default="", help="the short name of one tenant")
        parser.add_argument(
            "--from", dest="since", default="", help="a moment such as 2026-03-01; the first hour, if left out"
        )
        parser.add_argument(
            "--to", dest="until", default="", help="a moment; the last hour that is closed, if left out"
        )
        parser.add_argument(
            "--accept-restored",
            action="store_true",
            help="the database was restored, and what was billed since has been looked after: hours are closed again",
        )

    def handle(self, *args: Any, **options: Any) -> str:
        with every_tenant(why="an operator at the command line"):
            if options["accept_restored"]:
                anchor = restored_accept(actor=system_actor(None, why="command line"))
                if anchor is not None:
                    anchor_write(anchor)
            return self._look(options["tenant"], options["since"], options["until"])

    def _look(self, slug: str, since_text: str, until_text: str) -> str:
        tenant = Tenant.objects.filter(slug=slug).first() if slug else None
        if slug and tenant is None:
            raise CommandError(f"There is no tenant {slug}.")
        first = ClosedHour.objects.order_by("start").values_list("start", flat=True).first()
        until = _moment(until_text) or closed_until()
        since = _moment(since_text) or first
        if first is None or since is None or until is None:
            findings = (
                [] if slug else prove_closings(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
            )
            if findings:
                raise CommandError("\n".join(findings))
            return "No hour has been closed yet."
        proof = prove(hour_of(since), hour_of(until), tenant)
        findings = proof.findings + ([] if slug else prove_closings(hour_of(since), hour_of(until)))
        if findings:
            raise CommandError("\n".join(findings))
        return (
            f"whole from {text_of(proof.since)} to {text_of(proof.until)}: {proof.records} records of {proof.resources} things, "
            f"{proof.seconds} seconds, {proof.pending} to be revised, digest {proof.digest}"
        )


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text} is no moment such as 2026-03-01 or 2026-03-01T12:00Z.") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
