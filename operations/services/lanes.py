"""A lane is how much runs on one host at once; it closes for a while when the host does not answer."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from operations.models import Lane, Operation
from operations.states import Status
from portal.core.clock import now


def lane_has_room(key: str, at: datetime) -> bool:
    """Whether one more may run there; locks the lane's row, so that what is counted stays so until the commit."""
    Lane.objects.get_or_create(key=key, defaults={"width": settings.LANE_WIDTH})
    lane = Lane.objects.select_for_update().get(key=key)
    if lane.closed_until is not None and lane.closed_until > at:
        return False
    return Operation.objects.filter(lane=key, status=Status.RUNNING).count() < lane.width


def lane_close(key: str, *, seconds: float) -> None:
    """Start nothing in this lane for a while: its host does not answer."""
    until = now() + timedelta(seconds=seconds)
    Lane.objects.update_or_create(
        key=key,
        defaults={"closed_until": until, "overruns": F("overruns") + 1},
        create_defaults={"closed_until": until, "overruns": 1},
    )


def lane_open(key: str) -> None:
    """The host answers again."""
    Lane.objects.filter(key=key).exclude(closed_until=None).update(closed_until=None)
