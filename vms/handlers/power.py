"""Power: most of it is ``converge``; the polite forms ask the guest and wait."""

from __future__ import annotations

import time

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms.handlers.cards import ensure_limits
from vms.handlers.guests import ensure_networks, reached
from vms.handlers.place import at
from vms.hypervisor import errors
from vms.models import Port
from vms.reconcile.converge import Place, converge, observe
from vms.reconcile.counting import cards_count
from vms.states import OFF, Power

PRESS_AGAIN_S = 15
"""A guest that was still booting when the button was pressed did not notice; press again."""
WAIT_SLICE_S = 2.0


def _converge(run: Run) -> None:
    with at(run) as place:
        if place.guest.want_power == Power.RUNNING:
            ensure_networks(run, place)
        reached(converge(run, place, progress=20), place.guest)


for _kind in ("guest.start", "guest.stop", "guest.pause", "guest.resume", "guest.suspend"):
    handles(_kind)(_converge)


@handles("guest.wake")
def wake(run: Run) -> None:
    """As it was; but its cards are as fast as they are to be now."""
    with at(run) as place:
        ensure_networks(run, place)
        reached(converge(run, place, progress=20), place.guest)
        ensure_limits(run, place, Port.objects.filter(guest=place.guest).order_by("position"))


@handles("guest.shutdown")
def shutdown(run: Run) -> None:
    """Press the power button and wait; a machine that does not listen stays on, and the customer is told."""
    with at(run) as place:
        seen = observe(place)
        if seen.power == Power.RUNNING:
            press_until_off(run, place, grace_s=float(run.params["grace_s"]))
        reached(observe(place), place.guest)


def press_until_off(run: Run, place: Place, *, grace_s: float) -> None:
    """Press the power button until the machine is off; raises ``Conflict`` (``still_running``) after ``grace_s`` seconds."""
    uuid, began = str(place.guest.pk), time.monotonic()
    pressed_at = -float(PRESS_AGAIN_S)
    while (spent := time.monotonic() - began) < grace_s:
        run.say(_("Waiting for the machine to shut down"), 10 + int(80 * spent / grace_s))
        if spent - pressed_at >= PRESS_AGAIN_S:
            with run.effect("press"):
                place.hv.press_power(uuid)
            pressed_at = spent
        run.check()
        cards_count(place)
        try:
            place.hv.wait_power(uuid, OFF, timeout_s=min(WAIT_SLICE_S, grace_s - spent))
            return
        except errors.Busy:
            continue
    raise Conflict(
        _("The machine did not shut down within %(grace)d seconds."),
        code="still_running",
        grace=int(grace_s),
        hint=_("Its system may not listen to the power button. Stop pulls the plug."),
    )


@handles("guest.reboot")
def reboot(run: Run) -> None:
    """Ask the guest to restart by itself."""
    with at(run) as place:
        if observe(place).power == Power.RUNNING:
            run.say(_("Asking the machine to restart"), 30)
            with run.effect("reboot"):
                place.hv.press_reset_acpi(str(place.guest.pk))
        reached(observe(place), place.guest)


@handles("guest.reset")
def reset(run: Run) -> None:
    """Push the reset button: at once, without asking; a paused machine runs on afterwards."""
    with at(run) as place:
        run.say(_("Resetting"), 30)
        if observe(place).power in (Power.RUNNING, Power.PAUSED):
            with run.effect("reset"):
                place.hv.reset(str(place.guest.pk))
        reached(converge(run, place, progress=60), place.guest)
