"""Every test begins with no tries counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache

from tenants import reactions


@pytest.fixture(autouse=True)
def no_tries() -> None:
    cache.clear()


@pytest.fixture
def revoked() -> Iterator[list[dict[str, Any]]]:
    """What was said about ended access."""
    heard: list[dict[str, Any]] = []

    def hear(**details: Any) -> None:
        heard.append(details)

    reactions.reacts("access.revoked")(hear)
    yield heard
    reactions._reactions["access.revoked"].remove(hear)
