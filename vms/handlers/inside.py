"""Into a machine by its agent, and looks at it. Its answers are bounded before they are kept."""

from __future__ import annotations

import json
from dataclasses import asdict

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from vms.handlers.place import at
from vms.hypervisor import errors
from vms.hypervisor.driver import AgentFacts
from vms.models.readings import ReadingKind
from vms.names import pool_name, serial_log
from vms.reconcile.converge import Place
from vms.services.guests.inside import LOG_BYTES, PNG, SCREEN_BYTES, plain_log, reading_record


@handles("guest.password")
def password(run: Run) -> None:
    """Its agent sets the password, by its hash."""
    with at(run) as place, run.effect("password"):
        guest = place.guest
        place.hv.agent_set_password(str(guest.pk), run.params["user"], guest.new_password, hashed=True)


@handles("guest.keys")
def keys(run: Run) -> None:
    """Its agent adds the keys; those that are there stay."""
    with at(run) as place, run.effect("keys"):
        place.hv.agent_add_keys(str(place.guest.pk), run.params["user"], run.params["keys"])


@handles("guest.look")
def look(run: Run) -> None:
    """Look, clean, keep."""
    with at(run) as place:
        kind = ReadingKind(run.params["what"])
        with run.effect("look"):
            seen = LOOKS[kind](place)
        run.check()
        reading_record(place.guest, kind, seen)


def _screen(place: Place) -> bytes:
    picture = place.hv.screenshot(str(place.guest.pk))
    if not picture.startswith(PNG) or len(picture) > SCREEN_BYTES:
        raise Conflict(_("The host gave no picture of the screen."), code="no_picture", hint="")
    return picture


def _log(place: Place) -> bytes:
    raw = place.hv.log_tail(pool_name(place.owner), serial_log(place.guest.pk), most=LOG_BYTES)
    return plain_log(raw).encode()


def _facts(place: Place) -> bytes:
    facts = place.hv.agent_facts(str(place.guest.pk))
    if facts == AgentFacts():
        raise errors.AgentSilent("it said nothing")
    return json.dumps(asdict(facts)).encode()


LOOKS = {ReadingKind.SCREEN: _screen, ReadingKind.LOG: _log, ReadingKind.FACTS: _facts}
