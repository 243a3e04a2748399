"""An image comes in pieces over REST: paid for first, each piece once, and nothing stays of what is given up. P-B8."""

from __future__ import annotations

import hashlib
import os
import stat
from datetime import timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

import vms.handlers  # noqa: F401  (registers the handlers)
from operations.models import Operation
from operations.runner import run
from portal.core.clock import now
from portal.core.errors import OverQuota
from tenants.models import InstallationEntry, Quota
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import quota_verify
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Answer, Rest
from tests.support.crowd import together
from tests.vms.disks.corpus import MIB, qcow2, sparse
from vms.models import Image, ImageUpload
from vms.reconcile.spool import spool_differs
from vms.services.catalogue import catalogue_scratch
from vms.services.image_uploads import files_tidy, uploads_tidy
from vms.services.images import image_path, upload_path

pytestmark = pytest.mark.django_db
commits = pytest.mark.django_db(transaction=True)
"""Files go once what named them is committed."""
PIECE = MIB


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner()


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def begin(rest: Rest, house: House, content: bytes, **words: Any) -> Answer:
    body = {"name": "mine", "size": len(content), "format": "raw", **words}
    return rest.post(f"{house.url}/image-uploads", body)


def send(rest: Rest, path: str, piece: bytes, offset: int) -> Answer:
    return rest.ask("PATCH", path, piece, Content_Type="application/octet-stream", Upload_Offset=str(offset))


def in_use(house: House) -> dict[str, int]:
    rows = Quota.objects.filter(tenant=house.tenant, resource__in=["images", "images_gib"])
    return dict(rows.values_list("resource", "used"))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@commits
@pytest.mark.parametrize("stated", [True, False], ids=["checksum stated", "none stated"])
def test_an_image_comes_in_pieces_and_machines_can_be_made_of_it(
    house: House, rest: Rest, tmp_path: Path, stated: bool
) -> None:
    disk = sparse(tmp_path / "disk", b"disk", size=3 * MIB).read_bytes()
    (tmp_path / "disk").unlink()
    checksum = hashlib.sha256(disk).hexdigest()
    begun = begin(rest, house, disk, **({"sha256": checksum} if stated else {}))
    path = begun.headers["Location"]

    answers = [send(rest, path, disk[offset : offset + PIECE], offset) for offset in range(0, len(disk), PIECE)]

    assert begun.status == 201, begun
    assert [answer.json["received"] for answer in answers] == [MIB, 2 * MIB, 3 * MIB]
    assert [answer.json["operation"] is None for answer in answers] == [True, True, False]
    (held,) = list((tmp_path / "uploads").iterdir())
    assert stat.S_IMODE(held.stat().st_mode) == 0o600
    assert run(answers[-1].json["operation"]) == "succeeded"
    image = rest.get(f"{house.url}/images/{begun.json['image']}").json
    assert (image["state"], image["public"], image["virtual_size"]) == ("ready", False, 3 * MIB)
    assert image["sha256"] == checksum, "of the bytes as they came"
    assert rest.get(path).status == 404
    assert files(tmp_path) == [f"{image['id'].replace('-', '')}.qcow2"]
    assert in_use(house) == {"images": 1, "images_gib": 1}
    with every_tenant(why="test"):
        assert quota_verify() == []


def test_a_piece_that_comes_twice_or_too_early_changes_nothing(house: House, rest: Rest) -> None:
    path = begin(rest, house, bytes(3000)).headers["Location"]
    assert send(rest, path, bytes(1000), 0).json["received"] == 1000

    for offset in (0, 999, 2000):
        again = send(rest, path, bytes(1000), offset)
        assert (again.status, again.json["code"]) == (409, "wrong_offset")

    assert rest.ask("HEAD", path).headers["Upload-Offset"] == "1000"
    assert rest.get(path).json["received"] == 1000


@pytest.mark.parametrize(
    ("piece", "headers", "status"),
    [
        (b"{}", {"Content_Type": "application/json", "Upload_Offset": "0"}, 415),
        (b"x", {"Content_Type": "application/octet-stream"}, 422),
        (b"x", {"Content_Type": "application/octet-stream", "Upload_Offset": "-1"}, 422),
        (b"x", {"Content_Type": "application/octet-stream", "Upload_Offset": "9" * 40}, 422),
        (bytes(3001), {"Content_Type": "application/octet-stream", "Upload_Offset": "0"}, 422),
        (bytes(2 * MIB + 1), {"Content_Type": "application/octet-stream", "Upload_Offset": "0"}, 413),
    ],
    ids=["json", "no offset", "negative", "huge offset", "more than stated", "more than a piece"],
)
def test_what_is_no_piece_is_refused(
    house: House, rest: Rest, tmp_path: Path, piece: bytes, headers: dict[str, str], status: int
) -> None:
    path = begin(rest, house, bytes(3000)).headers["Location"]

    answer = rest.ask("PATCH", path, piece, **headers)

    assert answer.status == status, answer
    assert rest.get(path).json["received"] == 0
    assert files(tmp_path) == []


@pytest.mark.parametrize("field", [{"size": 0}, {"size": 2**50}, {"sha256": "x"}, {"format": "vmdk"}, {"name": "  "}])
def test_what_cannot_become_an_image_is_not_begun(house: House, rest: Rest, field: dict[str, Any]) -> None:
    answer = begin(rest, house, bytes(3000), **field)

    assert answer.status == 422
    assert [fault["pointer"] for fault in answer.json["errors"]] == [f"/{next(iter(field))}"]
    assert in_use(house) == {"images": 0, "images_gib": 0}


def test_names_are_words_and_never_paths(house: House, rest: Rest, tmp_path: Path) -> None:
    """P-B16."""
    for name in ("../../etc/passwd", "-rf", "a/b", "%2e%2e/", "∕etc∕passwd", "x" * 100):
        path = begin(rest, house, bytes(10), name=name).headers["Location"]
        send(rest, path, bytes(5), 0)

    assert {len(name) for name in files(tmp_path)} == {32}
    assert all(name.isalnum() for name in files(tmp_path))


@commits
def test_bytes_of_another_checksum_or_format_become_no_image(house: House, rest: Rest, tmp_path: Path) -> None:
    for content, words, code in (
        (bytes(1024), {"sha256": "0" * 64}, "checksum_mismatch"),
        (qcow2(), {}, "bad_image"),
        (qcow2(backing="/etc/passwd"), {"format": "qcow2"}, "bad_image"),
    ):
        begun = begin(rest, house, content, **words)
        done = send(rest, begun.headers["Location"], content, 0)
        assert run(done.json["operation"]) == "failed"

        assert Operation.objects.get(pk=done.json["operation"]).error_code == code
        image = rest.get(f"{house.url}/images/{begun.json['image']}").json
        assert (image["state"], bool(image["problem"])) == ("failed", True)
    assert files(tmp_path) == []
    assert in_use(house) == {"images": 3, "images_gib": 0}


@commits
def test_room_for_what_a_disk_unpacks_to_is_reserved_before_it_is_unpacked(tmp_path: Path) -> None:
    """P-B6: a file of a few kilobytes says it is ten gibibytes large."""
    house = factories.tenant_with_owner(limits={"images_gib": 5})
    rest, content = Rest(house.token), qcow2(size=10 * 1024 * MIB, l1_entries=20)
    begun = begin(rest, house, content, format="qcow2")

    assert run(send(rest, begun.headers["Location"], content, 0).json["operation"]) == "failed"

    assert Operation.objects.get(kind="image.receive").error_code == "over_quota"
    assert files(tmp_path) == []
    assert in_use(house) == {"images": 1, "images_gib": 0}


@commits
def test_giving_up_leaves_neither_bytes_nor_quota(house: House, rest: Rest, tmp_path: Path) -> None:
    path = begin(rest, house, bytes(3000)).headers["Location"]
    send(rest, path, bytes(2999), 0)

    assert rest.delete(path).status == 204

    assert files(tmp_path) == []
    assert rest.get(path).status == 404
    assert in_use(house) == {"images": 0, "images_gib": 0}
    with every_tenant(why="test"):
        assert not Image.objects.exists()


@commits
def test_an_upload_that_nobody_goes_on_with_is_given_up(house: House, rest: Rest, tmp_path: Path) -> None:
    path = begin(rest, house, bytes(3000)).headers["Location"]
    send(rest, path, bytes(10), 0)
    with every_tenant(why="test"):
        assert uploads_tidy(at=now() + timedelta(hours=23)) == 0
        assert uploads_tidy(at=now() + timedelta(hours=25)) == 1

        assert not Image.objects.exists()
    assert files(tmp_path) == []
    assert in_use(house) == {"images": 0, "images_gib": 0}


def test_what_a_death_left_is_removed_and_what_is_needed_is_not(house: House, tmp_path: Path) -> None:
    upload = factories.upload(house)
    image = factories.own_image(house)
    needed, stray = upload_path(upload), tmp_path / "uploads" / ("0" * 32)
    folder = tmp_path / "images" / f"fetch-{'0' * 32}-x"
    folder.mkdir(parents=True)
    needed.parent.mkdir()
    for path in (needed, stray, image_path(image), tmp_path / "images" / f"{'1' * 32}.qcow2"):
        path.write_bytes(b"x")
    for path in (*tmp_path.rglob("*"),):
        os.utime(path, (0, 0))

    with every_tenant(why="test"), catalogue_scratch("import", Image(name="slow")) as held:
        os.utime(held, (0, 0))
        assert sorted(files_tidy()) == [stray.name, folder.name]
        assert held.exists(), "somebody is bringing an image in there, and takes long"

    assert needed.exists()
    assert image_path(image).exists()


@commits
def test_images_files_without_a_row_are_found_and_removed_only_by_hand(house: House, tmp_path: Path) -> None:
    image = factories.own_image(house)
    young, old = (tmp_path / "images" / f"{number * 32}.qcow2" for number in "12")
    old.parent.mkdir()
    for path in (image_path(image), young, old):
        path.write_bytes(b"x" * MIB)
    for path in (image_path(image), old):
        os.utime(path, (0, 0))
    finding = f"I2 file {old.name} belongs to no image; manage.py stray_images lists and removes such"
    with every_tenant(why="test"):
        assert list(spool_differs()) == [finding]

    said = [command_words("stray_images"), command_words("stray_images", "--remove")]

    assert said == [f"{old.name}  1 MiB\n1 files of no image\n", f"{old.name}  1 MiB\n1 files removed\n"]
    assert sorted(path.name for path in old.parent.iterdir()) == sorted([image_path(image).name, young.name])
    assert InstallationEntry.objects.get(action="image.files_remove").changes == {"files": [old.name]}


def command_words(*words: str) -> str:
    said = StringIO()
    call_command(*words, stdout=said)
    return said.getvalue()


@commits
def test_uploads_at_the_edge_of_the_quota_are_exact() -> None:
    """P-B8, P-G1."""
    house = factories.tenant_with_owner(limits={"images": 3})

    found = together([partial(factories.upload, house)] * 8)

    assert sum(isinstance(one, ImageUpload) for one in found) == 3
    assert sum(isinstance(one, OverQuota) for one in found) == 5
    with tenant_scope(house.tenant):
        assert ImageUpload.objects.count() == 3
