"""The catalogue of well-known images: each entry is one that we would take, and a click brings it in as its maker states it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from operations.models import Operation
from operations.runner import run
from operations.services import operation_cancel
from portal.core.errors import Conflict, Forbidden, Missing
from tenants.scoping import every_tenant
from tests import factories
from tests.portal.api.rest import Rest
from tests.vms.disks.corpus import MIB, sparse
from vms import catalogue as package
from vms.catalogue import BadCatalogue, Entry, catalogue, read_catalogue
from vms.disks.fetch import fetch, fetch_text
from vms.forms.images import SYSTEMS
from vms.handlers import images as handlers
from vms.models import Image
from vms.selectors.image_catalogue import Offer, catalogue_offers
from vms.services import image_catalogue as services
from vms.services.catalogue import catalogue_dir
from vms.services.image_catalogue import catalogue_fetch
from vms.services.images import image_path, image_spec_check
from vms.specs import ImageSpec
from vms.states import ImageState

WANTED = {
    "debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04", "fedora-43", "rocky-9", "alpine-3.22", "windows-server-2022",
}  # fmt: skip
GOOD = {"key": "x", "name": "X", "url": "https://a.test/x.qcow2", "sums": "https://a.test/SUMS"}


@pytest.mark.parametrize("entry", catalogue().values(), ids=catalogue())
def test_each_entry_is_an_image_that_we_take(entry: Entry) -> None:
    image_spec_check(entry.spec)
    assert entry.spec.os_family in {name for name, _label in SYSTEMS}, "it has an icon and a name"
    assert entry.spec.min_memory_mib >= 128
    assert entry.spec.least_disk_gib >= 1
    assert entry.maker
    if entry.url:
        assert entry.file_name.endswith((".qcow2", ".img"))
        assert entry.spec.default_user != "root"
        release = entry.spec.os_version.split()[0]
        assert not entry.pinned or release in entry.file_name


def test_what_people_ask_for_is_there() -> None:
    assert set(catalogue()) == WANTED


def written(**changes: Any) -> str:
    def word(value: Any) -> str:
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value).replace("'", '"')

    return "[[image]]\n" + "\n".join(
        f"{name} = {word(value)}" for name, value in {**GOOD, **changes}.items() if value != ""
    )


def test_an_entry_says_only_what_is_to_be_said() -> None:
    (entry,) = read_catalogue(written(family="debian", version="12", firmware="uefi", tpm=True)).values()

    assert entry.spec == ImageSpec("X", os_family="debian", os_version="12", firmware="uefi", tpm=True)
    assert (entry.file_name, entry.maker) == ("x.qcow2", "a.test")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[image]",
        "[[picture]]\nkey = 'x'",
        written(key=""),
        written(key="x" * 41),
        written(key=7),
        written(name=""),
        written(sums=""),
        written(url=""),
        written(page="https://a.test/"),
        written(url="", sums=""),
        written(url="http://a.test/x.qcow2"),
        written(url=["https://a.test/x"]),
        written(colour="red"),
        written(os_family="debian"),
        written(tpm="yes"),
        written(min_memory_mib=True),
        written(min_memory_mib="512"),
        written() + "\n" + written(),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadCatalogue):
        read_catalogue(text)


class Maker:
    """A server of files on loopback, and the catalogue entry of one of them."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.place = folder, f"http://127.0.0.1:{port}"
        self.entry = Entry(
            key="own-1",
            spec=ImageSpec("Own 1", os_family="debian", source_format="raw", default_user="debian"),
            url=f"{self.place}/disk.img",
            sums=f"{self.place}/SUMS",
        )

    def offers(self, content: bytes) -> None:
        sparse(self.folder / "disk.img", content, size=MIB)
        digest = hashlib.sha512((self.folder / "disk.img").read_bytes()).hexdigest()
        (self.folder / "SUMS").write_text(f"{'0' * 128}  other.img\n{digest}  disk.img\n")


@pytest.fixture
def maker(db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    settings.DATA_DIR = tmp_path / "data"
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    there = Maker(folder, server.server_port)
    there.offers(b"first")
    for module in (package, services):
        monkeypatch.setattr(module, "catalogue", lambda: {"own-1": there.entry, "by-hand": BY_HAND})
    monkeypatch.setattr("vms.selectors.image_catalogue.catalogue", lambda: {"own-1": there.entry, "by-hand": BY_HAND})
    monkeypatch.setattr(handlers, "fetch", partial(fetch, allow_private=True))
    monkeypatch.setattr(handlers, "fetch_text", partial(fetch_text, allow_private=True))
    yield there
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Quiet."""


BY_HAND = Entry(key="by-hand", spec=ImageSpec("By hand"), page="https://a.test/")


def ask(key: str = "own-1") -> tuple[Image, Operation]:
    with every_tenant(why="test"):
        return catalogue_fetch(key, actor=factories.desk())


def offer() -> Offer:
    with every_tenant(why="test"):
        return catalogue_offers()[0]


def test_a_click_brings_it_in_by_the_checksum_that_its_maker_states(maker: Maker) -> None:
    assert (offer().image, offer().may_fetch) == (None, True)
    image, operation = ask()
    assert (offer().coming, offer().may_fetch) == (True, False)

    assert run(operation.pk) == "succeeded"

    image.refresh_from_db()
    assert (image.state, image.name, image.tenant, image.origin) == ("ready", "Own 1", None, "own-1")
    assert image.origin_sum == hashlib.sha512((maker.folder / "disk.img").read_bytes()).hexdigest()
    assert image_path(image).exists()
    assert (offer().image, offer().may_fetch) == (image, True)


def test_the_next_release_takes_the_place_of_the_former_and_the_same_is_not_fetched_twice(maker: Maker) -> None:
    first, operation = ask()
    run(operation.pk)

    same, operation = ask()
    assert run(operation.pk) == "failed"
    operation.refresh_from_db()
    assert operation.error_code == "image_unchanged"
    assert (offer().image, offer().problem) == (first, operation.error_message), (
        "what is here is shown, and why no other came"
    )

    first.refresh_from_db()
    maker.offers(b"second")
    second, operation = ask()
    assert run(operation.pk) == "succeeded"

    seen = first.version
    first.refresh_from_db()
    assert (first.state, first.replacement) == ("deprecated", second)
    assert first.version > seen, "who saw it offered has not seen that"
    for left in Operation.objects.filter(kind="image.delete"):
        run(left.pk)
    with every_tenant(why="test"):
        assert not Image.objects.filter(pk=same.pk).exists(), "what failed goes with the next click"
        assert Image.objects.get(state=ImageState.READY).pk == second.pk


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("gone", "does not resolve"),
        ("no sums", "answered 404"),
        ("not in it", "does not know this image"),
        ("another file", "checksum of the download is another"),
    ],
)
def test_what_is_wrong_is_said_plainly_and_nothing_stays(broken: str, words: str, maker: Maker) -> None:
    if broken == "gone":
        maker.entry = Entry(
            key="own-1", spec=maker.entry.spec, url="https://a.invalid/disk.img", sums="https://a.invalid/S"
        )
    elif broken == "no sums":
        (maker.folder / "SUMS").unlink()
    elif broken == "not in it":
        (maker.folder / "SUMS").write_text(f"{'0' * 64}  other.img\n")
    else:
        (maker.folder / "disk.img").write_bytes(b"something else")
    image, operation = ask()

    assert run(operation.pk) == "failed"

    image.refresh_from_db()
    assert (image.state, words in image.problem) == ("failed", True), image.problem
    assert list(catalogue_dir().iterdir()) == []
    assert (offer().image, offer().problem, offer().may_fetch) == (None, image.problem, True)


def test_it_comes_once_at_a_time_can_be_called_off_and_only_operators_ask(maker: Maker) -> None:
    image, operation = ask()
    with pytest.raises(Conflict) as refused:
        ask()
    assert refused.value.code == "image_coming"
    with every_tenant(why="test"):
        operation_cancel(operation, actor=factories.desk())
    image.refresh_from_db()
    assert image.state == "failed"

    for key in ("by-hand", "absent"):
        with pytest.raises(Missing):
            ask(key)
    house = factories.tenant_with_owner()
    with pytest.raises(Forbidden), every_tenant(why="test"):
        catalogue_fetch("own-1", actor=house.actor)


def test_operators_read_it_and_have_one_fetched_over_rest(maker: Maker) -> None:
    _person, token = factories.operator()
    rest, house = Rest(token), factories.tenant_with_owner()
    states = lambda: {row["key"]: row["state"] for row in rest.get("/image-catalogue").json["items"]}  # noqa: E731

    assert states() == {"own-1": "absent", "by-hand": "absent"}
    asked = rest.post("/image-catalogue/own-1/fetch", Idempotency_Key="once")
    before = rest.get("/image-catalogue/own-1")
    assert (asked.status, before.json["state"], before.json["operation"]) == (202, "coming", asked.json["id"])
    assert rest.post("/image-catalogue/own-1/fetch").json["code"] == "image_coming"
    run(asked.json["id"])

    after = rest.get("/image-catalogue/own-1")
    assert (after.json["state"], after.json["image"]) == ("here", asked.json["subject"]["id"])
    assert after.headers["ETag"] != before.headers["ETag"]
    assert [row["key"] for row in rest.get("/image-catalogue?state=absent").json["items"]] == ["by-hand"]
    assert rest.get("/image-catalogue?nonsense=1").status == 422
    for path in ("by-hand/fetch", "nowhere/fetch"):
        assert rest.post(f"/image-catalogue/{path}").status == 404
    assert rest.get("/image-catalogue/nowhere").status == 404
    for answer in (Rest(house.token).get("/image-catalogue"), Rest(house.token).post("/image-catalogue/own-1/fetch")):
        assert answer.status == 403
