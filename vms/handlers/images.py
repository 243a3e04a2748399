"""Fetching an image: address, checksum, format and size are checked before anybody can use it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Invalid
from vms.disks.errors import DiskError
from vms.disks.fetch import fetch
from vms.models import Image
from vms.services.catalogue import catalogue_dir, catalogue_place
from vms.services.images import image_record_ready

LARGEST = 64 * 1024**3


@handles("image.import")
def import_image(run: Run) -> None:
    """Download, check, convert, move into place; what an attempt that was cut off left is cleared by the next one."""
    image = Image.objects.filter(pk=run.operation.subject_id).first()
    if image is None:
        return
    for left in catalogue_dir().glob(f"*-{image.pk.hex}-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=catalogue_dir(), prefix=f"fetch-{image.pk.hex}-") as scratch:
        file = Path(scratch) / "fetched"

        def received(size: int, total: int | None) -> None:
            run.tick(_("Fetching the image"), 5 + (60 * size // total if total else 0))

        def converted(percent: float) -> None:
            run.tick(_("Checking and converting"), 70 + int(percent / 4))

        run.say(_("Fetching the image"), 5)
        with run.effect("fetch"):
            try:
                fetch(run.params["url"], sha256=run.params["sha256"], into=file, max_bytes=LARGEST, progress=received)
            except DiskError as error:
                raise Invalid(
                    _("The image could not be fetched: %(reason)s"),
                    code="fetch_failed",
                    reason=error.sentence,
                    detail=error.detail,
                ) from error
        run.say(_("Checking and converting"), 70)
        with run.effect("place"):
            size, virtual_size, digest = catalogue_place(file, image, declared=run.params["format"], progress=converted)
    image_record_ready(image, size=size, virtual_size=virtual_size, sha256=digest)
