"""CD drives on a machine's page and over REST, with real work behind them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from operations.runner import run
from tenants.scoping import every_tenant
from tests.architecture.test_pages import browser
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import Bench
from vms.models import Disc, Guest
from vms.states import Power

pytestmark = pytest.mark.django_db


def url(bench: Bench, name: str, *args: Any) -> str:
    return reverse(f"vms:{name}", args=[bench.house.tenant.slug, *args])


def storage(bench: Bench, client: Client, guest: Guest) -> str:
    return client.get(url(bench, "guest_detail", guest.pk) + "?tab=storage").content.decode()


def work() -> str:
    """A worker does what was asked last; the operation's code."""
    operation = Operation.objects.filter(status="queued").latest("created_at")
    run(operation.pk)
    operation.refresh_from_db()
    return operation.error_code


def only(guest: Guest) -> Disc:
    with every_tenant(why="test"):
        return Disc.objects.get(guest=guest)


def test_a_cd_is_inserted_started_from_and_ejected_on_the_storage_tab(bench: Bench) -> None:
    guest, client = bench.guest(), browser(bench.house.owner)
    assert "There is no CD yet" in client.get(url(bench, "disc_insert", guest.pk)).content.decode()
    assert "CD drive 2" in storage(bench, client, guest)

    answer = client.post(url(bench, "disc_insert", guest.pk), {"image": str(bench.cd.pk), "boot": "once"})
    assert (answer.status_code, work()) == (302, "")
    shown = storage(bench, client, guest)
    assert "installer" in shown
    assert "First, at the next start only" in shown

    disc = only(guest)
    assert client.post(url(bench, "disc_boot", guest.pk, disc.pk), {"boot": "first"}).status_code == 302
    assert only(guest).boot == "first"
    bench.on_host.deaf = True
    assert client.post(url(bench, "disc_eject", guest.pk, disc.pk)).status_code == 302
    assert work() == "tray_locked"
    assert "installer" in storage(bench, client, guest)
    assert client.post(url(bench, "disc_eject", guest.pk, disc.pk), {"force": "on"}).status_code == 302
    assert work() == ""
    assert "installer" not in storage(bench, client, guest)


def test_what_cannot_be_done_says_so_in_the_dialog(bench: Bench) -> None:
    guest, client = bench.guest(Power.SUSPENDED), browser(bench.house.owner)

    answer = client.post(url(bench, "disc_insert", guest.pk), {"image": str(bench.cd.pk), "boot": "after"})
    assert answer.status_code == 422
    assert "while the machine is suspended" in answer.content.decode()

    other = client.post(url(bench, "disc_insert", guest.pk), {"image": str(bench.image.pk), "boot": "<script>"})
    assert other.status_code == 422
    assert "<script>" not in other.content.decode()


def test_rest_lists_inserts_changes_and_ejects(bench: Bench) -> None:
    guest, rest = bench.guest(), Rest(bench.house.token)
    discs = f"{bench.house.url}/guests/{guest.pk}/discs"

    for body, pointer in (
        ({"image": str(bench.image.pk)}, "/image"),
        ({"image": "nothing"}, "/image"),
        ({"image": bench.cd.name, "boot": "last"}, "/boot"),
        ({"image": bench.cd.name, "drive": 9}, "/drive"),
    ):
        refused = rest.post(discs, body)
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, pointer)

    assert rest.post(discs, {"image": bench.cd.name}).status == 202
    assert work() == ""
    (listed,) = rest.get(discs).json["items"]
    assert (listed["drive"], listed["image_name"], listed["boot"], listed["is_out"]) == (1, "installer", "after", False)

    one = f"{discs}/{listed['id']}"
    seen = rest.get(one)
    assert rest.ask("PATCH", one, {"boot": "first"}, If_Match=seen.headers["ETag"]).json["boot"] == "first"
    assert rest.ask("PATCH", one, {"boot": "once"}, If_Match=seen.headers["ETag"]).status == 412
    assert rest.ask("DELETE", f"{discs}/{guest.pk}", None).status == 404
    assert rest.ask("DELETE", f"{one}?force=true", None).status == 202
    assert work() == ""
    assert rest.get(discs).json["items"] == []
