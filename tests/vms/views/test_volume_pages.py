"""Pages of volumes: made, plugged in, changed, taken off and deleted from the browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from tenants.policy import BUILT_IN_ROLES, Permission
from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from vms.models import Guest, StorageClass, Volume
from vms.services.volumes import volume_record
from vms.states import Power, VolumeState

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner(limits={"disk_gib": 50, "volumes": 5})


def url(house: House, name: str, *args: Any) -> str:
    return reverse(f"vms:{name}", args=[house.tenant.slug, *args])


def only(house: House, **narrow: Any) -> Volume:
    with tenant_scope(house.tenant):
        return Volume.objects.select_related("guest").get(**narrow)


def done(house: House) -> None:
    """A worker does what was asked last."""
    with tenant_scope(house.tenant):
        operation = Operation.objects.filter(status="queued").latest("created_at")
        if operation.kind == "volume.create":
            volume_record(Volume.objects.get(pk=operation.subject_id), VolumeState.READY)
        factories.operation_done(operation)


def made(house: House, client: Client, **facts: Any) -> Volume:
    wish = {"name": "data", "size_gib": 5, "storage_class": StorageClass.objects.get().pk, **facts}
    answer = client.post(url(house, "volume_create"), wish)
    assert answer.status_code == 302, answer.content.decode()
    done(house)
    return only(house, name="data")


def text(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def test_a_volume_is_made_plugged_in_changed_taken_off_and_deleted(house: House, client: Client) -> None:
    guest = factories.guest(house, "web", power=Power.RUNNING)
    volume = made(house, client)
    page = url(house, "volume_detail", volume.pk)
    storage = url(house, "guest_detail", guest.pk) + "?tab=storage"
    assert "It hangs on" not in text(client, page)
    assert f'aria-label="Attach {volume.name}"' in text(client, storage)

    plugged = client.post(url(house, "volume_attach", volume.pk), {"guest": "web"})
    assert plugged["Location"] == storage
    assert "Attach volume data" in text(client, page)
    done(house)
    assert "web has it as vdb" in text(client, page)
    assert url(house, "volume_detail", volume.pk) in text(client, storage)

    for name, wish in (
        ("volume_extend", {"size_gib": 7}),
        ("volume_limits", {"iops": 500, "mbps": 20}),
    ):
        assert client.post(url(house, name, volume.pk), wish).status_code == 302
        done(house)
    wish = {"name": "photos", "boot_order": 2, "delete_with_guest": "on"}
    assert client.post(url(house, "volume_edit", volume.pk), wish).status_code == 302
    shown = text(client, page)
    for words in ("photos", "7 GiB", "500 operations a second", "20 MiB a second", "goes with it"):
        assert words in shown

    assert "Detach photos from web?" in text(client, url(house, "volume_detach", volume.pk))
    assert client.post(url(house, "volume_detach", volume.pk)).status_code == 302
    done(house)
    assert "overwritten with zeros" not in text(client, url(house, "volume_delete", volume.pk))
    StorageClass.objects.update(scrub="zero")
    assert "overwritten with zeros" in text(client, url(house, "volume_delete", volume.pk))
    assert client.post(url(house, "volume_delete", volume.pk), {"typed": "fotos"}).status_code == 422
    assert client.post(url(house, "volume_delete", volume.pk), {"typed": "photos"}).status_code == 302
    done(house)
    with tenant_scope(house.tenant):
        assert not Volume.objects.filter(pk=volume.pk).exists()


def test_what_cannot_be_is_said_beside_its_field(house: House, client: Client) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    volume = made(house, client)
    wish = {"name": "more", "size_gib": 5, "storage_class": StorageClass.objects.get().pk}

    for address, posted, words in (
        (url(house, "volume_create"), {**wish, "size_gib": 500}, "disk (GiB)"),
        (url(house, "volume_create"), {**wish, "name": "../x"}, "Use small letters"),
        (url(house, "volume_create"), {**wish, "guest": "nobody"}, "no machine of that name"),
        (url(house, "volume_attach", volume.pk), {"guest": "nobody"}, "no machine of that name"),
        (url(house, "volume_extend", volume.pk), {"size_gib": 5}, "A volume only grows"),
        (url(house, "volume_extend", volume.pk), {"size_gib": 500}, "disk (GiB)"),
        (url(house, "volume_limits", volume.pk), {"iops": -1, "mbps": 0}, "greater than or equal to 0"),
        (url(house, "volume_delete", only(house, guest=guest.pk).pk), {"typed": "root"}, "It goes with the machine."),
    ):
        answer = client.post(address, posted)
        assert answer.status_code == 422, address
        assert words in answer.content.decode(), address


def test_deleting_a_machine_says_what_becomes_of_its_volumes(house: House, client: Client) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    made(house, client, guest="web")
    address = url(house, "guest_delete", guest.pk)
    assert "Delete its data volumes" in text(client, address)

    client.post(address, {"typed": "web", "asked_volumes": "1", "volumes": "true"})

    assert only(house, name="data").delete_with_guest
    with tenant_scope(house.tenant):
        assert Guest.objects.get().want_power == Power.ABSENT


def test_who_may_only_look_is_offered_nothing(house: House, client: Client) -> None:
    volume = made(house, client)
    person = factories.user()
    factories.join(house.tenant, person, role="viewer")
    viewer = browser(person)

    shown = text(viewer, url(house, "volume_list")) + text(viewer, url(house, "volume_detail", volume.pk))

    assert volume.name in shown
    for action in ("volume_create", "volume_extend", "volume_delete"):
        assert url(house, action, *([] if action == "volume_create" else [volume.pk])) not in shown


def test_one_whose_deletion_failed_is_deleted_again_though_it_hangs_on_a_machine(house: House, client: Client) -> None:
    factories.guest(house, "web", power=Power.STOPPED)
    volume = made(house, client, guest="web")
    with tenant_scope(house.tenant):
        Volume.objects.filter(pk=volume.pk).update(state=VolumeState.DELETING)
    address = url(house, "volume_delete", volume.pk)

    assert address in text(client, url(house, "volume_detail", volume.pk))
    assert "Detach it first." not in text(client, address)
    assert client.post(address, {"typed": "data"}).status_code == 302


def test_who_may_not_manage_volumes_is_not_asked_about_them(house: House, client: Client) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    made(house, client, guest="web")
    person, _token = factories.member_with(house.tenant, BUILT_IN_ROLES["member"] - {Permission.VOLUME_MANAGE})

    assert "Delete its data volumes" not in text(browser(person), url(house, "guest_delete", guest.pk))


def test_what_came_too_late_is_answered_and_changes_nothing(house: House, client: Client) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    volume, root = made(house, client), only(house, guest=guest.pk)

    assert client.post(url(house, "volume_detach", volume.pk)).status_code == 409
    assert client.post(url(house, "volume_detach", root.pk)).status_code == 409
    assert client.post(url(house, "volume_attach", root.pk), {"guest": "web"}).status_code == 422
    assert client.get(url(house, "volume_list") + "?cursor=%00&guest=%00<b>").status_code < 500
    assert only(house, pk=volume.pk).guest is None


def test_the_forms_say_what_they_would_take_before_they_are_sent(house: House, client: Client) -> None:
    wish = {"size_gib": 20, "storage_class": StorageClass.objects.get().pk}
    fits = client.post(url(house, "volume_recap"), wish).content.decode()
    short = client.post(url(house, "volume_recap"), {**wish, "size_gib": 60}).content.decode()
    empty = client.post(url(house, "volume_recap"), {}).content.decode()
    assert 'data-fits="yes"' in fits
    assert 'data-fits="no"' in short
    assert "data-fits" not in empty

    volume = made(house, client)
    recap = url(house, "volume_extend_recap", volume.pk)
    assert 'data-fits="yes"' in client.post(recap, {"size_gib": 9}).content.decode()
    assert 'data-fits="no"' in client.post(recap, {"size_gib": 90}).content.decode()
    assert only(house, name="data").size_gib == 5
