"""An image that a project shares: the projects below make machines of it, nobody else sees it, and only its own changes it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.core.errors import Conflict, FieldError, Forbidden, Invalid
from tenants.models import Quota
from tenants.scoping import ABOVE_MOST, every_tenant, tenant_scope
from tenants.services.tenants.make import DEPTH_MAX
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.api.pick import pick_image
from vms.models import Image, ImageCopy
from vms.selectors.stock import images_offered, images_usable
from vms.services.guests import guest_rebuild
from vms.services.image_copies import copy_is_used
from vms.services.images import image_delete, image_edit

pytestmark = pytest.mark.django_db


def below(house: House) -> House:
    """A project whose parent is that one."""
    child = factories.tenant_with_owner()
    child.tenant.parent = house.tenant
    child.tenant.save(update_fields=["parent"])
    return child


def seen_by(house: House) -> set[Any]:
    with tenant_scope(house.tenant):
        return set(images_usable().exclude(tenant=None).values_list("pk", flat=True))


def share(house: House, image: Image, *, on: bool = True) -> Image:
    with tenant_scope(house.tenant):
        return image_edit(image, shared=on, actor=house.actor)


@pytest.fixture
def top() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def image(top: House) -> Image:
    return factories.own_image(top)


def test_it_is_seen_below_at_any_depth_and_nowhere_else(top: House, image: Image) -> None:
    line = [top]
    while len(line) < DEPTH_MAX:
        line.append(below(line[-1]))
    beside, stranger = below(top), factories.tenant_with_owner()
    lowest = factories.own_image(line[-1])
    assert [image.pk in seen_by(house) for house in (*line, beside, stranger)] == [True] + [False] * (DEPTH_MAX + 1)

    share(top, image)
    share(line[-1], lowest)

    assert [image.pk in seen_by(house) for house in line] == [True] * DEPTH_MAX
    assert image.pk in seen_by(beside)
    assert seen_by(stranger) == set()
    assert [lowest.pk in seen_by(house) for house in line[:-1]] == [False] * (DEPTH_MAX - 1), (
        "what is below is not seen above"
    )
    assert ABOVE_MOST == DEPTH_MAX - 1


def test_to_see_it_takes_no_query_more(top: House, image: Image) -> None:
    share(top, image)
    child = below(top)

    with tenant_scope(child.tenant), CaptureQueriesContext(connection) as caught:
        assert image in list(images_offered())

    assert len(caught) == 1


def test_only_what_is_ready_is_shared_and_everybodys_is_already(top: House, image: Image) -> None:
    Image._base_manager.filter(pk=image.pk).update(state="failed")
    with pytest.raises(Conflict):
        share(top, image)
    public = factories.image()
    with pytest.raises(Invalid), tenant_scope(top.tenant):
        image_edit(public, shared=True, actor=factories.desk())
    Image._base_manager.filter(pk=image.pk).update(state="importing", shared=True)

    assert seen_by(below(top)) == set(), "what is not fit for use is its own project's business"


def test_below_it_is_read_and_used_and_not_changed(top: House, image: Image) -> None:
    share(top, image)
    child = below(top)
    used = dict(Quota.objects.filter(tenant=top.tenant).values_list("resource", "used"))
    rest, url = Rest(child.token), f"{child.url}/images/{image.pk}"

    shown = rest.get(url).json
    assert (shown["shared"], shown["own"], shown["public"], shown.get("problem")) == (True, False, False, None)
    for method, path, body in (("PATCH", url, {"name": "mine"}), ("DELETE", url, None), ("POST", f"{url}/test", None)):
        answer = rest.ask(method, path, body)
        assert (answer.status, answer.json["code"]) == (403, "shared_image"), method
    with tenant_scope(child.tenant):
        with pytest.raises(Forbidden):
            image_edit(image, name="mine", actor=child.actor)
        with pytest.raises(Forbidden):
            image_delete(image, actor=child.actor)

    guest = factories.guest(child, image=image)

    assert guest.image_id == image.pk
    assert dict(Quota.objects.filter(tenant=top.tenant).values_list("resource", "used"))["images"] == used["images"]
    assert not Quota.objects.filter(tenant=child.tenant, resource__startswith="images", used__gt=0).exists()


def test_shared_no_longer_what_was_made_of_it_stays(top: House, image: Image) -> None:
    share(top, image)
    child = below(top)
    guest = factories.guest(child, image=image, power="stopped")
    copy = ImageCopy.objects.create(image=image, host=guest.host, name="img")
    share(top, image, on=False)

    assert seen_by(child) == set()
    with tenant_scope(top.tenant):
        assert copy_is_used(copy), "a machine of another tenant stands on it"
        with pytest.raises(Conflict) as refused:
            image_delete(image, actor=top.actor)
        assert refused.value.code == "image_in_use"
    with tenant_scope(child.tenant):
        assert guest_rebuild(guest, guest.image, actor=child.actor).kind == "guest.rebuild"
    rest = Rest(child.token)
    assert rest.get(f"{child.url}/guests/{guest.pk}").status == 200
    wish = {"name": "again", "flavor": guest.flavor.name, "image": str(image.pk)}
    assert rest.post(f"{child.url}/guests", wish).status == 422


def test_what_to_take_instead_is_told_only_to_who_sees_it(top: House, image: Image) -> None:
    private, child = factories.own_image(top, "private-name"), below(top)
    with tenant_scope(top.tenant):
        image_edit(image, shared=True, replacement=private, actor=top.actor)

    assert Rest(child.token).get(f"{child.url}/images/{image.pk}").json["replacement"] is None
    assert Rest(top.token).get(f"{top.url}/images/{image.pk}").json["replacement"] == str(private.pk)


def test_pages_share_it_and_show_it_below(top: House, image: Image) -> None:
    child = below(top)
    mine, theirs = Client(), Client()
    mine.force_login(top.owner)
    theirs.force_login(child.owner)
    page, there = f"/t/{top.tenant.slug}/images/{image.pk}/", f"/t/{child.tenant.slug}/images/{image.pk}/"
    assert "No test boot has reached a login prompt yet." in mine.get(page).content.decode()
    assert theirs.get(there).status_code == 404

    assert mine.post(f"{page}share/", {"shared": "true"}).status_code == 302

    assert "Share no longer" in mine.get(page).content.decode()
    shown = theirs.get(there).content.decode()
    assert "With the projects below its own" in shown
    assert "Share no longer" not in shown
    assert image.name in theirs.get(f"/t/{child.tenant.slug}/images/").content.decode()
    assert theirs.post(f"{there}share/", {"shared": "false"}).status_code == 404
    assert theirs.post(f"{there}delete/", {"confirmed": "yes"}).status_code == 404


def test_a_name_means_the_nearest_image_that_is_ready_and_never_one_of_two(top: House) -> None:
    """Once a coin was thrown among a project's own, what is shared with it, and what is everybody's."""
    under = below(top)
    everybodys, shared, own = factories.image("golden"), factories.own_image(top, "golden"), None
    share(top, shared)
    rest, body = Rest(under.token), {"name": "data", "size_gib": 2, "image": "golden"}

    def says(image: Image, state: str) -> None:
        with every_tenant(why="test"):
            Image.objects.filter(pk=image.pk).update(state=state)

    def meant() -> Any:
        with tenant_scope(under.tenant):
            errors: list[FieldError] = []
            found = pick_image(Image.objects.all(), "golden", "/image", errors)
            return errors[0].code if errors else found

    assert meant() == shared
    own = factories.own_image(under, "golden")
    assert meant() == own
    says(own, "failed")
    assert meant() == shared, "what is ready goes first"
    says(own, "ready")
    twin = factories.own_image(under, "golden")
    refused = rest.post(f"{under.url}/volumes", body)
    assert (refused.status, refused.json["errors"][0]["code"], meant()) == (422, "ambiguous", "ambiguous")
    assert all(str(image.pk) in refused.json["errors"][0]["message"] for image in (own, twin))
    assert str(everybodys.pk) not in refused.json["errors"][0]["message"]
    with every_tenant(why="test"):
        errors: list[FieldError] = []
        assert pick_image(Image.objects.all(), "golden", "/replacement", errors) == everybodys
        assert pick_image(Image.objects.all(), "nothing", "/image", errors) is None
    assert [fault.code for fault in errors] == ["unknown"]
