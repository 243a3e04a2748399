"""Snapshots as lists and pages show them."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q, QuerySet, Sum

from portal.core.paging import Page, Sorts, keyset_page
from tenants.actors import Actor
from tenants.journal.events import shows
from vms.models import Guest, Snapshot, Volume
from vms.selectors.guests import SECRETS, guests_visible

SNAPSHOT_SORTS: Sorts = {"created_at": ("created_at", "id"), "name": ("name", "id")}


def snapshots_visible(actor: Actor) -> QuerySet[Snapshot]:
    """The snapshots that the actor's role reaches, with their size: all, or those of the machines within its tags.

    Each volume's, too, where that hangs on such a machine. Without the definitions that are kept with memory.
    """
    rows = Snapshot.objects.select_related("guest").defer("definition", *(f"guest__{name}" for name in SECRETS))
    if actor.narrowed:
        reach = guests_visible(actor).values("pk")
        mine = Q(guest__in=reach) | Q(guest=None, disks__volume__guest__in=reach)
        rows = rows.filter(pk__in=Snapshot.objects.filter(mine).values("pk"))
    return rows.annotate(size_gib=Sum("disks__size_gib", default=0))


@shows("snapshot")
def snapshots_seen(actor: Actor, ids: Collection[str]) -> set[str]:
    """Which of these ids ``actor`` may look at."""
    return {str(pk) for pk in snapshots_visible(actor).filter(pk__in=ids).values_list("pk", flat=True)}


def snapshot_page(
    rows: QuerySet[Snapshot], *, sort: str = "-created_at", cursor: str = "", limit: int = 50
) -> Page[Snapshot]:
    """A page of ``rows``, with their disks; two queries."""
    return keyset_page(
        rows.prefetch_related("disks__volume"), sorts=SNAPSHOT_SORTS, sort=sort, cursor=cursor, limit=limit
    )


def snapshots_of(actor: Actor, of: Guest | Volume) -> QuerySet[Snapshot]:
    """Those of a machine, or of a single volume, newest first."""
    rows = snapshots_visible(actor)
    if isinstance(of, Guest):
        return rows.filter(guest=of)
    return rows.filter(guest=None, pk__in=of.kept_in.values("snapshot"))
