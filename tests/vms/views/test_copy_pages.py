"""Dialogs that make something of disks: each says what it takes and what the copy is, before the click."""

from __future__ import annotations

import pytest
from django.test import Client

from operations.models import Operation
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.vms.views.test_snapshot_pages import asked, machine, text, url
from vms.models import Guest, Image, Snapshot, Volume
from vms.states import Power

pytestmark = pytest.mark.django_db


def kept(house: House, guest: Guest) -> Snapshot:
    return factories.snapshot(house, "before", of=guest)


def test_a_machine_is_cloned_from_its_menu_after_what_it_takes_was_said(house: House, client: Client) -> None:
    guest = machine(house, Power.RUNNING)
    with tenant_scope(house.tenant):
        Guest.objects.filter(pk=guest.pk).update(tpm=True)
    here = url(house, "guest_clone", guest.pk)
    assert here in text(client, url(house, "guest_detail", guest.pk))

    dialog = text(client, here)
    assert "Its TPM is not copied" in dialog
    assert "becomes" in dialog
    assert 'data-fits="yes"' in dialog
    assert 'value="web-clone"' in dialog
    forecast = client.get(
        here, {"part": "forecast", "name": "Bad name", "flavor": guest.flavor_id}, HTTP_HX_REQUEST="true"
    )
    assert b'data-fits="no"' in forecast.content
    answer = client.post(here, {"name": "Bad name", "flavor": guest.flavor_id})
    assert answer.status_code == 422
    answer = client.post(here, {"name": "twin", "flavor": guest.flavor_id, "start": "on"})

    with tenant_scope(house.tenant):
        twin = Guest.objects.get(name="twin")
        assert {row.kind for row in Operation.objects.filter(status="queued")} == {"snapshot.create", "guest.clone"}
        assert Snapshot.objects.get(guest=guest).passing
    assert answer.headers["Location"] == url(house, "guest_detail", twin.pk)
    assert "Clone into twin" in text(client, url(house, "guest_detail", twin.pk))


def test_of_a_snapshot_a_machine_a_volume_and_an_image_are_made(house: House, client: Client) -> None:
    guest = machine(house, Power.RUNNING)
    snapshot = kept(house, guest)
    choices = text(client, url(house, "snapshot_copy", snapshot.pk))
    addresses = [
        url(house, "guest_clone", guest.pk) + f"?snapshot={snapshot.pk}",
        url(house, "snapshot_volume", snapshot.pk),
        url(house, "snapshot_image", snapshot.pk),
    ]
    assert all(address in choices for address in addresses)
    assert url(house, "snapshot_copy", snapshot.pk) in text(
        client, url(house, "guest_detail", guest.pk) + "?tab=snapshots"
    )

    clone, volume, image = (text(client, address) for address in addresses)
    assert f'value="{snapshot.pk}" selected' in clone
    assert 'data-fits="yes"' in volume
    assert "host keys" in image

    client.post(addresses[0], {"name": "twin", "flavor": guest.flavor_id, "snapshot": snapshot.pk})
    assert asked(house).params["snapshot"] == str(snapshot.pk)
    client.post(addresses[1], {"name": "disk", "position": "0"})
    client.post(addresses[2], {"name": "golden", "position": "0"})
    with tenant_scope(house.tenant):
        assert Guest.objects.get(name="twin").want_power == Power.STOPPED
        assert Volume.objects.get(name="disk").snapshot_disk.snapshot_id == snapshot.pk  # type: ignore[union-attr]
        assert Image.objects.get(name="golden").state == "importing"
        assert Snapshot.objects.count() == 1


def test_what_does_not_fit_says_why_and_a_click_all_the_same_is_refused(house: House, client: Client) -> None:
    guest = machine(house, Power.SUSPENDED)
    for name in ("guest_clone", "guest_image"):
        dialog = text(client, url(house, name, guest.pk))
        assert "while the machine is suspended" in dialog
        words = {"name": "x", "flavor": str(guest.flavor_id), "position": "0"}
        assert client.post(url(house, name, guest.pk), words).status_code in (409, 422)
    with tenant_scope(house.tenant):
        assert not Snapshot.objects.exists()
