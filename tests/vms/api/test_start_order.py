"""In which order machines are started after a restart of their host: said over REST and on the machine's page."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from tenants.journal.models import AuditEntry
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Guest

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


def order(guest: Guest) -> tuple[int | None, int]:
    with tenant_scope(guest.tenant):
        guest.refresh_from_db()
    return guest.start_order, guest.start_delay_s


def test_each_of_the_two_is_changed_alone_and_taken_back(house: House) -> None:
    guest = factories.guest(house)
    rest, path = Rest(house.token), f"{house.url}/guests/{guest.pk}"
    first = rest.get(path)
    assert (first.json["start_order"], first.json["start_delay_s"]) == (None, 0)

    changed = rest.patch(path, {"start_order": 3}, If_Match=first.headers["ETag"])
    assert (changed.status, changed.json["start_order"], changed.json["start_delay_s"]) == (200, 3, 0)
    assert rest.patch(path, {"start_delay_s": 90}, If_Match=first.headers["ETag"]).status == 412
    rest.patch(path, {"start_delay_s": 90})
    assert order(guest) == (3, 90)
    rest.patch(path, {"start_order": None})
    assert order(guest) == (None, 90)
    rest.patch(path, {"tags": ["web"]})
    assert order(guest) == (None, 90)

    with tenant_scope(house.tenant):
        said = [entry.changes["start"] for entry in AuditEntry.objects.order_by("seq") if "start" in entry.changes]
    assert said[0] == [{"order": None, "delay_s": 0}, {"order": 3, "delay_s": 0}]
    assert len(said) == 3


def test_whether_it_is_started_after_a_crash_is_said_and_changed(house: House) -> None:
    guest = factories.guest(house)
    rest, path = Rest(house.token), f"{house.url}/guests/{guest.pk}"
    assert rest.get(path).json["after_crash"] == "restart"

    assert rest.patch(path, {"after_crash": "leave"}).json["after_crash"] == "leave"
    assert rest.patch(path, {"start_delay_s": 9}).json["after_crash"] == "leave"
    refused = rest.patch(path, {"after_crash": "never"})
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/after_crash")

    with tenant_scope(house.tenant):
        said = [entry.changes["after_crash"] for entry in AuditEntry.objects.all() if "after_crash" in entry.changes]
    assert said == [["restart", "leave"]]


NEITHER = [-1, 2**31, "1", 1.5, True, [], {}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("start_order", "start_delay_s") for value in NEITHER],
        ("start_order", 0),
        ("start_order", 101),
        ("start_delay_s", 3601),
        ("start_delay_s", None),
    ],
)
def test_what_is_no_place_or_no_time_is_refused_by_name(name: str, value: Any, house: House) -> None:
    guest = factories.guest(house)

    refused = Rest(house.token).patch(f"{house.url}/guests/{guest.pk}", {name: value})

    assert refused.status == 422, refused
    assert refused.json["errors"][0]["pointer"] == f"/{name}"
    assert order(guest) == (None, 0)


def test_whoever_may_only_look_changes_nothing(house: House) -> None:
    guest = factories.guest(house)
    _, token = factories.member_with(house.tenant, [Permission.GUEST_VIEW])

    refused = Rest(token).patch(f"{house.url}/guests/{guest.pk}", {"start_order": 1})

    assert refused.status == 403
    assert order(guest) == (None, 0)


def test_the_settings_show_it_and_say_at_the_field_what_is_wrong(house: House) -> None:
    guest, client = factories.guest(house), browser(house.owner)
    page = reverse("vms:guest_detail", args=[house.tenant.slug, guest.pk]) + "?tab=settings"
    save = reverse("vms:guest_start_order", args=[house.tenant.slug, guest.pk])
    assert "When it goes off by itself" in client.get(page).content.decode()

    assert client.post(save, {"start_order": "2", "start_delay_s": "30", "after_crash": "leave"}).status_code == 302
    assert order(guest) == (2, 30)
    assert guest.after_crash == "leave"
    shown = client.get(page).content.decode()
    assert 'value="2"' in shown
    assert 'value="30"' in shown

    refused = client.post(save, {"start_order": "0", "start_delay_s": "30", "after_crash": "leave"})
    assert refused.status_code == 422
    assert "greater than or equal to 1" in refused.content.decode()
    assert client.post(save, {"start_order": "", "start_delay_s": "", "after_crash": "restart"}).status_code == 302
    assert order(guest) == (None, 0)
    assert guest.after_crash == "restart"
    assert client.post(save, {"start_order": "", "start_delay_s": "", "after_crash": "never"}).status_code == 422
