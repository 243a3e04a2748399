"""Putting a file into the image catalogue: inspected, converted into our own format, checksummed, moved into place."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from django.utils.translation import gettext as _

from portal.core.errors import Invalid
from tenants.actors import Actor
from vms.disks.convert import flatten, to_qcow2
from vms.disks.durable import flush
from vms.disks.errors import DiskError, UnsafeImage
from vms.disks.inspect import Format, inspect
from vms.models import Image
from vms.services.image_arrival import image_register
from vms.services.images import image_path, images_dir
from vms.states import ImageKind, ImageState

_CHUNK = 4 * 1024 * 1024
type Progress = Callable[[float], None]
type Charge = Callable[[int], None]


def catalogue_dir() -> Path:
    """Where image files live; made on first use, closed to others."""
    path = images_dir()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


@contextmanager
def catalogue_scratch(what: str, image: Image) -> Iterator[Path]:
    """A folder for bringing ``image`` in, gone afterwards; held as long as it is used, however long that is."""
    with tempfile.TemporaryDirectory(dir=catalogue_dir(), prefix=f"{what}-{image.pk.hex}-") as folder:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # the kernel lets go of it when we die
            yield Path(folder)
        finally:
            os.close(descriptor)


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
    """Check an untrusted file and make it the public image called ``name``; one of that name is offered no longer.

    The same content again is the image that is there. Raises ``Invalid`` with the inspector's reason.
    """
    image = Image(name=name)
    size, virtual_size, digest = catalogue_place(file, image)
    there = Image.objects.filter(tenant=None, name=name, state=ImageState.READY, sha256=digest).first()
    if there is not None:
        os.replace(image_path(image), image_path(there))
        image = there
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
    file: Path,
    image: Image,
    *,
    below: Sequence[tuple[Path, Format]] | None = None,
    declared: Format | None = None,
    sha256: str = "",
    progress: Progress | None = None,
    charge: Charge | None = None,
) -> tuple[int, int, str]:
    """Inspect and convert ``file`` to the image's own place; its size, virtual size (bytes) and SHA-256.

    The checksum is that of ``file`` as it came, which is what publishers print; ``sha256`` is it where the caller has taken
    it, else it is taken beside the conversion. With ``below``, the files that it stands on, each over the next, it is a disk
    that nobody knows as it came: then it is the checksum of what was made. A file of another format than was ``declared`` is
    refused. ``progress`` gets 0 … 100; what it raises cancels. ``charge`` is told, before anything is unpacked, how many bytes
    that may make. When this returns, the image is on the disk. Raises ``Invalid``; then nothing was changed.
    """
    with catalogue_scratch("import", image) as scratch:
        clean = scratch / "clean.qcow2"
        try:
            found = inspect(file, declared=declared)
            if image.kind != ImageKind.DISK and found.content != "iso":
                raise UnsafeImage("It holds no ISO 9660 file system, so it is no CD.", code="image_no_cd")
            if charge:
                charge(found.virtual_size)
            if below is None:
                with _checksum(file, sha256, progress) as digest:
                    to_qcow2(file, clean, source_format=found.format, progress=progress)
                    checked = inspect(clean)
            else:
                flatten([(file, found.format), *below], clean, progress=progress)
                with _checksum(clean, "", progress) as digest:
                    checked = inspect(clean)
        except DiskError as error:
            raise Invalid(
                _("This image cannot be used: %(reason)s"), code="bad_image", reason=error.sentence, detail=error.detail
            ) from error
        os.chmod(clean, 0o600)
        flush(clean)
        if progress:
            progress(100.0)  # a worker that froze until here puts nothing in the place of its successor's
        os.replace(clean, image_path(image))
        flush(catalogue_dir())
        return image_path(image).stat().st_size, checked.virtual_size, digest()


@contextmanager
def _checksum(file: Path, known: str, progress: Progress | None) -> Iterator[Callable[[], str]]:
    """The SHA-256 of a file that is read by another at the same time, to be asked for when the block has ended well."""
    if known:
        yield lambda: known
        return
    given_up = Event()
    with ThreadPoolExecutor(max_workers=1) as aside:
        taken = aside.submit(_sha256, file, given_up)
        try:
            yield taken.result
            while not wait([taken], timeout=1).done:
                if progress:
                    progress(100.0)
        except BaseException:
            given_up.set()
            raise


def _sha256(path: Path, given_up: Event) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while not given_up.is_set() and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
    return digest.hexdigest()
