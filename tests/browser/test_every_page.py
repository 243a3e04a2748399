"""Every page, wide and narrow, light and dark: nothing the browser complains about, no barrier, no sideways scroll."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visitor import NARROW, looks, visitor
from tests.journeys.customer import Customer
from tests.setup.test_up import Portal

HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}'`${alert(3)}"
"""Breaks out of attributes, elements, templates and scripts, wherever one of them forgets to escape."""

PINGS, OUT = {"direction": "in", "protocol": "icmp", "cidr": "10.0.0.0/8"}, {"direction": "out"}


@dataclass(frozen=True, slots=True)
class Things:
    """What lies in the project: one machine of each kind that costs no boot, and what came of making them."""

    stopped: str
    protected: str
    binned: str
    operation: str
    volume: str
    image: str
    backup: str
    schedule: str
    snapshot: str
    group: str
    port: str
    export: str
    network: str
    placement_group: str

    def pages(self) -> dict[str, str]:
        """Every page by a name for its picture; paths below the project's address."""
        machine = f"machines/{self.stopped}/"
        return {
            "overview": "",
            "machines": "machines/",
            "machines-bin": "machines/?status=binned",
            "machines-none": "machines/?q=nothing-like-it",
            "create": "machines/create/",
            "machine": machine,
            "machine-metrics": f"{machine}?tab=metrics",
            "machine-metrics-table": f"{machine}?tab=metrics&range=day&as=table",
            "machine-storage": f"{machine}?tab=storage",
            "machine-backups": f"{machine}?tab=backups",
            "machine-snapshots": f"{machine}?tab=snapshots",
            "snapshot-take": f"{machine}snapshot/",
            "snapshot-edit": f"snapshots/{self.snapshot}/edit/",
            "snapshot-revert": f"snapshots/{self.snapshot}/revert/",
            "snapshot-delete": f"snapshots/{self.snapshot}/delete/",
            "snapshot-copy": f"snapshots/{self.snapshot}/copy/",
            "snapshot-volume": f"snapshots/{self.snapshot}/volume/",
            "snapshot-image": f"snapshots/{self.snapshot}/image/",
            "clone": f"{machine}clone/",
            "clone-of-snapshot": f"{machine}clone/?snapshot={self.snapshot}",
            "machine-image": f"{machine}image/",
            "machine-network": f"{machine}?tab=network",
            "machine-inside": f"{machine}?tab=inside",
            "machine-activity": f"{machine}?tab=activity",
            "machine-settings": f"{machine}?tab=settings",
            "machine-protected": f"machines/{self.protected}/",
            "machine-binned": f"machines/{self.binned}/",
            "delete": f"{machine}delete/",
            "resize": f"{machine}resize/",
            "rebuild": f"{machine}rebuild/",
            "rescue": f"{machine}rescue/",
            "password-into": f"{machine}password/",
            "key-into": f"{machine}keys/",
            "stop": f"{machine}power/stop/",
            "console": f"{machine}console/",
            "console-serial": f"{machine}console/serial/",
            "volumes": "volumes/",
            "volume": f"volumes/{self.volume}/",
            "volume-delete": f"volumes/{self.volume}/delete/",
            "backups": "backups/",
            "snapshots": "snapshots/",
            "exports": "exports/",
            "export-delete": f"exports/{self.export}/delete/",
            "machine-export": f"{machine}export/",
            "volume-export": f"volumes/{self.volume}/export/",
            "backup": f"backups/{self.backup}/",
            "backup-put-back": f"backups/{self.backup}/put-back/",
            "backup-delete": f"backups/{self.backup}/delete/",
            "backup-schedules": "backups/schedules/",
            "backup-schedule": f"backups/schedules/{self.schedule}/",
            "backup-schedule-edit": f"backups/schedules/{self.schedule}/edit/",
            "images": "images/",
            "image-add": "images/add/",
            "image": f"images/{self.image}/",
            "image-delete": f"images/{self.image}/delete/",
            "networks": "networks/",
            "network-drawing": "networks/drawing/",
            "reach": "networks/reachability/?to=still",
            "reach-way": "networks/reachability/?from=still&to=shielded&protocol=tcp&port=443",
            "port-limit": f"{machine}ports/{self.port}/speed/",
            "port-readdress": f"{machine}ports/{self.port}/address/",
            "groups": "security-groups/",
            "group": f"security-groups/{self.group}/",
            "group-edit": f"security-groups/{self.group}/edit/",
            "group-delete": f"security-groups/{self.group}/delete/",
            "placement-groups": "placement-groups/",
            "placement-group-edit": f"placement-groups/{self.placement_group}/edit/",
            "placement-group-delete": f"placement-groups/{self.placement_group}/delete/",
            "guard": f"{machine}ports/{self.port}/guard/",
            "network": f"networks/{self.network}/",
            "keys": "keys/",
            "activity": "activity/",
            "operation": f"activity/{self.operation}/",
            "audit": "audit/",
            "audit-filtered": "audit/?action=guest.&since=2026-01-01",
            "audit-checked": "audit/verify/",
            "members": "members/",
            "roles": "roles/",
            "role-new": "roles/create/",
            "tokens": "tokens/",
            "quota": "quota/",
            "bill": "bill/",
            "bill-month": "bill/2026-03/",
            "settings": "settings/",
            "close": "settings/close/",
        }


@pytest.fixture(scope="module")
def things(customer: Customer, operator: Customer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Things]:
    """Made through REST, as a script would; gone afterwards."""
    made: dict[str, dict[str, Any]] = {}
    for name, wish in {"still": {"tags": ["prod", "web"]}, "shielded": {"protected": True}, "thrown": {}}.items():
        made[name] = customer.create(name, start=False, **wish)
    customer.done(customer.delete(f"/guests/{made['thrown']['id']}"))
    last = customer.get("/operations").json()["items"][0]
    volume = customer.done(customer.post("/volumes", {"name": "spare", "size_gib": 1}))["subject"]["id"]
    words = {"guest": "still", "name": "before-php-8.4", "description": HOSTILE}
    snapshot = customer.done(customer.post("/snapshots", words))["subject"]["id"]
    own, half = customer.upload("own", b"\x5a" * 4096), customer.post("/image-uploads", {"name": "half", "size": 4096})
    store = {"name": "pages", "kind": "folder", "location": str(tmp_path_factory.mktemp("store"))}
    assert operator.http.post("/backup-stores", json=store).status_code == 201
    backup = customer.done(customer.post("/backups", {"guest": made["still"]["id"]}))["subject"]["id"]
    still, shielded, thrown = (made[name]["id"] for name in ("still", "shielded", "thrown"))
    nightly = {"name": "nightly", "guests": [made["still"]["id"]], "tags": ["db"], "keep": {"daily": 7, "monthly": 12}}
    schedule = customer.post("/backup-schedules", nightly).json()["id"]
    web = [{"direction": "in", "protocol": "tcp", "first_port": 443, "last_port": 443, "note": "the shop"}, PINGS, OUT]
    group = customer.post("/security-groups", {"name": "web-servers", "note": HOSTILE, "rules": web}).json()["id"]
    apart = customer.post("/placement-groups", {"name": "web-front"}).json()["id"]
    assert customer.post("/placement-groups", {"name": "app-and-db", "kind": "together", "strict": False}).is_success
    customer.http.patch(customer.path(f"/guests/{still}"), json={"placement_group": apart}).raise_for_status()
    port = customer.get(f"/ports?guest={still}").json()["items"][0]["id"]
    export = customer.done(customer.post("/disk-exports", {"snapshot": snapshot}))["subject"]["id"]
    network = customer.get("/networks").json()["items"][0]["id"]
    yield Things(
        still,
        shielded,
        thrown,
        last["id"],
        volume,
        own,
        backup,
        schedule,
        snapshot,
        group,
        port,
        export,
        network,
        apart,
    )
    customer.http.patch(customer.path(f"/guests/{still}"), json={"placement_group": None})
    customer.delete(f"/placement-groups/{apart}")
    customer.delete(f"/disk-exports/{export}")
    customer.delete(f"/security-groups/{group}")
    customer.delete(f"/backup-schedules/{schedule}")
    customer.done(customer.delete(f"/backups/{backup}"))
    customer.done(customer.delete(f"/volumes/{volume}"))
    customer.done(customer.delete(f"/images/{own}"))
    customer.delete(f"/image-uploads/{half.json()['id']}")
    customer.http.patch(customer.path(f"/guests/{made['shielded']['id']}"), json={"protected": False})
    for guest in made.values():
        customer.done(customer.delete(f"/guests/{guest['id']}", purge="true"))


@looks
def test_pages_of_a_project(
    chromium: Browser, portal: Portal, things: Things, size: tuple[int, int], theme: str, pictures: Path | None
) -> None:
    faults: list[str] = []
    first = portal.first_run
    with visitor(chromium, first["url"], size=size, theme=theme, pictures=pictures) as owner:
        owner.go("/")
        faults += owner.faults()
        owner.picture("sign-in")
        owner.sign_in(first["tenant"]["owner"])
        for name, path in things.pages().items():
            owner.go(f"/t/demo/{path}")
            faults += [fault for fault in owner.faults() if not (name.startswith("console") and "409" in fault)]
            owner.picture(name)
        own = {"password": "/account/password/change/", "notices": "/account/notices/", "sign-out": "/account/logout/"}
        for name, path in own.items():
            owner.go(path)
            faults += owner.faults()
            owner.picture(name)
        owner.go("/t/nowhere/")
        faults += [fault for fault in owner.faults() if "404" not in fault]
        owner.picture("not-there")

    assert faults == []


def test_the_menus_of_a_phone_open(chromium: Browser, portal: Portal, things: Things, pictures: Path | None) -> None:
    first = portal.first_run
    with visitor(chromium, first["url"], size=NARROW, theme="light", pictures=pictures) as owner:
        owner.sign_in(first["tenant"]["owner"])
        owner.go("/t/demo/machines/")
        owner.page.get_by_role("button", name="Open menu").click()
        owner.page.locator("#nav").wait_for(state="visible")
        owner.picture("menu", whole=False)
        owner.page.keyboard.press("Escape")
        owner.page.locator("tbody[data-guest] summary").first.click()
        owner.page.locator(".gh-menu-list:visible").first.wait_for()
        owner.picture("row-menu", whole=False)
        owner.page.keyboard.press("Escape")
        owner.page.locator("[data-select]").first.check()
        owner.page.locator("[data-bulk]").wait_for(state="visible")
        owner.picture("bulk", whole=False)

        assert owner.faults() == []


def test_what_a_volume_takes_is_said_while_the_form_is_filled_in(
    chromium: Browser, portal: Portal, things: Things, pictures: Path | None
) -> None:
    first = portal.first_run
    with visitor(chromium, first["url"], size=NARROW, theme="light", pictures=pictures) as owner:
        page = owner.page
        owner.sign_in(first["tenant"]["owner"])
        owner.go("/t/demo/volumes/")
        page.fill("input[name=size_gib]", "20")
        expect(page.locator("#volume-recap [data-fits]")).to_have_attribute("data-fits", "yes")
        page.fill("input[name=size_gib]", "60000")
        expect(page.locator("#volume-recap [data-fits]")).to_have_attribute("data-fits", "no")
        owner.picture("volume-recap")
        owner.go(f"/t/demo/machines/{things.stopped}/?tab=storage")
        page.get_by_role("link", name="Insert CD").click()
        expect(page.get_by_role("dialog")).to_contain_text("There is no CD yet")
        owner.picture("disc-insert", whole=False)

        assert owner.faults() == []


def test_hostile_words_are_shown_as_words(
    chromium: Browser, portal: Portal, customer: Customer, things: Things, pictures: Path | None
) -> None:
    first = portal.first_run
    faults: list[str] = []
    with visitor(chromium, first["url"], pictures=pictures and pictures / "hostile") as owner:
        page = owner.page
        owner.sign_in(first["tenant"]["owner"])
        owner.go("/t/demo/settings/")
        before = page.input_value("input[name=name]")
        page.fill("input[name=name]", HOSTILE)
        page.get_by_role("button", name="Save settings").click()
        page.wait_for_load_state()
        owner.go("/t/demo/tokens/")
        page.fill("input[name=name]", HOSTILE[:64])
        page.get_by_role("button", name="Create token").click()
        page.locator("#new-token").wait_for()
        key = customer.post("/ssh-keys", {"name": HOSTILE[:64], "public_key": KEY})
        assert key.status_code == 201, key.text

        for name, path in {**things.pages(), "search": f"machines/?q={HOSTILE[:40]}&tag={HOSTILE[:30]}"}.items():
            owner.go(f"/t/demo/{path}")
            faults += [said for said in owner.complaints if "409" not in said]
            owner.complaints = []
            if not name.startswith("console"):
                assert HOSTILE in page.locator(".gh-tenant").first.inner_text(), name
            owner.picture(name)
        owner.go("/t/demo/tokens/")
        assert HOSTILE[:64] in page.locator("main").inner_text()
        page.locator("tr", has_text=HOSTILE[:64]).get_by_role("link", name="Revoke").first.click()
        assert HOSTILE[:64] in page.locator("dialog").inner_text()
        page.locator("dialog").get_by_role("button", name="Revoke").click()
        page.wait_for_load_state()
        owner.go("/t/demo/keys/")
        assert HOSTILE[:64] in page.locator("main").inner_text()
        page.get_by_role("button", name="Remove").first.click()
        owner.go("/t/demo/settings/")
        page.fill("input[name=name]", before)
        page.get_by_role("button", name="Save settings").click()
        page.wait_for_load_state()

    assert faults == []


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Ht8Z3j6yDWPBHQtOp/R9rjWfvMYo3MSA/K6q8D86r nobody@example.test"
