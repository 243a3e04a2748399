"""The settings of a machine: schedules and leases say at their field what is wrong, and show what they came to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from vms.models import Guest, PowerSchedule
from vms.services.power_schedules import schedules_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def guest(house: House) -> Guest:
    return factories.guest(house, "web")


def url(house: House, name: str, *args: Any) -> str:
    return reverse(f"vms:{name}", args=[house.tenant.slug, *args])


def settings_of(client: Client, house: House, guest: Guest) -> str:
    return client.get(url(house, "guest_detail", guest.pk) + "?tab=settings").content.decode()


def test_a_schedule_is_added_turned_off_and_forgotten(house: House, guest: Guest, client: Client) -> None:
    sent = {"action": "shutdown", "cron": "0 19 * * 1-5", "timezone": "Europe/Berlin"}
    assert client.post(url(house, "guest_schedule_add", guest.pk), sent).status_code == 302
    with tenant_scope(house.tenant):
        row = PowerSchedule.objects.get()
    shown = settings_of(client, house, guest)
    assert "0 19 * * 1-5" in shown
    assert "Next" in shown

    change = url(house, "guest_schedule_change", guest.pk, row.pk)
    assert client.post(change, {"deed": "off"}).status_code == 302
    assert "Turn on" in settings_of(client, house, guest)
    assert client.post(change, {"deed": "delete"}).status_code == 302
    assert "Europe/Berlin</span>" not in settings_of(client, house, guest)


def test_a_line_that_is_none_is_refused_at_its_field(house: House, guest: Guest, client: Client) -> None:
    answer = client.post(
        url(house, "guest_schedule_add", guest.pk), {"action": "stop", "cron": "at noon", "timezone": "UTC"}
    )

    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Five fields are needed" in page
    assert 'value="at noon"' in page


def test_what_became_of_a_moment_is_shown(house: House, guest: Guest, client: Client) -> None:
    client.post(url(house, "guest_schedule_add", guest.pk), {"action": "start", "cron": "0 8 * * *", "timezone": "UTC"})
    with tenant_scope(house.tenant):
        due = PowerSchedule.objects.get().next_at
    assert due is not None
    schedules_run(at=due)

    assert "not asked: the machine was not in a state for it" in settings_of(client, house, guest)


def test_a_lease_is_given_shown_and_taken_back(house: House, guest: Guest, client: Client) -> None:
    day = (factories.now() + timedelta(days=30)).date().isoformat()
    lease = url(house, "guest_lease", guest.pk)

    assert client.post(lease, {"ends_at": day}).status_code == 302
    assert f'value="{day}"' in settings_of(client, house, guest)
    assert "Lease ends" in client.get(url(house, "guest_detail", guest.pk)).content.decode()
    assert client.post(lease, {"ends_at": ""}).status_code == 302
    assert "Lease ends" not in client.get(url(house, "guest_detail", guest.pk)).content.decode()
    past = client.post(lease, {"ends_at": "2020-01-01"})
    assert past.status_code == 422
    assert "Between ten minutes and five years from now." in past.content.decode()
