"""What a page shows of an operator's visit."""

from __future__ import annotations

from typing import Any

from tenants.actors import Actor
from tenants.models import Visit


def visit_shown(actor: Actor) -> dict[str, Any] | None:
    """For the banner: in whose place, until when, and whether anything may be changed; None where nobody visits."""
    if not actor.visit:
        return None
    visit = Visit.objects.get(pk=actor.visit)
    return {"place": actor.place, "until": visit.until, "may_change": visit.may_change}
