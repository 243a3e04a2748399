"""Images: announced, filled by a worker, ready or failed; changed, withdrawn, deleted with every copy of them."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import models, transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.units import GIB
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.usage import usage_close
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.scoping import every_tenant
from tenants.services.quota import quota_release, quota_reserve
from vms.models import Image, ImageCopy, ImageTest, ImageUpload
from vms.models.hardware import HARDWARE, DiskBus, NicModel
from vms.specs import ImageSpec
from vms.states import ImageKind, ImageState, Init

DISK_MOST_GIB: Final = 2048
MEMORY_MOST_MIB: Final = 1024**2
USER: Final = re.compile(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,31}\Z")
WORD: Final = re.compile(r"\A[a-z0-9][a-z0-9.-]{0,23}\Z")
DIGEST: Final = re.compile(r"\A[0-9a-fA-F]{64}\Z")
EDITABLE: Final = frozenset(
    {"name", "os_family", "os_version", *HARDWARE, "init", "default_user", "min_memory_mib", "least_disk_gib"}
)


def images_dir() -> Path:
    """Where the portal keeps images' files."""
    return Path(settings.DATA_DIR) / "images"


def image_path(image: Image) -> Path:
    """Where the portal keeps an image's file: named by its id, whatever it is called."""
    return images_dir() / f"{image.pk.hex}.qcow2"


def image_require(image: Image | None, actor: Actor, *, tenant: Tenant | None = None) -> None:
    """Raise ``Forbidden`` unless ``actor`` may change this image, or bring one in: everybody's are the operators'."""
    public = tenant is None if image is None else image.tenant_id is None
    actor.require(Permission.OPERATE if public else Permission.IMAGE_MANAGE, image)


def image_spec_check(spec: ImageSpec, *, also: list[FieldError] | None = None) -> None:
    """Raise ``Invalid`` naming every field of ``spec`` that cannot be used, and those of ``also``."""
    errors = [*_word_errors(spec), *_kind_errors(spec), *_size_errors(spec), *(also or [])]
    if errors:
        raise Invalid(errors=errors)


def _word_errors(spec: ImageSpec) -> list[FieldError]:
    choices = {
        "format": (spec.source_format, ("qcow2", "raw"), _("Choose qcow2 or raw.")),
        "firmware": (spec.firmware, ("bios", "uefi"), _("Choose bios or uefi.")),
        "disk_bus": (spec.disk_bus, tuple(DiskBus), _("Choose virtio, scsi or sata.")),
        "nic_model": (spec.nic_model, tuple(NicModel), _("Choose virtio or e1000e.")),
        "kind": (spec.kind, tuple(ImageKind), _("Choose disk, iso or drivers.")),
        "init": (spec.init, tuple(Init), _("Choose cloud-init, cloudbase-init or none.")),
    }
    errors = [
        FieldError(f"/{field}", f"invalid_{field}", message)
        for field, (value, known, message) in choices.items()
        if value not in known
    ]
    if not spec.name.strip() or len(spec.name.strip()) > 100 or not spec.name.isprintable():
        errors.append(FieldError("/name", "invalid_name", _("A name of at most 100 characters is needed.")))
    if not WORD.match(spec.os_family):
        errors.append(FieldError("/os_family", "invalid_system", _("A word such as debian, ubuntu, windows, linux.")))
    if len(spec.os_version) > 40 or not spec.os_version.isprintable():
        errors.append(FieldError("/os_version", "invalid_version", _("At most 40 characters.")))
    if not USER.match(spec.default_user):
        errors.append(FieldError("/default_user", "invalid_user", _("The name of the account that keys let in to.")))
    return errors


def _kind_errors(spec: ImageSpec) -> list[FieldError]:
    errors = []
    if spec.secure_boot and spec.firmware != "uefi":
        errors.append(FieldError("/secure_boot", "needs_uefi", _("Secure Boot is UEFI's.")))
    if spec.kind != ImageKind.DISK and spec.source_format != "raw":
        errors.append(FieldError("/format", "invalid_format", _("A CD comes as raw: the bytes of its ISO file.")))
    return errors


def _size_errors(spec: ImageSpec) -> list[FieldError]:
    errors = []
    if not 16 <= spec.min_memory_mib <= MEMORY_MOST_MIB:
        message = _("Between 16 and %d MiB.") % MEMORY_MOST_MIB
        errors.append(FieldError("/min_memory_mib", "invalid_memory", message))
    if not 0 <= spec.least_disk_gib <= DISK_MOST_GIB:
        message = _("Between 0 and %d GiB; 0: what its disk takes.") % DISK_MOST_GIB
        errors.append(FieldError("/least_disk_gib", "invalid_disk", message))
    return errors


def image_announce(spec: ImageSpec, *, tenant: Tenant | None, state: ImageState) -> Image:
    """The row of an image that is still to come, counted in the tenant's quota; runs in the caller's transaction."""
    if tenant is not None:
        if spec.kind == ImageKind.DRIVERS:
            message = _("Every Windows machine gets it: only operators bring it in.")
            raise Invalid(errors=[FieldError("/kind", "operators_only", message)])
        quota_reserve(tenant, {"images": 1})
    words = {name: value for name, value in asdict(spec).items() if name in EDITABLE | {"kind"}}
    image = Image.objects.create(**words | {"name": spec.name.strip()}, tenant=tenant, state=state)
    image_told(image)
    return image


def image_told(image: Image) -> None:
    """Tell the pages of its tenant; of everybody's there is nobody to tell."""
    if image.tenant is not None:
        event_append(image.tenant, "image.changed", "image", image.pk)


@transaction.atomic
def image_import(
    spec: ImageSpec, *, url: str, sha256: str, actor: Actor, tenant: Tenant | None = None
) -> tuple[Image, Operation]:
    """Fetch an image by URL; a worker checks the checksum, the format and the size before anybody can use it.

    Without ``tenant`` it is everybody's. What it takes is reserved as it comes (``image_charge``). Raises ``Invalid`` or
    ``OverQuota`` and has changed nothing then.
    """
    image_require(None, actor, tenant=tenant)
    errors = []
    if not url.startswith(("http://", "https://")) or len(url) > 2000:
        errors.append(FieldError("/url", "invalid_url", _("Use an http or https address.")))
    if not DIGEST.match(sha256):
        errors.append(FieldError("/sha256", "invalid_checksum", _("A SHA-256 checksum of 64 hex digits is needed.")))
    image_spec_check(spec, also=errors)
    image = image_announce(spec, tenant=tenant, state=ImageState.IMPORTING)
    operation = operation_submit(
        image,
        kind="image.import" if tenant is None else "image.fetch",
        actor=actor,
        holds=[Hold("image", image.pk)],
        params={"url": url, "sha256": sha256.lower(), "format": spec.source_format},
    )
    audit_record(actor, "image.import", image, sha256=sha256.lower())
    return image, operation


@transaction.atomic
def image_charge(image: Image, size: int) -> None:
    """Have the image's tenant pay for ``size`` bytes at least, before they are written; raises ``OverQuota``. Repeatable."""
    gib = -(-size // GIB)
    if image.tenant is None or gib <= image.charged_gib:
        return
    row = Image.objects.select_for_update(no_key=True).get(pk=image.pk)
    if gib > row.charged_gib:
        quota_reserve(image.tenant, {"images_gib": gib - row.charged_gib})
        row.charged_gib = gib
        row.save(update_fields=["charged_gib"])
    image.charged_gib = row.charged_gib


def image_record_file(image: Image, *, size: int, virtual_size: int, sha256: str) -> None:
    """The worker has put a checked file in place; it is offered when the operation ends well."""
    Image.objects.filter(pk=image.pk, state=ImageState.IMPORTING).update(
        size=size, virtual_size=virtual_size, sha256=sha256
    )


@transaction.atomic
def image_edit(
    image: Image, *, actor: Actor, deprecated: bool | None = None, shared: bool | None = None, **changes: Any
) -> Image:
    """Rename an image, say what it needs, offer it or no longer; machines made of it stay as they are.

    ``shared`` lets the projects below its own make machines of it, or no longer; its own pays for it alone. ``changes`` are
    among ``EDITABLE`` and ``replacement`` (an image to take instead, or None). Raises ``Invalid`` or ``Conflict``.
    """
    image_require(image, actor)
    image = Image.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant").get(pk=image.pk)
    _replace(image, changes)
    words = {name: changes.get(name, getattr(image, name)) for name in EDITABLE}
    spec = ImageSpec(**words, kind=image.kind, source_format="qcow2" if image.kind == ImageKind.DISK else "raw")
    image_spec_check(spec)
    if "name" in changes:
        changes["name"] = spec.name.strip()
    if deprecated is not None:
        changes["state"] = _offered(image, on=not deprecated)
    if shared is not None:
        changes["shared"] = _shared(image, on=shared)
    edits = {name: [getattr(image, name), value] for name, value in changes.items() if getattr(image, name) != value}
    if not edits:
        return image
    for name, (_before, value) in edits.items():
        setattr(image, name, value)
    image.version += 1
    image.save(update_fields=[*edits, "version"])
    said: dict[str, Any] = {name: [str(old), str(new)] for name, (old, new) in edits.items()}
    audit_record(actor, "image.edit", image, **said)
    image_told(image)
    return image


def _offered(image: Image, *, on: bool) -> ImageState:
    if image.state not in (ImageState.READY, ImageState.DEPRECATED):
        raise Conflict(_("This image is not ready."), code="image_not_ready", hint="")
    return ImageState.READY if on else ImageState.DEPRECATED


def _shared(image: Image, *, on: bool) -> bool:
    if on and image.tenant_id is None:
        message = _("This image is everybody's already.")
        raise Invalid(errors=[FieldError("/shared", "public_image", message)])
    if on and image.state not in (ImageState.READY, ImageState.DEPRECATED):
        raise Conflict(_("This image is not ready."), code="image_not_ready", hint="")
    return on


def _replace(image: Image, changes: dict[str, Any]) -> None:
    other = changes.get("replacement")
    if other is not None and (other.pk == image.pk or (image.tenant_id is None and other.tenant_id is not None)):
        message = _("Choose another image that whoever sees this one sees, too.")
        raise Invalid(errors=[FieldError("/replacement", "invalid_replacement", message)])


def image_is_used(image: Image) -> bool:
    """Does anything stand on it: a machine, also in the bin, a disk, or whatever else points at an image?"""
    kept = (ImageCopy, ImageTest, ImageUpload, Image)
    relations = [
        relation
        for relation in Image._meta.get_fields(include_hidden=True)
        if isinstance(relation, models.ManyToOneRel) and relation.related_model not in kept
    ]
    with every_tenant(why="projects below may use a shared image"):
        return any(
            relation.related_model._default_manager.filter(**{relation.field.name: image}).exists()
            for relation in relations
        )


def refuse_used(image: Image) -> None:
    """Raise ``Conflict`` (``image_in_use``, ``image_in_test``) while anything stands on it."""
    if image_is_used(image):
        raise Conflict(
            _("Machines or volumes stand on this image."),
            code="image_in_use",
            hint=_("Deprecate it: then no new ones are made of it."),
        )
    if ImageTest.objects.filter(image=image).exclude(host=None).exists():
        raise Conflict(_("A test boot of this image is not over."), code="image_in_test", hint=_("Try again soon."))


@transaction.atomic
def image_delete(image: Image, *, actor: Actor) -> Operation:
    """Take an image away, with its copies on hosts; one that is just being uploaded, too.

    Raises ``Conflict`` while machines are made of it, since their disks stand on its copies, or while it is fetched.
    """
    image_require(image, actor)
    image = Image.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=image.pk)
    refuse_used(image)
    copies = list(ImageCopy.objects.filter(image=image))
    operation = operation_submit(
        image,
        kind="image.delete",
        actor=actor,
        holds=[Hold("image", image.pk), *(Hold("image_copy", copy.pk) for copy in copies)],
        params={"state": image.state, "ready": [str(copy.pk) for copy in copies if copy.ready_at is not None]},
    )
    ImageCopy.objects.filter(image=image).update(ready_at=None)
    image.state = ImageState.DELETING
    image.version += 1
    image.save(update_fields=["state", "version"])
    audit_record(actor, "image.delete", image)
    image_told(image)
    return operation


def image_settle_delete(operation: Operation) -> None:
    """Off every host: forget the rows, return the quota, and let go of its files. Anything else leaves it as it was.

    Raises ``Conflict`` (``image_in_use``) where a machine was made of it meanwhile; it has failed then.
    """
    image = (
        Image.objects.select_for_update(of=("self",))
        .select_related("tenant")
        .filter(pk=operation.subject_id, state=ImageState.DELETING)
        .first()
    )
    if image is None:
        return
    if operation.status != "succeeded":
        image.state = operation.params["state"]
        image.version += 1
        image.save(update_fields=["state", "version"])
        ImageCopy.objects.filter(image=image, pk__in=operation.params["ready"]).update(ready_at=now())
        image_told(image)
        return
    refuse_used(image)
    tenant, pk, files = image.tenant, image.pk, [image_path(image)]
    for upload in ImageUpload.objects.filter(image=image):
        files.append(upload_path(upload))
        upload.delete()
    if tenant is not None:
        quota_release(tenant, {"images": 1, "images_gib": image.charged_gib})
        usage_close(tenant, resource_ids=[pk], at=now())
    ImageCopy.objects.filter(image=image).delete()
    image.delete()
    if tenant is not None:
        event_append(tenant, "image.deleted", "image", pk)
    for file in files:
        unlink_on_commit(file)


def upload_path(upload: ImageUpload) -> Path:
    """Where an upload's bytes are gathered: named by its id, whatever the file is called at home."""
    return Path(settings.DATA_DIR) / "uploads" / upload.pk.hex


def unlink_on_commit(file: Path) -> None:
    """Remove a file once the row that named it is gone for good; what a death in between leaves, ``files_tidy`` finds."""
    transaction.on_commit(lambda: file.unlink(missing_ok=True))
