"""What can be changed of a machine without touching its host: name, tags, protection, its place in the order of starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import Enum
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from vms.models import Guest, PlacementGroup
from vms.services.guests.check import tag_errors
from vms.services.guests.observe import say_crashed
from vms.services.guests.tagging import guest_set_tags
from vms.services.placement_groups import placement_group_join
from vms.services.volumes.check import guest_locked
from vms.specs import NAME, START_DELAY_MAX_S, START_ORDER_MAX, StartOrder
from vms.states import AfterCrash

CHANGED: Final = (
    "name", "protected", "start_order", "start_delay_s", "after_crash", "placement_group", "keeps_apart", "problem_code",
    "problem_message", "version",
)  # fmt: skip


class Unchanged(Enum):
    """What stands for a value that is not given, where None is one."""

    UNCHANGED = ""


UNCHANGED: Final = Unchanged.UNCHANGED


@transaction.atomic
def guest_edit(
    guest: Guest,
    *,
    actor: Actor,
    name: str | None = None,
    tags: Sequence[str] | None = None,
    protected: bool | None = None,
    start: StartOrder | None = None,
    after_crash: AfterCrash | None = None,
    placement_group: PlacementGroup | Unchanged | None = UNCHANGED,
) -> Guest:
    """Rename, tag, protect, say when it is started, whether after a crash, or which placement group it is in (None: in none).

    What is not given stays as it is.

    The host name inside the machine stays what it was.
    """
    actor.require(Permission.GUEST_EDIT, guest)
    guest = guest_locked(guest.pk)
    errors: list[FieldError] = []
    if name is not None and not NAME.match(name):
        errors.append(FieldError("/name", "invalid_name", _("Use small letters, digits and hyphens, at most 63.")))
    errors += tag_errors(tags or ())
    errors += _start_errors(start)
    if errors:
        raise Invalid(errors=errors)
    changes: dict[str, Any] = {}
    for column, value in (("name", name), ("protected", protected), ("after_crash", after_crash)):
        if value is not None and value != (former := getattr(guest, column)):
            changes[column] = [former, value]
            setattr(guest, column, value)
    say_crashed(guest)
    if start is not None and start != (before := StartOrder(guest.start_order, guest.start_delay_s)):
        changes["start"] = [asdict(before), asdict(start)]
        guest.start_order, guest.start_delay_s = start.order, start.delay_s
    if tags is not None and sorted(set(tags)) != guest.tag_names():
        _refuse_reach(actor, guest.tag_names(), tags)
        changes["tags"] = [guest.tag_names(), sorted(set(tags))]
        guest_set_tags(guest, tags)
    if not isinstance(placement_group, Unchanged) and placement_group != (left := guest.placement_group):
        placement_group_join(guest, placement_group)
        changes["placement_group"] = [left.name if left else "", placement_group.name if placement_group else ""]
    if not changes:
        return guest
    guest.version += 1
    try:
        with transaction.atomic():
            guest.save(update_fields=CHANGED)
    except IntegrityError as error:
        raise Conflict(_("A machine called %(name)s exists."), code="name_taken", hint="", name=name) from error
    audit_record(actor, "guest.edit", guest, **changes)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return guest


def _start_errors(start: StartOrder | None) -> list[FieldError]:
    if start is None:
        return []
    errors = []
    if start.order is not None and not 1 <= start.order <= START_ORDER_MAX:
        errors.append(FieldError("/start_order", "invalid_order", _("Between 1 and %d.") % START_ORDER_MAX))
    if not 0 <= start.delay_s <= START_DELAY_MAX_S:
        message = _("Between 0 and %d seconds.") % START_DELAY_MAX_S
        errors.append(FieldError("/start_delay_s", "invalid_delay", message))
    return errors


def _refuse_reach(actor: Actor, before: Sequence[str], after: Sequence[str]) -> None:
    """Raise ``Conflict`` where other tags would take a machine out of the actor's reach, or give them more of it."""
    if not (actor.reaches(Permission.GUEST_EDIT, after) and actor.reaches(Permission.GUEST_VIEW, after)):
        raise Conflict(_("That would take the machine out of your own reach."), code="own_reach", hint="")
    if any(actor.reaches(permission, after) > actor.reaches(permission, before) for permission in actor.tagged):
        raise Conflict(
            _("That would let you do more with the machine than you may."),
            code="own_reach",
            hint=_("Ask somebody whose role holds on every machine."),
        )
