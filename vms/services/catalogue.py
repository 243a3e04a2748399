"""Putting a file into the image catalogue: inspected, converted into our own format, checksummed, moved into place."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from portal.core.errors import Invalid
from tenants.actors import Actor
from vms.disks.convert import to_qcow2
from vms.disks.errors import DiskError
from vms.disks.inspect import Format, inspect
from vms.models import Image
from vms.services.images import image_path, image_register

_CHUNK = 4 * 1024 * 1024
type Progress = Callable[[float], None]


def catalogue_dir() -> Path:
    """Where image files live; made on first use, closed to others."""
    path = Path(settings.DATA_DIR) / "images"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def catalogue_add(
    file: Path,
    *,
    name: str,
    actor: Actor,
    os_family: str,
    os_version: str,
    default_user: str = "root",
    min_memory_mib: int = 64,
) -> Image:
    """Check an untrusted file and make it the public image called ``name``, in place of one of that name.

    Raises ``Invalid`` with the inspector's reason. Machines made of a former file keep theirs: another content has another
    name on the hosts.
    """
    image = Image.objects.filter(tenant=None, name=name).first() or Image(name=name)
    size, virtual_size, digest = catalogue_place(file, image)
    return image_register(
        image=image,
        name=name,
        actor=actor,
        os_family=os_family,
        os_version=os_version,
        size=size,
        virtual_size=virtual_size,
        sha256=digest,
        default_user=default_user,
        min_memory_mib=min_memory_mib,
    )


def catalogue_place(
    file: Path, image: Image, *, declared: Format | None = None, progress: Progress | None = None
) -> tuple[int, int, str]:
    """Inspect and convert ``file`` to the image's own place; its size, virtual size (bytes) and SHA-256.

    A file of another format than was ``declared`` is refused. ``progress`` gets 0 … 100 of the conversion, and 100 again and
    again while the checksum is taken; what it raises cancels. Raises ``Invalid``; then nothing was changed.
    """
    with tempfile.TemporaryDirectory(dir=catalogue_dir(), prefix=f"import-{image.pk.hex}-") as scratch:
        clean = Path(scratch) / "clean.qcow2"
        try:
            found = inspect(file, declared=declared)
            to_qcow2(file, clean, source_format=found.format, progress=progress)
            checked = inspect(clean)
        except DiskError as error:
            raise Invalid(
                _("This image cannot be used: %(reason)s"), code="bad_image", reason=error.sentence, detail=error.detail
            ) from error
        digest = _sha256(clean, progress)
        os.chmod(clean, 0o600)
        os.replace(clean, image_path(image))
        return image_path(image).stat().st_size, checked.virtual_size, digest


def _sha256(path: Path, progress: Progress | None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress:
                progress(100.0)
    return digest.hexdigest()
