"""Open pages follow what happens elsewhere, also after the line was lost, and end with the access they were opened by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.visitor import Visitor, visitor
from tests.journeys.customer import OPERATION_S, Customer
from tests.setup.test_up import Portal

OPERATION_MS = OPERATION_S * 1000


@pytest.fixture
def owner(chromium: Browser, portal: Portal) -> Iterator[Visitor]:
    first = portal.first_run
    with visitor(chromium, first["url"]) as somebody:
        somebody.sign_in(first["tenant"]["owner"])
        yield somebody


@pytest.fixture
def still(customer: Customer) -> Iterator[Any]:
    """Makes a machine that is left switched off, by REST; gone afterwards."""
    made: list[str] = []

    def make(name: str) -> str:
        made.append(customer.create(name, start=False)["id"])
        return made[-1]

    yield make
    for pk in made:
        if customer.get(f"/guests/{pk}").status_code == 200:
            customer.done(customer.delete(f"/guests/{pk}", purge="true"))


def shown(page: Page, name: str) -> Any:
    return page.locator("tbody[data-guest]", has_text=name)


def test_figures_and_rows_follow_what_a_script_does(owner: Visitor, customer: Customer, still: Any) -> None:
    page = owner.page
    still("first")
    owner.go("/t/demo/")
    tile = page.locator(".gh-quota", has_text="Machines").locator("b")
    before = int(tile.inner_text())
    page.evaluate("window.sameDocument = true")

    still("second")
    expect(tile).to_have_text(str(before + 1))
    assert page.evaluate("window.sameDocument"), "the page was loaded again"

    owner.go("/t/demo/machines/")
    page.evaluate("window.sameDocument = true")
    third = still("third")
    expect(shown(page, "third")).to_be_visible()
    expect(shown(page, "third").locator(".k-state")).to_have_text(re.compile("Stopped"), timeout=OPERATION_MS)
    customer.done(customer.delete(f"/guests/{third}", purge="true"))
    expect(shown(page, "third")).to_have_count(0)
    assert page.evaluate("window.sameDocument"), "the page was loaded again"
    assert owner.complaints == []


def test_a_lost_line_shows_comes_back_and_catches_up(owner: Visitor, still: Any) -> None:
    page = owner.page
    lines: list[WebSocketRoute] = []
    cut = False

    def line(socket: WebSocketRoute) -> None:
        if cut:
            socket.close()
            return
        socket.connect_to_server()
        lines.append(socket)

    page.route_web_socket(re.compile("/ws/t/"), line)
    still("before")
    owner.go("/t/demo/machines/")
    pill = page.locator("[data-live]")

    cut = True
    lines[-1].close()
    expect(pill).to_have_attribute("data-state", "reconnecting")
    expect(pill).to_contain_text("Reconnecting")
    still("meanwhile")
    expect(shown(page, "meanwhile")).to_have_count(0)
    cut = False

    expect(pill).to_have_attribute("data-state", "live")
    expect(shown(page, "meanwhile")).to_be_visible()


def test_a_rows_menu_is_read_when_it_opens_and_follows_the_machine(
    owner: Visitor, customer: Customer, still: Any
) -> None:
    page = owner.page
    pk = still("menu")
    owner.go("/t/demo/machines/")
    summary, menu = shown(page, "menu").locator("summary"), shown(page, "menu").locator(".gh-menu-list")
    expect(menu.locator("a, button")).to_have_count(1)

    summary.press("Enter")
    expect(menu.get_by_role("button", name="Start")).to_be_visible()
    page.keyboard.press("Tab")
    expect(menu.get_by_role("link", name="Details")).to_be_focused()
    customer.done(customer.post(f"/guests/{pk}/start"))
    expect(menu.get_by_role("button", name="Pause")).to_be_visible(timeout=OPERATION_MS)
    expect(menu.get_by_role("link", name="Details")).to_be_focused()
    menu.get_by_role("button", name="Pause").click()

    expect(menu).to_be_hidden()
    expect(shown(page, "menu").locator(".k-state")).to_have_text(re.compile("Paused"), timeout=OPERATION_MS)
    assert owner.complaints == []


def test_many_chosen_machines_are_deleted_together(owner: Visitor, customer: Customer, still: Any) -> None:
    page = owner.page
    names = ("left", "right")
    for name in names:
        still(name)
    owner.go("/t/demo/machines/")

    for name in names:
        shown(page, name).locator("[data-select]").check()
    bar = page.locator("[data-bulk]")
    expect(bar).to_contain_text("Selected: 2")
    bar.get_by_role("button", name="Delete").click()
    dialog = page.locator("dialog[data-modal]")
    expect(dialog).to_contain_text("Delete 2 machines?")
    dialog.locator("#bulk-count").fill("2")
    dialog.locator("#bulk-delete").click()
    page.wait_for_url("**/machines/")

    for name in names:
        expect(shown(page, name)).to_have_count(0, timeout=OPERATION_MS)
    expect(page.locator("#guest-counts a", has_text="In the bin").locator(".num")).to_have_text("2")
    assert owner.complaints == []


def test_signing_out_in_one_window_ends_the_other(owner: Visitor) -> None:
    owner.go("/t/demo/machines/")
    other = owner.page.context.new_page()
    other.goto(f"{owner.url}/account/logout/")

    other.get_by_role("button", name="Sign out").click()

    owner.page.wait_for_url(re.compile("/account/login/"))
