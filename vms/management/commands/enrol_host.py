"""``manage.py enrol_host URI``: take a compute host in."""

from __future__ import annotations

import socket
from argparse import ArgumentParser
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import BaseCommand

from portal.core.management import said
from tenants.actors import system_actor
from tenants.scoping import every_tenant
from vms.services.hosts import host_enrol


class Command(BaseCommand):
    """Writes the host down and asks a worker to test it; enrolled already, it is tested again."""

    help = "Enrol a libvirt host; the local one needs only its URI."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("uri")
        parser.add_argument("--name", default="")
        parser.add_argument(
            "--address", action="append", default=[], help="an address of the host its guests may not reach"
        )
        parser.add_argument("--data-dir", default="", help="directory on the host for disks")
        parser.add_argument("--run-dir", default="", help="directory on the host for guests' sockets")

    @said
    def handle(self, *args: Any, **options: Any) -> str:
        name, addresses = options["name"], options["address"]
        if options["uri"].startswith(("qemu:///", "qemu+unix:///")):
            name = name or socket.gethostname()
            addresses = addresses or _own_addresses()
        with every_tenant(why="an operator at the command line"):
            host, operation = host_enrol(
                uri=options["uri"],
                name=name,
                addresses=addresses,
                actor=system_actor(None, why="command"),
                data_dir=options["data_dir"] or str(settings.DATA_DIR),
                run_dir=options["run_dir"] or str(settings.RUN_DIR / "guests"),
            )
        return f"{host.name} {operation.pk}"


def _own_addresses() -> list[str]:
    """This machine's IPv4 addresses but the loopback's."""
    found = {
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    }
    return sorted(found)
