"""Which security groups guard which card; no card is left with none, and no group comes to more than a host can be told.

The rows of the groups are locked by who has them guard a card, before anything is written to the journal: so none is deleted
meanwhile, and what others' rules say of them is counted by one at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.states import Status
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from vms.models import Guard, Guest, Network, Port, SecurityGroup, Snapshot
from vms.selectors.security_groups import groups_crowded
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask
from vms.services.security_groups import GroupTooLarge, group_default, groups_follow, groups_lock
from vms.services.volumes.check import guest_locked
from vms.specs import MOST_ON_A_CARD, GuestSpec
from vms.states import Power

MEND_AGAIN: Final = timedelta(minutes=5)


class FromBefore(Conflict):
    """A card without groups belongs to a machine that runs."""

    code = "guest_running"
    message = gettext_lazy("This card was made before there were security groups.")
    hint = gettext_lazy("Stop the machine; then its card can be guarded.")


@dataclass(frozen=True, slots=True)
class Guarding:
    """The groups, locked, of cards that are about to be made."""

    otherwise: Sequence[SecurityGroup]
    by_network: Mapping[UUID, Sequence[SecurityGroup]] = field(default_factory=dict)

    def on(self, network: Network) -> Sequence[SecurityGroup]:
        """Those of the card on that network."""
        return self.by_network.get(network.pk, self.otherwise)


def guards_choose(tenant: Tenant, spec: GuestSpec, *, actor: Actor) -> Guarding:
    """What guards new machines: what ``spec`` names; else what guards the machine they are like; else the default group.

    Raises ``Conflict`` where a group is gone by now.
    """
    if spec.groups:
        return Guarding(groups_held(spec.groups))
    otherwise = [group_default(tenant, actor=actor)]
    if spec.like is None:
        return Guarding(otherwise)
    pairs = Guard.objects.filter(port__guest=spec.like).values_list("port__network", "group")
    rows = {group.pk: group for group in groups_lock(pk for _network, pk in pairs)}
    by_network: dict[UUID, list[SecurityGroup]] = {}
    for network, pk in pairs:
        by_network.setdefault(network, []).append(rows[pk])
    return Guarding(otherwise, by_network)


def guards_write(port: Port, groups: Iterable[SecurityGroup]) -> None:
    """The groups of a card that is just being made; ``guards_joined`` comes after the last one."""
    Guard.objects.bulk_create([Guard(tenant=port.tenant, port=port, group=group) for group in groups])


def guards_joined(groups: Collection[UUID]) -> None:
    """Cards have come into these locked groups: what rules say of those is true of them too.

    Raises ``Conflict`` where another group's rules come to more than fits by that.
    """
    if (crowded := groups_crowded(groups)) is not None:
        raise GroupTooLarge(name=crowded.name)
    groups_follow(groups)


@transaction.atomic
def port_guard(port: Port, groups: Sequence[SecurityGroup], *, actor: Actor) -> Operation:
    """Guard a card by these groups and no others, at once where its machine runs.

    Raises ``Invalid`` for none or too many, ``Conflict`` where the machine's condition forbids it; a card from before there were
    groups is guarded for the first time while its machine is off.
    """
    actor.require(Permission.NETWORK_MANAGE, port.guest)
    guest = guest_locked(port.guest_id)
    if not Port.objects.filter(pk=port.pk).exists():
        raise Missing
    refuse_unless_allowed(guest, "guest.guard", actor)
    if not 0 < len({group.pk for group in groups}) <= MOST_ON_A_CARD:
        raise Invalid(
            errors=[FieldError("/security_groups", "invalid_groups", _("Choose one group at least, eight at most."))]
        )
    rows = groups_held(groups)
    before = sorted(str(pk) for pk in port.guards.values_list("group", flat=True))
    if not before:
        _refuse_first(guest)
    after = sorted(str(row.pk) for row in rows)
    _replace(port, rows)
    params = {"port": str(port.pk), "before": before, "after": after}
    operation = guest_ask(guest, "guest.guard", actor=actor, params=params)
    guards_joined({UUID(pk) for pk in {*before} ^ {*after}})
    names = sorted(row.name for row in rows)
    audit_record(actor, "guest.guard", guest, mac=port.mac, groups=names)
    return operation


def _refuse_first(guest: Guest) -> None:
    """Raise ``Conflict`` unless a card from before there were groups can be guarded: a start puts it on a filter of its own."""
    if guest.seen_power != Power.STOPPED:
        raise FromBefore
    refuse_remembered(guest)


def refuse_remembered(guest: Guest) -> None:
    """Raise ``Conflict`` where a snapshot holds what the machine runs: going back would bring back the cards as they were."""
    if Snapshot.objects.filter(guest=guest, with_memory=True).exists():
        raise Conflict(
            _("A snapshot of this machine holds its memory, which knows its network cards."),
            code="has_snapshots",
            hint=_("Delete its snapshots with memory first."),
        )


def guarded(operation: Operation) -> None:
    """Where it failed, the card has the groups that it had, and its host is told so: it may have been told of the others.

    Where that fails, too, the sweep shows it.
    """
    guest = Guest.objects.filter(pk=operation.subject_id).select_related("tenant").first()
    port = Port.objects.filter(pk=operation.params["port"]).first()
    if guest is None or port is None:
        return
    before, after = operation.params["before"], operation.params["after"]
    if operation.status != Status.SUCCEEDED and not operation.params.get("back"):
        _replace(port, list(SecurityGroup.objects.filter(pk__in=before)))
        groups_follow({UUID(pk) for pk in {*before} ^ {*after}})
        if operation.started_at is not None:
            params = {"port": str(port.pk), "before": after, "after": before, "back": True}
            actor = system_actor(guest.tenant, why="settle")
            guest_ask(guest, "guest.guard", actor=actor, after=operation, params=params)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def port_mend_guards(port: Port) -> Operation | None:
    """A card is guarded otherwise on its fabric than its rows say, or has no place there: have that set right.

    None where it has to wait: not while somebody is at its machine; what failed is tried again after ``MEND_AGAIN``.
    """
    kind = "guest.guard"
    tried = Operation.objects.filter(kind=kind, subject_id=port.guest_id, status=Status.FAILED)
    if tried.filter(params__port=str(port.pk), finished_at__gte=now() - MEND_AGAIN).exists():
        return None
    groups = sorted(str(guard.group_id) for guard in port.guards.all())
    params = {"port": str(port.pk), "before": groups, "after": groups, "back": True}
    try:
        with tenant_scope(port.tenant), transaction.atomic():
            guest = guest_locked(port.guest_id)
            actor = system_actor(guest.tenant, why="sweep")
            refuse_unless_allowed(guest, kind, actor)
            return guest_ask(guest, kind, actor=actor, params=params)
    except (Conflict, Missing):
        return None  # somebody is at it, it is gone, or it has to wait


def _replace(port: Port, groups: Collection[SecurityGroup]) -> None:
    """These guard the card, and no others."""
    port.guards.exclude(group__in=groups).delete()
    there = set(port.guards.values_list("group", flat=True))
    guards_write(port, [group for group in groups if group.pk not in there])
    Port.objects.filter(pk=port.pk).update(version=F("version") + 1)


def groups_held(groups: Iterable[SecurityGroup]) -> list[SecurityGroup]:
    """These groups, locked; raises ``Conflict`` where one is gone by now."""
    wanted = {group.pk for group in groups}
    rows = groups_lock(wanted)
    if len(rows) < len(wanted):
        raise Conflict(_("One of these security groups has just been deleted."), code="group_gone", hint="")
    return rows
