"""Images: announced, filled by a worker, ready or failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Guest, Image, Spare
from vms.states import ImageState


def image_path(image: Image) -> Path:
    """Where the portal keeps an image's file: named by its id, whatever it is called."""
    return Path(settings.DATA_DIR) / "images" / f"{image.pk.hex}.qcow2"


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
    """A file that lies at ``image_path`` already, inspected and in our format, becomes a public image that guests can use."""
    actor.require(Permission.OPERATE)
    image = image or Image(name=name)
    image.name, image.os_family, image.os_version = name, os_family, os_version
    image.size, image.virtual_size, image.sha256 = size, virtual_size, sha256
    image.default_user, image.min_memory_mib = default_user, min_memory_mib
    image.state, image.problem = ImageState.READY, ""
    image.version += 1
    image.save()
    audit_record(actor, "image.register", image, sha256=sha256)
    return image


@transaction.atomic
def image_import(
    *,
    name: str,
    url: str,
    sha256: str,
    actor: Actor,
    os_family: str = "linux",
    os_version: str = "",
    source_format: str = "qcow2",
) -> tuple[Image, Operation]:
    """Fetch a public image by URL; a worker checks the checksum, the format and the size before anybody can use it."""
    actor.require(Permission.OPERATE)
    errors = []
    if not name.strip() or len(name) > 100:
        errors.append(FieldError("/name", "invalid_name", _("A name of at most 100 characters is needed.")))
    if not url.startswith(("http://", "https://")) or len(url) > 2000:
        errors.append(FieldError("/url", "invalid_url", _("Use an http or https address.")))
    if len(sha256) != 64 or any(c not in "0123456789abcdef" for c in sha256.lower()):
        errors.append(FieldError("/sha256", "invalid_checksum", _("A SHA-256 checksum of 64 hex digits is needed.")))
    if source_format not in ("qcow2", "raw"):
        errors.append(FieldError("/format", "invalid_format", _("Choose qcow2 or raw.")))
    if errors:
        raise Invalid(errors=errors)
    image = Image.objects.create(name=name.strip(), os_family=os_family, os_version=os_version)
    operation = operation_submit(
        image,
        kind="image.import",
        actor=actor,
        holds=[Hold("image", image.pk)],
        params={"url": url, "sha256": sha256.lower(), "format": source_format},
    )
    audit_record(actor, "image.import", image, sha256=sha256)
    return image, operation


def image_settle_import(operation: Operation) -> None:
    """An import that did not succeed says why on the image."""
    if operation.status == "succeeded":
        return
    Image.objects.filter(pk=operation.subject_id, state=ImageState.IMPORTING).update(
        state=ImageState.FAILED, problem=operation.error_message
    )


def image_record_ready(image: Image, *, size: int, virtual_size: int, sha256: str) -> None:
    """The worker has put a checked file in place."""
    facts: dict[str, Any] = {"size": size, "virtual_size": virtual_size, "sha256": sha256}
    Image.objects.filter(pk=image.pk).update(state=ImageState.READY, problem="", version=image.version + 1, **facts)


@transaction.atomic
def image_delete(image: Image, *, actor: Actor) -> None:
    """Withdraw an image; refused while machines are made of it, since their disks stand on its copy, or while it is fetched."""
    actor.require(Permission.OPERATE)
    if operations_live_on("image", [image.pk]):
        raise Conflict(
            _("This image is just being fetched."), code="operation_in_progress", hint=_("Call the import off first.")
        )
    if Guest.objects.filter(image=image).exists() or Spare.objects.filter(image=image).exists():
        raise Conflict(
            _("Machines stand on this image."),
            code="image_in_use",
            hint=_("Deprecate it: then no new ones are made of it."),
        )
    audit_record(actor, "image.delete", image)
    path = image_path(image)
    image.delete()
    transaction.on_commit(lambda: path.unlink(missing_ok=True))


@transaction.atomic
def image_deprecate(image: Image, *, on: bool, actor: Actor) -> Image:
    """Offer an image for new machines no longer, or again."""
    actor.require(Permission.OPERATE)
    if image.state not in (ImageState.READY, ImageState.DEPRECATED):
        raise Conflict(_("This image is not ready."), code="image_not_ready", hint="")
    before, image.state = image.state, ImageState.DEPRECATED if on else ImageState.READY
    image.version += 1
    image.save(update_fields=["state", "version"])
    audit_record(actor, "image.deprecate", image, state=[before, image.state])
    return image
