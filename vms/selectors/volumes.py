"""Volumes as lists and pages show them, and where they lie."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db.models import Q, QuerySet

from portal.core.paging import Page, Sorts, keyset_page
from tenants.actors import Actor
from tenants.journal.events import shows
from vms.models import Guest, Host, StoragePool, Volume
from vms.names import Owner, pool_name
from vms.selectors.guests import SECRETS, guests_visible
from vms.states import VolumeState

VOLUME_SORTS: Sorts = {"created_at": ("created_at", "id"), "name": ("name", "id"), "size_gib": ("size_gib", "id")}


def volumes_visible(actor: Actor) -> QuerySet[Volume]:
    """The volumes that the actor's role reaches: all, or those of the machines within its tags."""
    rows = Volume.objects.select_related("guest", "storage_class", "image")
    if actor.narrowed:
        rows = rows.filter(guest__in=guests_visible(actor).values("pk"))
    return rows.defer(*(f"guest__{name}" for name in SECRETS))


@shows("volume")
def volumes_seen(actor: Actor, ids: Collection[str]) -> set[str]:
    """Which of these ids ``actor`` may look at."""
    return {str(pk) for pk in volumes_visible(actor).filter(pk__in=ids).values_list("pk", flat=True)}


def volume_page(actor: Actor, *, cursor: str = "", limit: int = 50) -> Page[Volume]:
    """Volumes within reach, newest first."""
    return keyset_page(volumes_visible(actor), sorts=VOLUME_SORTS, sort="-created_at", cursor=cursor, limit=limit)


def volumes_on(host: Host) -> QuerySet[Volume]:
    """Every volume whose file lies on ``host``: with its machine, or by itself; needs every tenant's scope."""
    return Volume.objects.filter(Q(guest__host=host) | Q(guest=None, pool__host=host))


def volumes_home(host: Host, owner: Owner) -> QuerySet[Volume]:
    """Those of them that lie in the host's own directory."""
    return volumes_on(host).filter(Q(pool=None) | Q(pool__name=pool_name(owner)))


def volumes_in(pool: StoragePool) -> QuerySet[Volume]:
    """Every volume that lies in a pool, or in the same storage as another host sees it."""
    return Volume.objects.filter(Q(pool=pool) | Q(pool__share=pool.share) if pool.share else Q(pool=pool))


def pools_reached(host_id: UUID | None) -> Q:
    """Volumes whose pool a host sees: its own, and what it shares with the one where they are counted."""
    shares = StoragePool.objects.filter(host=host_id).exclude(share="").values("share")
    return Q(pool__host=host_id) | Q(pool__share__in=shares)


def volumes_free(actor: Actor, guest: Guest) -> QuerySet[Volume]:
    """Volumes that could be plugged into ``guest``: ready, within its host's reach, and on no machine."""
    rows = volumes_visible(actor).filter(pools_reached(guest.host_id), guest=None, state=VolumeState.READY)
    return rows.order_by("name")
