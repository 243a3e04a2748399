"""``manage.py create_tenant SLUG --owner EMAIL``: a customer and, if need be, its owner."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from portal.core.management import said
from tenants.actors import system_actor
from tenants.models import User
from tenants.scoping import tenant_scope
from tenants.services.members import member_add
from tenants.services.people import password_make, user_create
from tenants.services.roles import role_named
from tenants.services.tenants import tenant_create


class Command(BaseCommand):
    """Makes a tenant with its quota and owner; a new owner's first password is printed once."""

    help = "Make a tenant; --owner becomes its owner, and is made where there is no such person."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--name", default="")
        parser.add_argument("--owner", required=True)

    @said
    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> str:
        desk = system_actor(None, why="command")
        password = ""
        owner = User.objects.filter(email__iexact=options["owner"]).first()
        if owner is None:
            password = password_make()
            owner = user_create(email=options["owner"], password=password, actor=desk)
        tenant = tenant_create(slug=options["slug"], name=options["name"] or options["slug"], actor=desk)
        with tenant_scope(tenant):
            member_add(tenant, owner, role=role_named("owner"), actor=system_actor(tenant, why="command"))
        return f"{tenant.slug} {owner.email} {password}".strip()
