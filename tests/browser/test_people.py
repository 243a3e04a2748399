"""People in a real browser: invited, declined and let in; what concerns them arrives on pages that stand open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visitor import WIDE, Visitor, looks, visitor
from tests.journeys.customer import Customer
from tests.lab.waiting import wait_until
from tests.setup.test_up import Portal

PASSWORD = "a correct horse in a stable"
BETWEEN_LETTERS = b"\n" + b"-" * 79 + b"\n"
"""Django's file backend names a file by the second: letters of one share it."""
PERMISSIONS = ["tenant.view", "guest.view", "guest.power", "operation.view"]


@dataclass(frozen=True)
class Post:
    """Sends invitations as the owner does, and reads the letters."""

    portal: Portal
    customer: Customer

    def invites(self, email: str) -> str:
        """Invite an address; the path of the link in its letter."""
        sent = self.customer.post("/invitations", {"email": email, "role": "viewer"})
        assert sent.status_code == 201, sent.text
        return wait_until(lambda: self._link_to(email), timeout_s=120, what=f"a letter to {email}")

    def _link_to(self, email: str) -> str:
        for file in sorted((self.portal.state / "mail").glob("*.log")):
            for written in file.read_bytes().split(BETWEEN_LETTERS):
                letter = message_from_bytes(written)
                found = re.search(r"/account/invitation/[\w-]+/", str(letter.get_payload(decode=True)))
                if letter["To"] == email and found:
                    return found[0]
        return ""


@pytest.fixture(scope="module")
def post(portal: Portal, customer: Customer) -> Post:
    return Post(portal, customer)


@pytest.fixture
def owner(
    chromium: Browser, portal: Portal, size: tuple[int, int], theme: str, pictures: Path | None
) -> Iterator[Visitor]:
    first = portal.first_run
    with visitor(chromium, first["url"], size=size, theme=theme, pictures=pictures) as somebody:
        somebody.sign_in(first["tenant"]["owner"])
        yield somebody


MORE_THAN = "before => Number(document.querySelector('#bell .n')?.textContent ?? 0) > before"


@pytest.fixture(scope="module")
def networks(customer: Customer, operator: Customer) -> Iterator[int]:
    """How many networks the project has, one at least; its limit is as before afterwards."""
    made = customer.post("/networks", {"name": "orchard"})
    assert made.status_code in (201, 202), made.text
    yield len(customer.get("/networks").json()["items"])
    operator.http.patch("/tenants/demo/quota", json={"networks": 5})


@looks
def test_the_gauges_of_the_quota_move_without_a_reload(
    owner: Visitor, operator: Customer, networks: int, size: tuple[int, int], theme: str
) -> None:
    page = owner.page
    operator.http.patch("/tenants/demo/quota", json={"networks": 5 * networks})
    owner.go("/t/demo/quota/")
    row = page.locator("#limits tr", has_text="Networks").first
    bar = row.locator("rect:not(.mark)").last
    expect(row).to_contain_text(f"{networks} of {5 * networks}")
    expect(bar).to_have_attribute("width", "20.0")
    page.evaluate("window.sameDocument = true")

    answer = operator.http.patch("/tenants/demo/quota", json={"networks": networks})

    assert answer.status_code == 200, answer.text
    expect(row).to_contain_text(f"{networks} of {networks}")
    expect(bar).to_have_attribute("width", "100.0")
    assert page.evaluate("window.sameDocument"), "the page was loaded again"
    owner.picture("quota-moved")
    assert owner.faults() == []


@looks
def test_the_bell_counts_a_notice_that_arrives(
    owner: Visitor, post: Post, chromium: Browser, size: tuple[int, int], theme: str
) -> None:
    page = owner.page
    path = post.invites(f"no-{theme}-{size[0]}@example.test")
    owner.go("/t/demo/members/")
    bell, row = page.locator("#bell"), page.locator("tr", has_text=f"no-{theme}-{size[0]}@")
    before = int(bell.locator(".n").inner_text()) if bell.locator(".n").count() else 0
    page.evaluate("window.sameDocument = true")

    with visitor(chromium, owner.url, size=size, theme=theme, pictures=owner.pictures) as invited:
        invited.go(path)
        invited.picture("invitation-new")
        invited.page.get_by_role("button", name="Decline").click()
        expect(invited.page.get_by_role("heading", name="Declined")).to_be_visible()
        invited.picture("invitation-declined")
        assert invited.faults() == []

    page.wait_for_function(MORE_THAN, arg=before)  # by one at least: the quota may have something to say, too
    expect(row).to_contain_text("declined")
    assert page.evaluate("window.sameDocument"), "the page was loaded again"
    owner.picture("bell-rose", whole=False)
    bell.click()
    expect(page.locator("main")).to_contain_text("does not want to join")
    owner.picture("notices")
    assert owner.faults() == []


@pytest.fixture(scope="module")
def furnished(customer: Customer, operator: Customer) -> Iterator[None]:
    """A role, a token and an invitation of the project, and another project; but for that, gone afterwards."""
    operator.http.post("/tenants", json={"slug": "orchard", "name": "Orchard & Daughters"})
    made: dict[str, Any] = {
        "roles": {"name": "night shift", "permissions": PERMISSIONS[:2], "tagged": ["guest.power"], "tags": ["qa"]},
        "tokens": {"name": "deploys of the shop", "tags": ["shop"]},
        "invitations": {"email": "somebody-with-a-rather-long-name@a-department.example.test", "role": "viewer"},
    }
    paths = []
    for kind, body in made.items():
        answer = customer.post(f"/{kind}", body)
        assert answer.status_code == 201, answer.text
        paths.append(f"/{kind}/{answer.json().get('id') or answer.json()['token']['id']}")
    yield
    for path in paths:
        customer.delete(path)


@looks
def test_pages_of_people(
    owner: Visitor,
    post: Post,
    chromium: Browser,
    operator: Customer,
    furnished: None,
    size: tuple[int, int],
    theme: str,
) -> None:
    faults: list[str] = []

    def look(window: Visitor, name: str, path: str = "") -> None:
        if path:
            window.go(path)
        window.picture(name)
        faults.extend(window.faults())

    for name in ("members", "roles", "tokens", "quota"):
        look(owner, f"people-{name}", f"/t/demo/{name}/")
    look(owner, "people-role-new", "/t/demo/roles/create/")
    owner.go("/t/demo/roles/")
    owner.page.get_by_role("link", name=re.compile("night shift|Edit|Change")).first.click()
    look(owner, "people-role-edit")
    for name, path in {"notices": "notices/", "choices": "notices/choices/", "sign-ins": "sessions/"}.items():
        look(owner, f"people-{name}", f"/account/{path}")
    email = f"yes-{theme}-{size[0]}@example.test"
    link = post.invites(email)
    look(owner, "people-invitation-other", link)
    with visitor(chromium, owner.url, size=size, theme=theme, pictures=owner.pictures) as invited:
        look(invited, "people-invitation-new", link)
        invited.page.fill("input[name=name]", "Mara Invited")
        invited.page.fill("input[name=password]", PASSWORD)
        invited.page.get_by_role("button", name="Join").click()
        invited.page.wait_for_url("**/t/demo/")
        look(invited, "people-viewer-members", "/t/demo/members/")
        look(invited, "people-security", "/account/2fa/")
        invited.page.get_by_role("link", name="Sign-ins").first.click()
        expect(invited.page.locator("tbody tr")).to_have_count(1)
        invited.go("/t/demo/members/")
        if size == WIDE:
            invited.page.locator(".gh-tenant").click()
            expect(invited.page.locator(".gh-side .gh-menu-list")).to_contain_text("Switch to")
            look(invited, "people-switch")
        leave = invited.page.get_by_role("link", name=re.compile("Leave"))
        leave.scroll_into_view_if_needed()
        stood = invited.page.evaluate("scrollY")
        leave.click()
        expect(invited.page.locator("dialog:modal")).to_be_visible()
        assert invited.page.evaluate("scrollY") == stood, "the page stays where it was"
        look(invited, "people-leave")
        invited.page.get_by_role("button", name="Leave").click()
        invited.page.wait_for_load_state()
    operator.http.post("/tenants/orchard/invitations", json={"email": email, "role": "admin"})
    with visitor(chromium, owner.url, size=size, theme=theme, pictures=owner.pictures) as invited:
        invited.page.goto(invited.url)
        invited.page.fill("input[name=login]", email)
        invited.page.fill("input[name=password]", PASSWORD)
        invited.page.click("main button[type=submit]")
        invited.page.wait_for_load_state()
        look(invited, "people-home")

    assert faults == []
