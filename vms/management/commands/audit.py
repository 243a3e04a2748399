"""``manage.py audit``: does everything agree?"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from vms.reconcile.audit import audit


class Command(BaseCommand):
    """Checks the invariants against database, hosts and storage; one line a finding, exit 0 when there is none."""

    help = "Check every invariant; changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--logs", type=Path, default=settings.STATE_DIR / "log")

    def handle(self, *args: Any, **options: Any) -> str | None:
        logs: Path = options["logs"]
        findings = audit(logs=logs if logs.is_dir() else None, secrets=_known_secrets())
        if findings:
            raise CommandError("\n".join(findings))
        return "clean"


def _known_secrets() -> tuple[str, ...]:
    """What must not stand in a log: the installation's keys and, while it is there, the first sign-in."""
    found = [settings.SECRET_KEY, *settings.FIELD_KEYS]
    path = settings.STATE_DIR / "first-run.json"
    if path.exists():
        first = json.loads(path.read_text())
        for who in (first["operator"], first["tenant"]["owner"]):
            found += [who["password"], who["token"]]
    return tuple(found)
