"""Somebody with a browser: what they see, and everything the browser complained about meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

CHROMIUM: Final = "/usr/bin/chromium"
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, NARROW = (1440, 900), (360, 740)
looks = pytest.mark.parametrize(
    ("size", "theme"),
    [
        pytest.param(WIDE, "light", id="1440-light", marks=pytest.mark.long),
        pytest.param(WIDE, "dark", id="1440-dark"),
        pytest.param(NARROW, "light", id="360-light"),
        pytest.param(NARROW, "dark", id="360-dark", marks=pytest.mark.long),
    ],
)
"""For tests that look at pages: in both widths and both themes, in each pair of them under ``--long``."""
PATIENCE_MS: Final = 60_000
GRAVE: Final = ("serious", "critical")
MOVED: Final = "ERR_NETWORK_CHANGED"
"""Chromium drops what it is loading when the machine gets another network device, as labs of other tests make them."""


class Visitor:
    """One browser window; ``complaints`` are console errors, script errors, policy reports, dialogs and 5xx answers."""

    def __init__(self, page: Page, url: str, *, label: str, pictures: Path | None) -> None:
        self.page, self.url, self.label, self.pictures = page, url, label, pictures
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._complain(f"script error: {error}"))
        page.on("response", lambda answer: answer.status >= 500 and self._complain(f"{answer.status} {answer.url}"))
        page.on("dialog", lambda dialog: (self._complain(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _said(self, message: Any) -> None:
        if message.type == "error" and MOVED not in message.text:
            self._complain(f"console: {message.text}")

    def _complain(self, text: str) -> None:
        self.complaints.append(f"{self.page.url}: {text}")

    def go(self, path: str) -> None:
        """Open a page by its path and wait until it hears of changes, if it is one that does."""
        self.page.goto(self.url + path)
        if self.page.locator("[data-live]").count():
            self.page.wait_for_selector('[data-live][data-state="live"]', state="attached")

    def sign_in(self, person: dict[str, str]) -> None:
        """Through the form, as people do."""
        self.page.goto(self.url)
        self.page.fill("input[name=login]", person["email"])
        self.page.fill("input[name=password]", person["password"])
        self.page.click("main button[type=submit]")
        self.page.wait_for_url(re.compile(r"/(t/[^/]+|operator)/$"))

    def picture(self, name: str, *, whole: bool = True) -> None:
        """Save what the window shows, where pictures are asked for."""
        if self.pictures is not None:
            self.pictures.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=self.pictures / f"{name}-{self.label}.png", full_page=whole)

    def faults(self) -> list[str]:
        """What is wrong with the page as it stands: complaints so far, sideways scroll, barriers."""
        self.page.wait_for_load_state()  # after a click it may have begun and be empty
        found, self.complaints = self.complaints, []
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            found.append(f"{self.page.url}: scrolls sideways by {wide} px")
        for broken in Axe().run(self.page).response["violations"]:
            if broken["impact"] in GRAVE:
                nodes = [f"{node['html'][:160]} ({node['failureSummary'][:200]})" for node in broken["nodes"][:3]]
                found.append(f"{self.page.url}: {broken['id']}: {nodes}")
        return found


@contextmanager
def visitor(
    chromium: Browser, url: str, *, size: tuple[int, int] = WIDE, theme: Any = "light", pictures: Path | None = None
) -> Iterator[Visitor]:
    """A fresh window without cookies; ``theme`` is what the reader's system asks for."""
    width, height = size
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce", locale="en-GB"
    )
    try:
        yield Visitor(context.new_page(), url, label=f"{theme}-{width}", pictures=pictures)
    finally:
        context.close()
