"""``manage.py create_operator EMAIL``: somebody who runs the installation."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from portal.core.management import said
from tenants.actors import system_actor
from tenants.services.people import password_make, user_create


class Command(BaseCommand):
    """Makes an operator and prints the first password once."""

    help = "Make an operator; prints a random first password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="")

    @said
    def handle(self, *args: Any, **options: Any) -> str:
        password = password_make()
        user_create(
            email=options["email"],
            name=options["name"],
            password=password,
            operator=True,
            actor=system_actor(None, why="command"),
        )
        return f"{options['email']} {password}"
