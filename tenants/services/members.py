"""People in a tenant: joined, given another role, gone. A tenant always has an owner."""

from __future__ import annotations

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Member, Role, Tenant, User
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.services.roles import role_within_reach


@transaction.atomic
def member_add(tenant: Tenant, user: User, *, role: Role, actor: Actor) -> Member:
    """Let ``user`` into the tenant."""
    actor.require(Permission.MEMBER_MANAGE)
    role_within_reach(actor, role)
    if Member.objects.filter(tenant=tenant).count() >= settings.CAPS["members"]:
        raise Conflict(_("This project has as many members as it can have."), code="too_many_members")
    try:
        with transaction.atomic():
            member: Member = Member.objects.create(tenant=tenant, user=user, role=role)
    except IntegrityError as error:
        raise Conflict(_("They are a member already."), code="already_member", hint="") from error
    audit_record(actor, "member.add", member, member=user.email, role=role.name)
    event_append(tenant, "member.changed", "member", member.pk)
    return member


@transaction.atomic
def member_set_role(member: Member, *, role: Role, actor: Actor) -> Member:
    """Give a member another role; what they hold open is checked again at once."""
    actor.require(Permission.MEMBER_MANAGE, member)
    role_within_reach(actor, member.role)
    role_within_reach(actor, role)
    if member.role_id == role.pk:
        return member
    before = member.role.name
    _keep_an_owner(member)
    member.role = role
    member.version += 1
    member.save(update_fields=["role", "version"])
    audit_record(actor, "member.role", member, member=member.user.email, role=[before, role.name])
    event_append(member.tenant, "member.changed", "member", member.pk)
    announce("access.revoked", user=member.user, tenant=member.tenant, session="", reason="role changed")
    return member


@transaction.atomic
def member_remove(member: Member, *, actor: Actor) -> None:
    """Take a member out; leaving by oneself needs no permission."""
    leaving = actor.user is not None and actor.user.pk == member.user_id and actor.via != "token"
    if not leaving:
        actor.require(Permission.MEMBER_MANAGE, member)
        role_within_reach(actor, member.role)
    _keep_an_owner(member)
    audit_record(actor, "member.remove", member, member=member.user.email, role=member.role.name)
    event_append(member.tenant, "member.changed", "member", member.pk)
    announce("access.revoked", user=member.user, tenant=member.tenant, session="", reason="membership ended")
    member.delete()


def _keep_an_owner(member: Member) -> None:
    """Raise ``Conflict`` if taking this member's role would leave the tenant without an owner."""
    if member.role.name != "owner" or member.role.tenant_id is not None:
        return
    owners = Member.objects.select_for_update().filter(role=member.role).values_list("pk", flat=True)
    if set(owners) <= {member.pk}:
        raise Conflict(_("A project needs an owner."), code="last_owner", hint=_("Make somebody else an owner first."))
