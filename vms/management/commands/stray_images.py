"""``manage.py stray_images [--remove]``: images' files that no row names."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from portal.core.management import said
from portal.core.units import MIB
from tenants.actors import system_actor
from tenants.scoping import every_tenant
from vms.services.image_files import image_files_remove, image_files_stray


class Command(BaseCommand):
    """Lists them with their sizes; removes them only when told to, since a database from another day may have their rows."""

    help = "List files of images that no row names; --remove takes them away."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remove", action="store_true", help="remove what is listed")

    @said
    def handle(self, *args: Any, **options: Any) -> str:
        with every_tenant(why="an operator at the command line"):
            files = image_files_stray()
            for path in files:
                self.stdout.write(f"{path.name}  {path.stat().st_size // MIB} MiB")
            if not options["remove"]:
                return f"{len(files)} files of no image"
            gone = image_files_remove(files, actor=system_actor(None, why="command"))
        return f"{len(gone)} files removed"
