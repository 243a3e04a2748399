"""``manage.py setup``: all that must be so before the processes start; one process, since starting Python is most of it."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand

from tenants.scoping import every_tenant
from vms.models import Image
from vms.states import ImageState


class Command(BaseCommand):
    """Migrates, collects static files where they changed, seeds, enrols the first host; prints whether an image is ready."""

    help = "Prepare database, static files, first people and first host. Run again, it changes nothing."
    requires_system_checks: list[str] = []  # a third of the time of a start; bin/test checks, and each deployment may

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--first-run", required=True)
        parser.add_argument("--libvirt-uri", default="", help="enrol this host; left out, none")

    def handle(self, *args: Any, **options: Any) -> str:
        call_command("migrate", interactive=False, verbosity=0)
        _collect_static()
        call_command("seed", first_run=Path(options["first_run"]))
        if options["libvirt_uri"]:
            call_command("enrol_host", options["libvirt_uri"])
        with every_tenant(why="an operator at the command line"):
            ready = Image.objects.filter(tenant=None, state=ImageState.READY).exists()
        return "image ready" if ready else "image missing"


def _collect_static() -> None:
    """Hash and compress anew only where a source file is another one than the last time."""
    stamp = Path(settings.STATIC_ROOT) / ".sources"
    seen = _fingerprint()
    if stamp.exists() and stamp.read_text() == seen:
        return
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(seen)


def _fingerprint() -> str:
    """Names, sizes and times of our static files, and Django's version, whose admin brings its own."""
    digest = hashlib.sha256(django.__version__.encode())
    for folder in settings.STATICFILES_DIRS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                facts = path.stat()
                digest.update(f"{path}:{facts.st_size}:{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()
