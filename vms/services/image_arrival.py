"""How an image's coming ends, whichever way it came; and an image that an operator's command has made."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from operations.models import Operation
from portal.core.clock import now
from portal.core.units import GIB
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.usage import usage_switch
from tenants.policy import Permission
from tenants.services.quota import quota_release, quota_reserve
from vms.models import Image, ImageUpload
from vms.services.image_catalogue import origin_supersede
from vms.services.images import image_path, image_told, unlink_on_commit, upload_path
from vms.states import ImageState


def image_settle_arrival(operation: Operation) -> None:
    """Come: offered, and paid for by what it takes. Not come: it says why, and what was reserved for its bytes returns."""
    image = (
        Image.objects.select_for_update(no_key=True, of=("self",))
        .select_related("tenant")
        .filter(pk=operation.subject_id, state=ImageState.IMPORTING)
        .first()
    )
    if image is None:
        return
    come = operation.status == "succeeded"
    image.state = ImageState.READY if come else ImageState.FAILED
    image.problem = "" if come else operation.error_message
    image.version += 1
    if not come:
        image.size = image.virtual_size = 0
        image.sha256 = ""
        unlink_on_commit(image_path(image))
    _settle_charge(image, -(-image.size // GIB))
    image.save()
    if come and image.origin:
        origin_supersede(image)
    for upload in ImageUpload.objects.filter(image=image):
        unlink_on_commit(upload_path(upload))
        upload.delete()
    image_told(image)


def _settle_charge(image: Image, gib: int) -> None:
    """From now on the tenant pays for ``gib``; more was reserved on the way, or a little less than a qcow2 makes of a disk."""
    tenant = image.tenant
    if tenant is None:
        return
    quota_release(tenant, {"images_gib": max(0, image.charged_gib - gib)})
    quota_reserve(tenant, {"images_gib": max(0, gib - image.charged_gib)}, forced=True)
    image.charged_gib = gib
    usage_switch(
        tenant, resource_type="image", resource_id=image.pk, meter="image_gib", quantity=image.charged_gib, at=now()
    )


@transaction.atomic
def image_register(
    *,
    name: str,
    actor: Actor,
    os_family: str,
    os_version: str,
    size: int,
    virtual_size: int,
    sha256: str,
    default_user: str = "root",
    min_memory_mib: int = 64,
    image: Image | None = None,
) -> Image:
    """A file that lies at ``image_path`` already, inspected and in our format, becomes a public image that guests can use.

    A public one of that name with other content is deprecated in its favour: disks stand on what it holds.
    """
    actor.require(Permission.OPERATE)
    image = image or Image(name=name)
    image.name, image.os_family, image.os_version = name, os_family, os_version
    image.size, image.virtual_size, image.sha256 = size, virtual_size, sha256
    image.default_user, image.min_memory_mib = default_user, min_memory_mib
    image.state, image.problem = ImageState.READY, ""
    image.version += 1
    image.save()
    former = Image.objects.filter(tenant=None, name=name, state=ImageState.READY).exclude(pk=image.pk)
    former.update(state=ImageState.DEPRECATED, replacement=image, version=F("version") + 1)
    audit_record(actor, "image.register", image, sha256=sha256)
    return image
