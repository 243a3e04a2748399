"""What may be asked of a machine in which condition: one table, every kind of operation × every condition.

A kind without a row is refused by ``row_of`` with a ``KeyError``, and by the suite. A row says in which conditions the wish is
carried out at once (``now``) or is accepted and waits until the host is heard again (``later``); everything else is refused with
the sentence of the condition, or the row's own. What is being worked on takes no second wish, whatever stands here:
``operation_submit`` refuses it (``operation_in_progress``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.policy import Permission
from vms.models import Guest
from vms.services.guests.kept import stop_is_kept
from vms.services.guests.wanting import is_lost
from vms.states import HostState, Power


class Condition(StrEnum):
    """What of a machine decides about a wish; where several hold, the first."""

    BINNED = "binned"
    UNBUILT = "unbuilt"
    SILENT = "silent"
    """Its host does not answer, so nobody knows what it does."""
    GONE = "gone"
    """Its host answers, and has no such machine."""
    RESCUE = "rescue"
    """It runs from its rescue disk."""
    RESCUE_OFF = "rescue_off"
    """Its definition has the rescue disk, and it does not run."""
    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    CRASHED = "crashed"


_BY_POWER: Final = {
    Power.ABSENT: Condition.GONE,
    Power.STOPPED: Condition.STOPPED,
    Power.RUNNING: Condition.RUNNING,
    Power.PAUSED: Condition.PAUSED,
    Power.SUSPENDED: Condition.SUSPENDED,
    Power.CRASHED: Condition.CRASHED,
    Power.UNKNOWN: Condition.SILENT,
}


def condition_of(guest: Guest) -> Condition:
    """The condition of a machine whose host was read with it."""
    if guest.binned_at is not None:
        return Condition.BINNED
    if guest.built_at is None:
        return Condition.UNBUILT
    if guest.host is None or guest.host.state != HostState.UP:
        return Condition.SILENT
    by_power = _BY_POWER[Power(guest.seen_power)]
    if guest.in_rescue and by_power not in (Condition.GONE, Condition.SILENT):
        return Condition.RESCUE if by_power == Condition.RUNNING else Condition.RESCUE_OFF
    return by_power


class Answer(StrEnum):
    """What becomes of a wish."""

    NOW = "now"
    LATER = "later"
    """Accepted; it waits for the host."""
    NO = "no"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, for a customer, and what to do instead."""

    code: str
    message: str | Promise
    hint: str | Promise = ""


ASK_AN_OPERATOR: Final = _("Its disks are kept. Tell an operator, who can put it back.")
_WRONG: Final = "wrong_state"
_IN_RESCUE: Final = Refusal("in_rescue", _("This machine is in rescue mode."), _("End the rescue first."))
REFUSALS: Final[Mapping[Condition, Refusal]] = {
    Condition.BINNED: Refusal("in_bin", _("This machine is in the bin."), _("Restore it first.")),
    Condition.UNBUILT: Refusal(
        "not_built", _("This machine has not been built."), _("One that failed goes away by itself.")
    ),
    Condition.SILENT: Refusal(
        "host_silent",
        _("The host of this machine does not answer, so nobody knows what it is doing."),
        _("Wait until the host is back. Nothing is started twice meanwhile."),
    ),
    Condition.GONE: Refusal(_WRONG, _("This machine is gone from its host."), ASK_AN_OPERATOR),
    Condition.RESCUE: _IN_RESCUE,
    Condition.RESCUE_OFF: _IN_RESCUE,
    Condition.STOPPED: Refusal(_WRONG, _("This cannot be done while the machine is stopped.")),
    Condition.RUNNING: Refusal(_WRONG, _("This cannot be done while the machine is running.")),
    Condition.PAUSED: Refusal(_WRONG, _("This cannot be done while the machine is paused.")),
    Condition.SUSPENDED: Refusal(_WRONG, _("This cannot be done while the machine is suspended.")),
    Condition.CRASHED: Refusal(_WRONG, _("This cannot be done while the machine is crashed.")),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of operation: where it is done at once, where it waits, where operators alone may ask for it."""

    now: frozenset[Condition]
    later: frozenset[Condition] = frozenset()
    operator: frozenset[Condition] = frozenset()
    """For an operator at once: whoever can look at the hosts knows that it runs nowhere else on the same disk.

    Not for the portal itself, which has not looked: a schedule would start it beside the one that somebody moved away.
    """
    lost: bool = False
    """Also of one that is off since its host restarted, and would be started again."""
    withdraws: bool = False
    """Also of one whose Stop waits for its host: that is taken back, and what runs is not started."""
    instead: Mapping[Condition, Refusal] = field(default_factory=dict)
    """Its own words in a condition."""

    def answer(self, condition: Condition, actor: Actor) -> Answer:
        """What becomes of ``actor``'s wish."""
        has_looked = actor.user is not None and actor.may(Permission.OPERATE)
        if condition in self.now or (condition in self.operator and has_looked):
            return Answer.NOW
        return Answer.LATER if condition in self.later else Answer.NO

    def refusal(self, condition: Condition) -> Refusal:
        """Why not."""
        return self.instead.get(condition, REFUSALS[condition])


def _in(*conditions: Condition) -> frozenset[Condition]:
    return frozenset(conditions)


_B, _U, _Q, _A = Condition.BINNED, Condition.UNBUILT, Condition.SILENT, Condition.GONE
_S, _R, _P, _Z, _C = (
    Condition.STOPPED, Condition.RUNNING, Condition.PAUSED, Condition.SUSPENDED, Condition.CRASHED,
)  # fmt: skip
_RR, _RO = Condition.RESCUE, Condition.RESCUE_OFF
_KEPT = _in(_Q, _R, _P)
"""Where a Stop may wait for the host, or has just to be carried out."""
_THERE = _in(_A, _RR, _RO, _S, _R, _P, _Z, _C)
_PLUGS = _in(_S, _R, _C)
"""Where a disk is added or taken off: a paused machine cannot let go, the saved memory of a suspended one knows its disks."""
_LET_IT_RUN = {state: replace(REFUSALS[state], hint=_("Let it run, or stop it.")) for state in (_P, _Z)}
_NOT_IN_BIN = Refusal("not_in_bin", _("This machine is not in the bin."))

TABLE: Final[Mapping[str, Row]] = {
    "guest.start": Row(_in(_S, _C, _RO), operator=_in(_A), withdraws=True),
    "guest.shutdown": Row(_in(_R, _RR)),
    "guest.reboot": Row(_in(_R, _RR)),
    "guest.pause": Row(_in(_R)),
    "guest.resume": Row(_in(_P)),
    "guest.suspend": Row(_in(_R, _P)),
    "guest.wake": Row(_in(_Z)),
    "guest.reset": Row(_in(_R, _P, _RR)),
    "guest.stop": Row(_in(_R, _P, _Z, _C, _RR, _RO), later=_in(_Q), lost=True),
    "guest.clone": Row(_PLUGS | {_P}, instead={_Z: _LET_IT_RUN[_Z]}),
    "guest.resize": Row(_in(_S, _R, _C)),
    "guest.rebuild": Row(_in(_S, _R, _P, _Z, _C)),
    "guest.putback": Row(_in(_S, _R, _P, _Z, _C)),
    "guest.rescue": Row(_in(_S, _R, _P, _C)),
    "guest.unrescue": Row(
        _in(_RR, _RO),
        instead=dict.fromkeys((_S, _R, _P, _Z, _C), Refusal("not_in_rescue", _("This machine is not in rescue mode."))),
    ),
    "guest.password": Row(_in(_R)),
    "guest.keys": Row(_in(_R)),
    "guest.look": Row(_in(_R, _P, _RR)),
    "guest.delete": Row(
        _THERE | {_U}, later=_in(_Q), instead={_B: Refusal("in_bin", _("This machine is in the bin already."))}
    ),
    "guest.purge": Row(_THERE | {_U, _B}, later=_in(_Q)),
    "guest.restore": Row(_in(_B), instead=dict.fromkeys(set(Condition) - {_B}, _NOT_IN_BIN)),
    "backup.create": Row(_PLUGS | {_P}, instead=_LET_IT_RUN),
    "volume.create": Row(_PLUGS, instead=_LET_IT_RUN),
    "volume.attach": Row(_PLUGS, instead=_LET_IT_RUN),
    "volume.detach": Row(_PLUGS | {_A, _B}, instead=_LET_IT_RUN),
    "volume.extend": Row(_PLUGS | {_P}, instead=_LET_IT_RUN),
    "volume.limit": Row(_PLUGS | {_P}, instead=_LET_IT_RUN),
    "snapshot.create": Row(_PLUGS | {_P}, instead={_Z: _LET_IT_RUN[_Z]}),
    "snapshot.revert": Row(_PLUGS | {_P, _Z}),
    "snapshot.delete": Row(_THERE | {_B}),
    "guest.attach_port": Row(_PLUGS, instead=_LET_IT_RUN),
    "guest.detach_port": Row(_PLUGS | {_A}, instead=_LET_IT_RUN),
    "guest.readdress": Row(_PLUGS | {_P}, instead={_Z: _LET_IT_RUN[_Z]}),
    "guest.limit_port": Row(_THERE - {_A}),
    "guest.insert": Row(_PLUGS | {_P, _RR, _RO}, instead={_Z: _LET_IT_RUN[_Z]}),
    "guest.guard": Row(_THERE - {_A}),
    "guest.eject": Row(_PLUGS | {_P, _RR, _RO, _A, _B}, instead={_Z: _LET_IT_RUN[_Z]}),
}
"""Every kind of operation that somebody can ask of a machine that is there, of its disks and volumes, or of their snapshots."""
OURS: Final = frozenset(
    {"guest.batch", "guest.create", "guest.tidy", "guest.withdraw", "volume.copy", "volume.delete", "volume.export"}
)
"""Kinds that nobody asks of a machine: it is not there yet, it has let go, it is not touched, or the portal alone asks."""


def answer(guest: Guest, kind: str, actor: Actor) -> Answer:
    """What would become of ``actor``'s wish, as things are."""
    condition, row = condition_of(guest), TABLE[kind]
    if row.lost and condition == Condition.STOPPED and is_lost(guest):
        return Answer.NOW
    if row.withdraws and stop_is_kept(guest) and condition in _KEPT:
        return Answer.LATER if condition == Condition.SILENT else Answer.NOW
    return row.answer(condition, actor)


def refuse_unless_allowed(guest: Guest, kind: str, actor: Actor) -> None:
    """Raise ``Conflict`` in the words of the table where the machine's condition forbids ``kind``."""
    if answer(guest, kind, actor) != Answer.NO:
        return
    condition = condition_of(guest)
    why = TABLE[kind].refusal(condition)
    raise Conflict(str(why.message), code=why.code, hint=str(why.hint), state=condition.value)
