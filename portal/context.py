"""What every page's shell shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def shell(request: HttpRequest) -> dict[str, Any]:
    """The actor, for the navigation."""
    return {"actor": getattr(request, "actor", None)}
