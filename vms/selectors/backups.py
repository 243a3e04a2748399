"""Backups as lists and pages show them."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import QuerySet

from portal.core.paging import Page, Sorts, keyset_page
from tenants.actors import Actor
from tenants.journal.events import shows
from vms.models import Backup
from vms.selectors.guests import SECRETS, guests_visible

BACKUP_SORTS: Sorts = {"created_at": ("created_at", "id"), "name": ("name", "id")}


def backups_visible(actor: Actor) -> QuerySet[Backup]:
    """The backups that the actor's role reaches: all, or those of the machines within its tags."""
    rows = Backup.objects.select_related("guest", "repository").prefetch_related("disks")
    if actor.tagged:
        rows = rows.prefetch_related("guest__tags")
    if actor.narrowed:
        rows = rows.filter(guest__in=guests_visible(actor).values("pk"))
    return rows.defer("repository__password", *(f"guest__{name}" for name in SECRETS))


@shows("backup")
def backups_seen(actor: Actor, ids: Collection[str]) -> set[str]:
    """Which of these ids ``actor`` may look at."""
    return {str(pk) for pk in backups_visible(actor).filter(pk__in=ids).values_list("pk", flat=True)}


def backup_page(actor: Actor, *, cursor: str = "", limit: int = 50) -> Page[Backup]:
    """Backups within reach, newest first."""
    return keyset_page(backups_visible(actor), sorts=BACKUP_SORTS, sort="-created_at", cursor=cursor, limit=limit)
