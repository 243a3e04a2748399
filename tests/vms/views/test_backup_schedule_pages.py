"""Pages and REST of backup schedules: looked at first, added, changed, deleted; each machine says what came of it last."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import BackupSchedule, BackupTurn, Guest, Tag
from vms.services.backups.slots import backup_schedules_run
from vms.states import Power

pytestmark = pytest.mark.django_db
NIGHTLY = {
    "name": "nightly", "guests": "web", "tags": "db", "every": "daily", "hour": "1", "cron": "", "timezone": "UTC",
    "window_minutes": "0", "full_every": "0", "keep_last": "1", "enabled": "on",
    **dict.fromkeys(("keep_hourly", "keep_daily", "keep_weekly", "keep_monthly"), "0"),
}  # fmt: skip


@pytest.fixture
def house(db: None) -> House:
    factories.host_up()
    factories.backup_store()
    return factories.tenant_with_owner()


@pytest.fixture
def guest(house: House) -> Guest:
    return factories.guest(house, "web", power=Power.RUNNING)


def url(house: House, name: str, *args: Any) -> str:
    return reverse(f"vms:{name}", args=[house.tenant.slug, *args])


def text(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def test_a_schedule_is_looked_at_added_changed_and_deleted(house: House, guest: Guest, client: Client) -> None:
    assert "No schedules yet" in text(client, url(house, "backup_schedule_list"))
    create = url(house, "backup_schedule_create")
    seen = client.post(create, {**NIGHTLY, "preview": "1"})
    assert seen.status_code == 200
    assert "What it would do" in seen.content.decode()
    assert seen.context["preview"].machines == 1
    with every_tenant(why="test"):
        assert not BackupSchedule.objects.exists()
    refused = client.post(create, {**NIGHTLY, "guests": "web nobody", "window_minutes": "999", "keep_last": "0"})
    assert refused.status_code == 422
    assert "no machine of the name nobody" in refused.content.decode()
    refused = client.post(create, {**NIGHTLY, "every": "cron", "cron": "* * * * *"})
    assert "At most every 60 minutes" in refused.content.decode()

    added = client.post(create, NIGHTLY)
    assert added.status_code == 302
    with every_tenant(why="test"):
        row = BackupSchedule.objects.get()
    page = text(client, added.headers["Location"])
    assert "none yet" in page
    assert "the last 1" in page
    assert "nightly" in text(client, url(house, "backup_schedule_list"))
    edit = url(house, "backup_schedule_edit", row.pk)
    assert 'value="web"' in text(client, edit)
    assert client.post(edit, {**NIGHTLY, "name": "late", "hour": "23"}).status_code == 302
    with every_tenant(why="test"):
        row.refresh_from_db()
        assert (row.name, row.cron, row.version) == ("late", "0 23 * * *", 2)
    with tenant_scope(house.tenant):
        Guest.objects.filter(pk=guest.pk).update(binned_at=factories.now(), purge_after=factories.now())
    assert client.post(edit, {**NIGHTLY, "name": "later"}).status_code == 302, "what is in the bin may stay in it"
    delete = url(house, "backup_schedule_delete", row.pk)
    assert "stay until you delete them" in text(client, delete)
    client.post(delete)
    with every_tenant(why="test"):
        assert not BackupSchedule.objects.exists()


def test_its_page_says_of_each_machine_what_came_last_and_why(house: House, guest: Guest, client: Client) -> None:
    row = factories.backup_schedule(house, guest)
    other = factories.guest(house, "idle", power=Power.RUNNING)
    old = factories.backup(house, guest, "old")
    with tenant_scope(house.tenant):
        row.guests.add(other)
        assert row.next_at is not None
        slot = row.next_at - timedelta(days=1)
        old.schedule, old.slot = row, slot
        old.save()
        BackupTurn.objects.create(tenant=house.tenant, schedule=row, guest=guest, slot=slot, due_at=slot, state="done")
        BackupTurn.objects.create(
            tenant=house.tenant, schedule=row, guest=other, slot=slot, due_at=slot, state="passed", code="over_quota"
        )

    page = text(client, url(house, "backup_schedule_detail", row.pk))

    assert ">old</a>" in page
    assert "the quota did not cover it" in page
    rest = Rest(house.token).get(f"{house.url}/backup-schedules/{row.pk}/machines")
    assert [(each["name"], each["state"], each["code"], each["backup"]) for each in rest.json["items"]] == [
        ("idle", "passed", "over_quota", None), ("web", "done", None, str(old.pk)),
    ]  # fmt: skip


def test_rest_keeps_schedules(house: House, guest: Guest) -> None:
    rest, base = Rest(house.token), f"{house.url}/backup-schedules"
    wish = {"name": "nightly", "guests": ["web"], "tags": ["db"], "keep": {"daily": 7}, "window_minutes": 30}

    seen = rest.post(f"{base}?dry_run=true", wish)
    assert (seen.status, seen.json["machines"], len(seen.json["next_runs"])) == (200, 1, 5), seen
    assert rest.get(base).json["items"] == []
    made = rest.ask("POST", base, wish, Idempotency_Key="once")
    assert made.status == 201, made
    assert rest.ask("POST", base, wish, Idempotency_Key="once").json == made.json
    assert (made.json["cron"], made.json["keep"]["daily"], made.json["guests"]) == ("0 1 * * *", 7, [str(guest.pk)])
    one = f"{base}/{made.json['id']}"
    etag = rest.get(one).headers["ETag"]
    changed = rest.ask("PATCH", one, {"every": "cron", "cron": "30 3 * * 6", "tags": []}, If_Match=etag)
    assert (changed.json["cron"], changed.json["tags"], changed.json["keep"]["daily"]) == ("30 3 * * 6", [], 7), changed
    stale = rest.ask("PATCH", one, {"enabled": False}, If_Match=etag)
    assert stale.status == 412
    foreseen = rest.ask("PATCH", f"{one}?dry_run=true", {"keep": {"last": 1}})
    assert (foreseen.status, foreseen.json["would_delete"]) == (200, []), foreseen
    wrong = rest.post(base, {"name": "Bad", "guests": ["nobody"], "keep": {"last": -1}})
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (422, "/guests/0")
    dropped = rest.post(base, {**wish, "name": "dropped", "cron": "0 3 * * 1"})
    assert (dropped.status, dropped.json["errors"][0]["pointer"]) == (422, "/cron")
    again = rest.ask("PATCH", f"{one}?dry_run=true", {"every": "cron", "cron": changed.json["cron"]})
    assert again.status == 200, "what was read may be sent back"
    taken = rest.post(base, {**wish, "keep": {"last": -1}})
    pointers = {error["pointer"] for error in taken.json["errors"]}
    assert (taken.status, pointers) == (422, {"/name", "/keep/last"})
    assert rest.delete(one).status == 204
    assert rest.get(one).status == 404


def test_beat_asks_for_what_is_due(house: House, guest: Guest) -> None:
    row = factories.backup_schedule(house, guest)
    assert row.next_at is not None

    backup_schedules_run(at=row.next_at)
    backup_schedules_run(at=row.next_at + timedelta(hours=1))

    assert list(Operation.objects.filter(status="queued").values_list("kind", "requested_via")) == [
        ("backup.create", "backup schedule")
    ]


def test_a_machine_names_the_schedules_that_back_it_up(house: House, guest: Guest, client: Client) -> None:
    schedules = [factories.backup_schedule(house, guest, name) for name in ("chosen", "tagged", "of-another")]
    with tenant_scope(house.tenant):
        guest.tags.add(Tag.objects.create(tenant=house.tenant, name="db"))
        for schedule in schedules[1:]:
            schedule.guests.clear()
        BackupSchedule.objects.filter(name="tagged").update(tags=["db"], next_at=None)
        BackupSchedule.objects.filter(name="of-another").update(tags=["web"])

    shown = client.get(url(house, "guest_detail", guest.pk) + "?tab=backups").content.decode()

    linked = [url(house, "backup_schedule_detail", schedule.pk) in shown for schedule in schedules]
    assert (linked, "Backed up by the clock" in shown) == ([True, True, False], True)
