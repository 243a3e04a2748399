"""Well-known images, brought in by an operator's click: checked like any other, their checksum as their maker states it today."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict, Missing
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.catalogue import catalogue
from vms.models import Image
from vms.services.images import image_announce, image_delete, image_spec_check
from vms.states import ImageState


@transaction.atomic
def catalogue_fetch(key: str, *, actor: Actor) -> tuple[Image, Operation]:
    """Have the catalogue's image ``key`` fetched for everybody: for the first time, or what its maker offers by now.

    What came of a former attempt that failed is cleared away. Raises ``Missing`` for a key that we do not fetch, ``Conflict``
    (``image_coming``) while it is on its way.
    """
    actor.require(Permission.OPERATE)
    entry = catalogue().get(key)
    if entry is None or not entry.url:
        raise Missing
    image_spec_check(entry.spec)
    for failed in Image.objects.filter(tenant=None, origin=key, state=ImageState.FAILED):
        image_delete(failed, actor=actor)
    image = image_announce(entry.spec, tenant=None, state=ImageState.IMPORTING)
    try:
        with transaction.atomic():
            image.origin = key
            image.save(update_fields=["origin"])
    except IntegrityError as error:
        raise Conflict(_("It is on its way already."), code="image_coming", hint="") from error
    operation = operation_submit(
        image,
        kind="image.import",
        actor=actor,
        holds=[Hold("image", image.pk)],
        params={"url": entry.url, "sums": entry.sums, "file": entry.file_name, "format": entry.spec.source_format},
    )
    audit_record(actor, "image.import", image, catalogue=key)
    return image, operation


@transaction.atomic
def origin_record(image: Image, checksum: str) -> None:
    """What comes has this checksum, says its maker. Raises ``Conflict`` (``image_unchanged``) where we have just that."""
    same = Image.objects.filter(
        tenant=None, origin=image.origin, origin_sum=checksum, state__in=[ImageState.READY, ImageState.DEPRECATED]
    )
    if same.exists():
        raise Conflict(_("What is offered there is what is here already."), code="image_unchanged", hint="")
    Image.objects.filter(pk=image.pk).update(origin_sum=checksum)


def origin_supersede(image: Image) -> None:
    """The newest of its origin has come: those before it are offered no longer, and say what to take instead."""
    former = Image.objects.filter(tenant=None, origin=image.origin, state=ImageState.READY).exclude(pk=image.pk)
    former.update(state=ImageState.DEPRECATED, replacement=image, version=F("version") + 1)
