"""``manage.py watch_hosts``: hears what the hosts say."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from vms.reconcile.watch import Watcher


class Command(BaseCommand):
    """Listens to libvirt's events on every host it can get the lease of, until it is told to stop."""

    help = "Turn libvirt's events into observations, and tell which hosts are heard."
    requires_system_checks: list[str] = []  # they would load every page and form into a process that serves none

    def handle(self, *args: Any, **options: Any) -> None:
        Watcher().run()
