"""Exported disks through REST and pages: asked for once, listed, fetched by ranges, refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from portal.core.sendfile import MARK
from tenants.models import AuditEntry
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.tenants import tenant_suspend
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.vms.api.test_snapshots import machine
from vms.models import DiskExport, Snapshot, Volume
from vms.selectors.disk_exports import disk_exports_visible
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(settings: Any, tmp_path: Path) -> House:
    settings.DATA_DIR = tmp_path
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def test_one_is_foreseen_asked_for_once_listed_and_deleted(house: House, rest: Rest) -> None:
    guest = machine(house, Power.RUNNING)
    url, body = f"{house.url}/disk-exports", {"guest": guest.name}

    fit = rest.post(f"{url}?dry_run=true", body)
    assert (fit.status, fit.json["fits"]) == (200, True)
    with tenant_scope(house.tenant):
        assert not Snapshot.objects.exists()
    said, again = (rest.post(url, body, Idempotency_Key="once") for _time in range(2))
    assert (said.status, again.json["id"], said.json["kind"]) == (202, said.json["id"], "volume.export")
    one = f"{url}/{said.json['subject']['id']}"

    shown = rest.get(one)
    assert (shown.json["state"], shown.json["operation"]) == ("making", said.json["id"])
    assert (shown.json["guest_name"], shown.json["made_by"]) == (guest.name, house.owner.email)
    assert rest.get(f"{one}/content").json["code"] == "export_not_ready"
    assert rest.delete(one).json["code"] == "export_under_way"

    ready = factories.disk_export(house)
    states = {row["id"]: row["state"] for row in rest.get(url).json["items"]}
    assert states == {said.json["subject"]["id"]: "making", str(ready.pk): "ready"}
    assert [row["id"] for row in rest.get(f"{url}?state=ready").json["items"]] == [str(ready.pk)]
    assert [row["guest"] for row in rest.get(f"{url}?guest={guest.pk}").json["items"]] == [str(guest.pk)]
    assert rest.get(f"{url}?nonsense=1").status == 422
    tag = rest.get(f"{url}/{ready.pk}").headers["ETag"]
    assert rest.delete(f"{url}/{ready.pk}", If_Match='"other"').status == 412
    assert rest.delete(f"{url}/{ready.pk}", If_Match=tag).status == 204
    assert rest.get(f"{url}/{ready.pk}").status == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/guest"),
        ({"guest": "a", "volume": "b"}, "/guest"),
        ({"guest": "nobody"}, "/guest"),
        ({"volume": "0192"}, "/volume"),
        ({"snapshot": "../../etc/passwd"}, "/snapshot"),
        ({"volume": "spare", "position": 1}, "/position"),
        ({"snapshot": "kept", "position": 7}, "/position"),
        ({"snapshot": "kept", "position": True}, "/position"),
        ({"snapshot": "kept", "path": "/etc/passwd"}, "/path"),
    ],
)
def test_what_names_no_disk_is_refused(house: House, rest: Rest, body: dict[str, Any], pointer: str) -> None:
    factories.snapshot(house, "kept", of=factories.volume(house, "spare"))

    refused = rest.post(f"{house.url}/disk-exports", body)

    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, pointer)
    with tenant_scope(house.tenant):
        assert not DiskExport.objects.exists()


def test_the_file_is_fetched_by_ranges_and_the_log_says_by_whom(house: House, rest: Rest) -> None:
    export = factories.disk_export(house)
    url = f"{house.url}/disk-exports/{export.pk}/content"

    whole = rest.get(url)
    part = rest.get(url, Range="bytes=100-199", If_Range=whole.headers["ETag"])
    page = browser(house.owner).get(reverse("vms:disk_export_content", args=[house.tenant.slug, export.pk]))

    assert (whole.status, whole.headers["Content-Length"]) == (200, "1000")
    assert (part.status, part.headers["Content-Range"]) == (206, "bytes 100-199/1000")
    assert page["Content-Disposition"] == whole.headers["Content-Disposition"]
    assert page[MARK] == whole.headers[MARK]
    with tenant_scope(house.tenant):
        taken = AuditEntry.objects.filter(action="disk_export.download").order_by("seq")
        assert [entry.changes["part"] for entry in taken] == ["", "bytes=100-199", ""]
        assert {entry.actor_label for entry in taken} == {house.owner.email}


def test_only_what_is_sent_of_it_is_a_download(house: House, rest: Rest) -> None:
    export = factories.disk_export(house)
    url = f"{house.url}/disk-exports/{export.pk}/content"
    page, client = reverse("vms:disk_export_content", args=[house.tenant.slug, export.pk]), browser(house.owner)
    tag = rest.get(url).headers["ETag"]

    for headers, status in (
        ({"If-None-Match": tag}, 304),
        ({"If-Match": '"other"'}, 412),
        ({"Range": "bytes=1000-"}, 416),
    ):
        asked = {name.replace("-", "_"): value for name, value in headers.items()}
        assert rest.get(url, **asked).status == status
        assert client.get(page, headers=headers).status_code == status
    assert client.head(page).status_code == 200
    assert rest.get(url, Range="bytes=5-9,20-29").status == 200

    with tenant_scope(house.tenant):
        taken = AuditEntry.objects.filter(action="disk_export.download").order_by("seq")
        assert [entry.changes["part"] for entry in taken] == ["", ""], "all of it, twice"


def test_of_another_projects_there_is_nothing(house: House) -> None:
    export, other = factories.disk_export(house), factories.tenant_with_owner()
    theirs = Rest(other.token)

    answers = [theirs.get(f"{base}/disk-exports/{export.pk}/content").status for base in (house.url, other.url)]
    page = browser(other.owner).get(reverse("vms:disk_export_content", args=[other.tenant.slug, export.pk]))

    assert (answers, page.status_code) == ([404, 404], 404)


def test_tags_narrow_what_is_seen(house: House) -> None:
    mine, others = (factories.guest(house, power=Power.STOPPED) for _each in range(2))
    with tenant_scope(house.tenant):
        Volume.objects.update(state="ready")
    exports = [factories.disk_export(house, factories.snapshot(house, of=guest)) for guest in (mine, others)]
    factories.disk_export(house)
    with tenant_scope(house.tenant):
        mine.tags.create(tenant=house.tenant, name="mine")
        narrow = replace(house.actor, tagged={Permission.GUEST_VIEW: (frozenset({"mine"}),)})
        assert list(disk_exports_visible(narrow)) == exports[:1]


def test_a_suspended_project_asks_for_none_and_fetches_none(house: House, rest: Rest) -> None:
    export = factories.disk_export(house)
    tenant_suspend(house.tenant, reason="unpaid", actor=factories.desk())
    url = f"{house.url}/disk-exports"

    asked, fetched = rest.post(url, {"snapshot": "x"}), rest.get(f"{url}/{export.pk}/content")

    assert (asked.status, fetched.status, rest.get(f"{url}/{export.pk}").status) == (403, 403, 200)


def test_one_whose_time_is_over_is_not_given_out_before_beat_comes(house: House, rest: Rest) -> None:
    export = factories.disk_export(house)
    with tenant_scope(house.tenant):
        DiskExport.objects.filter(pk=export.pk).update(expires_at=factories.now() - timedelta(seconds=1))

    assert rest.get(f"{house.url}/disk-exports/{export.pk}/content").json["code"] == "export_not_ready"


@pytest.mark.django_db(transaction=True)
def test_the_pages_ask_show_and_delete(house: House) -> None:
    guest = machine(house, Power.STOPPED)
    snapshot = factories.snapshot(house, "kept", of=guest)
    volume = factories.volume(house, "spare")
    client, slug = browser(house.owner), house.tenant.slug
    for name, subject in (("guest_export", guest), ("snapshot_export", snapshot), ("volume_export", volume)):
        shown = client.get(reverse(f"vms:{name}", args=[slug, subject.pk]))
        assert (shown.status_code, "Fits." in shown.content.decode()) == (200, True), name
    wrong = client.post(reverse("vms:snapshot_export", args=[slug, snapshot.pk]), {"position": "7"})
    assert wrong.status_code == 422

    asked = client.post(reverse("vms:snapshot_export", args=[slug, snapshot.pk]), {"position": "0"})
    assert asked.url == reverse("vms:disk_export_list", args=[slug])
    alone = client.post(reverse("vms:volume_export", args=[slug, volume.pk]))
    assert alone.status_code == 302
    full = client.get(reverse("vms:guest_export", args=[slug, guest.pk])).content.decode()
    assert "as many disks as it can at once" in full

    listed = client.get(asked.url).content.decode()
    assert listed.count("Waiting for its turn") == 2
    assert "Download" not in listed
    with tenant_scope(house.tenant):
        DiskExport.objects.update(
            state="ready", size=5_000_000, sha256="3" * 64, expires_at=factories.now() + timedelta(1)
        )
        export = DiskExport.objects.get(volume=volume)
    listed = client.get(asked.url).content.decode()
    assert (listed.count("Download"), "5 MiB" in listed) == (4, True)
    gone = client.post(reverse("vms:disk_export_delete", args=[slug, export.pk]), {"confirmed": "yes"})
    assert gone.status_code == 302
    assert client.get(asked.url).content.decode().count("spare.qcow2") == 1, "only in the message"
