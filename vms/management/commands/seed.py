"""``manage.py seed``: what a first installation has. Run again, it changes nothing."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from portal.core.management import said
from tenants.actors import Actor, system_actor
from tenants.models import Tenant, User
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.members import member_add
from tenants.services.people import password_make, user_create
from tenants.services.roles import role_named
from tenants.services.tenants import tenant_create
from tenants.services.tokens import token_create
from vms.models import Flavor, Installation
from vms.models.backups import StoreKind
from vms.services.backups.stores import FOLDER, store_write
from vms.services.flavors import flavor_write

FLAVORS = (
    {
        "name": "tiny",
        "vcpus": 1,
        "memory_mib": 192,
        "disk_gib": 1,
        "disk_iops": 1000,
        "disk_mbps": 50,
        "net_mbit": 100,
        "sort": 10,
    },
    {
        "name": "small",
        "vcpus": 1,
        "memory_mib": 1024,
        "disk_gib": 10,
        "disk_iops": 2000,
        "disk_mbps": 100,
        "net_mbit": 200,
        "sort": 20,
    },
    {
        "name": "medium",
        "vcpus": 2,
        "memory_mib": 2048,
        "disk_gib": 20,
        "disk_iops": 4000,
        "disk_mbps": 200,
        "net_mbit": 500,
        "sort": 30,
    },
    {
        "name": "large",
        "vcpus": 4,
        "memory_mib": 8192,
        "disk_gib": 80,
        "disk_iops": 8000,
        "disk_mbps": 400,
        "net_mbit": 1000,
        "sort": 40,
    },
)
OPERATOR, OWNER, SLUG = "operator@example.test", "owner@example.test", "demo"


class Command(BaseCommand):
    """Makes the installation's row and flavors; with ``--first-run`` a place for backups, an operator and a demo tenant, too."""

    help = "Fill an empty database; --first-run FILE also makes the first people and writes their sign-in there (0600)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--first-run", type=Path)

    @said
    def handle(self, *args: Any, **options: Any) -> str:
        desk = system_actor(None, why="seed")
        with every_tenant(why="seeding an empty installation"), transaction.atomic():
            Installation.objects.get_or_create(pk=settings.INSTALLATION_ID)
            if not Flavor.objects.exists():
                for fields in FLAVORS:
                    flavor_write(None, actor=desk, **fields)
            path = options["first_run"]
            if path is None or User.objects.exists() or Tenant.objects.exists():
                return "seeded"
            _first_store(desk)
            _write_secret(path, self._first_people())
        return f"first sign-in written to {path}"

    def _first_people(self) -> dict[str, Any]:
        """Operator, tenant and owner, each with a password and a token of their own."""
        desk = system_actor(None, why="seed")
        secrets = {OPERATOR: password_make(), OWNER: password_make()}
        operator = user_create(email=OPERATOR, password=secrets[OPERATOR], name="Operator", operator=True, actor=desk)
        owner = user_create(email=OWNER, password=secrets[OWNER], name="Owner", actor=desk)
        tenant = tenant_create(slug=SLUG, name="Demo", actor=desk)
        with tenant_scope(tenant):
            member_add(tenant, owner, role=role_named("owner"), actor=system_actor(tenant, why="seed"))
        _row, operator_token = token_create(operator, name="first run", actor=desk)
        _row, owner_token = token_create(owner, name="first run", actor=desk)
        return {
            "url": settings.PUBLIC_URL,
            "operator": {"email": OPERATOR, "password": secrets[OPERATOR], "token": operator_token},
            "tenant": {
                "slug": SLUG,
                "owner": {"email": OWNER, "password": secrets[OWNER], "token": owner_token},
            },
        }


def _first_store(desk: Actor) -> None:
    """Backups go beside the portal's own files until an operator names a better place."""
    folder = str(settings.DATA_DIR / "backups")
    if FOLDER.match(folder):
        store_write(None, actor=desk, name="beside the portal", kind=StoreKind.FOLDER, location=folder)


def _write_secret(path: Path, content: dict[str, Any]) -> None:
    """Write so that nobody else can read it at any moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
