"""People in a tenant: joined, given another role, gone. A tenant always has an owner."""

from __future__ import annotations

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import ApiToken, Invitation, Member, NoticeKind, Role, Tenant, User
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.services.notices import notice_send
from tenants.services.roles import role_keep, role_named, role_within_reach
from tenants.services.tokens import service_tokens_of, tokens_end


def people_lock(tenant: Tenant) -> None:
    """Everything that changes who belongs to a tenant goes one after another; locked before any member or invitation."""
    Tenant.objects.select_for_update(no_key=True).filter(pk=tenant.pk).first()


@transaction.atomic
def member_add(tenant: Tenant, user: User, *, role: Role, actor: Actor) -> Member:
    """Let ``user`` into the tenant, without asking them: for operators and the portal itself; others invite."""
    actor.require(Permission.OPERATE)
    return member_join(tenant, user, role=role, actor=actor)


def member_join(tenant: Tenant, user: User, *, role: Role, actor: Actor) -> Member:
    """The membership itself, in the caller's transaction; whoever calls has made sure that ``user`` may join.

    Raises ``Conflict`` for who is a member, and where there are too many.
    """
    people_lock(tenant)
    role_keep(role)
    if Member.objects.filter(tenant=tenant).count() >= settings.CAPS["members"]:
        raise Conflict(_("This project has as many members as it can have."), code="too_many_members")
    try:
        with transaction.atomic():
            member: Member = Member.objects.create(tenant=tenant, user=user, role=role)
    except IntegrityError as error:
        raise Conflict(_("They are a member already."), code="already_member", hint="") from error
    audit_record(actor, "member.add", member, tenant=tenant, member=user.email, role=role.name)
    event_append(tenant, "member.changed", "member", member.pk)
    return member


@transaction.atomic
def member_set_role(member: Member, *, role: Role, actor: Actor) -> Member:
    """Give a member another role; what they hold open is checked again at once."""
    actor.require(Permission.MEMBER_MANAGE, member)
    people_lock(member.tenant)
    member = _again(member)
    role_within_reach(actor, member.role)
    role_within_reach(actor, role)
    if member.role_id == role.pk:
        return member
    role_keep(role)
    _keep_an_owner(member)
    _move(member, role, actor)
    return member


@transaction.atomic
def member_remove(member: Member, *, actor: Actor) -> None:
    """Take a member out; leaving by oneself needs no permission.

    Their tokens of this tenant end with what those made, and the invitations they sent: who comes back later finds nothing open.
    """
    leaving = actor.user is not None and actor.user.pk == member.user_id and actor.via != "token"
    if not leaving:
        actor.require(Permission.MEMBER_MANAGE, member)
    people_lock(member.tenant)
    member = _again(member)
    if not leaving:
        role_within_reach(actor, member.role)
    _keep_an_owner(member)
    tokens_end(ApiToken.objects.filter(tenant=member.tenant, user=member.user, revoked_at=None), actor=actor)
    _end_invitations(_sent_by(member), actor)
    audit_record(actor, "member.remove", member, member=member.user.email, role=member.role.name)
    event_append(member.tenant, "member.changed", "member", member.pk)
    announce("access.revoked", user=member.user, tenant=member.tenant, session="", reason="membership ended")
    member.delete()
    _tell_of_tokens(member.user, member.tenant)


def _tell_of_tokens(gone: User, tenant: Tenant) -> None:
    """The owners hear which of the tenant's own tokens somebody who is gone has made: they may have kept the text."""
    names = list(service_tokens_of(gone, tenant).order_by("name").values_list("name", flat=True))
    if not names:
        return
    notice_send(
        tenant,
        Permission.OWNER_MANAGE,
        NoticeKind.SECURITY,
        subject=format_lazy(
            gettext_lazy("{who} has left and made tokens of {tenant}"), who=gone.label, tenant=tenant.name
        ),
        text=format_lazy(
            gettext_lazy("They may have kept the text of: {names}. Renew these tokens, or revoke them."),
            names=", ".join(names),
        ),
        url=f"/t/{tenant.slug}/tokens/",
    )


@transaction.atomic
def ownership_transfer(member: Member, *, actor: Actor) -> Member:
    """``member`` becomes an owner, and the owner who says so an admin, in one step."""
    actor.require(Permission.OWNER_MANAGE, member)
    people_lock(member.tenant)
    mine = _of(member.tenant).filter(user=actor.user, role__name="owner", role__tenant=None).first()
    if mine is None:
        raise Conflict(_("Only an owner can hand the project over."), code="not_an_owner", hint="")
    member = _again(member)
    if member.pk == mine.pk:
        raise Conflict(_("You are an owner already."), code="owner_already", hint="")
    if member.role_id != mine.role_id:
        _move(member, mine.role, actor)
    _move(mine, role_named("admin"), actor)
    return member


def _of(tenant: Tenant) -> QuerySet[Member]:
    return Member.objects.filter(tenant=tenant).select_related("user", "role", "tenant")


def _again(member: Member) -> Member:
    """As it stands now that nobody else can change it; raises ``Conflict`` if it has gone meanwhile."""
    row = _of(member.tenant).filter(pk=member.pk).first()
    if row is None:
        raise Conflict(_("They are no longer a member."), code="not_a_member", hint="")
    return row


def _move(member: Member, role: Role, actor: Actor) -> None:
    before, member.role = member.role, role
    member.version += 1
    member.save(update_fields=["role", "version"])
    beyond = [invitation for invitation in _sent_by(member) if not could_send(role, invitation.role)]
    _end_invitations(beyond, actor)
    audit_record(actor, "member.role", member, member=member.user.email, role=[before.name, role.name])
    event_append(member.tenant, "member.changed", "member", member.pk)
    announce("access.revoked", user=member.user, tenant=member.tenant, session="", reason="role changed")


def could_send(role: Role, offered: Role) -> bool:
    """May a member with ``role`` invite to ``offered``?"""
    held = {*role.permissions}
    needed = {Permission.MEMBER_MANAGE.value, *offered.permissions, *offered.tagged}
    if offered.name == "owner" and offered.tenant_id is None:
        needed.add(Permission.OWNER_MANAGE.value)
    return needed <= held


def _sent_by(member: Member) -> list[Invitation]:
    rows = Invitation.objects.filter(tenant=member.tenant, invited_by=member.user, accepted_at=None, revoked_at=None)
    return list(rows.select_related("role"))


def _end_invitations(invitations: list[Invitation], actor: Actor) -> None:
    """What somebody offered ends with their right to offer it."""
    for invitation in invitations:
        invitation.revoked_at = now()
        invitation.version += 1
        invitation.save(update_fields=["revoked_at", "version"])
        audit_record(actor, "invitation.revoke", invitation, member=invitation.email, role=invitation.role.name)
        event_append(invitation.tenant, "invitation.changed", "invitation", invitation.pk)


def _keep_an_owner(member: Member) -> None:
    """Raise ``Conflict`` if taking this member's role would leave the tenant without an owner who can sign in."""
    if member.role.name != "owner" or member.role.tenant_id is not None:
        return
    others = Member.objects.filter(tenant=member.tenant, role=member.role, user__is_active=True)
    if not others.exclude(pk=member.pk).exists():
        raise Conflict(_("A project needs an owner."), code="last_owner", hint=_("Make somebody else an owner first."))
