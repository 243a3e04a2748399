"""``manage.py add_sign_in_provider ID``: an OpenID Connect provider; prints the address it must send people back to."""

from __future__ import annotations

import getpass
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from portal.core.management import said
from tenants.accounts.discovery import provider_look
from tenants.actors import system_actor
from tenants.services.sign_in_providers import callback_of, provider_create


class Command(BaseCommand):
    """Add an OpenID Connect provider; the client secret is read from standard input, so that no list of processes shows it."""

    help = "Add an OpenID Connect provider; prints the callback address to enter there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", help="a short name, part of the callback's address")
        parser.add_argument("--name", required=True, help="what the sign-in page calls it")
        parser.add_argument("--issuer", required=True, help="where /.well-known/openid-configuration lies")
        parser.add_argument("--client-id", required=True)
        parser.add_argument(
            "--everybody", action="store_true", help="the installation's own: it vouches for every address"
        )
        parser.add_argument("--private", action="store_true", help="it lies in a network of ours, not on the internet")

    @said
    def handle(self, *args: Any, **options: Any) -> str:
        secret = getpass.getpass("Client secret: ") if sys.stdin.isatty() else sys.stdin.readline()
        actor = system_actor(None, why="command")
        provider_look(options["issuer"], private=options["private"], actor=actor)
        app = provider_create(
            slug=options["id"],
            name=options["name"],
            issuer=options["issuer"],
            client_id=options["client_id"],
            client_secret=secret.strip(),
            everybody=options["everybody"],
            private=options["private"],
            actor=actor,
        )
        return callback_of(app)
