"""Machines before what belongs to them, and all of them before the first journal entry: nobody waits in a circle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operations.services import operation_cancel
from tenants.journal.ledger import journal_lock
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.support.crowd import meeting
from vms.models import Backup, BackupSchedule, Guest, Volume
from vms.services.backups.schedules import backup_schedule_delete
from vms.services.guests import guest_create
from vms.services.security_groups import group_create, groups_lock
from vms.services.volumes.check import guest_locked, locked
from vms.specs import GuestSpec

pytestmark = pytest.mark.django_db(transaction=True)


def within[T](house: House, deed: Callable[[], T]) -> Callable[[], T]:
    """In the scope of its tenant, in whatever thread."""

    def go() -> T:
        with tenant_scope(house.tenant):
            return deed()

    return go


def test_who_calls_many_machines_off_does_not_wait_in_a_circle_for_one_that_was_just_seen() -> None:
    factories.host_up()
    house = factories.tenant_with_owner(limits={"guests": None, "running_guests": None})
    with tenant_scope(house.tenant):
        spec = GuestSpec("g", factories.flavor("small"), factories.image(), count=2)
        parent = guest_create(house.tenant, spec, actor=house.actor)
        last = Guest.objects.get(name="g-2")

    called_off = meeting(
        within(house, lambda: guest_locked(last.pk)),
        within(house, lambda: operation_cancel(parent, actor=house.actor)),
        within(house, lambda: journal_lock(house.tenant)),
    )

    assert not isinstance(called_off, Exception), called_off
    parent.refresh_from_db()
    assert {child.status for child in parent.children.all()} == {"cancelled"}


def test_if_match_does_not_lock_a_volume_before_its_machine() -> None:
    house = factories.tenant_with_owner()
    guest = factories.guest(house)
    with tenant_scope(house.tenant):
        volume = Volume.objects.get(guest=guest, position=0)
    rest, url = Rest(house.token), f"{house.url}/volumes/{volume.pk}"
    tag = rest.get(url).headers["ETag"]

    answer = meeting(
        within(house, lambda: guest_locked(guest.pk)),
        lambda: rest.ask("PATCH", url, {"name": "system"}, If_Match=tag),
        within(house, lambda: locked(volume)),
    )

    assert not isinstance(answer, Exception), answer
    assert (answer.status, answer.json["name"]) == (200, "system")


@pytest.mark.parametrize("mine", [0, 1], ids=["the first names the second", "the second names the first"])
def test_if_match_does_not_lock_a_group_before_those_that_its_rules_name(mine: int) -> None:
    house = factories.tenant_with_owner()
    with tenant_scope(house.tenant):
        groups = sorted((group_create(house.tenant, name=name, actor=house.actor) for name in "ab"), key=lambda g: g.pk)
    changed, named = groups[mine], groups[1 - mine]
    rest, url = Rest(house.token), f"{house.url}/security-groups/{changed.pk}"
    tag = rest.get(url).headers["ETag"]
    rules = [{"direction": "in", "protocol": "tcp", "first_port": 22, "last_port": 22, "group": str(named.pk)}]

    answer = meeting(
        within(house, lambda: groups_lock([groups[0].pk])),
        lambda: rest.ask("PUT", f"{url}/rules", {"rules": rules}, If_Match=tag),
        within(house, lambda: groups_lock([groups[1].pk])),
    )

    assert not isinstance(answer, Exception), answer
    assert (answer.status, answer.json.get("kind")) == (202, "group.apply"), answer.json


def backed_up(house: House) -> tuple[Guest, BackupSchedule]:
    """A machine and the schedule that has made a backup of it."""
    guest = factories.guest(house)
    schedule = factories.backup_schedule(house, guest)
    backup = factories.backup(house, guest)
    with tenant_scope(house.tenant):
        Backup.objects.filter(pk=backup.pk).update(schedule=schedule)
    return guest, schedule


def schedule_locked(schedule: BackupSchedule) -> BackupSchedule:
    return BackupSchedule.objects.select_for_update(no_key=True).get(pk=schedule.pk)


@pytest.mark.parametrize("verb", ["DELETE", "PATCH"])
def test_if_match_does_not_lock_a_schedule_before_its_machines(verb: str) -> None:
    house = factories.tenant_with_owner()
    guest, schedule = backed_up(house)
    rest, url = Rest(house.token), f"{house.url}/backup-schedules/{schedule.pk}"
    tag = rest.get(url).headers["ETag"]
    body = {"guests": [str(factories.guest(house).pk), str(guest.pk)]} if verb == "PATCH" else None
    if verb == "PATCH":
        with tenant_scope(house.tenant):
            schedule.guests.clear()

    answer = meeting(
        within(house, lambda: guest_locked(guest.pk)),
        lambda: rest.ask(verb, url, body, If_Match=tag),
        within(house, lambda: schedule_locked(schedule)),
    )

    assert not isinstance(answer, Exception), answer
    assert answer.status == (204 if verb == "DELETE" else 200), answer.json


def test_who_deletes_a_schedule_does_not_wait_in_a_circle_for_one_that_gives_it_machines() -> None:
    house = factories.tenant_with_owner()
    guest, schedule = backed_up(house)
    with tenant_scope(house.tenant):
        schedule.guests.clear()

    deleted = meeting(
        within(house, lambda: schedule_locked(schedule)),
        within(house, lambda: backup_schedule_delete(schedule, actor=house.actor)),
        within(house, lambda: schedule.guests.add(guest)),
    )

    assert not isinstance(deleted, Exception), deleted
    with tenant_scope(house.tenant):
        assert not BackupSchedule.objects.exists()
