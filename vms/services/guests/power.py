"""Power: the buttons, and the asking; ``allowed`` says which of them when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from portal.core.errors import FieldError, Invalid, Missing
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Guest
from vms.services.guests.allowed import Answer, answer, refuse_unless_allowed
from vms.services.guests.asking import guest_ask, guest_wish
from vms.services.guests.kept import stop_take_back
from vms.services.volumes.check import guest_locked
from vms.states import Power


@dataclass(frozen=True, slots=True)
class PowerAction:
    """One button, and what it leaves wanted; ``allowed`` says when it makes sense."""

    name: str
    label: str | Promise
    icon: str
    wants: Power
    danger: bool = False

    @property
    def kind(self) -> str:
        """The kind of operation it asks for."""
        return f"guest.{self.name}"


S, R, P, Z = Power.STOPPED, Power.RUNNING, Power.PAUSED, Power.SUSPENDED
ACTIONS: Final[dict[str, PowerAction]] = {
    action.name: action
    for action in (
        PowerAction("start", gettext_lazy("Start"), "player-play", R),
        PowerAction("shutdown", gettext_lazy("Shut down"), "power", S),
        PowerAction("reboot", gettext_lazy("Reboot"), "refresh", R),
        PowerAction("pause", gettext_lazy("Pause"), "player-pause", P),
        PowerAction("resume", gettext_lazy("Resume"), "player-play", R),
        PowerAction("suspend", gettext_lazy("Suspend"), "moon", Z),
        PowerAction("wake", gettext_lazy("Wake"), "sun", R),
        PowerAction("reset", gettext_lazy("Reset"), "rotate", R, danger=True),
        PowerAction("stop", gettext_lazy("Stop"), "player-stop", S, danger=True),
    )
}
GRACE_S: Final = 90
GRACE_MAX_S: Final = 600


@transaction.atomic
def guest_power(guest: Guest, action: str, *, actor: Actor, grace_s: int | None = None) -> Operation:
    """Ask for a change of power. ``grace_s`` bounds how long a shutdown may take (default 90 s).

    Raises ``Missing`` for an unknown action, ``Forbidden``, ``OverQuota`` where too many run already, ``Conflict`` where the
    machine's state forbids it: a silent host's guest is not started, since nobody knows what it is doing. That it is to be off
    is written down, so that it is not started again if its host restarted; it is done once the host answers, however late
    that is, unless somebody starts it before (``kept``).
    """
    known = ACTIONS.get(action)
    if known is None:
        raise Missing
    actor.require(Permission.GUEST_POWER, guest)
    if grace_s is not None and (action != "shutdown" or not 1 <= grace_s <= GRACE_MAX_S):
        raise Invalid(errors=[FieldError("/grace_s", "invalid_grace", _("Between 1 and %d seconds.") % GRACE_MAX_S)])
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, known.kind, actor)
    before = stop_take_back(guest)
    guest_wish(guest, known.wants)
    params: dict[str, Any] = {"want_before": before}
    if action == "shutdown":
        params["grace_s"] = grace_s or GRACE_S
    operation = guest_ask(guest, known.kind, actor=actor, params=params)
    audit_record(actor, known.kind, guest, want_power=[before, known.wants.value])
    return operation


def guest_actions(guest: Guest, actor: Actor, *, busy: bool) -> list[PowerAction]:
    """The buttons that make sense now for this actor."""
    if busy or not actor.may(Permission.GUEST_POWER, guest):
        return []
    return [action for action in ACTIONS.values() if answer(guest, action.kind, actor) != Answer.NO]
