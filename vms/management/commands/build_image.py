"""``manage.py build_image tiny|debian-12``: a bootable image from this machine's own package sources."""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.core.management import said
from tenants.actors import system_actor
from tenants.scoping import every_tenant
from vms.disks.build import RECIPES, build
from vms.disks.errors import DiskError
from vms.models import Image
from vms.services.catalogue import catalogue_add, catalogue_dir
from vms.states import ImageState


class Command(BaseCommand):
    """Builds, checks and publishes an image; one of that kind that is ready already is kept unless ``--again``."""

    help = "Build an image from Debian's packages and put it into the catalogue."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=["tiny", "debian-12"])
        parser.add_argument("--again", action="store_true", help="build even where there is one")

    @said
    def handle(self, *args: Any, **options: Any) -> str:
        kind = options["kind"]
        with every_tenant(why="an operator at the command line"):
            ready = Image.objects.filter(tenant=None, name=RECIPES[kind].name, state=ImageState.READY).first()
            if ready is not None and not options["again"]:
                return f"{ready.pk} {ready.name} is ready already"
            with tempfile.TemporaryDirectory(dir=catalogue_dir(), prefix="build-") as scratch:
                try:
                    built = build(kind, Path(scratch) / "image.qcow2", cache=Path(settings.DATA_DIR) / "packages")
                except DiskError as error:
                    raise CommandError(str(error)) from error
                image = catalogue_add(
                    built.path,
                    name=built.name,
                    os_family=built.os_family,
                    os_version=built.os_version,
                    default_user=built.default_user,
                    min_memory_mib=built.min_memory_mib,
                    actor=system_actor(None, why="command"),
                )
        return f"{image.pk} {image.name} {image.state}"
