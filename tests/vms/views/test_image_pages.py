"""Pages of images: the project's own are brought in, described, taken off the list and deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Image

pytestmark = pytest.mark.django_db
WORDS = {
    "name": "mine", "os_family": "debian", "os_version": "12", "source_format": "qcow2", "firmware": "uefi", "kind": "disk",
    "secure_boot": "on", "tpm": "on", "disk_bus": "sata", "nic_model": "e1000e",
    "init": "cloud-init", "default_user": "debian", "min_memory_mib": "128", "least_disk_gib": "5",
}  # fmt: skip


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


def url(house: House, name: str, *args: Any) -> str:
    return reverse(f"vms:{name}", args=[house.tenant.slug, *args])


def test_an_image_is_asked_for_by_address(house: House, client: Client) -> None:
    answer = client.post(url(house, "image_add"), {**WORDS, "url": "https://example.test/d.qcow2", "sha256": "a" * 64})

    assert answer["Location"] == url(house, "image_list")
    with tenant_scope(house.tenant):
        image = Image.objects.get(tenant=house.tenant)
    assert (image.firmware, image.default_user, image.min_disk_gib) == ("uefi", "debian", 5)
    assert (image.secure_boot, image.tpm, image.disk_bus, image.nic_model) == (True, True, "sata", "e1000e")
    assert Operation.objects.get(kind="image.fetch").params["format"] == "qcow2"
    assert "Coming in" in client.get(url(house, "image_list")).content.decode()


@pytest.mark.parametrize("field", [{"url": "file:///etc/passwd"}, {"sha256": "z" * 64}, {"os_version": "x" * 41}])
def test_what_is_wrong_stands_at_its_field(house: House, client: Client, field: dict[str, str]) -> None:
    fine = {**WORDS, "url": "https://example.test/d.qcow2", "sha256": "a" * 64}

    answer = client.post(url(house, "image_add"), {**fine, **field})

    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == list(field)


def test_an_own_image_is_described_taken_off_the_list_and_deleted(house: House, client: Client) -> None:
    image = factories.own_image(house)
    page = url(house, "image_detail", image.pk)

    client.post(url(house, "image_edit", image.pk), {**WORDS, "name": "renamed"})
    client.post(url(house, "image_offer", image.pk), {"deprecated": "true"})

    image.refresh_from_db()
    assert (image.name, image.state, image.os_family) == ("renamed", "deprecated", "debian")
    assert "No longer offered" in client.get(page).content.decode()
    assert "Delete renamed?" in client.get(url(house, "image_delete", image.pk)).content.decode()
    client.post(url(house, "image_delete", image.pk), {"confirmed": "yes"})
    assert "Being deleted" in client.get(page).content.decode()


def test_everybodys_image_is_shown_and_not_to_be_changed(house: House, client: Client) -> None:
    image = factories.image("Debian 12")

    shown = client.get(url(house, "image_detail", image.pk)).content.decode()

    assert "Everybody&#x27;s" in shown
    assert url(house, "image_edit", image.pk) not in shown
    for name in ("image_edit", "image_offer", "image_delete"):
        assert client.post(url(house, name, image.pk), {**WORDS, "confirmed": "yes"}).status_code == 404
    refused = Rest(house.token).patch(f"{house.url}/images/{image.pk}", {"name": "x"})
    assert (refused.status, refused.json["code"]) == (403, "public_image")


def test_a_refused_upload_is_a_problem_that_a_script_can_read(house: House, client: Client) -> None:
    form = {f"upload-{name}": value for name, value in WORDS.items()}

    answer = client.post(
        url(house, "upload_create"), {**form, "upload-size": "0"}, headers={"Accept": "application/json"}
    )

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/size")


def test_a_deprecated_image_names_what_to_take_instead(house: House) -> None:
    old, new, rest = factories.own_image(house), factories.own_image(house), Rest(house.token)

    changed = rest.patch(f"{house.url}/images/{old.pk}", {"deprecated": True, "replacement": str(new.pk)})

    assert (changed.json["state"], changed.json["replacement"]) == ("deprecated", str(new.pk))
    itself = rest.patch(f"{house.url}/images/{old.pk}", {"replacement": str(old.pk)})
    assert itself.json["errors"][0]["pointer"] == "/replacement"


def test_an_image_that_reads_no_seed_takes_no_keys(house: House) -> None:
    image, rest = factories.own_image(house), Rest(house.token)
    flavor = factories.flavor("small")
    rest.patch(f"{house.url}/images/{image.pk}", {"init": "none"})
    wish = {"name": "web", "flavor": flavor.name, "image": str(image.pk)}

    refused = rest.post(f"{house.url}/guests", {**wish, "user_data": "#cloud-config\n"})

    assert refused.json["errors"][0]["code"] == "image_reads_nothing"
    assert rest.post(f"{house.url}/guests", wish).status == 202
