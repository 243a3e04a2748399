"""The list of machines: what it finds, what stands in a row, and what is done to many at once."""

from __future__ import annotations

import pytest
from django.test import Client

from operations.models import Operation
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.vms.views.pages import PARTIAL, url
from vms.models import Network
from vms.services.guests import guest_edit
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


def test_a_row_holds_no_menu_and_leads_to_the_machine_without_scripts(house: House, client: Client) -> None:
    guest = factories.guest(house, "up")
    menu = url(house, "guest_menu", guest.pk)

    row = client.get(url(house, "guest_row", guest.pk), headers=PARTIAL).content.decode()
    answer = client.get(menu)

    assert f'hx-get="{menu}"' in row
    assert "/power/stop/" not in row
    assert f'<a href="{url(house, "guest_detail", guest.pk)}"' in row
    assert answer["Location"] == url(house, "guest_detail", guest.pk)


def test_only_rows_that_show_something_new_are_drawn_again(house: House, client: Client) -> None:
    guest = factories.guest(house, "first-name")
    address = url(house, "guest_list")

    def drawn() -> int:
        return [part.name for part in client.get(address).templates].count("vms/_guest_row.html")

    assert [drawn(), drawn()] == [1, 0]
    with tenant_scope(house.tenant):
        guest_edit(guest, actor=house.actor, name="second-name")

    assert "second-name" in client.get(address).content.decode()


def test_the_bin_is_a_filter_and_gives_back(house: House, client: Client) -> None:
    guest = factories.guest_binned(house, "web")

    outside = client.get(url(house, "guest_list")).content.decode()
    inside = client.get(url(house, "guest_list") + "?status=binned").content.decode()
    answer = client.post(url(house, "guest_restore", guest.pk))

    assert str(guest.pk) not in outside
    assert "In the bin until" in inside
    assert answer.status_code == 302
    assert Operation.objects.filter(kind="guest.restore").exists()


def test_many_at_once_each_with_its_own_result(house: House, client: Client) -> None:
    off, on = factories.guest(house, "off", power=Power.STOPPED), factories.guest(house, "on")
    foreign = factories.guest(factories.tenant_with_owner(), "foreign", power=Power.STOPPED)

    answer = client.post(
        url(house, "guest_bulk"), {"action": "start", "guest": [off.pk, on.pk, foreign.pk]}, headers=PARTIAL
    )

    text = answer.content.decode()
    assert "1 of 2 taken on." in text
    assert "cannot be done while the machine is running" in text
    assert str(foreign.pk) not in text
    assert Operation.objects.filter(kind="guest.start").count() == 1


def test_deleting_many_asks_for_their_number(house: House, client: Client) -> None:
    chosen = [factories.guest(house, name, power=Power.STOPPED).pk for name in ("one", "two")]
    form = {"action": "delete", "guest": chosen}

    asked = client.post(url(house, "guest_bulk"), form, headers=PARTIAL)
    wrong = client.post(url(house, "guest_bulk"), {**form, "confirmed": "yes", "typed": "3"})
    right = client.post(url(house, "guest_bulk"), {**form, "confirmed": "yes", "typed": "2"})

    assert asked["HX-Retarget"] == "#dialog-slot"
    assert "Delete 2 machines?" in asked.content.decode()
    assert wrong.status_code == 422
    assert right.status_code == 302
    assert Operation.objects.filter(kind="guest.delete").count() == 2


def test_the_list_finds_filters_sorts_and_goes_on(house: House, client: Client) -> None:
    for name in ("alpha", "beta"):
        factories.guest(house, name, tags=["prod"] if name == "beta" else [])
    address = url(house, "guest_list")

    def shown(query: str) -> list[str]:
        return [guest.name for guest in client.get(f"{address}?{query}").context["guests"]]

    assert shown("") == ["alpha", "beta"]
    assert shown("sort=-name") == ["beta", "alpha"]
    assert shown("tag=prod") == ["beta"]
    assert shown("q=alp") == ["alpha"]
    assert shown("status=stopped") == []
    assert shown("status=nonsense&sort=nonsense") == ["alpha", "beta"]
    assert client.get(f"{address}?cursor=nonsense").status_code == 422


def test_parts_of_the_list_come_alone(house: House, client: Client) -> None:
    factories.guest(house, "web")
    address = url(house, "guest_list")

    begins = {
        part: client.get(f"{address}?part={part}", headers=PARTIAL).content.decode().strip()[:60]
        for part in ("list", "counts", "rows")
    }

    assert begins["list"].startswith('<div id="guests"')
    assert begins["counts"].startswith('<div class="gh-chips')
    assert begins["rows"].startswith("<tbody")
    assert "part=" not in client.get(f"{address}?part=counts&q=w", headers=PARTIAL).content.decode().split("hx-vals")[0]


@pytest.mark.parametrize("name", ["guest_row", "guest_header", "guest_detail"])
def test_what_asks_for_itself_and_is_gone_gets_nothing(house: House, client: Client, name: str) -> None:
    answer = client.get(url(house, name, "01890000-0000-7000-8000-000000000000"), headers=PARTIAL)

    assert (answer.status_code, answer.content) == (200, b"")


def test_a_role_with_tags_reaches_only_what_wears_them(house: House) -> None:
    mine, other = factories.guest(house, "mine", tags=["prod"]), factories.guest(house, "other")
    person, _token = factories.member_with(house.tenant, [Permission.GUEST_VIEW, Permission.TENANT_VIEW], tags=["prod"])
    client = browser(person)

    assert [guest.name for guest in client.get(url(house, "guest_list")).context["guests"]] == ["mine"]
    assert client.get(url(house, "guest_detail", mine.pk)).status_code == 200
    assert client.get(url(house, "guest_detail", other.pk)).status_code == 404


def test_a_suspended_project_can_be_looked_at(house: House, client: Client) -> None:
    guest = factories.guest(house)
    house.tenant.state = "suspended"
    house.tenant.save()

    assert "This project is suspended" in client.get(url(house, "overview")).content.decode()
    assert client.get(url(house, "guest_detail", guest.pk)).status_code == 200
    assert client.get(url(house, "guest_create")).status_code == 403
    with tenant_scope(house.tenant):
        assert Network.objects.count() == 1
