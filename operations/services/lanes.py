"""How much runs at once: on each host, and of long work everywhere. A lane closes for a while when its host does not answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from django.conf import settings
from django.db.models import F

from operations.models import Lane, Operation
from operations.states import Status
from portal.core.clock import now

LONG: Final = "long"
"""The key of the row under whose lock long work is counted; no host's lane is called so."""


class Room(Enum):
    """Whether one more may run."""

    HERE = "here"
    NOT_NOW = "not now"
    AFTER_OTHERS = "after other long work"


def room_for(operation: Operation, at: datetime) -> Room:
    """Whether the operation may run now; locks the row of its lane, then that of long work, so that what is counted stays
    so until the commit."""
    width = settings.LANE_WIDTH
    if operation.lane:
        lane = _locked(operation.lane)
        width = lane.width
        if lane.closed_until is not None and lane.closed_until > at:
            return Room.NOT_NOW
        if Operation.objects.filter(lane=operation.lane, status=Status.RUNNING).count() >= width:
            return Room.NOT_NOW
    if not operation.long:
        return Room.HERE
    _locked(LONG)
    running = Operation.objects.filter(status=Status.RUNNING, long=True)
    beside = running.filter(lane=operation.lane).count() if operation.lane else 0
    if running.count() >= settings.LONG_AT_ONCE or beside >= max(1, width - 1):
        return Room.AFTER_OTHERS
    return Room.HERE


def _locked(key: str) -> Lane:
    Lane.objects.get_or_create(key=key, defaults={"width": settings.LANE_WIDTH})
    return Lane.objects.select_for_update().get(key=key)


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
