"""Images, networks and keys as lists show them."""

from __future__ import annotations

from django.db.models import Count, QuerySet

from vms.models import Address, Image, Network


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
