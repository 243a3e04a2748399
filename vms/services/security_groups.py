"""Security groups: what they allow is changed everywhere or nowhere.

A group's row is locked by whoever writes down that something stands on it (a card, another group's rule), and by whoever
deletes it; several in the order of their ids, before anything is written to the journal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.services import Hold, operation_submit
from operations.states import Status
from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.ledger import journal_lock
from tenants.models import Tenant
from tenants.policy import Permission
from vms.firewall import MAX_ENTRIES, MAX_RULES, BadRule, Direction, Rule, entries
from vms.models import SecurityGroup
from vms.selectors.security_groups import groups_named, groups_naming, members_of, numbers_in
from vms.specs import NAME

DEFAULT_NAME: Final = "default"
SELF: Final = "self"
"""How a rule names the group that it is in."""
_WHY: Final[Mapping[str, str | Promise]] = {
    "invalid_choice": gettext_lazy("This is not one of the choices."),
    "no_ports": gettext_lazy("Only TCP and UDP have ports."),
    "invalid_ports": gettext_lazy("Ports are numbers from 1 to 65535, the first not above the last."),
    "one_peer": gettext_lazy("Name a range or a group, not both."),
    "invalid_cidr": gettext_lazy("Write an IPv4 range like 192.0.2.0/24."),
    "host_bits": gettext_lazy("This address lies inside its range: write the range's first one."),
    "no_ipv6": gettext_lazy("These networks carry IPv4; a range of IPv6 would never match."),
    "invalid_note": gettext_lazy("At most 100 characters, on one line."),
    "unknown_group": gettext_lazy("There is no such group."),
}


class GroupTooLarge(Conflict):
    """What a group's rules come to is bounded: each entry is a rule of a host's, for each card."""

    code = "group_too_large"
    message = gettext_lazy("The rules of %(name)s would come to more than %(most)d entries.")
    hint = gettext_lazy(
        "A rule about a group's machines counts once for each of them: use ranges of addresses instead."
    )

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name, most=MAX_ENTRIES)


@transaction.atomic
def group_create(
    tenant: Tenant, *, name: str, actor: Actor, note: str = "", rules: Sequence[Mapping[str, Any]] = ()
) -> SecurityGroup:
    """A group that guards nothing yet; without rules it lets nothing in or out."""
    actor.require(Permission.NETWORK_MANAGE)
    _check_words(name, note)
    group = SecurityGroup(tenant=tenant, name=name, note=note)
    group.rules = group.applied = rules_read(rules, group)
    journal_lock(tenant)  # which every change of groups writes: two who are at the cap take turns
    if SecurityGroup.objects.count() >= settings.CAPS["security_groups"]:
        raise Conflict(_("This project has as many groups as it can have."), code="too_many_groups", hint="")
    _write(group)
    audit_record(actor, "group.create", group, rules=group.rules)
    event_append(tenant, "group.changed", "group", group.pk)
    return group


@transaction.atomic
def group_edit(
    group: SecurityGroup, *, actor: Actor, name: str | None = None, note: str | None = None
) -> SecurityGroup:
    """Call it something else. Raises ``Conflict`` where another group has the name."""
    actor.require(Permission.NETWORK_MANAGE, group)
    group = _locked(group)
    name, note = group.name if name is None else name, group.note if note is None else note
    _check_words(name, note)
    if (name, note) == (group.name, group.note):
        return group
    audit_record(actor, "group.edit", group, name=[group.name, name], note=[group.note, note])
    group.name, group.note = name, note
    group.version += 1
    _write(group)
    event_append(group.tenant, "group.changed", "group", group.pk)
    return group


@transaction.atomic
def group_rules_set(group: SecurityGroup, rules: Sequence[Mapping[str, Any]], *, actor: Actor) -> Operation:
    """Put other rules in place, on every card that the group guards or, where one cannot have them, on none.

    Raises ``Invalid`` with a pointer to each wrong field, ``Conflict`` while an earlier change is under way or where the rules
    come to more than fits.
    """
    actor.require(Permission.NETWORK_MANAGE, group)
    read = rules_read(rules, group)
    group = _locked(group)
    before, group.rules = group.rules, read
    group.version += 1
    group.save(update_fields=["rules", "version"])
    operation = operation_submit(group, kind="group.apply", actor=actor, holds=[Hold("group", group.pk)])
    audit_record(actor, "group.rules", group, rules=[before, group.rules])
    event_append(group.tenant, "group.changed", "group", group.pk)
    return operation


@transaction.atomic
def group_delete(group: SecurityGroup, *, actor: Actor) -> None:
    """Forget a group that nothing stands on; no host has it any more."""
    actor.require(Permission.NETWORK_MANAGE, group)
    group = _locked(group)
    if group.is_default:
        raise Conflict(_("New machines are guarded by this group."), code="group_default", hint="")
    if operations_live_on("group", [group.pk]):
        raise Conflict(_("Something else is being done with this right now."), code="operation_in_progress", hint="")
    if group.guards.exists():
        raise Conflict(_("This group guards machines."), code="group_in_use", hint=_("Give them other groups first."))
    named_by = [
        other.name
        for other in SecurityGroup.objects.exclude(pk=group.pk)
        if str(group.pk) in groups_named(Rule.of(each) for each in [*other.rules, *other.applied])
    ]
    if named_by:
        names = ", ".join(sorted(named_by))
        raise Conflict(_("Rules of %(names)s speak of this group."), code="group_in_use", hint="", names=names)
    audit_record(actor, "group.delete", group, rules=group.rules)
    event_append(group.tenant, "group.changed", "group", group.pk)
    group.delete()


def group_default(tenant: Tenant, *, actor: Actor) -> SecurityGroup:
    """The group of cards made without a word about groups: out to everybody, in from nobody. Made with its first need."""
    group = SecurityGroup.objects.filter(is_default=True).first()
    if group is not None:
        return group
    rules = [Rule(direction=Direction.OUT).as_dict()]
    group = SecurityGroup(tenant=tenant, name=DEFAULT_NAME, is_default=True, rules=rules, applied=rules)
    names = set(SecurityGroup.objects.filter(name__startswith=DEFAULT_NAME).values_list("name", flat=True))
    if DEFAULT_NAME in names:
        group.name = next(name for number in count(2) if (name := f"{DEFAULT_NAME}-{number}") not in names)
    _write(group)
    audit_record(actor, "group.create", group, rules=rules)
    event_append(tenant, "group.changed", "group", group.pk)
    return group


def groups_follow(changed: Collection[UUID]) -> None:
    """Others' rules about these groups are true of other machines now: have them put in place where they are in force.

    Runs in the caller's transaction. Who is just at one of them looks at its end whether that was enough (``followed``).
    """
    for group in groups_naming(changed) if changed else []:
        if group.guards.exists():
            group_follow(group)


def group_follow(group: SecurityGroup) -> None:
    """Have a group put in place anew wherever it is in force, unless somebody is at it."""
    if not operations_live_on("group", [group.pk]):
        operation_submit(group, kind="group.follow", actor=_us(group), holds=[Hold("group", group.pk)])


def group_record_placed(group: SecurityGroup, members: Mapping[str, Collection[str]]) -> None:
    """Its rules are in force for these addresses of the groups that they name."""
    group.placed = _kept(members)
    group.save(update_fields=["placed"])


def followed(operation: Operation) -> None:
    """In force, for those who were in the groups that its rules name; who has come or gone since is seen to at once."""
    group = _named_and_locked(operation.subject_id)
    if group is not None and operation.status == Status.SUCCEEDED:
        _see_to_latecomers(group, operation)


def applied(operation: Operation) -> None:
    """In force: so they are written down. Not in force: the group has the rules that it had."""
    group = _named_and_locked(operation.subject_id)
    if group is None:
        return
    if operation.status == Status.SUCCEEDED:
        group.applied = group.rules
    else:
        group.rules = group.applied
        group.version += 1
    group.save(update_fields=["rules", "applied", "version"])
    _see_to_latecomers(group, operation)
    event_append(group.tenant, "group.changed", "group", group.pk)


def _named_and_locked(pk: UUID) -> SecurityGroup | None:
    """A group, after whoever is just joining one that its rules name."""
    group = SecurityGroup.objects.filter(pk=pk).first()
    named = set() if group is None else groups_named(Rule.of(each) for each in group.rules)
    return next((row for row in groups_lock({pk, *map(UUID, named)}) if row.pk == pk), None)


def _see_to_latecomers(group: SecurityGroup, operation: Operation) -> None:
    members = members_of(groups_named(Rule.of(each) for each in group.rules))
    if group.placed != _kept(members):
        operation_submit(group, kind="group.follow", actor=_us(group), after=operation)


def _kept(members: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    return {pk: sorted(ips) for pk, ips in members.items() if ips}


def _us(group: SecurityGroup) -> Actor:
    return system_actor(group.tenant, why="membership")


def rules_read(rules: Sequence[Mapping[str, Any]], group: SecurityGroup) -> list[dict[str, Any]]:
    """Rules as they are kept; raises ``Invalid`` with a pointer to each field that is wrong, or ``GroupTooLarge``.

    The group, if it is there already, and those that they name are locked, so that none is deleted and nobody joins meanwhile.
    """
    if len(rules) > MAX_RULES:
        words = _("At most %d rules fit into a group.") % MAX_RULES
        raise Invalid(errors=[FieldError("/rules", "too_many_rules", words)])
    read: list[Rule] = []
    errors: list[FieldError] = []
    for number, data in enumerate(rules):
        try:
            own = {"group": str(group.pk)} if data.get("group") == SELF else {}
            read.append(Rule.of({**data, **own}))
        except BadRule as error:
            pointer = f"/rules/{number}/{_field(error.field, data)}"
            errors.append(FieldError(pointer, error.code, str(_WHY[error.code])))
    known = {str(row.pk) for row in groups_lock([group.pk, *_ids(groups_named(read))])} | {str(group.pk)}
    errors += [
        FieldError(f"/rules/{number}/group", "unknown_group", str(_WHY["unknown_group"]))
        for number, data in enumerate(rules)
        if data.get("group") and data["group"] not in {*known, SELF}
    ]
    if errors:
        raise Invalid(errors=errors)
    read = list(dict.fromkeys(read))
    if entries(read, numbers_in(groups_named(read))) > MAX_ENTRIES:
        raise GroupTooLarge(name=group.name)
    return [rule.as_dict() for rule in read]


def _field(name: str, data: Mapping[str, Any]) -> str:
    if name != "ports":
        return name
    return "first_port" if data.get("first_port") is not None else "last_port"


def _ids(texts: Iterable[str]) -> list[UUID]:
    found = []
    for text in texts:
        try:
            found.append(UUID(text))
        except ValueError:
            continue  # named by nobody: told apart from a known one by who reads the answer
    return found


def groups_lock(pks: Iterable[UUID]) -> list[SecurityGroup]:
    """Those of these groups that are there, until the end of the caller's transaction."""
    wanted = sorted(set(pks))
    rows = SecurityGroup.objects.select_for_update(of=("self",)).select_related("tenant")
    return list(rows.filter(pk__in=wanted).order_by("pk")) if wanted else []


def _locked(group: SecurityGroup) -> SecurityGroup:
    found = groups_lock([group.pk])
    if not found:
        raise Missing
    return found[0]


def _check_words(name: str, note: str) -> None:
    errors = []
    if not NAME.match(name) or len(name) > 40:
        errors.append(FieldError("/name", "invalid_name", _("Use small letters, digits and hyphens, at most 40.")))
    if len(note) > 200 or not note.isprintable():
        errors.append(FieldError("/note", "invalid_note", _("At most 200 characters, on one line.")))
    if errors:
        raise Invalid(errors=errors)


def _write(group: SecurityGroup) -> SecurityGroup:
    try:
        with transaction.atomic():
            group.save()
    except IntegrityError as error:
        raise Conflict(_("A group with this name exists."), code="name_taken", hint="") from error
    return group
