"""From what is wanted and what is seen to the steps between; pure.

Silence is not evidence: of an unknown guest nothing is planned. Only ``ABSENT`` ever removes a definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vms.states import Power


class Step(StrEnum):
    """One effect on a host."""

    DEFINE = "define"
    START = "start"
    RESUME = "resume"
    PAUSE = "pause"
    SAVE = "save"
    FORGET_SAVE = "forget_save"
    PULL = "pull"
    UNDEFINE = "undefine"


@dataclass(frozen=True, slots=True)
class Want:
    """What people asked for, and how new that is."""

    power: Power
    generation: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a host shows, with the generation its definition carries."""

    power: Power
    generation: int = 0


_ABSENT, _STOPPED, _RUNNING = Power.ABSENT, Power.STOPPED, Power.RUNNING
_PAUSED, _SUSPENDED, _CRASHED = Power.PAUSED, Power.SUSPENDED, Power.CRASHED

STEPS: dict[Power, dict[Power, tuple[Step, ...]]] = {
    _RUNNING: {
        _ABSENT: (Step.DEFINE, Step.START),
        _STOPPED: (Step.DEFINE, Step.START),
        _CRASHED: (Step.PULL, Step.DEFINE, Step.START),
        _PAUSED: (Step.RESUME,),
        _SUSPENDED: (Step.START,),
        _RUNNING: (),
    },
    _STOPPED: {
        _ABSENT: (Step.DEFINE,),
        _STOPPED: (),
        _CRASHED: (Step.PULL,),
        _PAUSED: (Step.PULL,),
        _SUSPENDED: (Step.FORGET_SAVE,),
        _RUNNING: (Step.PULL,),
    },
    _PAUSED: {
        _ABSENT: (Step.DEFINE, Step.START, Step.PAUSE),
        _STOPPED: (Step.DEFINE, Step.START, Step.PAUSE),
        _CRASHED: (Step.PULL, Step.DEFINE, Step.START, Step.PAUSE),
        _PAUSED: (),
        _SUSPENDED: (Step.START, Step.PAUSE),
        _RUNNING: (Step.PAUSE,),
    },
    _SUSPENDED: {
        _ABSENT: (),
        _STOPPED: (),
        _CRASHED: (),
        _PAUSED: (Step.SAVE,),
        _SUSPENDED: (),
        _RUNNING: (Step.SAVE,),
    },
    _ABSENT: {
        _ABSENT: (),
        _STOPPED: (Step.UNDEFINE,),
        _CRASHED: (Step.PULL, Step.UNDEFINE),
        _PAUSED: (Step.PULL, Step.UNDEFINE),
        _SUSPENDED: (Step.UNDEFINE,),
        _RUNNING: (Step.PULL, Step.UNDEFINE),
    },
}
"""For each wish, from each state that can be seen, the steps."""


def plan(want: Want, seen: Seen) -> list[Step]:
    """The steps from ``seen`` to ``want``; none for what is unknown, or for a domain newer than the wish.

    Raises ``KeyError`` for a wish that is none (``CRASHED``, ``UNKNOWN``): a bug, not a state of the world.
    """
    steps = STEPS[want.power]
    if seen.power == Power.UNKNOWN or seen.generation > want.generation:
        return []
    return list(steps[seen.power])
