"""A test boot is asked for on the image's page and over REST, and what was seen is shown there as the image's own word."""

from __future__ import annotations

import pytest
from django.urls import reverse

from operations.models import Operation
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Image, ImageTest
from vms.models.image_tests import Verdict
from vms.services.image_tests import image_test_record

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script> login: "


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def image(house: House) -> Image:
    return factories.own_image(house)


def page(house: House, image: Image, name: str = "image_detail") -> str:
    return reverse(f"vms:{name}", args=[house.tenant.slug, image.pk])


def test_a_click_asks_for_it_and_another_one_waits(house: House, image: Image) -> None:
    client = browser(house.owner)
    assert "Nobody has tried yet whether it starts." in client.get(page(house, image)).content.decode()

    client.post(page(house, image, "image_test"))
    again = Rest(house.token).post(f"{house.url}/images/{image.pk}/test")

    operation = Operation.objects.get(kind="image.test")
    assert (operation.subject_id, operation.tenant) == (image.pk, house.tenant)
    assert again.status == 409
    assert ImageTest.objects.count() == 1
    shown = client.get(page(house, image)).content.decode()
    assert "Nobody has tried yet" not in shown, "nothing to press while it is under way"
    assert shown.count("Waiting for its turn") == 2, "in its state, and in the card where it was asked for"

    called_off = Rest(house.token).post(f"{house.url}/operations/{operation.pk}/cancel")

    assert called_off.status in (200, 202)
    assert not ImageTest.objects.exists(), "no worker had begun it"


def test_what_was_seen_is_shown_and_none_of_it_is_believed(house: House, image: Image) -> None:
    test = ImageTest.objects.create(image=image, memory_mib=256, disk_gib=1)
    rest, client, url = Rest(house.token), browser(house.owner), f"{house.url}/images/{image.pk}"
    assert [rest.get(f"{url}/{what}").status for what in ("test", "test/screenshot")] == [404, 404]
    assert client.get(page(house, image, "image_test_screen")).status_code == 404

    with tenant_scope(house.tenant):
        image_test_record(test, verdict=Verdict.EMERGENCY, log=HOSTILE, screen=b"a picture")

    shown = client.get(page(house, image)).content.decode()
    assert "It stopped at an emergency shell." in shown
    assert "&lt;script&gt;" in shown
    assert "<script>alert" not in shown
    told = rest.get(f"{url}/test").json
    assert (told["verdict"], told["log"], told["screenshot"]) == ("emergency", HOSTILE, True)
    assert rest.get(url).json["verdict"] == "emergency"
    picture = client.get(page(house, image, "image_test_screen"))
    assert (picture["Content-Type"], picture["X-Content-Type-Options"]) == ("image/png", "nosniff")
    assert rest.get(f"{url}/test/screenshot").body == b"a picture"


def test_who_may_only_look_is_shown_no_button(house: House, image: Image) -> None:
    factories.image_test(image)
    viewer, token = factories.member_with(house.tenant, {Permission.IMAGE_VIEW})

    shown = browser(viewer).get(page(house, image)).content.decode()

    assert "It reached a login prompt." in shown
    assert "Try it" not in shown
    assert browser(viewer).post(page(house, image, "image_test")).status_code == 403
    assert Rest(token).post(f"{house.url}/images/{image.pk}/test").status == 403


def test_everybodys_is_tried_by_operators_alone(house: House) -> None:
    public = factories.image()
    _person, token = factories.operator()

    refused = Rest(house.token).post(f"{house.url}/images/{public.pk}/test")
    asked = Rest(token).post(f"/api/v1/images/{public.pk}/test")

    assert (refused.status, refused.json["code"]) == (403, "public_image")
    assert asked.status == 202
    assert Operation.objects.get(kind="image.try").tenant is None
