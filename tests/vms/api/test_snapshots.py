"""Snapshots through REST: taken, shown, changed, foreseen, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tenants.journal.models import UsageInterval
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Guest, Snapshot, SnapshotDisk, Volume
from vms.states import Power, VolumeState

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(db: None) -> House:
    factories.host_up()
    return factories.tenant_with_owner(limits={"guest_snapshots": 2, "snapshots": 3})


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def machine(house: House, power: Power) -> Guest:
    """One whose disk is there."""
    guest = factories.guest(house, "web", power=power)
    with tenant_scope(house.tenant):
        Volume.objects.filter(guest=guest).update(state=VolumeState.READY)
    return guest


def ask(rest: Rest, house: House, method: str, path: str = "", body: Any = None, **headers: Any) -> Any:
    return rest.ask(method, f"{house.url}/snapshots{path}", body, **headers)


def test_a_snapshot_is_taken_shown_renamed_and_deleted(house: House, rest: Rest) -> None:
    guest = machine(house, Power.RUNNING)
    said = ask(rest, house, "POST", body={"name": "before-php-8.4", "guest": "web", "memory": True})
    assert said.status == 202, said
    pk = said.json["subject"]["id"]
    assert said.json["subject"]["type"] == "snapshot"

    shown = ask(rest, house, "GET", f"/{pk}")
    assert (shown.json["state"], shown.json["guest_name"], shown.json["consistency"]) == ("creating", "web", None)
    assert shown.json["operation"] == said.json["id"]
    assert [disk["size_gib"] for disk in shown.json["disks"]] == [guest.disk_gib]
    assert "definition" not in shown.json
    assert ask(rest, house, "PATCH", f"/{pk}", {"name": "fine", "description": "x"}).json["name"] == "fine"
    listed = ask(rest, house, "GET", f"?guest={guest.pk}&state=creating").json["items"]
    assert [item["name"] for item in listed] == ["fine"]
    assert ask(rest, house, "DELETE", f"/{pk}").json["code"] == "operation_in_progress"
    with every_tenant(why="test"):
        open_one = UsageInterval.objects.get(resource_type="snapshot", ended_at=None)
    assert (open_one.meter, open_one.quantity) == ("snapshot_gib", guest.disk_gib)


def test_a_volumes_own_are_listed_by_it_and_not_those_of_its_machine(house: House, rest: Rest) -> None:
    guest = machine(house, Power.STOPPED)
    with tenant_scope(house.tenant):
        root = Volume.objects.get(guest=guest)
    whole, alone = factories.snapshot(house, of=guest), factories.snapshot(house, of=root)

    assert [item["id"] for item in ask(rest, house, "GET", f"?volume={root.pk}").json["items"]] == [str(alone.pk)]
    assert [item["id"] for item in ask(rest, house, "GET", f"?guest={guest.pk}").json["items"]] == [str(whole.pk)]
    assert ask(rest, house, "GET", "?volume=nonsense").json["items"] == []


def test_a_second_of_the_same_name_too_many_and_nonsense_are_refused(house: House, rest: Rest) -> None:
    guest = machine(house, Power.STOPPED)
    factories.snapshot(house, "one", of=guest)
    for body, pointer in (
        ({"name": "one", "guest": "web"}, "/name"),
        ({"name": "../x", "guest": "web"}, "/name"),
        ({"name": "x", "description": "a\nb", "guest": "web"}, "/description"),
        ({"name": "x"}, "/guest"),
        ({"name": "x", "guest": "web", "volume": "data"}, "/guest"),
        ({"name": "x", "guest": "nobody"}, "/guest"),
        ({"name": "x", "volume": str(Guest(pk=guest.pk).pk)}, "/volume"),
    ):
        said = ask(rest, house, "POST", body=body)
        assert (said.status, said.json["errors"][0]["pointer"]) == (422, pointer), (body, said)
    said = ask(rest, house, "POST", body={"name": "x", "guest": "web", "memory": True})
    assert (said.status, said.json["code"]) == (409, "no_memory")
    factories.snapshot(house, "two", of=guest)
    assert ask(rest, house, "POST", body={"name": "three", "guest": "web"}).json["code"] == "over_quota"


def test_a_revert_is_foreseen_and_changes_nothing(house: House, rest: Rest) -> None:
    guest = machine(house, Power.RUNNING)
    snapshot = factories.snapshot(house, of=guest)
    later = factories.volume(house, "later")
    with tenant_scope(house.tenant):
        Volume.objects.filter(pk=later.pk).update(guest=guest, position=1)
        SnapshotDisk.objects.filter(snapshot=snapshot).update(size_gib=1)
        Volume.objects.filter(guest=guest, position=0).update(size_gib=3)

    said = ask(rest, house, "POST", f"/{snapshot.pk}/revert?dry_run=true")

    assert said.status == 200
    root = said.json["disks"]
    assert (said.json["untouched"], said.json["grown"], said.json["stops"]) == (["later"], root, True)
    assert "no memory" in said.json["memory_refused"]
    refused = ask(rest, house, "POST", f"/{snapshot.pk}/revert", {"memory": True})
    assert (refused.status, refused.json["code"]) == (409, "no_memory")
    with tenant_scope(house.tenant):
        assert Snapshot.objects.get(pk=snapshot.pk).state == "ready"
        assert Guest.objects.get(pk=guest.pk).want_power == Power.RUNNING


def test_what_changed_meanwhile_is_not_overwritten(house: House, rest: Rest) -> None:
    snapshot = factories.snapshot(house)
    etag = ask(rest, house, "GET", f"/{snapshot.pk}").headers["ETag"]
    assert ask(rest, house, "PATCH", f"/{snapshot.pk}", {"name": "a"}, If_Match=etag).status == 200
    assert ask(rest, house, "PATCH", f"/{snapshot.pk}", {"name": "b"}, If_Match=etag).status == 412
    assert ask(rest, house, "DELETE", f"/{snapshot.pk}", If_Match=etag).status == 412


def test_a_volume_that_its_machine_runs_on_is_not_reverted_alone(house: House, rest: Rest) -> None:
    guest = machine(house, Power.RUNNING)
    with tenant_scope(house.tenant):
        root = Volume.objects.get(guest=guest)
    snapshot = factories.snapshot(house, of=root)

    said = ask(rest, house, "POST", f"/{snapshot.pk}/revert")

    assert (said.status, said.json["code"]) == (409, "in_use")
