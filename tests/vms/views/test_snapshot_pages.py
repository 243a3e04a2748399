"""Pages of snapshots: a machine's tab, a volume's section, and dialogs that say what each deed will do."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from vms.models import Guest, Snapshot, Volume
from vms.states import Power, VolumeState

pytestmark = pytest.mark.django_db


def url(house: House, name: str, *args: Any) -> str:
    return reverse(f"vms:{name}", args=[house.tenant.slug, *args])


def machine(house: House, power: Power) -> Guest:
    guest = factories.guest(house, "web", power=power)
    with tenant_scope(house.tenant):
        Volume.objects.filter(guest=guest).update(state=VolumeState.READY)
    return guest


def text(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def asked(house: House) -> Operation:
    with tenant_scope(house.tenant):
        return Operation.objects.filter(status="queued").latest("created_at")


def test_a_machines_snapshots_are_taken_renamed_gone_back_to_and_deleted(house: House, client: Client) -> None:
    guest = machine(house, Power.RUNNING)
    tab = url(house, "guest_detail", guest.pk) + "?tab=snapshots"
    assert "None yet" in text(client, tab)
    dialog = text(client, url(house, "guest_snapshot", guest.pk))
    assert "as after a power cut" in dialog
    assert 'name="memory"' in dialog
    answer = client.post(url(house, "guest_snapshot", guest.pk), {"name": "Bad name"})
    assert answer.status_code == 422

    answer = client.post(url(house, "guest_snapshot", guest.pk), {"name": "before", "description": "the update"})
    assert answer.headers["Location"] == tab
    assert "Being taken" in text(client, tab)
    assert asked(house).kind == "snapshot.create"
    with tenant_scope(house.tenant):
        snapshot = Snapshot.objects.get()
        factories.operation_done(asked(house))
    page = text(client, tab)
    assert "the update" in page
    assert "Revert to before" in page

    client.post(url(house, "snapshot_edit", snapshot.pk), {"name": "fine", "description": ""})
    dialog = text(client, url(house, "snapshot_revert", snapshot.pk))
    assert "switched off for it" in dialog
    assert "Revert web to fine?" in dialog
    refused = client.post(url(house, "snapshot_revert", snapshot.pk), {"memory": "on"})
    assert refused.status_code == 422
    assert "holds no memory" in refused.content.decode()
    assert client.post(url(house, "snapshot_revert", snapshot.pk)).headers["Location"] == tab
    assert asked(house).kind == "snapshot.revert"
    assert "Being reverted to" in text(client, tab)
    factories.operation_done(asked(house))
    assert "so do other snapshots" in text(client, url(house, "snapshot_delete", snapshot.pk))
    assert client.post(url(house, "snapshot_delete", snapshot.pk)).headers["Location"] == tab
    factories.operation_done(asked(house))
    assert "None yet" in text(client, tab)


def test_a_volumes_page_has_its_own(house: House, client: Client) -> None:
    volume = factories.volume(house, "data")
    page = url(house, "volume_detail", volume.pk)

    answer = client.post(url(house, "volume_snapshot", volume.pk), {"name": "first"})
    assert answer.headers["Location"] == page
    factories.operation_done(asked(house))

    shown = text(client, page)
    assert "Revert to first" in shown
    assert "held still" not in shown
    with tenant_scope(house.tenant):
        snapshot = Snapshot.objects.get()
    assert "switched off" not in text(client, url(house, "snapshot_revert", snapshot.pk))
    assert client.post(url(house, "snapshot_delete", snapshot.pk)).headers["Location"] == page


def test_a_volume_that_its_machine_runs_on_offers_no_way_back_that_would_be_refused(
    house: House, client: Client
) -> None:
    guest = machine(house, Power.RUNNING)
    with tenant_scope(house.tenant):
        root = Volume.objects.get(guest=guest)
    snapshot = factories.snapshot(house, "kept", of=root)
    page = url(house, "volume_detail", root.pk)

    assert "Delete kept" in text(client, page)
    assert "Revert to kept" not in text(client, page)
    refused = client.post(url(house, "snapshot_revert", snapshot.pk))
    assert refused.status_code == 422
    assert "switched off" not in refused.content.decode()
    factories.guest_seen(guest, Power.STOPPED)
    assert "Revert to kept" in text(client, page)


def test_who_may_only_look_sees_them_and_no_buttons(house: House) -> None:
    guest = machine(house, Power.STOPPED)
    snapshot = factories.snapshot(house, "kept", of=guest)
    person = factories.user()
    factories.join(house.tenant, person, role="viewer")
    looker = browser(person)

    page = text(looker, url(house, "guest_detail", guest.pk) + "?tab=snapshots")

    assert "kept" in page
    assert "Take snapshot" not in page
    assert "Revert to" not in page
    assert looker.post(url(house, "snapshot_delete", snapshot.pk)).status_code == 403


def test_a_project_has_all_its_snapshots_on_one_page(house: House, client: Client) -> None:
    address = url(house, "snapshot_list")
    assert "No snapshots yet" in text(client, address)
    guest, disk = machine(house, Power.STOPPED), factories.volume(house, "data")
    factories.snapshot(house, "before", of=guest)
    factories.snapshot(house, "kept", of=disk)
    factories.snapshot(factories.tenant_with_owner(), "foreign")

    page = text(client, address)

    assert url(house, "guest_detail", guest.pk) + "?tab=snapshots" in page
    assert url(house, "volume_detail", disk.pk) in page
    assert "before" in page
    assert "kept" in page
    assert "foreign" not in page
