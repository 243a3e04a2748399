"""The dialogs that ask for copies, outside of any transaction, as a browser opens them."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.vms.api.test_snapshots import machine
from vms.models import Guest, Snapshot, Volume
from vms.states import Power


@pytest.fixture
def house(db: None) -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.mark.django_db(transaction=True)
def test_every_dialog_opens_with_what_the_copy_takes() -> None:
    factories.host_up()
    house = factories.tenant_with_owner()
    guest = machine(house, Power.STOPPED)
    snapshot = factories.snapshot(house, "kept", of=guest)
    client = browser(house.owner)

    for name, subject in (
        ("snapshot_copy", snapshot),
        ("snapshot_volume", snapshot),
        ("snapshot_image", snapshot),
        ("guest_image", guest),
        ("guest_clone", guest),
    ):
        answer = client.get(reverse(f"vms:{name}", args=[house.tenant.slug, subject.pk]))
        assert answer.status_code == 200, name


def test_a_dialog_whose_snapshot_is_gone_since_does_not_copy_what_is_there_now(house: House) -> None:
    guest = machine(house, Power.STOPPED)
    snapshot = factories.snapshot(house, "kept", of=guest)
    words = {"name": "twin", "flavor": str(guest.flavor_id), "snapshot": str(snapshot.pk)}
    with tenant_scope(house.tenant):
        snapshot.delete()

    answer = browser(house.owner).post(reverse("vms:guest_clone", args=[house.tenant.slug, guest.pk]), words)

    assert answer.status_code == 422
    with tenant_scope(house.tenant):
        assert not Guest.objects.filter(name="twin").exists()


def test_the_snapshot_that_was_clicked_is_the_one_that_is_cloned(house: House) -> None:
    """Also one that was taken to copy from, which the dialog offers to nobody else."""
    guest, client = machine(house, Power.STOPPED), browser(house.owner)
    snapshot = factories.snapshot(house, "kept", of=guest)
    with tenant_scope(house.tenant):
        Snapshot.objects.filter(pk=snapshot.pk).update(passing=True)
    url = reverse("vms:guest_clone", args=[house.tenant.slug, guest.pk])

    shown = client.get(f"{url}?snapshot={snapshot.pk}").content.decode()
    words = {"name": "twin", "flavor": str(guest.flavor_id), "snapshot": str(snapshot.pk)}
    assert (f'value="{snapshot.pk}" selected' in shown, client.post(url, words).status_code) == (True, 302)

    with tenant_scope(house.tenant):
        assert list(Snapshot.objects.values_list("pk", flat=True)) == [snapshot.pk]
        root = Volume.objects.get(guest__name="twin")
        assert root.snapshot_disk is not None
        assert root.snapshot_disk.snapshot_id == snapshot.pk
    assert "As they were in" not in client.get(url).content.decode()
    assert client.get(f"{url}?snapshot=x'").status_code == 200
