"""What becomes of a backup through REST: foreseen without changing anything, asked for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from operations.models import Operation
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.vms.api.test_snapshots import machine
from vms.models import Backup, BackupDisk, Volume
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(db: None) -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def backup(house: House) -> Backup:
    return factories.backup(house, machine(house, Power.RUNNING))


def ask(house: House, backup: Backup, body: Any, *, dry: bool = False) -> Any:
    query = "?dry_run=true" if dry else ""
    return Rest(house.token).post(f"{house.url}/backups/{backup.pk}/restore{query}", body)


def test_in_place_it_is_said_before_what_becomes_of_each_disk_and_then_done(house: House, backup: Backup) -> None:
    with tenant_scope(house.tenant):
        BackupDisk.objects.create(tenant=house.tenant, backup=backup, position=2, name="data", size_gib=3)
        root = Volume.objects.get(guest=backup.guest)

    running = ask(house, backup, {"to": "in_place"}, dry=True).json
    assert ([reason["code"] for reason in running["reasons"]], running["stops"]) == (["not_off"], True)
    said = ask(house, backup, {"to": "in_place", "stop": True}, dry=True)

    assert (said.status, said.json["fits"]) == (200, True), said.json
    assert [(disk["position"], disk["becomes"], disk["name"]) for disk in said.json["disks"]] == [
        (0, "replaced", "root"),
        (2, "returns", "data"),
    ]
    assert [bool(disk["former"]) for disk in said.json["disks"]] == [True, False]
    assert {line["name"]: line["after"] - line["before"] for line in said.json["quota"]}["volumes"] == 2
    with every_tenant(why="test"):
        assert Volume.objects.count() == 1
    assert not Operation.objects.filter(status="queued").exists()

    done = ask(house, backup, {"to": "in_place", "stop": True, "disks": [0], "keep_disks": False})
    assert (done.status, done.json["kind"], done.json["cancellable"]) == (202, "guest.putback", True)
    assert done.json["subject"] == {"type": "guest", "id": str(backup.guest_id), "name": "web"}
    assert ask(house, backup, {"to": "in_place", "stop": True}).json["code"] == "operation_in_progress"
    with every_tenant(why="test"):
        fresh = Volume.objects.get(guest=None)
        assert (fresh.state, fresh.name, fresh.size_gib) == ("planned", root.name, root.size_gib)
    audit = Rest(house.token).get(f"{house.url}/audit-events?action=guest.putback").json["items"]
    assert len(audit) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"to": "in_place", "disks": [7], "stop": True}, "/disks"),
        ({"to": "in_place", "disks": [], "stop": True}, "/disks"),
        ({"to": "in_place", "stop": "yes"}, "/stop"),
        ({"to": "in_place", "disks": ["0"]}, "/disks/0"),
        ({"to": "in_place", "disks": [0] * 26}, "/disks"),
        ({"to": "in_place", "force": True}, "/force"),
        ({"to": "elsewhere"}, "/to"),
        ({"to": "guest"}, "/name"),
        ({"to": "volume", "name": "../x"}, "/name"),
        ({"to": "volume", "name": "fine", "position": 5}, "/position"),
    ],
)
def test_what_means_nothing_is_a_422_that_names_the_field(
    body: dict[str, Any], pointer: str, house: House, backup: Backup
) -> None:
    said = ask(house, backup, body)

    assert said.status == 422
    assert pointer in [error["pointer"] for error in said.json["errors"]], said.json
    assert not Operation.objects.filter(status="queued").exists()


def test_a_new_machine_and_a_volume_are_foreseen_too(house: House, backup: Backup) -> None:
    guest = ask(house, backup, {"to": "guest", "name": "again"}, dry=True)
    volume = ask(house, backup, {"to": "volume", "name": "again"}, dry=True)

    assert [(said.status, said.json["fits"], said.json["disks"]) for said in (guest, volume)] == [(200, True, [])] * 2
    assert {line["name"] for line in guest.json["quota"]} > {line["name"] for line in volume.json["quota"]}
    assert not Operation.objects.filter(status="queued").exists()


def test_a_backup_of_another_project_is_not_there(backup: Backup) -> None:
    other = factories.tenant_with_owner()

    for dry in (True, False):
        assert ask(other, backup, {"to": "in_place"}, dry=dry).status == 404
