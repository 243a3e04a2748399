"""A portal of these tests' own, and a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visitor import ARGUMENTS, CHROMIUM
from tests.journeys.conftest import customer, portal

__all__ = ["chromium", "customer", "pictures", "portal"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The distribution's Chromium, without windows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pictures(pytestconfig: pytest.Config) -> Path | None:
    """Where ``--screenshots`` wants every page saved."""
    asked: Path | None = pytestconfig.getoption("--screenshots")
    return asked
