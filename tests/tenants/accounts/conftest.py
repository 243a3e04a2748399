"""Every test begins with no tries counted."""

from __future__ import annotations

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def no_tries() -> None:
    cache.clear()
