"""Volumes, images, networks and keys as lists show them."""

from __future__ import annotations

from django.db.models import Count, QuerySet

from portal.core.paging import Page, Sorts, keyset_page
from tenants.actors import Actor
from vms.models import Address, Image, Network, Volume
from vms.selectors.guests import guests_visible

NAME_SORTS: Sorts = {"name": ("name", "id"), "created_at": ("created_at", "id")}


def volume_page(actor: Actor, *, cursor: str = "", limit: int = 50) -> Page[Volume]:
    """Disks of the machines within reach, and those of none, newest first."""
    rows = Volume.objects.select_related("guest", "storage_class")
    if actor.narrowed:
        rows = rows.filter(guest__in=guests_visible(actor).values("pk"))
    return keyset_page(rows, sorts=NAME_SORTS, sort="-created_at", cursor=cursor, limit=limit)


def images_offered() -> QuerySet[Image]:
    """Images of the scope and everybody's, in the order they are offered."""
    return Image.objects.select_related("tenant")


def networks_in_use() -> QuerySet[Network]:
    """The networks with how many machines and addresses are on each, by name."""
    return Network.objects.prefetch_related("subnets").annotate(guests_count=Count("ports__guest", distinct=True))


def addresses_held() -> dict[object, int]:
    """How many addresses are held, by network."""
    rows = Address.objects.order_by().values_list("subnet__network").annotate(number=Count("pk"))
    return dict(rows)
