"""Fetching, receiving and deleting images: checksum, format and size are checked before anybody can use one."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Invalid
from vms.disks.errors import DiskError
from vms.disks.fetch import fetch, fetch_text
from vms.disks.inspect import Format
from vms.disks.sums import MOST_BYTES, pick_sum
from vms.handlers.copied import await_snapshot
from vms.handlers.copied import fetch as fetch_disk
from vms.handlers.image_copies import drop_copy
from vms.models import Image, ImageCopy, ImageUpload, SnapshotDisk
from vms.services.catalogue import catalogue_dir, catalogue_place
from vms.services.image_catalogue import origin_record
from vms.services.image_copies import copy_forget
from vms.services.images import image_charge, image_path, image_record_file, refuse_used, upload_path

LARGEST: Final = 64 * 1024**3
CHUNK: Final = 4 * 1024**2
SHA256_DIGITS: Final = 64


@handles("image.import")
@handles("image.fetch")
def fetch_image(run: Run) -> None:
    """Download, check, convert, move into place."""
    image = _image(run)
    if image is None:
        return
    with _scratch(image, "fetch") as folder:
        file = folder / "fetched"

        def received(size: int, total: int | None) -> None:
            image_charge(image, max(size, min(total or 0, LARGEST)))
            run.tick(_("Fetching the image"), 5 + (60 * size // total if total else 0))

        checksum = run.params.get("sha256") or _stated(run, image)
        run.say(_("Fetching the image"), 5)
        with run.effect("fetch"), _fetching():
            fetch(run.params["url"], checksum=checksum, into=file, max_bytes=LARGEST, progress=received)
        known = checksum if len(checksum) == SHA256_DIGITS else ""
        place(run, image, file, declared=run.params["format"], sha256=known)


@contextmanager
def _fetching() -> Iterator[None]:
    """What is wrong with an address or its server, in the words of who wanted the image."""
    try:
        yield
    except DiskError as error:
        raise Invalid(
            _("The image could not be fetched: %(reason)s"),
            code="fetch_failed",
            reason=error.sentence,
            detail=error.detail,
        ) from error


def _stated(run: Run, image: Image) -> str:
    """The checksum that an image's maker states of it today; raises ``Conflict`` where we have just that."""
    run.say(_("Reading its checksum"), 2)
    with run.effect("sums"), _fetching():
        checksum = pick_sum(fetch_text(run.params["sums"], max_bytes=MOST_BYTES), run.params["file"])
    origin_record(image, checksum)
    return checksum


@handles("image.receive")
def receive_image(run: Run) -> None:
    """Check what was uploaded, convert, move into place; the bytes that came go with the end of the operation."""
    image = _image(run)
    if image is None:
        return
    upload = ImageUpload.objects.get(image=image)
    file = upload_path(upload)
    with _scratch(image, "import"):
        run.say(_("Checking what was uploaded"), 5)
        if upload.sha256 and not hmac.compare_digest(_digest(run, file, upload.size), upload.sha256):
            raise Invalid(
                _("What arrived has another checksum than was stated."),
                code="checksum_mismatch",
                hint=_("Upload it again, or correct the checksum."),
            )
        place(run, image, file, declared=upload.format, sha256=upload.sha256)


@handles("image.capture")
def capture_image(run: Run) -> None:
    """What a disk held in a snapshot, once that is there: fetched, checked as any image is, moved into place."""
    image = _image(run)
    if image is None:
        return
    await_snapshot(run)
    disk = SnapshotDisk.objects.get(pk=run.params["disk"])
    with _scratch(image, "capture") as folder:
        top, *below = fetch_disk(run, disk, folder)
        place(run, image, top.file, declared=top.format, below=[(each.file, each.format) for each in below])


def _digest(run: Run, file: Path, size: int) -> str:
    digest, done = hashlib.sha256(), 0
    with file.open("rb") as data:
        while chunk := data.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            run.tick(_("Checking what was uploaded"), 5 + 60 * done // max(1, size))
    return digest.hexdigest()


def place(
    run: Run,
    image: Image,
    file: Path,
    *,
    declared: str,
    sha256: str = "",
    below: Sequence[tuple[Path, Format]] | None = None,
) -> None:
    """Inspect and convert ``file``, and make it the image's; its tenant has room for all it may unpack to, or it is refused.

    ``sha256`` is the file's checksum where it has been taken; ``below`` are the files that a disk stands on.
    """

    def converted(percent: float) -> None:
        run.tick(_("Checking and converting"), 70 + int(percent / 4))

    run.say(_("Checking and converting"), 70)
    with run.effect("place"):
        size, virtual_size, digest = catalogue_place(
            file,
            image,
            below=below,
            declared="raw" if declared == "raw" else "qcow2",
            sha256=sha256,
            progress=converted,
            charge=lambda most: image_charge(image, most),
        )
        image_record_file(image, size=size, virtual_size=virtual_size, sha256=digest)


def _image(run: Run) -> Image | None:
    """The image that is to come; None where it is gone, or where an attempt before this one has put it in place."""
    image = Image.objects.select_related("tenant").filter(pk=run.operation.subject_id).first()
    if image is None or (image.sha256 and image_path(image).exists()):
        return None
    return image


@contextmanager
def _scratch(image: Image, what: str) -> Iterator[Path]:
    """A folder of this attempt's own; what one that was cut off left is cleared first."""
    for left in catalogue_dir().glob(f"*-{image.pk.hex}-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=catalogue_dir(), prefix=f"{what}-{image.pk.hex}-") as folder:
        yield Path(folder)


@handles("image.delete")
def delete_image(run: Run) -> None:
    """Take every copy off its host; refuses once a machine has been made of it meanwhile."""
    image = Image.objects.filter(pk=run.operation.subject_id).first()
    if image is None:
        return
    refuse_used(image)
    for copy in ImageCopy.objects.filter(image=image).select_related("host"):
        drop_copy(run, copy)
        copy_forget(copy)
