"""``manage.py import_image NAME FILE|URL``: an image from elsewhere, with its checksum."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.core.management import said
from tenants.actors import system_actor
from tenants.scoping import every_tenant
from vms.disks.errors import DiskError
from vms.disks.fetch import fetch
from vms.models import Image
from vms.services.catalogue import catalogue_add, catalogue_scratch

LARGEST = 64 * 1024**3


class Command(BaseCommand):
    """Takes a local file, or fetches a URL whose SHA-256 must be given; either is inspected and converted."""

    help = "Import a qcow2 or raw image under NAME; replaces the public image of that name."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("source", help="a file, or an http(s) address")
        parser.add_argument("--sha256", default="", help="needed for an address; checked for a file if given")
        parser.add_argument("--os-family", default="linux")
        parser.add_argument("--os-version", default="")
        parser.add_argument("--user", default="root", help="the image's default user")
        parser.add_argument("--min-memory-mib", type=int, default=64)
        parser.add_argument(
            "--allow-private", action="store_true", help="the address may be a private one: your own mirror"
        )

    @said
    def handle(self, *args: Any, **options: Any) -> str:
        source = options["source"]
        with (
            every_tenant(why="an operator at the command line"),
            catalogue_scratch("fetch", Image(name=options["name"])) as scratch,
        ):
            if source.startswith(("http://", "https://")):
                if not options["sha256"]:
                    raise CommandError("An address needs --sha256.")
                file = scratch / "fetched"
                try:
                    fetch(
                        source,
                        checksum=options["sha256"].lower(),
                        into=file,
                        max_bytes=LARGEST,
                        allow_private=options["allow_private"],
                    )
                except DiskError as error:
                    raise CommandError(str(error)) from error
            else:
                file = Path(source)
                _check(file, options["sha256"].lower())
            image = catalogue_add(
                file,
                name=options["name"],
                os_family=options["os_family"],
                os_version=options["os_version"],
                default_user=options["user"],
                min_memory_mib=options["min_memory_mib"],
                actor=system_actor(None, why="command"),
            )
        return f"{image.pk} {image.name} {image.state}"


def _check(file: Path, sha256: str) -> None:
    if not file.is_file():
        raise CommandError(f"{file} is not a file.")
    if sha256:
        with file.open("rb") as data:
            if hashlib.file_digest(data, "sha256").hexdigest() != sha256:
                raise CommandError("The file's SHA-256 is another one.")
