"""Power: what may be asked of a machine in which state, and the asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from vms.models import Guest
from vms.services.guests.wanting import WISH, guest_want
from vms.states import HostState, Power


@dataclass(frozen=True, slots=True)
class PowerAction:
    """One button: from which powers it makes sense, and what it leaves wanted."""

    name: str
    label: str | Promise
    icon: str
    wants: Power
    sources: frozenset[Power]
    danger: bool = False


S, R, P, Z, C = Power.STOPPED, Power.RUNNING, Power.PAUSED, Power.SUSPENDED, Power.CRASHED
ACTIONS: Final[dict[str, PowerAction]] = {
    action.name: action
    for action in (
        PowerAction("start", gettext_lazy("Start"), "player-play", R, frozenset({S, C})),
        PowerAction("shutdown", gettext_lazy("Shut down"), "power", S, frozenset({R})),
        PowerAction("reboot", gettext_lazy("Reboot"), "refresh", R, frozenset({R})),
        PowerAction("pause", gettext_lazy("Pause"), "player-pause", P, frozenset({R})),
        PowerAction("resume", gettext_lazy("Resume"), "player-play", R, frozenset({P})),
        PowerAction("suspend", gettext_lazy("Suspend"), "moon", Z, frozenset({R, P})),
        PowerAction("wake", gettext_lazy("Wake"), "sun", R, frozenset({Z})),
        PowerAction("reset", gettext_lazy("Reset"), "rotate", R, frozenset({R, P}), danger=True),
        PowerAction("stop", gettext_lazy("Stop"), "player-stop", S, frozenset({R, P, Z, C}), danger=True),
    )
}
ASK_AN_OPERATOR: Final = gettext_lazy("Its disks are kept. Tell an operator, who can put it back.")
GRACE_S: Final = 90
GRACE_MAX_S: Final = 600


@transaction.atomic
def guest_power(guest: Guest, action: str, *, actor: Actor, grace_s: int | None = None) -> Operation:
    """Ask for a change of power. ``grace_s`` bounds how long a shutdown may take (default 90 s).

    Raises ``Missing`` for an unknown action, ``Forbidden``, ``OverQuota`` where too many run already, ``Conflict`` where the
    machine's state forbids it: a silent host's guest is neither started nor stopped, since nobody knows what it is doing.
    """
    known = ACTIONS.get(action)
    if known is None:
        raise Missing
    actor.require(Permission.GUEST_POWER, guest)
    if grace_s is not None and (action != "shutdown" or not 1 <= grace_s <= GRACE_MAX_S):
        raise Invalid(errors=[FieldError("/grace_s", "invalid_grace", _("Between 1 and %d seconds.") % GRACE_MAX_S)])
    guest = Guest.objects.select_for_update(of=("self",)).select_related("host", "tenant").get(pk=guest.pk)
    _refuse_wrong_state(guest, known, actor)
    before = guest.want_power
    guest_want(guest, known.wants)
    guest.want_generation += 1
    guest.version += 1
    guest.save(update_fields=[*WISH, "want_generation", "version"])
    params: dict[str, Any] = {"want_before": before}
    if action == "shutdown":
        params["grace_s"] = grace_s or GRACE_S
    assert guest.host is not None
    operation = operation_submit(
        guest,
        kind=f"guest.{action}",
        actor=actor,
        holds=[Hold("guest", guest.pk)],
        lane=guest.host.lane,
        generation=guest.want_generation,
        params=params,
    )
    audit_record(actor, f"guest.{action}", guest, want_power=[before, known.wants.value])
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return operation


def _refuse_wrong_state(guest: Guest, action: PowerAction, actor: Actor) -> None:
    if guest.binned_at is not None:
        raise Conflict(_("This machine is in the bin."), code="in_bin", hint=_("Restore it first."))
    if guest.built_at is None:
        raise Conflict(
            _("This machine has not been built."), code="not_built", hint=_("One that failed goes away by itself.")
        )
    seen = Power(guest.seen_power)
    if seen == Power.UNKNOWN or guest.host is None or guest.host.state != HostState.UP:
        raise Conflict(
            _("The host of this machine does not answer, so nobody knows what it is doing."),
            code="host_silent",
            hint=_("Wait until the host is back. Nothing is started twice meanwhile."),
        )
    if not _fits(guest, action, actor):
        if seen == Power.ABSENT:
            raise Conflict(
                _("This machine is gone from its host."), code="wrong_state", state=seen.value, hint=ASK_AN_OPERATOR
            )
        raise Conflict(
            _("This cannot be done while the machine is %(state)s."), code="wrong_state", state=seen.value, hint=""
        )


def guest_actions(guest: Guest, actor: Actor, *, busy: bool) -> list[PowerAction]:
    """The buttons that make sense now for this actor."""
    if busy or guest.binned_at is not None or guest.built_at is None or not actor.may(Permission.GUEST_POWER, guest):
        return []
    if guest.host is None or guest.host.state != HostState.UP:
        return []
    return [action for action in ACTIONS.values() if _fits(guest, action, actor)]


def _fits(guest: Guest, action: PowerAction, actor: Actor) -> bool:
    """Does the action make sense in the machine's state?

    One that is gone from its host is defined there again by an operator's start alone: somebody with access to the host took
    it away, and only they can know that it does not run elsewhere on the same disk.
    """
    seen = Power(guest.seen_power)
    return seen in action.sources or (seen == Power.ABSENT and action.name == "start" and actor.may(Permission.OPERATE))
