"""A card gets another address; the former one is its own until its host lets it through no more."""

from __future__ import annotations

from typing import Final

from django.db import transaction

from operations.models import Operation
from operations.states import Status
from portal.core.errors import Missing
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from vms.models import Port
from vms.selectors.security_groups import groups_of
from vms.services.address_uses import uses_end
from vms.services.addresses import address_change, address_write
from vms.services.guarding import refuse_remembered
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask
from vms.services.ports import port_settling
from vms.services.security_groups import groups_follow
from vms.services.volumes.check import guest_locked

KIND: Final = "guest.readdress"


@transaction.atomic
def port_readdress(port: Port, ip: str = "", *, actor: Actor) -> Operation:
    """Give a card ``ip``, or the pool's lowest free address; its MAC and name stay. Also while its machine runs.

    The address that it has already is brought to its host again. Raises ``Conflict`` where the address cannot be had
    (``address_taken``, ``invalid_address``, ``no_address``) or the machine's condition forbids it.
    """
    actor.require(Permission.GUEST_EDIT, port.guest)
    guest = guest_locked(port.guest_id)
    row = Port.objects.select_related("network").filter(pk=port.pk).first()
    if row is None:
        raise Missing
    refuse_unless_allowed(guest, KIND, actor)
    refuse_remembered(guest)
    former, ip = address_change(row, guest, ip)
    operation = guest_ask(guest, KIND, actor=actor, params=_params(row, former, ip))
    groups_follow(groups_of(Port.objects.filter(pk=row.pk)))
    audit_record(actor, KIND, guest, network=row.network.name, mac=row.mac, ip=[former, ip])
    event_append(guest.tenant, "network.changed", "network", row.network_id)
    return operation


def _params(port: Port, former: str, ip: str, *, is_back: bool = False) -> dict[str, str | bool]:
    return {"port": str(port.pk), "former": former, "ip": ip, "back": is_back}


def port_settle_readdress(operation: Operation) -> None:
    """On its host: the former address is free. Not there: the card has its former one, and its host is told so.

    Where that is refused too, nobody knows what the host lets through: both are held until one of them is brought there.
    """
    guest, port = port_settling(operation)
    if guest is None or port is None:
        return
    former, ip, is_back = (operation.params[key] for key in ("former", "ip", "back"))
    if operation.status == Status.SUCCEEDED:
        uses_end([port], but=ip)
    elif not is_back:
        address_write(port, former)
        groups_follow(groups_of(Port.objects.filter(pk=port.pk)))
        if operation.started_at is None:
            uses_end([port], but=former)
        else:
            actor = system_actor(guest.tenant, why="settle")
            guest_ask(guest, KIND, actor=actor, after=operation, params=_params(port, ip, former, is_back=True))
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    event_append(guest.tenant, "network.changed", "network", port.network_id)
