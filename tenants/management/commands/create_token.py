"""``manage.py create_token EMAIL [--tenant SLUG]``: a bearer token, printed once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.core.clock import now
from portal.core.management import said
from tenants.access import tenant_by_slug
from tenants.actors import system_actor
from tenants.models import User
from tenants.policy import MONEY
from tenants.scoping import every_tenant
from tenants.services.tokens import Scope, token_create


class Command(BaseCommand):
    """Makes a token of a person, for one tenant or for all they may."""

    help = "Make an API token; without --tenant it opens whatever its owner may."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--tenant")
        parser.add_argument("--name", default="command line")
        parser.add_argument(
            "--money", action="store_true", help="it reads usage, statements and prices, and nothing else"
        )
        parser.add_argument("--days", type=int, help="let it end after so many days")

    @said
    def handle(self, *args: Any, **options: Any) -> str:
        user = User.objects.filter(email__iexact=options["email"]).first()
        tenant = tenant_by_slug(options["tenant"]) if options["tenant"] else None
        if user is None or (options["tenant"] and tenant is None):
            raise CommandError("There is no such person or tenant.")
        ends = now() + timedelta(days=options["days"]) if options["days"] else None
        with every_tenant(why="an operator at the command line"):
            _token, raw = token_create(
                user,
                name=options["name"],
                tenant=tenant,
                scope=Scope(sorted(MONEY) if options["money"] else None, expires_at=ends),
                actor=system_actor(tenant, why="command"),
            )
        return raw
