"""A tenant's own roles: built from permissions, some of them on tagged machines only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Forbidden, Invalid, Missing
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.ledger import journal_lock
from tenants.models import ApiToken, Member, Role, Tenant
from tenants.policy import ALL_TENANT_PERMISSIONS, BUILT_IN_ROLES, MOST_TAGS, TAG, TAGGABLE, Permission
from tenants.reactions import announce

NAME: Final = re.compile(r"\A\w[\w .-]{0,39}\Z")


@dataclass(frozen=True, slots=True)
class Grants:
    """What a role allows: ``permissions`` everywhere in the tenant, ``tagged`` on machines that wear one of ``tags``."""

    permissions: Sequence[str]
    tagged: Sequence[str] = ()
    tags: Sequence[str] = ()


def role_named(name: str) -> Role:
    """The built-in or own role of the scope's tenant; raises ``Invalid``."""
    role = Role.objects.filter(name=name).order_by("tenant_id").first()
    if role is None:
        raise Invalid(errors=[FieldError("/role", "unknown_role", _("There is no such role."))])
    return role


def role_within_reach(actor: Actor, role: Role) -> None:
    """Owners are made and unmade by owners; nobody hands out what they do not hold everywhere."""
    if role.name == "owner" and role.tenant_id is None:
        actor.require(Permission.OWNER_MANAGE)
    _within(actor, {*role.permissions, *role.tagged})


def role_keep(role: Role) -> None:
    """Nobody deletes ``role`` before the transaction ends, so that what is given it has one; raises ``Conflict`` if gone.

    **Locked** after the tenant's row and before its journal. Built-in roles are never deleted, and not locked.
    """
    if role.tenant_id is None:
        return
    if not Role.objects.select_for_update(of=("self",), no_key=True).filter(pk=role.pk).exists():
        raise Conflict(_("This role has just been deleted."), code="role_gone", hint=_("Choose another one."))


def _within(actor: Actor, permissions: set[str]) -> None:
    held = {permission.value for permission in actor.permissions - actor.tagged.keys()}
    if permissions - held:
        raise Forbidden(_("You cannot give a role more than your own allows."), code="beyond_own_role")


@transaction.atomic
def role_create(tenant: Tenant, *, name: str, grants: Grants, actor: Actor) -> Role:
    """A role of the tenant's own; it can do no more than who makes it."""
    actor.require(Permission.ROLE_MANAGE)
    _check(name, grants)
    _within(actor, {*grants.permissions, *grants.tagged})
    journal_lock(tenant)  # which every change of roles writes: two who are at the cap take turns
    if Role.objects.filter(tenant=tenant).count() >= settings.CAPS["roles"]:
        raise Conflict(_("This project has as many roles as it can have."), code="too_many_roles")
    role = Role(tenant=tenant, name=name.strip())
    _take(role, grants)
    _save(role)
    audit_record(actor, "role.create", role, tenant=tenant, **_facts(role))
    event_append(tenant, "role.changed", "role", role.pk)
    return role


@transaction.atomic
def role_edit(role: Role, *, actor: Actor, name: str | None = None, grants: Grants | None = None) -> Role:
    """Rename it or change what it allows; what its people and tokens hold open is checked again at once."""
    actor.require(Permission.ROLE_MANAGE)
    role = _own(role)
    assert role.tenant is not None
    before = {"name": role.name, **_facts(role)}
    _within(actor, {*role.permissions, *role.tagged})
    wanted = grants or Grants(role.permissions, role.tagged, role.tags)
    _check(role.name if name is None else name, wanted)
    _within(actor, {*wanted.permissions, *wanted.tagged})
    role.name = role.name if name is None else name.strip()
    _take(role, wanted)
    after = {"name": role.name, **_facts(role)}
    changes = {key: [before[key], after[key]] for key in after if before[key] != after[key]}
    if not changes:
        return role
    role.version += 1
    _save(role)
    audit_record(actor, "role.edit", role, tenant=role.tenant, **changes)
    event_append(role.tenant, "role.changed", "role", role.pk)
    for member in Member.objects.filter(role=role).select_related("user"):
        announce("access.revoked", user=member.user, tenant=role.tenant, session="", reason="role changed")
    for pk in ApiToken.objects.filter(role=role, revoked_at=None).values_list("pk", flat=True):
        announce("access.revoked", user=None, tenant=None, session=f"token:{pk}", reason="role changed")
    return role


@transaction.atomic
def role_delete(role: Role, *, actor: Actor) -> None:
    """Remove a role that nobody has; raises ``Conflict`` where somebody, an invitation or a token does."""
    actor.require(Permission.ROLE_MANAGE)
    role = _own(role)
    assert role.tenant is not None
    _within(actor, {*role.permissions, *role.tagged})
    audit_record(actor, "role.delete", role, tenant=role.tenant, **_facts(role))
    event_append(role.tenant, "role.changed", "role", role.pk)
    try:
        with transaction.atomic():
            role.delete()
    except ProtectedError as error:
        raise Conflict(
            _("Somebody has this role."),
            code="role_in_use",
            hint=_("Give its members, invitations and tokens another one first."),
        ) from error


def _own(role: Role) -> Role:
    if role.tenant_id is None:
        raise Forbidden(_("Built-in roles stay as they are."), code="built_in_role")
    rows = Role.objects.select_for_update(of=("self",), no_key=True).select_related("tenant")
    found = rows.filter(pk=role.pk).first()
    if found is None:
        raise Missing
    return found


def _check(name: str, grants: Grants) -> None:
    errors: list[FieldError] = []
    if not NAME.match(name.strip()):
        errors.append(
            FieldError("/name", "invalid_name", _("Use at most 40 letters, digits, spaces, hyphens or dots."))
        )
    if name.strip().lower() in {*BUILT_IN_ROLES, "operator"}:
        errors.append(FieldError("/name", "name_taken", _("That is the name of a built-in role.")))
    known = {permission.value for permission in ALL_TENANT_PERMISSIONS}
    for field, values, allowed in (
        ("permissions", grants.permissions, known),
        ("tagged", grants.tagged, {permission.value for permission in TAGGABLE}),
    ):
        for value in sorted(set(values) - allowed):
            message = _("%s is no permission that can be given here.") % value[:48]
            errors.append(FieldError(f"/{field}", "unknown_permission", message))
    errors += tags_wrong(grants.tags)
    if grants.tagged and not grants.tags:
        errors.append(FieldError("/tags", "required", _("Say which tags the machines must wear.")))
    if errors:
        raise Invalid(errors=errors)


def tags_wrong(tags: Sequence[str]) -> list[FieldError]:
    """What is wrong with tags that something is bound to: one that no machine can wear would bind it to nothing."""
    if len(tags) <= MOST_TAGS and all(TAG.match(tag) for tag in tags):
        return []
    message = _("At most %d tags of small letters, digits, dots and hyphens, up to 32 of them.") % MOST_TAGS
    return [FieldError("/tags", "invalid_tag", message)]


def _take(role: Role, grants: Grants) -> None:
    role.permissions = sorted(set(grants.permissions))
    role.tagged = sorted(set(grants.tagged) - set(grants.permissions))
    role.tags = sorted(set(grants.tags)) if role.tagged else []


def _save(role: Role) -> None:
    try:
        with transaction.atomic():
            role.save()
    except IntegrityError as error:
        raise Conflict(_("A role of that name exists."), code="name_taken", hint="") from error


def _facts(role: Role) -> dict[str, Any]:
    return {"permissions": role.permissions, "tagged": role.tagged, "tags": role.tags}
