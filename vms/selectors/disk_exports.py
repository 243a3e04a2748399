"""Exported disks as lists and pages show them."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import QuerySet

from portal.core.paging import Page, Sorts, keyset_page
from tenants.actors import Actor
from tenants.journal.events import shows
from vms.models import DiskExport
from vms.selectors.guests import SECRETS, guests_visible

DISK_EXPORT_SORTS: Sorts = {"created_at": ("created_at", "id"), "name": ("name", "id")}


def disk_exports_visible(actor: Actor) -> QuerySet[DiskExport]:
    """The files that the actor's role reaches: all, or those of disks of the machines within its tags."""
    rows = DiskExport.objects.select_related("guest", "tenant").defer(*(f"guest__{name}" for name in SECRETS))
    return rows.filter(guest__in=guests_visible(actor).values("pk")) if actor.narrowed else rows


@shows("disk_export")
def disk_exports_seen(actor: Actor, ids: Collection[str]) -> set[str]:
    """Which of these ids ``actor`` may look at."""
    return {str(pk) for pk in disk_exports_visible(actor).filter(pk__in=ids).values_list("pk", flat=True)}


def disk_export_page(
    rows: QuerySet[DiskExport], *, sort: str = "-created_at", cursor: str = "", limit: int = 50
) -> Page[DiskExport]:
    """A page of ``rows``; one query."""
    return keyset_page(rows, sorts=DISK_EXPORT_SORTS, sort=sort, cursor=cursor, limit=limit)
