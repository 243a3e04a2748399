"""Images' copies on hosts: disks stand on them, so one goes only when none does, and is held while it comes or goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.scoping import every_tenant
from vms.models import Disc, Guest, Host, Image, ImageCopy, ImageTest, Spare, Volume
from vms.names import base_name
from vms.states import HostState

log = structlog.get_logger(__name__)
FRESH: Final = timedelta(hours=1)
"""How exactly it is written down when a copy was last used."""
AT_ONCE: Final = 20


def copy_of(host: Host, image: Image) -> ImageCopy:
    """The row of the image's copy on that host, made with its first need; used just now. Safe to repeat."""
    name, at = base_name(image.pk, image.sha256), now()
    copy, _made = ImageCopy.objects.get_or_create(host=host, name=name, defaults={"image": image, "used_at": at})
    if at - copy.used_at > FRESH:
        ImageCopy.objects.filter(pk=copy.pk).update(used_at=at)
    return copy


def copy_record(copy: ImageCopy, *, size: int) -> None:
    """It lies there, whole; disks may be made on it."""
    ImageCopy.objects.filter(pk=copy.pk).update(ready_at=now(), size=size)


def copy_is_used(copy: ImageCopy) -> bool:
    """Is there a disk or a machine on that host that is, or is about to be, made of it?"""
    with every_tenant(why="projects below may use a shared image"):
        return _is_used(copy)


def _is_used(copy: ImageCopy) -> bool:
    volumes = Volume.objects.filter(Q(guest__host=copy.host_id) | Q(pool__host=copy.host_id), image=copy.image_id)
    spares = Spare.objects.filter(guest__host=copy.host_id, image=copy.image_id)
    guests = Guest.objects.filter(Q(image=copy.image_id) | Q(drivers=copy.image_id), host=copy.host_id)
    discs = Disc.objects.filter(guest__host=copy.host_id, image=copy.image_id)
    tests = ImageTest.objects.filter(image=copy.image_id, host=copy.host_id)
    return any(rows.exists() for rows in (volumes, spares, guests, discs, tests))


def refuse_standing(copy: ImageCopy) -> None:
    """Raise ``Conflict`` (``copy_in_use``) while a disk stands on it, or will."""
    if copy_is_used(copy):
        raise Conflict(_("Disks stand on this copy."), code="copy_in_use", hint=_("It goes when they are gone."))


@transaction.atomic
def copy_evict(copy: ImageCopy, *, actor: Actor) -> Operation:
    """Have a copy that nobody uses taken off its host; the next machine of that image brings it again.

    Raises ``Conflict`` while a disk stands on it or somebody is at it.
    """
    actor.require(Permission.OPERATE)
    copy = ImageCopy.objects.select_for_update(of=("self",)).select_related("host", "image").get(pk=copy.pk)
    refuse_standing(copy)
    operation = operation_submit(
        copy,
        kind="image.evict",
        actor=actor,
        holds=[Hold("image_copy", copy.pk)],
        lane=copy.host.lane,
        params={"ready": copy.ready_at is not None},
    )
    ImageCopy.objects.filter(pk=copy.pk).update(ready_at=None)
    audit_record(actor, "image.evict", copy, host=copy.host.name, image=copy.image.name)
    return operation


def copy_settle_evict(operation: Operation) -> None:
    """Gone: forget it. Still there: it serves again, if it did before."""
    copies = ImageCopy.objects.filter(pk=operation.subject_id)
    if operation.status == "succeeded":
        copies.delete()
    elif operation.params["ready"]:
        copies.update(ready_at=now())


def copy_forget(copy: ImageCopy) -> None:
    """It is off its host. Safe to repeat."""
    ImageCopy.objects.filter(pk=copy.pk).delete()


def copies_adopt(host: Host, present: Mapping[str, int]) -> list[str]:
    """Rows for copies that older versions of the portal left without one; ``present`` is bytes by name in our pool.

    Returns the names that belong to no image any more. One whose row is there, but no file, is brought again when needed.
    """
    known = set(ImageCopy.objects.filter(host=host).values_list("name", flat=True))
    stray = []
    for name, size in present.items():
        if not name.startswith("img-") or name in known:
            continue
        image = _image_of(name)
        if image is None:
            stray.append(name)
        else:
            ImageCopy.objects.get_or_create(host=host, name=name, defaults={"image": image, "size": size})
    return stray


def _image_of(name: str) -> Image | None:
    try:
        image = Image.objects.filter(pk=UUID(hex=name.split("-")[1])).first()
    except (ValueError, IndexError):
        return None
    return image if image is not None and base_name(image.pk, image.sha256) == name else None


def copies_tidy(*, at: datetime) -> int:
    """Have copies taken away that nobody has used for ``IMAGE_COPY_KEEP``; how many. Needs every tenant's scope."""
    old = ImageCopy.objects.filter(used_at__lt=at - settings.IMAGE_COPY_KEEP, host__state=HostState.UP)
    asked = 0
    for copy in old.select_related("image").order_by("used_at"):
        if asked == AT_ONCE:
            break
        if copy_is_used(copy):
            continue
        try:
            copy_evict(copy, actor=system_actor(None, why="cache"))
        except Conflict as error:
            log.info("eviction_waits", copy=copy.name, code=error.code)
            continue
        asked += 1
    return asked
