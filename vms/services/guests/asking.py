"""A machine is wanted otherwise, and a worker is asked to make it so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operations.models import Operation
from operations.services import Hold, operation_submit
from tenants.actors import Actor
from tenants.journal.events import event_append
from vms.models import Guest
from vms.services.guests.wanting import WISH, guest_want
from vms.states import Power


def guest_wish(guest: Guest, power: Power) -> None:
    """Save the wish as a new generation of the guest, which the caller has locked; raises ``OverQuota`` as ``guest_want``."""
    guest_want(guest, power)
    guest.want_generation += 1
    guest.version += 1
    guest.save(update_fields=[*WISH, "want_generation", "version"])


def guest_ask(
    guest: Guest,
    kind: str,
    *,
    actor: Actor,
    params: dict[str, Any] | None = None,
    parent: Operation | None = None,
    after: Operation | None = None,
    more: Sequence[Hold] = (),
    long: bool = False,
) -> Operation:
    """Write down work on a locked guest, in its host's lane and of its newest generation; its pages hear of it.

    It holds the guest, and ``more``. With ``after``, an operation that is being settled, what that one held passes over.
    Raises ``Conflict`` while something else is being done with the guest.
    """
    operation = operation_submit(
        guest,
        kind=kind,
        actor=actor,
        holds=[Hold("guest", guest.pk), *more] if after is None else (),
        lane=guest.host.lane if guest.host is not None else "",
        generation=guest.want_generation,
        params=params,
        parent=parent,
        after=after,
        long=long,
    )
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return operation
