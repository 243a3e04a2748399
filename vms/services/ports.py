"""A machine gets another network card, or gives one up, also while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.states import Status
from portal.core.errors import Conflict, Missing
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from tenants.services.quota import quota_release, quota_reserve
from vms.models import Guest, Network, Port, SecurityGroup
from vms.models.guests import Charge
from vms.selectors.security_groups import groups_of
from vms.services.addresses import port_create, ports_release
from vms.services.guarding import groups_held, guards_joined, guards_write, refuse_remembered
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask
from vms.services.security_groups import group_default, groups_follow
from vms.services.volumes.check import guest_locked

PORTS_MAX: Final = 8
COST: Final = {"ports": 1, "addresses": 1}


@transaction.atomic
def port_attach(
    guest: Guest, network: Network, *, actor: Actor, ip: str = "", groups: Sequence[SecurityGroup] = ()
) -> Operation:
    """Give ``guest``, which runs or is off, a card on ``network`` with ``ip`` or the next free address; undone where that fails.

    ``groups`` guard it; the tenant's default group where none is named. Only the card at the first place has a default route.
    Raises ``OverQuota``, or ``Conflict`` where the machine is on that network already, has as many cards as it can, or its
    condition forbids it, or where the address cannot be had.
    """
    actor.require(Permission.GUEST_EDIT, guest)
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, "guest.attach_port", actor)
    refuse_remembered(guest)
    held = list(Port.objects.filter(guest=guest).values_list("position", "network"))
    if network.pk in {pk for _position, pk in held}:
        raise Conflict(_("The machine is on this network already."), code="on_network", hint="")
    if len(held) >= PORTS_MAX:
        message = _("A machine has at most %(most)d network cards.")
        raise Conflict(message, code="too_many_ports", hint=_("Detach one first."), most=PORTS_MAX)
    quota_reserve(guest.tenant, COST | {"guest_ports": len(held) + 1})
    taken = {position for position, _pk in held}
    position = next(number for number in range(PORTS_MAX) if number not in taken)
    guards = groups_held(groups) or [group_default(guest.tenant, actor=actor)]
    port = port_create(guest, network, position=position, ip=ip)
    guards_write(port, guards)
    held_ip = port.addresses.get().ip
    operation = guest_ask(guest, "guest.attach_port", actor=actor, params={"port": str(port.pk)})
    guards_joined({group.pk for group in guards})
    audit_record(actor, "guest.attach_port", guest, network=network.name, ip=held_ip, mac=port.mac)
    event_append(guest.tenant, "network.changed", "network", network.pk)
    return operation


@transaction.atomic
def port_detach(port: Port, *, actor: Actor) -> Operation:
    """Take a card off its machine; its address is free once the card is seen to be off.

    Raises ``Conflict`` where the machine's condition forbids it.
    """
    actor.require(Permission.GUEST_EDIT, port.guest)
    guest = guest_locked(port.guest_id)
    row = Port.objects.select_related("network").filter(pk=port.pk).first()
    if row is None:
        raise Missing
    refuse_unless_allowed(guest, "guest.detach_port", actor)
    refuse_remembered(guest)
    operation = guest_ask(guest, "guest.detach_port", actor=actor, params={"port": str(row.pk)})
    audit_record(actor, "guest.detach_port", guest, network=row.network.name, mac=row.mac)
    return operation


def port_settle_attach(operation: Operation) -> None:
    """On: it stays. Not on: taken off again, since half of it may be done, and held until that is sure."""
    guest, port = port_settling(operation)
    if guest is None or port is None:
        return
    if operation.status != Status.SUCCEEDED:
        if operation.started_at is None:
            _release(port, guest)
        else:
            actor = system_actor(guest.tenant, why="settle")
            guest_ask(guest, "guest.detach_port", actor=actor, after=operation, params=operation.params)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def port_settle_detach(operation: Operation) -> None:
    """Off: its address is free and its quota returns. Not off, or nobody knows: it is the machine's still."""
    guest, port = port_settling(operation)
    if guest is None or port is None:
        return
    if operation.status == Status.SUCCEEDED:
        _release(port, guest)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def port_settling(operation: Operation) -> tuple[Guest | None, Port | None]:
    """The machine and the card that an operation was about, locked, as far as they are there."""
    rows = Guest.objects.select_for_update(of=("self",)).select_related("tenant", "host")
    guest = rows.filter(pk=operation.subject_id).first()
    return guest, Port.objects.select_for_update().filter(pk=operation.params["port"]).first()


def _release(port: Port, guest: Guest) -> None:
    """Forget a card that is off its host; what a machine that was never built held returned before."""
    network, rows = port.network_id, Port.objects.filter(pk=port.pk)
    groups = groups_of(rows)
    ports_release(rows)
    groups_follow(groups)
    if guest.charge != Charge.NONE:
        quota_release(guest.tenant, COST)
    event_append(guest.tenant, "network.changed", "network", network)
