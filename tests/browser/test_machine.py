"""The main job in a browser: from the first sign-in to a machine that is gone, without one reload."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.visitor import Visitor, visitor
from tests.journeys.customer import BOOT_S, OPERATION_S
from tests.setup.test_up import Portal

NAME = "web-1"
PASSWORD = "tiny pass 1"
BOOT_MS, OPERATION_MS = BOOT_S * 1000, OPERATION_S * 1000


@pytest.fixture(scope="module")
def owner(chromium: Browser, portal: Portal, pictures: Path | None) -> Iterator[Visitor]:
    """The owner of the demo project, in one window for the whole journey."""
    first = portal.first_run
    with visitor(chromium, first["url"], pictures=pictures and pictures / "journey") as somebody:
        somebody.sign_in(first["tenant"]["owner"])
        yield somebody


@pytest.fixture(autouse=True)
def _no_complaints(owner: Visitor) -> Iterator[None]:
    yield
    complaints, owner.complaints = owner.complaints, []
    assert complaints == []


def row(owner: Visitor) -> Locator:
    """The machine's row in the list."""
    return owner.page.locator("tbody[data-guest]", has_text=NAME)


def state(owner: Visitor) -> Locator:
    """The word for the machine's state in its head."""
    return owner.page.locator("#guest-header [data-status]").first


def press(owner: Visitor, label: str) -> None:
    """A power button in the machine's head: one that stands there, or one of the menu."""
    head = owner.page.locator("#guest-header")
    button = head.locator(".btns button", has_text=label)
    if not button.count():
        head.locator("summary").click()
        button = head.locator(".gh-menu-list").locator("button, a", has_text=re.compile(rf"^\s*{label}"))
    button.first.click()


def test_the_first_sign_in_invites_to_a_first_machine(owner: Visitor) -> None:
    expect(owner.page.locator("h1")).to_have_text("Create your first virtual machine")
    owner.picture("1-empty")

    owner.page.locator("main").get_by_role("link", name="Create machine").click()

    expect(owner.page.locator("h1")).to_have_text("Create virtual machine")


def test_the_recap_follows_the_form_and_says_when_it_does_not_fit(owner: Visitor) -> None:
    page = owner.page
    recap = page.locator("#recap .gh-recap")
    page.fill("input[name=name]", NAME)
    expect(recap).to_contain_text(NAME)

    page.fill("input[name=count]", "11")
    expect(recap.locator("[data-fits]")).to_have_attribute("data-fits", "no")
    expect(recap.locator("button[type=submit]")).to_be_disabled()
    owner.picture("2-does-not-fit")

    page.fill("input[name=count]", "1")
    expect(recap.locator("[data-fits]")).to_have_attribute("data-fits", "yes")


def test_a_bad_name_is_said_at_its_field(owner: Visitor) -> None:
    page = owner.page
    page.fill("input[name=name]", "<img src=x onerror=alert(1)>")
    expect(page.locator("#recap [data-fits=no]")).to_be_visible()
    page.evaluate("document.querySelector('#create').submit()")
    expect(page.locator(".gh-err").first).to_contain_text("small letters")
    expect(page.locator("input[name=name]")).to_have_value("<img src=x onerror=alert(1)>")
    owner.complaints = [said for said in owner.complaints if "422" not in said]


def test_creating_shows_the_row_at_once_and_progress_without_a_reload(owner: Visitor) -> None:
    page = owner.page
    page.fill("input[name=name]", NAME)
    page.locator("summary", has_text="Advanced").click()
    page.fill("input[name=tags]", "prod web")
    page.fill("input[name=password]", PASSWORD)
    expect(page.locator("#recap [data-fits=yes]")).to_be_attached()
    page.locator(".gh-recap button[type=submit]").click()
    page.wait_for_url("**/machines/")
    page.evaluate("window.sameDocument = true")

    expect(row(owner)).to_be_visible()
    expect(row(owner).locator(".k-state .gh-gauge")).to_be_visible()
    owner.picture("3-building")
    expect(row(owner).locator(".k-state")).to_have_text(re.compile("Running"), timeout=OPERATION_MS)
    expect(row(owner).locator(".k-addr")).to_contain_text(re.compile(r"10\.\d+\.\d+\.\d+"))
    expect(page.locator("#guest-counts a", has_text="Running").locator(".num")).to_have_text("1")
    assert page.evaluate("window.sameDocument"), "the page was loaded again"
    owner.picture("4-running")


def test_the_overview_counts_it(owner: Visitor) -> None:
    owner.go("/t/demo/")

    tile = owner.page.locator(".gh-quota", has_text="Machines")
    expect(tile.locator("b")).to_have_text("1")
    expect(owner.page.locator("#overview .states")).to_contain_text("Running")
    owner.picture("5-overview")


def test_the_screen_shows_a_picture(owner: Visitor) -> None:
    owner.page.locator("#overview .states a", has_text="Running").click()
    row(owner).locator(".k-name a").click()
    owner.page.locator("#guest-header").get_by_role("link", name="Console").click()

    canvas = owner.page.locator("[data-display] canvas")
    expect(owner.page.locator(".gh-con-foot")).to_have_attribute("data-state", "connected")
    expect(canvas).to_be_visible()
    owner.page.wait_for_function(
        """() => {
          const canvas = document.querySelector("[data-display] canvas");
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const colours = new Set();
          for (let at = 0; at < pixels.length; at += 4) colours.add(pixels[at] << 16 | pixels[at + 1] << 8 | pixels[at + 2]);
          return colours.size > 1;
        }""",
        timeout=60_000,
    )
    owner.picture("6-screen", whole=False)


def sign_in(page: Page, lines: Locator) -> None:
    """Answer what the line asks for until a shell stands there.

    getty and login throw away what is typed while they set up the line, so an answer without an effect is given again.
    """
    for _attempt in range(8):
        before = lines.inner_text()
        asked = before.strip()
        if asked.endswith(("#", "$")):
            return
        answers = {"login:": "root", "Password:": PASSWORD}
        answer = next((text for prompt, text in answers.items() if asked.endswith(prompt)), "")
        page.keyboard.type(f"{answer}\n")
        with contextlib.suppress(AssertionError):
            expect(lines).not_to_have_text(before, use_inner_text=True, timeout=10_000)
            expect(lines).to_have_text(re.compile(r"(login:|Password:|[#$])\s*$"), use_inner_text=True, timeout=10_000)
    raise AssertionError(f"no shell came: {lines.inner_text().strip()[-200:]}")


def test_the_serial_line_lets_its_owner_in_and_answers(owner: Visitor) -> None:
    page = owner.page
    page.locator(".gh-tabs a", has_text="Serial").click()
    expect(page.locator(".gh-con-foot")).to_have_attribute("data-state", "connected")
    lines = page.locator(".xterm-accessibility-tree")

    page.locator(".xterm-helper-textarea").focus()
    expect(lines).to_contain_text("login:", timeout=BOOT_MS)
    sign_in(page, lines)
    page.keyboard.type("echo a$((6*7))b\n")
    expect(lines).to_contain_text("a42b", timeout=60_000)
    owner.picture("7-serial", whole=False)


def test_pause_and_resume_show_where_they_were_pressed(owner: Visitor) -> None:
    owner.page.locator(".gh-con-bar > a").click()
    owner.page.evaluate("window.sameDocument = true")

    press(owner, "Pause")
    expect(state(owner)).to_have_attribute("data-status", "paused", timeout=OPERATION_MS)
    owner.picture("8-paused")
    press(owner, "Resume")
    expect(state(owner)).to_have_attribute("data-status", "running", timeout=OPERATION_MS)

    assert owner.page.evaluate("window.sameDocument"), "the page was loaded again"


def test_what_loses_something_asks_first(owner: Visitor) -> None:
    press(owner, "Reset")

    dialog = owner.page.locator("dialog[data-modal]")
    expect(dialog).to_contain_text("not written to disk")
    owner.picture("9-reset", whole=False)
    dialog.get_by_text("Leave it").click()
    expect(dialog).to_have_count(0)
    expect(state(owner)).to_have_attribute("data-status", "running")


def test_shut_down_presses_the_button_and_it_stops(owner: Visitor) -> None:
    press(owner, "Shut down")

    expect(owner.page.locator("#guest-header .gh-op")).to_be_visible()
    expect(state(owner)).to_have_attribute("data-status", "stopped", timeout=OPERATION_MS)


def test_settings_rename_tag_and_protect(owner: Visitor) -> None:
    page = owner.page
    page.locator(".gh-tabs a", has_text="Settings").click()
    page.fill("input[name=tags]", "prod blue")
    page.get_by_role("button", name="Save tags").click()
    expect(page.locator("#guest-header")).to_contain_text("blue")
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator("#guest-header")).to_contain_text("Protected")
    owner.picture("10-settings")

    page.locator("#guest-body").get_by_text("Delete…").click()
    expect(page.locator("dialog[data-modal]")).to_contain_text("This machine is protected.")
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Turn off").click()
    expect(page.locator("#guest-header")).not_to_contain_text("Protected")


def test_deleting_says_what_falls_asks_for_the_name_and_goes_to_the_bin(owner: Visitor) -> None:
    page = owner.page
    page.locator("#guest-body").get_by_text("Delete…").click()
    dialog = page.locator("dialog[data-modal]")
    expect(dialog).to_contain_text("This falls with it")
    expect(dialog).to_contain_text("This stays")
    confirm = dialog.locator("#delete-go")
    expect(confirm).to_be_disabled()
    dialog.locator("#delete-name").fill("web-2")
    expect(confirm).to_be_disabled()
    dialog.locator("#delete-name").fill(NAME)
    owner.picture("11-delete", whole=False)
    confirm.click()

    page.wait_for_url("**/machines/")
    expect(page.locator("#guest-counts a", has_text="In the bin").locator(".num")).to_have_text(
        "1", timeout=OPERATION_MS
    )
    page.locator("#guest-counts a", has_text="In the bin").click()
    expect(row(owner)).to_contain_text("In the bin until")
    owner.picture("12-bin")


def test_it_comes_back_from_the_bin_and_goes_for_good(owner: Visitor) -> None:
    page = owner.page
    row(owner).locator(".k-name a").click()
    page.locator("#guest-header").get_by_role("button", name="Restore").first.click()
    expect(state(owner)).to_have_attribute("data-status", "stopped", timeout=OPERATION_MS)

    page.locator("#guest-header summary").click()
    page.locator("#guest-header").get_by_text("Delete…").click()
    dialog = page.locator("dialog[data-modal]")
    dialog.locator("#delete-name").fill(NAME)
    dialog.locator("#delete-purge").check()
    dialog.locator("#delete-go").click()
    page.wait_for_url("**/machines/")

    expect(row(owner)).to_have_count(0, timeout=OPERATION_MS)
    owner.go("/t/demo/quota/")
    expect(page.get_by_role("row", name=re.compile("^Machines"))).to_contain_text("0 of 10")
    owner.go("/t/demo/audit/")
    expect(page.locator("main")).to_contain_text("removed for good")
    owner.picture("13-audit")
