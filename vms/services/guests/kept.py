"""A Stop that found its host silent until it was given up: it is kept, and the machine's problem says so.

That is all that is remembered of it: what is seen off, is started or is stopped has it no more.
"""

from __future__ import annotations

from typing import Final

from django.utils.translation import gettext as _

from operations.models import Operation
from operations.states import Status
from vms.models import Guest
from vms.states import Power

STOP_WAITS: Final = "stop_waits"
"""The problem of a machine that is stopped once its host is back."""
PROBLEM: Final = ("problem_code", "problem_message")


def stop_is_kept(guest: Guest) -> bool:
    """Does a Stop wait for the machine's host to be back?"""
    return (guest.want_power, guest.problem_code) == (Power.STOPPED, STOP_WAITS)


def stop_keep(guest: Guest, operation: Operation) -> None:
    """A change of power failed: a Stop of what nobody knows the state of waits for the host; sets the problem, saves nothing."""
    failed = operation.kind == "guest.stop" and operation.status == Status.FAILED
    if failed and (guest.want_power, guest.seen_power) == (Power.STOPPED, Power.UNKNOWN):
        guest.problem_code = STOP_WAITS
        guest.problem_message = _("Its host does not answer. It is stopped once the host is back.")


def stop_take_back(guest: Guest) -> str:
    """Another wish comes: a Stop that was kept is over. What is to be wanted again if that one comes to nothing.

    Saves the problem of a guest that the caller has locked.
    """
    if not stop_is_kept(guest):
        return guest.want_power
    guest.problem_code = guest.problem_message = ""
    guest.save(update_fields=PROBLEM)
    return Power.RUNNING


def say_stopped(guest: Guest) -> tuple[str, ...]:
    """It was seen off, so nothing is left to be stopped; the columns that changed."""
    if guest.problem_code != STOP_WAITS or guest.seen_power not in (Power.STOPPED, Power.ABSENT):
        return ()
    guest.problem_code = guest.problem_message = ""
    return PROBLEM
