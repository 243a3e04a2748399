"""Placement groups: which machines stand apart, and which together.

A group's row is locked by whoever puts a machine into it, and by whoever deletes it, before any host's: who looks where its
machines are sees those of everybody before.
"""

from __future__ import annotations

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.ledger import journal_lock
from tenants.models import Tenant
from tenants.policy import Permission
from vms.models import Guest, PlacementGroup
from vms.selectors.placement_groups import placement_rule
from vms.specs import NAME


@transaction.atomic
def placement_group_create(tenant: Tenant, *, name: str, kind: str, strict: bool, actor: Actor) -> PlacementGroup:
    """A group without machines. Raises ``Invalid``, or ``Conflict`` where the name is taken or there are as many as can be."""
    actor.require(Permission.PLACEMENT_MANAGE)
    errors = _name_errors(name)
    if kind not in PlacementGroup.Kind.values:
        errors.append(FieldError("/kind", "invalid_choice", _("Choose apart or together.")))
    if errors:
        raise Invalid(errors=errors)
    journal_lock(tenant)  # which every change of groups writes: two who are at the cap take turns
    if PlacementGroup.objects.count() >= settings.CAPS["placement_groups"]:
        raise Conflict(_("This project has as many groups as it can have."), code="too_many_groups", hint="")
    group = PlacementGroup(tenant=tenant, name=name, kind=kind, strict=strict)
    _write(group)
    audit_record(actor, "placement_group.create", group, kind=kind, strict=strict)
    event_append(tenant, "placement_group.changed", "placement_group", group.pk)
    return group


@transaction.atomic
def placement_group_edit(group: PlacementGroup, *, name: str, actor: Actor) -> PlacementGroup:
    """Call it something else. Raises ``Conflict`` where another group has the name."""
    actor.require(Permission.PLACEMENT_MANAGE, group)
    if errors := _name_errors(name):
        raise Invalid(errors=errors)
    group = placement_group_hold(group)
    if name == group.name:
        return group
    before, group.name = group.name, name
    group.version += 1
    _write(group)
    audit_record(actor, "placement_group.edit", group, name=[before, name])
    event_append(group.tenant, "placement_group.changed", "placement_group", group.pk)
    return group


@transaction.atomic
def placement_group_delete(group: PlacementGroup, *, actor: Actor) -> None:
    """Forget a group. Raises ``Conflict`` while a machine is in it, one in the bin too."""
    actor.require(Permission.PLACEMENT_MANAGE, group)
    group = placement_group_hold(group)
    if Guest.objects.filter(placement_group=group).exists():
        raise Conflict(
            _("There are machines in this group."),
            code="placement_group_in_use",
            hint=_("Take them out of it first, in the machine's settings; those in the bin count, too."),
        )
    audit_record(actor, "placement_group.delete", group, kind=group.kind, strict=group.strict)
    event_append(group.tenant, "placement_group.changed", "placement_group", group.pk)
    group.delete()


def placement_group_hold(group: PlacementGroup) -> PlacementGroup:
    """Lock the group's row; raises ``Missing`` where it is gone. Only within a transaction."""
    try:
        return PlacementGroup.objects.select_for_update(no_key=True).get(pk=group.pk)
    except PlacementGroup.DoesNotExist as error:
        raise Missing(_("This placement group is gone.")) from error


def placement_group_join(guest: Guest, group: PlacementGroup | None) -> None:
    """Put the machine, whose row is locked, into the group, or into none; the caller saves it.

    Raises ``Conflict`` where it is on a host that the group's rule keeps it from: nothing moves for it.
    """
    guest.placement_group = placement_group_hold(group) if group is not None else None
    guest.keeps_apart = group is not None and group.keeps_apart
    rule = placement_rule(group, but=guest)
    if not rule.strict or not rule.hosts or guest.host_id is None:
        return
    if (guest.host_id in rule.hosts) != (rule.kind == "together"):
        message = (
            _("A machine of this placement group is on the same host.")
            if rule.kind == "apart"
            else _("The machines of this placement group are on another host.")
        )
        raise Conflict(message, code="placement_group_unmet", hint=_("Make a machine in the group instead."))


def _name_errors(name: str) -> list[FieldError]:
    if len(name) <= 40 and NAME.match(name):
        return []
    return [FieldError("/name", "invalid_name", _("Use small letters, digits and hyphens, at most 40."))]


def _write(group: PlacementGroup) -> None:
    try:
        with transaction.atomic():
            group.save()
    except IntegrityError as error:
        raise Conflict(
            _("A group called %(name)s exists."), code="name_taken", hint=_("Choose another name."), name=group.name
        ) from error
