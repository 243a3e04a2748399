"""What tests of tenants share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tenants import reactions


@pytest.fixture
def revoked() -> Iterator[list[dict[str, Any]]]:
    """What was announced about ended access."""
    heard: list[dict[str, Any]] = []

    def hear(**details: Any) -> None:
        heard.append(details)

    reactions.reacts("access.revoked")(hear)
    yield heard
    reactions._reactions["access.revoked"].remove(hear)
