"""Placement groups over REST and on their pages."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.vms.views.pages import url
from vms.models import Guest, PlacementGroup

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    for name in ("a", "b"):
        factories.host_up(name)
    return factories.tenant_with_owner()


@pytest.fixture
def client(house: House) -> Client:
    return browser(house.owner)


def named(house: House, name: str) -> PlacementGroup:
    with tenant_scope(house.tenant):
        return PlacementGroup.objects.get(name=name)


def test_a_group_over_rest_from_its_first_machine_to_its_end(house: House) -> None:
    rest, groups, guests = Rest(house.token), f"{house.url}/placement-groups", f"{house.url}/guests"
    made = rest.post(groups, {"name": "web"})
    assert (made.status, made.json["kind"], made.json["strict"], made.json["guests"]) == (201, "apart", True, 0)
    assert rest.post(groups, {"name": "web"}).status == 409
    assert rest.post(groups, {"name": "x", "kind": "near"}).json["errors"][0]["pointer"] == "/kind"
    here = f"{groups}/{made.json['id']}"
    flavor, image = factories.flavor("small"), factories.image("one")
    body = {"flavor": flavor.name, "image": image.name, "placement_group": "web"}

    assert rest.post(guests, {**body, "name": "n", "count": 2}).status == 202
    third = rest.post(f"{guests}?dry_run=true", {**body, "name": "third"}).json
    assert (third["fits"], third["reasons"][0]["code"]) == (False, "no_room")
    unknown = rest.post(guests, {**body, "name": "x", "placement_group": "none"})
    assert (unknown.status, unknown.json["errors"][0]["pointer"]) == (422, "/placement_group")
    shown = rest.get(here)
    assert (shown.json["guests"], shown.json["hosts"]) == (2, 2)
    assert rest.get(f"{groups}?kind=together").json["items"] == []
    assert [row["name"] for row in rest.get(f"{groups}?q=we").json["items"]] == ["web"]

    listed = rest.get(guests).json["items"]
    assert {row["placement_group"] for row in listed} == {made.json["id"]}
    assert rest.delete(here).json["code"] == "placement_group_in_use"
    for row in listed:
        left = rest.patch(f"{guests}/{row['id']}", {"placement_group": None})
        assert (left.status, left.json["placement_group"]) == (200, None)
    back = rest.patch(f"{guests}/{listed[0]['id']}", {"placement_group": "web"})
    assert back.json["placement_group"] == made.json["id"]
    rest.patch(f"{guests}/{listed[0]['id']}", {"placement_group": None})

    renamed = rest.patch(here, {"name": "front"}, If_Match=shown.headers["ETag"])
    assert renamed.json["name"] == "front"
    assert rest.delete(here, If_Match=shown.headers["ETag"]).status == 412
    assert rest.delete(here).status == 204
    assert rest.get(here).status == 404


def test_pages_make_fill_rename_and_delete_a_group(house: House, client: Client) -> None:
    there = url(house, "placement_group_list")
    assert "No placement groups yet" in client.get(there).content.decode()
    refused = client.post(url(house, "placement_group_create"), {"name": "A b", "rule": "apart!"})
    assert (refused.status_code, "Use small letters" in refused.content.decode()) == (422, True)
    for name, rule in (("web", "apart!"), ("app", "together")):
        made = client.post(url(house, "placement_group_create"), {"name": name, "rule": rule})
        assert made.headers["Location"] == there
    web, app = named(house, "web"), named(house, "app")
    assert ((web.kind, web.strict), (app.kind, app.strict)) == (("apart", True), ("together", False))

    form = {"name": "n", "count": "2", "image": factories.image("one").pk, "flavor": factories.flavor("small").pk}
    assert client.post(url(house, "guest_create"), {**form, "placement_group": web.pk}).status_code == 302
    refused = client.post(url(house, "guest_create"), {**form, "name": "m", "placement_group": web.pk})
    assert "No host without a machine of this placement group" in refused.content.decode()
    with tenant_scope(house.tenant):
        first, second = Guest.objects.filter(placement_group=web)
    settings = client.get(f"{url(house, 'guest_detail', first.pk)}?tab=settings").content.decode()
    assert f'<option value="{web.pk}" selected>web</option>' in settings
    assert client.post(url(house, "guest_placement", first.pk), {"placement_group": app.pk}).status_code == 302
    held = client.post(url(house, "guest_placement", second.pk), {"placement_group": app.pk})
    assert held.status_code == 302, "as far as possible holds nobody back"
    with tenant_scope(house.tenant):
        Guest.objects.filter(pk=first.pk).update(host=second.host)
    client.post(url(house, "guest_placement", first.pk), {"placement_group": web.pk})
    held = client.post(url(house, "guest_placement", second.pk), {"placement_group": web.pk})
    assert (held.status_code, "is on the same host" in held.content.decode()) == (422, True)

    client.post(url(house, "placement_group_edit", web.pk), {"name": "front"})
    assert "front" in client.get(there).content.decode()
    assert client.post(url(house, "placement_group_delete", web.pk)).status_code == 409
    client.post(url(house, "guest_placement", first.pk), {"placement_group": ""})
    assert client.post(url(house, "placement_group_delete", web.pk)).headers["Location"] == there
