"""How fast a network card may be: its own limits below what its machine's size allows, or an operator's above."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from vms.models import Guest, Port
from vms.selectors.ports import speed_is_enforced
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask
from vms.services.ports import port_settling
from vms.services.volumes.check import guest_locked

KIND: Final = "guest.limit_port"
MBIT_MAX: Final = 100_000
MEND_AGAIN: Final = timedelta(hours=1)
LIMITS: Final = ("in_mbit", "out_mbit")


class SpeedUnenforced(Conflict):
    """A limit would stand in the rows alone."""

    code = "speed_unenforced"
    message = gettext_lazy("The host of this machine cannot limit network speed.")
    hint = gettext_lazy("Nothing was changed. Ask the operator.")


@transaction.atomic
def port_limit(port: Port, *, actor: Actor, in_mbit: int | None = None, out_mbit: int | None = None) -> Operation:
    """Limit a card to so many Mbit a second, to its machine and from it; 0 is none of its own, None leaves one as it is.

    At once where it runs. What it has already is brought to its host again. Raises ``Invalid`` for more than the machine's size
    allows, unless an operator asks; ``SpeedUnenforced``, or ``Conflict`` where the machine's condition forbids it.
    """
    actor.require(Permission.GUEST_EDIT, port.guest)
    guest = guest_locked(port.guest_id)
    row = Port.objects.select_related("network").filter(pk=port.pk).first()
    if row is None:
        raise Missing
    wished = {"in_mbit": in_mbit, "out_mbit": out_mbit}
    before = {name: getattr(row, name) for name in LIMITS} | {"above_size": row.above_size}
    after: dict[str, int] = {name: before[name] if mbit is None else mbit for name, mbit in wished.items()}
    top = guest.flavor.net_mbit
    if errors := _errors({name: mbit for name, mbit in after.items() if mbit != before[name]}, top, actor):
        raise Invalid(errors=errors)
    refuse_unless_allowed(guest, KIND, actor)
    if any(after.values()) and not speed_is_enforced(guest.host):
        raise SpeedUnenforced
    _write(row, **after, above_size=bool(top) and max(after.values()) > top)
    operation = guest_ask(guest, KIND, actor=actor, params={"port": str(row.pk), "before": before})
    changed = {name: [before[name], after[name]] for name in LIMITS}
    audit_record(
        actor,
        KIND,
        guest,
        network=row.network.name,
        mac=row.mac,
        in_mbit=changed["in_mbit"],
        out_mbit=changed["out_mbit"],
    )
    return operation


def _errors(changed: dict[str, int], top: int, actor: Actor) -> list[FieldError]:
    """What is wrong with limits: a card may be slower than its machine's size allows, and faster by an operator's word alone."""
    most = MBIT_MAX if actor.may(Permission.OPERATE) else min(MBIT_MAX, top or MBIT_MAX)
    message = _("Between 1 and %d, or 0 for no own limit.") % most
    return [FieldError(f"/{name}", "invalid_limit", message) for name, mbit in changed.items() if not 0 <= mbit <= most]


def _write(port: Port, *, in_mbit: int, out_mbit: int, above_size: bool) -> None:
    port.in_mbit, port.out_mbit, port.above_size = in_mbit, out_mbit, above_size
    port.version += 1
    port.save(update_fields=["in_mbit", "out_mbit", "above_size", "version"])


def port_settle_limit(operation: Operation) -> None:
    """Where it failed, the card has the limits that it had, and its host is told so: it may have been told of the others.

    Where that fails, too, the sweep shows and mends it.
    """
    guest, port = port_settling(operation)
    if guest is None or port is None:
        return
    before: dict[str, Any] | None = operation.params.get("before")
    if operation.status != Status.SUCCEEDED and before is not None:
        _write(port, **before)
        if operation.started_at is not None:
            actor = system_actor(guest.tenant, why="settle")
            guest_ask(guest, KIND, actor=actor, after=operation, params={"port": str(port.pk)})
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def port_mend_limit(port: Port) -> Operation | None:
    """A card is faster or slower on its host than its rows say: have that set right. None where it has to wait.

    Not while somebody is at its machine; what failed is tried again after ``MEND_AGAIN``.
    """
    tried = Operation.objects.filter(kind=KIND, subject_id=port.guest_id, status=Status.FAILED)
    if tried.filter(params__port=str(port.pk), finished_at__gte=now() - MEND_AGAIN).exists():
        return None
    try:
        with tenant_scope(port.tenant), transaction.atomic():
            guest: Guest = guest_locked(port.guest_id)
            actor = system_actor(guest.tenant, why="sweep")
            refuse_unless_allowed(guest, KIND, actor)
            return guest_ask(guest, KIND, actor=actor, params={"port": str(port.pk)})
    except (Conflict, Missing):
        return None  # somebody is at it, it is gone, or it has to wait
