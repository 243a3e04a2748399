"""Copies through REST: asked for, foreseen, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.vms.api.test_snapshots import machine
from vms.models import Guest, Image, Network, Snapshot, Volume
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(db: None) -> House:
    factories.host_up()
    return factories.tenant_with_owner(limits={"images_gib": 3, "guests": 2})


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def ask(rest: Rest, house: House, path: str, body: Any, **headers: Any) -> Any:
    return rest.ask("POST", f"{house.url}{path}", body, **headers)


def test_a_clone_is_foreseen_asked_for_once_and_says_its_machine(house: House, rest: Rest) -> None:
    guest = machine(house, Power.RUNNING)
    with tenant_scope(house.tenant):
        Guest.objects.filter(pk=guest.pk).update(firmware="uefi", nic_model="e1000e", tpm=True)
        other = factories.network(house)
    path, body = (
        f"/guests/{guest.pk}/clone",
        {"name": "twin", "networks": [other.name], "tags": ["copy"], "start": False},
    )

    fit = ask(rest, house, f"{path}?dry_run=true", body)
    lines = {line["name"]: line["after"] - line["before"] for line in fit.json["quota"]}
    assert (fit.status, fit.json["fits"], lines["guests"], lines["snapshots"]) == (200, True, 1, 1)
    with tenant_scope(house.tenant):
        assert not Snapshot.objects.exists()
    said = ask(rest, house, path, body, Idempotency_Key="once")
    again = ask(rest, house, path, body, Idempotency_Key="once")

    assert (said.status, again.status, again.json["id"]) == (202, 202, said.json["id"])
    assert (said.json["kind"], said.json["subject"]["name"]) == ("guest.clone", "twin")
    with tenant_scope(house.tenant):
        twin = Guest.objects.get(pk=said.json["subject"]["id"])
        assert [network.pk for network in Network.objects.filter(ports__guest=twin)] == [other.pk]
        assert (twin.firmware, twin.nic_model, twin.tpm, twin.tag_names()) == ("uefi", "e1000e", True, ["copy"])
        assert Volume.objects.get(guest=twin).image is None
    shown = rest.ask("GET", f"{house.url}/guests/{twin.pk}")
    assert shown.json["status"] == "building"
    assert ask(rest, house, path, {"name": "third"}).json["code"] == "operation_in_progress"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "../x"}, "/name"),
        ({"name": "x", "snapshot": "nothing"}, "/snapshot"),
        ({"name": "x", "flavor": "' OR 1=1 --"}, "/flavor"),
        ({"name": "x", "networks": ["nothing"]}, "/networks/0"),
        ({"name": "x", "volumes": [7]}, "/volumes"),
        ({"name": "x", "volumes": ["0"]}, "/volumes/0"),
        ({"name": "x", "tags": ["<b>"]}, "/tags/0"),
        ({"name": "x", "host": "here"}, "/host"),
        ({}, "/name"),
    ],
)
def test_a_clone_that_makes_no_sense_is_422_and_changes_nothing(
    body: dict[str, Any], pointer: str, house: House, rest: Rest
) -> None:
    guest = machine(house, Power.RUNNING)

    said = ask(rest, house, f"/guests/{guest.pk}/clone", body)

    assert (said.status, pointer in [fault["pointer"] for fault in said.json["errors"]]) == (422, True), said
    with tenant_scope(house.tenant):
        assert not Snapshot.objects.exists()
        assert Guest.objects.count() == 1


def test_an_image_is_foreseen_with_all_it_may_take_and_knows_what_it_is_of(house: House, rest: Rest) -> None:
    guest = machine(house, Power.STOPPED)
    with tenant_scope(house.tenant):
        Guest.objects.filter(pk=guest.pk).update(firmware="uefi", disk_bus="sata")
        Image.objects.filter(pk=guest.image_id).update(os_family="debian", os_version="12", min_memory_mib=96)
        snapshot = factories.snapshot(house, "kept", of=guest)
    for path in (f"/guests/{guest.pk}/image", f"/snapshots/{snapshot.pk}/image"):
        fit = ask(rest, house, f"{path}?dry_run=true", {"name": "golden"})
        lines = {line["name"]: line["after"] - line["before"] for line in fit.json["quota"]}
        assert (fit.json["fits"], lines["images"], lines["images_gib"]) == (True, 1, guest.disk_gib)

    said = ask(rest, house, f"/snapshots/{snapshot.pk}/image", {"name": "golden", "os_version": "13"})

    assert (said.status, said.json["kind"]) == (202, "image.capture")
    shown = rest.ask("GET", f"{house.url}/images/{said.json['subject']['id']}").json
    facts = {
        name: shown[name] for name in ("name", "os_family", "os_version", "firmware", "disk_bus", "min_memory_mib")
    }
    assert facts == {
        "name": "golden", "os_family": "debian", "os_version": "13", "firmware": "uefi", "disk_bus": "sata",
        "min_memory_mib": 96,
    }  # fmt: skip
    assert ask(rest, house, f"/snapshots/{snapshot.pk}/image", {"name": " "}).status == 422
    assert ask(rest, house, f"/snapshots/{snapshot.pk}/image", {"name": "x", "position": 3}).status == 422
    deleted = rest.ask("DELETE", f"{house.url}/snapshots/{snapshot.pk}")
    assert (deleted.status, deleted.json["code"]) == (409, "operation_in_progress")


def test_another_tenants_snapshot_is_not_there(house: House, rest: Rest) -> None:
    theirs = factories.tenant_with_owner()
    guest, mine = factories.guest(theirs, "web", power=Power.RUNNING), machine(house, Power.RUNNING)
    with tenant_scope(theirs.tenant):
        Volume.objects.filter(guest=guest).update(state="ready")
    snapshot = factories.snapshot(theirs, "kept", of=guest)

    for path in (f"/snapshots/{snapshot.pk}/volume", f"/snapshots/{snapshot.pk}/image", f"/guests/{guest.pk}/clone"):
        assert ask(rest, house, path, {"name": "x"}).status == 404
    said = ask(rest, house, f"/guests/{mine.pk}/clone", {"name": "x", "snapshot": str(snapshot.pk)})
    assert (said.status, said.json["errors"][0]["pointer"]) == (422, "/snapshot")
