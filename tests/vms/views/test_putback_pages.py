"""The dialog in which somebody has a machine go back to a backup: what it says first, and what it needs."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.vms.api.test_snapshots import machine
from vms.models import Backup, Guest, Volume
from vms.states import Power


def a_house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


def url(house: House, backup: Backup) -> str:
    return reverse("vms:backup_put_back", args=[house.tenant.slug, backup.pk])


def text(client: Client, address: str) -> str:
    return unescape(client.get(address).content.decode())


@pytest.mark.django_db(transaction=True)
def test_the_dialog_says_what_becomes_of_each_disk_as_one_chooses() -> None:
    house = a_house()
    guest = machine(house, Power.RUNNING)
    backup = factories.backup(house, guest)
    client = browser(house.owner)

    whole = text(client, url(house, backup))
    assert "becomes what the backup holds; what it is now stays as the volume web-before-" in whole
    assert "Switch the machine off for this" in whole
    assert "Fits." in whole
    deleted = text(client, url(house, backup) + "?part=forecast&disks=0&drop=on")
    assert "what it is now is deleted" in deleted
    assert "Choose at least one disk." in text(client, url(house, backup) + "?part=forecast")
    for tab in (
        reverse("vms:backup_detail", args=[house.tenant.slug, backup.pk]),
        reverse("vms:guest_detail", args=[house.tenant.slug, guest.pk]) + "?tab=backups",
    ):
        assert url(house, backup) in text(client, tab)


@pytest.mark.django_db(transaction=True)
def test_the_dialog_warns_of_disks_that_the_machine_could_take_for_one_another() -> None:
    house = a_house()
    guest = machine(house, Power.STOPPED)
    backup = factories.backup(house, guest)
    client, spare = browser(house.owner), factories.volume(house, "spare")
    assert "same labels and ids" not in text(client, url(house, backup))

    with tenant_scope(house.tenant):
        Volume.objects.filter(pk=spare.pk).update(guest=guest, position=1, source=backup.disks.get(position=0))

    warned = text(client, url(house, backup) + "?part=forecast&disks=0")
    assert "the same labels and ids" in warned
    assert "(disk 0) and spare (disk 1)" in warned
    asked = Rest(house.token).post(
        f"{house.url}/backups/{backup.pk}/restore?dry_run=true", {"to": "in_place", "disks": [0]}
    )
    assert {disk["position"]: disk["twins"] for disk in asked.json["disks"]} == {0: [1], 1: [0]}


@pytest.mark.django_db
def test_only_with_its_name_and_a_machine_that_may_be_off_anything_is_done() -> None:
    house = a_house()
    guest = machine(house, Power.RUNNING)
    backup = factories.backup(house, guest)
    client = browser(house.owner)

    for words, why in (
        ({"disks": "0", "stop": "on", "typed": "other"}, "That is not its name"),
        ({"disks": "0", "typed": "web"}, "This machine is not off."),
        ({"stop": "on", "typed": "web"}, "This field is required."),
    ):
        answer = client.post(url(house, backup), words)
        assert (answer.status_code, why in unescape(answer.content.decode())) == (422, True), why
    assert not Operation.objects.filter(status="queued").exists()

    answer = client.post(url(house, backup), {"disks": "0", "stop": "on", "typed": "web"})

    assert answer.status_code == 302
    operation = Operation.objects.get(status="queued")
    assert (operation.kind, operation.params["keep"]) == ("guest.putback", True)
    with tenant_scope(house.tenant):
        Guest.objects.filter(pk=guest.pk).update(binned_at=factories.now(), purge_after=factories.now())
    assert url(house, backup) not in text(client, reverse("vms:backup_detail", args=[house.tenant.slug, backup.pk]))


@pytest.mark.django_db
def test_of_a_machine_that_is_gone_there_is_no_dialog() -> None:
    house = a_house()
    backup = factories.backup(house, machine(house, Power.STOPPED))
    with every_tenant(why="test"):
        Backup.objects.filter(pk=backup.pk).update(guest=None)

    assert browser(house.owner).get(url(house, backup)).status_code == 404
