"""Images, networks and keys as lists show them."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet

from tenants.actors import Actor
from tenants.models import Tenant
from tenants.scoping import current_scope
from vms.models import Address, Image, Network
from vms.states import ImageKind, ImageState


def images_usable() -> QuerySet[Image]:
    """What the scope's tenant may use, in the order they are offered.

    All of its own; of everybody's, and of those that projects above it share, what is fit for use.
    """
    scope = current_scope()
    own = Q(tenant=scope) if isinstance(scope, Tenant) else Q(tenant__isnull=False)
    fit = Q(state__in=[ImageState.READY, ImageState.DEPRECATED])
    return Image.objects.filter(fit | own).select_related("tenant", "replacement", "upload")


def image_replacement(image: Image, actor: Actor) -> Image | None:
    """What to take instead of an image, if whoever looks sees that, too; asks nothing that ``images_usable`` has not read."""
    other = image.replacement
    if other is None or other.tenant_id is None or other.shared or actor.is_operator:
        return other
    return other if actor.tenant is not None and other.tenant_id == actor.tenant.pk else None


def images_offered() -> QuerySet[Image]:
    """What the scope's tenant can make machines and disks of, in the order they are offered."""
    return Image.objects.filter(state=ImageState.READY, kind=ImageKind.DISK)


def images_startable() -> QuerySet[Image]:
    """What the scope's tenant can make machines of: disks, and CDs that an empty disk is set up from."""
    return Image.objects.filter(state=ImageState.READY, kind__in=[ImageKind.DISK, ImageKind.ISO])


def discs_offered() -> QuerySet[Image]:
    """The CDs that the scope's tenant can put into drives."""
    return Image.objects.filter(state=ImageState.READY).exclude(kind=ImageKind.DISK)


def networks_in_use() -> QuerySet[Network]:
    """The networks with how many machines and addresses are on each, by name."""
    return Network.objects.prefetch_related("subnets").annotate(guests_count=Count("ports__guest", distinct=True))


def addresses_held() -> dict[object, int]:
    """How many addresses are held, by network."""
    rows = Address.objects.order_by().values_list("subnet__network").annotate(number=Count("pk"))
    return dict(rows)
