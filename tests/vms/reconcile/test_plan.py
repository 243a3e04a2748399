"""From every wish and every sight to the steps: each pair written out, so that a change of one is seen."""

from __future__ import annotations

import itertools

import pytest

from vms.reconcile.plan import STEPS, Seen, Step, Want, plan
from vms.states import SETTLED, Power

RUNNING, STOPPED, PAUSED, SUSPENDED, ABSENT, CRASHED, UNKNOWN = (
    Power.RUNNING, Power.STOPPED, Power.PAUSED, Power.SUSPENDED, Power.ABSENT, Power.CRASHED, Power.UNKNOWN,
)  # fmt: skip
WISHES = (RUNNING, STOPPED, PAUSED, SUSPENDED, ABSENT)

TABLE = {
    (RUNNING, ABSENT): "define start",
    (RUNNING, STOPPED): "define start",
    (RUNNING, CRASHED): "pull define start",
    (RUNNING, PAUSED): "resume",
    (RUNNING, SUSPENDED): "start",
    (RUNNING, RUNNING): "",
    (STOPPED, ABSENT): "define",
    (STOPPED, STOPPED): "",
    (STOPPED, CRASHED): "pull",
    (STOPPED, PAUSED): "pull",
    (STOPPED, SUSPENDED): "forget_save",
    (STOPPED, RUNNING): "pull",
    (PAUSED, ABSENT): "define start pause",
    (PAUSED, STOPPED): "define start pause",
    (PAUSED, CRASHED): "pull define start pause",
    (PAUSED, PAUSED): "",
    (PAUSED, SUSPENDED): "start pause",
    (PAUSED, RUNNING): "pause",
    (SUSPENDED, ABSENT): "",
    (SUSPENDED, STOPPED): "",
    (SUSPENDED, CRASHED): "",
    (SUSPENDED, PAUSED): "save",
    (SUSPENDED, SUSPENDED): "",
    (SUSPENDED, RUNNING): "save",
    (ABSENT, ABSENT): "",
    (ABSENT, STOPPED): "undefine",
    (ABSENT, CRASHED): "pull undefine",
    (ABSENT, PAUSED): "pull undefine",
    (ABSENT, SUSPENDED): "undefine",
    (ABSENT, RUNNING): "pull undefine",
}


def pair(power: Power) -> str:
    return str(power)


def test_the_table_has_every_pair() -> None:
    assert set(TABLE) == set(itertools.product(WISHES, SETTLED | {ABSENT}))
    assert set(STEPS) == set(WISHES)


@pytest.mark.parametrize(("wish", "seen"), TABLE, ids=pair)
def test_each_pair_has_its_steps(wish: Power, seen: Power) -> None:
    assert plan(Want(wish, 3), Seen(seen, 3)) == [Step(word) for word in TABLE[wish, seen].split()]


@pytest.mark.parametrize(("wish", "seen"), TABLE, ids=pair)
def test_steps_lead_to_the_wish_and_then_none_are_left(wish: Power, seen: Power) -> None:
    """One exception: a machine that is off cannot be put to sleep; nothing is done, and the caller sees it was not reached."""
    for step in plan(Want(wish, 3), Seen(seen, 3)):
        seen = AFTER[step, seen] if (step, seen) in AFTER else AFTER[step, None]

    assert plan(Want(wish, 3), Seen(seen, 3)) == []
    if wish != SUSPENDED or seen not in (ABSENT, STOPPED, CRASHED):
        assert seen == wish


AFTER: dict[tuple[Step, Power | None], Power] = {
    (Step.DEFINE, None): STOPPED,
    (Step.START, None): RUNNING,
    (Step.RESUME, None): RUNNING,
    (Step.PAUSE, None): PAUSED,
    (Step.SAVE, None): SUSPENDED,
    (Step.FORGET_SAVE, None): STOPPED,
    (Step.PULL, None): STOPPED,
    (Step.UNDEFINE, None): ABSENT,
}


@pytest.mark.parametrize("wish", WISHES)
def test_silence_is_not_evidence(wish: Power) -> None:
    assert plan(Want(wish, 3), Seen(UNKNOWN)) == []


@pytest.mark.parametrize(("wish", "seen"), TABLE, ids=pair)
def test_a_domain_newer_than_the_wish_is_left_alone(wish: Power, seen: Power) -> None:
    assert plan(Want(wish, 3), Seen(seen, 4)) == []


@pytest.mark.parametrize(("wish", "seen"), TABLE, ids=pair)
def test_only_a_wish_for_absence_removes_a_definition(wish: Power, seen: Power) -> None:
    assert (Step.UNDEFINE in plan(Want(wish, 3), Seen(seen, 3))) == (wish == ABSENT and seen != ABSENT)


@pytest.mark.parametrize("power", [CRASHED, UNKNOWN])
def test_nobody_can_wish_for_a_crash_or_for_silence(power: Power) -> None:
    with pytest.raises(KeyError):
        plan(Want(power, 1), Seen(RUNNING, 1))
