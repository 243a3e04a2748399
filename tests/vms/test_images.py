"""An image is fetched, checked and converted by a worker; nothing of a failed import stays, and nothing takes its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from operations.models import Operation
from operations.runner import LeaseLost, run
from operations.services import operation_cancel
from portal.core.errors import Conflict
from tenants.scoping import every_tenant
from tests import factories
from tests.vms.disks.corpus import MIB, qcow2, sparse
from vms.handlers import images as handlers
from vms.models import Image
from vms.services import catalogue
from vms.services.catalogue import catalogue_dir
from vms.services.images import image_delete, image_import, image_path
from vms.specs import ImageSpec

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


def served(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """As if ``file`` lay on the internet, with a server that does not say how long it is."""

    def fetch(_url: str, *, into: Path, progress: Any, **_limits: Any) -> None:
        into.write_bytes(file.read_bytes())
        progress(into.stat().st_size, None)

    monkeypatch.setattr(handlers, "fetch", fetch)


def asked(source_format: str) -> tuple[Image, Operation]:
    with every_tenant(why="test"):
        spec = ImageSpec("d", source_format=source_format)
        return image_import(spec, url="https://example.test/d", sha256="0" * 64, actor=factories.desk())


def test_an_image_of_the_format_it_was_said_to_be_becomes_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served(monkeypatch, sparse(tmp_path / "disk", b"disk", size=MIB))
    image, operation = asked("raw")
    for step in ("fetch", "import"):
        (catalogue_dir() / f"{step}-{image.pk.hex}-killed").mkdir()

    assert run(operation.pk) == "succeeded"

    image.refresh_from_db()
    assert (image.state, image.virtual_size) == ("ready", MIB)
    assert list(catalogue_dir().iterdir()) == [image_path(image)]


def test_an_image_of_another_format_than_said_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Operators said raw, and what came as qcow2 was taken as that."""
    file = tmp_path / "disk"
    file.write_bytes(qcow2())
    served(monkeypatch, file)
    image, operation = asked("raw")

    assert run(operation.pk) == "failed"

    operation.refresh_from_db()
    image.refresh_from_db()
    assert (operation.error_code, image.state) == ("bad_image", "failed")
    assert list(catalogue_dir().iterdir()) == []


def test_an_image_that_is_being_fetched_is_not_deleted() -> None:
    """Its file was put in place after its row had gone, and stayed."""
    image, operation = asked("qcow2")
    with every_tenant(why="test"):
        with pytest.raises(Conflict) as refused:
            image_delete(image, actor=factories.desk())
        assert refused.value.code == "operation_in_progress"

        operation_cancel(operation, actor=factories.desk())
        assert run(image_delete(image, actor=factories.desk()).pk) == "succeeded"
        assert not Image.objects.filter(pk=image.pk).exists()


def test_a_worker_that_froze_puts_no_file_in_the_place_of_its_successors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image, told = Image(name="d"), []

    def freeze(path: Path) -> None:
        """Somebody else has finished the import by the time that it thaws."""
        image_path(image).write_bytes(b"the successor's")
        told.append(path)

    def progress(_percent: float) -> None:
        if told:
            raise LeaseLost

    monkeypatch.setattr(catalogue, "flush", freeze)

    with pytest.raises(LeaseLost):
        catalogue.catalogue_place(
            sparse(tmp_path / "disk", b"disk", size=MIB), image, declared="raw", progress=progress
        )

    assert image_path(image).read_bytes() == b"the successor's"
    assert list(catalogue_dir().iterdir()) == [image_path(image)]
