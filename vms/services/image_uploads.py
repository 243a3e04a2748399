"""An image's bytes come in pieces, each where the last one ended; paid for before the first, forgotten when no more come."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.units import GIB
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.quota import quota_release
from vms.models import Image, ImageUpload
from vms.services.images import (
    DIGEST,
    image_announce,
    image_charge,
    image_require,
    image_spec_check,
    image_told,
    images_dir,
    unlink_on_commit,
    upload_path,
)
from vms.specs import ImageSpec
from vms.states import ImageState

log = structlog.get_logger(__name__)
PIECE_MOST: Final = 2 * 1024**2
"""Bytes of one piece; what the front takes of a request is as much."""
WHOLE_MOST: Final = 64 * GIB
TOLD_EVERY: Final = 20
"""Into how many parts an upload is cut for those who only watch."""
ABANDONED_S: Final = 3600


class WrongOffset(Conflict):
    """A piece that does not begin where the last one ended: one was lost, or came twice. Nothing is written."""

    code = "wrong_offset"
    message = gettext_lazy("The next piece begins at byte %(offset)s.")
    hint = gettext_lazy("Ask for the upload, and go on from there.")


class UploadOver(Conflict):
    """Everything has come, or the image is being deleted."""

    code = "upload_over"
    message = gettext_lazy("Nothing more is taken for this upload.")
    hint = gettext_lazy("Look at the image.")


@transaction.atomic
def upload_create(tenant: Tenant, spec: ImageSpec, *, size: int, actor: Actor, sha256: str = "") -> ImageUpload:
    """Announce an image of ``size`` bytes that are about to come in pieces; room for them is reserved now.

    With ``sha256`` only a file of that checksum becomes the image. Raises ``Invalid`` or ``OverQuota``; nothing is left then.
    """
    image_require(None, actor, tenant=tenant)
    errors = []
    if not 0 < size <= WHOLE_MOST:
        message = _("Between 1 byte and %d GiB.") % (WHOLE_MOST // GIB)
        errors.append(FieldError("/size", "invalid_size", message))
    if sha256 and not DIGEST.match(sha256):
        errors.append(FieldError("/sha256", "invalid_checksum", _("A SHA-256 checksum of 64 hex digits is needed.")))
    image_spec_check(spec, also=errors)
    image = image_announce(spec, tenant=tenant, state=ImageState.UPLOADING)
    image_charge(image, size)
    upload = ImageUpload.objects.create(
        tenant=tenant, image=image, size=size, sha256=sha256.lower(), format=spec.source_format
    )
    audit_record(actor, "image.upload", image, size=size)
    return upload


@transaction.atomic
def upload_write(
    upload: ImageUpload, piece: bytes, *, offset: int, actor: Actor
) -> tuple[ImageUpload, Operation | None]:
    """Take the bytes from ``offset`` on; with the last of them a worker is asked to make the image, and the operation returned.

    The row says how much has come; of what a request that broke off wrote, the next piece writes over. Raises ``WrongOffset``,
    ``UploadOver`` or ``Invalid``.
    """
    actor.require(Permission.IMAGE_MANAGE, upload)
    image = Image.objects.select_for_update(no_key=True, of=("self",)).select_related("tenant").get(pk=upload.image_id)
    upload = ImageUpload.objects.select_for_update().get(pk=upload.pk)
    if image.state != ImageState.UPLOADING:
        raise UploadOver
    if offset != upload.received:
        raise WrongOffset(offset=upload.received)
    if not 0 < len(piece) <= min(PIECE_MOST, upload.size - upload.received):
        message = _("A piece has between 1 byte and %d MiB, and no more than are missing.") % (PIECE_MOST // 1024**2)
        raise Invalid(message, code="invalid_piece")
    complete = offset + len(piece) == upload.size
    _write(upload_path(upload), piece, offset, sync=complete)
    before = TOLD_EVERY * upload.received // upload.size
    upload.received += len(piece)
    upload.touched_at = now()
    upload.save(update_fields=["received", "touched_at"])
    if complete:
        return upload, _ask(image, actor)
    if TOLD_EVERY * upload.received // upload.size > before:
        image_told(image)
    return upload, None


def _ask(image: Image, actor: Actor) -> Operation:
    image.state = ImageState.IMPORTING
    image.version += 1
    image.save(update_fields=["state", "version"])
    operation = operation_submit(image, kind="image.receive", actor=actor, holds=[Hold("image", image.pk)])
    audit_record(actor, "image.received", image)
    image_told(image)
    return operation


def _write(path: Path, piece: bytes, offset: int, *, sync: bool) -> None:
    """Put bytes into a file that only we can read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(piece)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            rest, offset = rest[written:], offset + written
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@transaction.atomic
def upload_abandon(upload: ImageUpload, *, actor: Actor) -> None:
    """Give an upload up: what has come of it goes, and what was reserved for it returns. Raises ``UploadOver``."""
    actor.require(Permission.IMAGE_MANAGE, upload)
    image = Image.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=upload.image_id)
    if image.state != ImageState.UPLOADING:
        raise UploadOver
    tenant, pk = upload.tenant, image.pk
    unlink_on_commit(upload_path(upload))
    audit_record(actor, "image.upload_abandoned", image)
    ImageUpload.objects.filter(pk=upload.pk).delete()
    quota_release(tenant, {"images": 1, "images_gib": image.charged_gib})
    image.delete()
    event_append(tenant, "image.deleted", "image", pk)


def uploads_tidy(*, at: datetime) -> int:
    """Give up uploads that nobody has gone on with for ``UPLOAD_KEEP``; how many. Needs every tenant's scope."""
    stale = ImageUpload.objects.filter(touched_at__lt=at - settings.UPLOAD_KEEP, image__state=ImageState.UPLOADING)
    given_up = 0
    for upload in stale.select_related("tenant").order_by("touched_at"):
        with tenant_scope(upload.tenant):
            try:
                upload_abandon(upload, actor=system_actor(upload.tenant, why="uploads"))
            except (Conflict, Image.DoesNotExist):
                log.info("upload_goes_on", upload=str(upload.pk))
                continue
        given_up += 1
    return given_up


def files_tidy() -> list[str]:
    """Remove what a death left between a row's end and its file's: uploads without a row, folders of attempts long over.

    Their names. Images' own files are never among them. Needs every tenant's scope.
    """
    gone = []
    uploads = upload_path(ImageUpload()).parent
    for path in [*uploads.glob("*"), *images_dir().glob("*-*-*")]:
        try:
            touched = path.stat().st_mtime
        except FileNotFoundError:  # an import has ended since we looked
            continue
        if time.time() - touched < ABANDONED_S or _is_needed(path):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        gone.append(path.name)
    return gone


def _is_needed(path: Path) -> bool:
    """Does a row still speak of that upload, or of an image that is still to come?"""
    try:
        pk = UUID(hex=path.name.split("-")[1] if path.is_dir() else path.name)
    except (ValueError, IndexError):
        return True
    if path.is_dir():
        return _is_held(path) or Image.objects.filter(pk=pk, state=ImageState.IMPORTING).exists()
    return ImageUpload.objects.filter(pk=pk).exists()


def _is_held(folder: Path) -> bool:
    """Is somebody bringing an image in there (``catalogue_scratch``)?"""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
