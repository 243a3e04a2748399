"""Fetching an image: address, checksum, format and size are checked before anybody can use it."""

from __future__ import annotations

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
    """Download, check, convert, move into place; cut off anywhere it leaves a scratch folder that goes with the process."""
    image = Image.objects.filter(pk=run.operation.subject_id).first()
    if image is None:
        return
    with tempfile.TemporaryDirectory(dir=catalogue_dir(), prefix="fetch-") as scratch:
        file = Path(scratch) / "fetched"
        last = 0

        def progress(received: int, total: int | None) -> None:
            nonlocal last
            percent = 5 + (60 * received // total if total else 0)
            if percent > last:
                last = percent
                run.check()
                run.say(_("Fetching the image"), percent)

        run.say(_("Fetching the image"), 5)
        with run.effect("fetch"):
            try:
                fetch(run.params["url"], sha256=run.params["sha256"], into=file, max_bytes=LARGEST, progress=progress)
            except DiskError as error:
                raise Invalid(
                    _("The image could not be fetched: %(reason)s"),
                    code="fetch_failed",
                    reason=error.sentence,
                    detail=error.detail,
                ) from error
        run.say(_("Checking and converting"), 70)
        with run.effect("place"):
            size, virtual_size, digest = catalogue_place(file, image)
    image_record_ready(image, size=size, virtual_size=virtual_size, sha256=digest)
