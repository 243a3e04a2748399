"""A portal of these tests' own, and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.visitor import ARGUMENTS, CHROMIUM, PATIENCE_MS
from tests.journeys.conftest import customer, operator, portal

__all__ = ["chromium", "customer", "operator", "pictures", "portal"]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The distribution's Chromium, without windows; what a page is expected to show may take as long as anything else.

    It ends with the last of these tests: its event loop in the thread keeps Django's database from whoever comes after.
    """
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pictures(pytestconfig: pytest.Config) -> Path | None:
    """Where ``--screenshots`` wants every page saved."""
    asked: Path | None = pytestconfig.getoption("--screenshots")
    return asked
