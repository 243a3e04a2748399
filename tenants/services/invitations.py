"""Invitations: an address is asked to join; whoever has the letter's link may accept or decline, once, until it ends.

Nothing here answers, or takes time, differently for an address that has an account: the letter alone tells its reader.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.clock import now
from portal.core.errors import Conflict, Missing, TooMany
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Invitation, Letter, Member, NoticeKind, Role, Tenant, User
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.letters import address_check, letter_write
from tenants.services.members import could_send, member_join, people_lock
from tenants.services.notices import notice_send, one_line
from tenants.services.people import person_make
from tenants.services.roles import role_keep, role_within_reach

LIFE: Final = timedelta(days=7)
PAUSE: Final = timedelta(minutes=5)
"""Between two letters to one address: an invitation is no way to fill somebody's mailbox."""
LETTERS_A_DAY: Final = 5
"""To one address, whoever sends them and from whichever tenant."""
PAUSE_AFTER_NO: Final = timedelta(days=1)
"""Who has declined is not asked again by the same tenant sooner than that."""
KEPT: Final = timedelta(days=90)
"""How long one that has ended stays in the list."""


class InvitationOver(Missing):
    """Used, ended, revoked or never made: the link's holder learns no more than that."""

    code = "invitation_over"
    message = gettext_lazy("This invitation can no longer be used.")
    hint = gettext_lazy("Ask whoever sent it for a new one.")


@transaction.atomic
def invitation_send(tenant: Tenant, *, email: str, role: Role, actor: Actor) -> Invitation:
    """Ask ``email`` to join with ``role``, which may be no more than the actor's own.

    Raises ``Conflict`` for a member, for an address that has a living invitation, and for too many of them; ``TooMany`` for
    too many letters.
    """
    actor.require(Permission.MEMBER_MANAGE)
    role_within_reach(actor, role)
    email = email.strip().lower()
    address_check(email)
    people_lock(tenant)
    if Member.objects.filter(tenant=tenant, user__email=email).exists():
        raise Conflict(_("They are a member already."), code="already_member", hint="")
    invitation = Invitation.objects.filter(tenant=tenant, email=email, accepted_at=None, revoked_at=None).first()
    if invitation is not None and invitation.expires_at > now():
        raise Conflict(
            _("This address has been invited already."),
            code="already_invited",
            hint=_("Send the invitation again, or revoke it first."),
        )
    if _open(tenant).count() >= settings.CAPS["invitations"]:
        raise Conflict(
            _("This project has as many open invitations as it can have."),
            code="too_many_invitations",
            hint=_("Revoke some of them first."),
        )
    invitation = invitation or Invitation(tenant=tenant, email=email)
    invitation.role = role
    _post(invitation, actor, "invitation.send")
    return invitation


@transaction.atomic
def invitation_resend(invitation: Invitation, *, actor: Actor) -> Invitation:
    """A new letter with a new link, for another week; the old link is dead. Raises ``Conflict`` for one that has ended."""
    actor.require(Permission.MEMBER_MANAGE, invitation)
    people_lock(invitation.tenant)
    invitation = _again(invitation)
    role_within_reach(actor, invitation.role)
    _post(invitation, actor, "invitation.resend")
    return invitation


@transaction.atomic
def invitation_revoke(invitation: Invitation, *, actor: Actor) -> Invitation:
    """The link is dead. Raises ``Conflict`` for one that has ended."""
    actor.require(Permission.MEMBER_MANAGE, invitation)
    people_lock(invitation.tenant)
    invitation = _again(invitation)
    role_within_reach(actor, invitation.role)
    invitation.revoked_at = now()
    invitation.version += 1
    invitation.save(update_fields=["revoked_at", "version"])
    _written_down(invitation, actor, "invitation.revoke")
    return invitation


def invitation_by_secret(secret: str) -> Invitation:
    """The living invitation of a letter's link; raises ``InvitationOver`` for any other."""
    return _living(Q(digest=_digest(secret)))


def invitation_to(user: User, pk: UUID) -> Invitation:
    """A living invitation to an address that is proven to be ``user``'s; raises ``InvitationOver`` for any other."""
    return _living(Q(pk=pk, email__in=addresses_of(user)))


def invitations_to(user: User) -> list[Invitation]:
    """The living invitations to ``user``'s proven addresses."""
    with every_tenant(why="an invitation comes before its tenant"):
        rows = _alive().filter(email__in=addresses_of(user)).exclude(pk__in=_of_members(user))
        return list(rows.order_by("-created_at"))


def addresses_of(user: User) -> set[str]:
    """The addresses that somebody has shown to be theirs, in small letters."""
    rows = EmailAddress.objects.filter(user=user, verified=True)
    return {email.lower() for email in rows.values_list("email", flat=True)}


@transaction.atomic
def invitation_accept(invitation: Invitation, user: User, *, facts: Actor) -> Member:
    """``user`` joins; ``facts`` says through what they came. Who is a member stays what they are. Safe to repeat.

    Raises ``InvitationOver`` unless it is alive and whoever sent it could send it today.
    """
    with tenant_scope(invitation.tenant):
        people_lock(invitation.tenant)
        row = _alive().filter(pk=invitation.pk, digest=invitation.digest).first()
        if row is None or not _still_offered(row):
            raise InvitationOver
        actor = replace(facts, user=user, tenant=row.tenant, permissions=frozenset())
        member = Member.objects.filter(tenant=row.tenant, user=user).select_related("role").first()
        if member is None:
            member = member_join(row.tenant, user, role=row.role, actor=actor)
        row.accepted_at, row.accepted_by = now(), user
        row.version += 1
        row.save(update_fields=["accepted_at", "accepted_by", "version"])
        _written_down(row, actor, "invitation.accept")
        _tell_sender(
            row,
            format_lazy(gettext_lazy("{who} has joined {tenant}"), who=user.label, tenant=row.tenant.name),
            text="" if user.email == row.email else _accepted_elsewhere(row, user),
        )
        return member


@transaction.atomic
def invitation_accept_new(invitation: Invitation, *, name: str, password: str, facts: Actor) -> Member:
    """The same for somebody without an account: the link has proven the address. Raises ``Conflict`` if it has one."""
    user = person_make(email=invitation.email, password=password, name=one_line(name)[:100])
    return invitation_accept(invitation, user, facts=facts)


@transaction.atomic
def invitation_decline(invitation: Invitation, user: User | None, *, facts: Actor) -> None:
    """Whoever was invited does not want to; ``user`` is None for a link's holder who is not signed in.

    The link is dead, and whoever sent it is told. Raises ``InvitationOver`` unless it is alive.
    """
    with tenant_scope(invitation.tenant):
        people_lock(invitation.tenant)
        row = _alive().filter(pk=invitation.pk, digest=invitation.digest).first()
        if row is None:
            raise InvitationOver
        row.revoked_at, row.declined = now(), True
        row.version += 1
        row.save(update_fields=["revoked_at", "declined", "version"])
        who = row.email if user is None else ""
        actor = replace(facts, user=user, tenant=row.tenant, permissions=frozenset(), name=who)
        _written_down(row, actor, "invitation.decline")
        words = gettext_lazy("{who} does not want to join {tenant}")
        _tell_sender(row, format_lazy(words, who=row.email, tenant=row.tenant.name))


def has_account(invitation: Invitation) -> bool:
    """Is its address somebody's who signs in here? Asked for a link's holder, who has proven the address."""
    return (
        User.objects.filter(email__iexact=invitation.email).exists()
        or EmailAddress.objects.filter(email__iexact=invitation.email, verified=True).exists()
    )


def invitations_forget(*, at: datetime) -> int:
    """Let go of invitations that ended long ago."""
    with every_tenant(why="retention of invitations"):
        return Invitation.objects.filter(expires_at__lt=at - KEPT).delete()[0]


def _post(invitation: Invitation, actor: Actor, action: str) -> None:
    """A new secret, a week from now, a letter."""
    role_keep(invitation.role)
    _check_pace(invitation)
    secret, at = secrets.token_urlsafe(32), now()
    invitation.digest, invitation.sent_at, invitation.expires_at = _digest(secret), at, at + LIFE
    invitation.invited_by, invitation.sent_with_id = actor.user, UUID(actor.token_id) if actor.token_id else None
    if not invitation._state.adding:
        invitation.version += 1
    invitation.save()
    tenant = invitation.tenant
    context = {
        "who": one_line(actor.user.label if actor.user is not None else actor.label),
        "tenant": one_line(tenant.name),
        "role": invitation.role.name,
        "link": settings.PUBLIC_URL + reverse("tenants:invitation", args=[secret]),
        "days": LIFE.days,
    }
    with translation.override(tenant.language):
        subject = _("%(who)s invites you to %(tenant)s") % context
        letter_write(
            to=invitation.email,
            subject=one_line(subject),
            body=render_to_string("mail/invitation.txt", context),
            invites=True,
        )
    _written_down(invitation, actor, action)


def _check_pace(invitation: Invitation) -> None:
    at = now()
    last = Invitation.objects.filter(tenant=invitation.tenant, email=invitation.email).order_by("-sent_at").first()
    if last is not None and last.declined and last.revoked_at is not None:
        words = _("They have just declined an invitation of this project.")
        _wait_until(last.revoked_at + PAUSE_AFTER_NO, at, words)
    if last is not None:
        _wait_until(last.sent_at + PAUSE, at, _("This address was written to just now."))
    _check_mailbox(invitation.email, at)
    today = Invitation.objects.filter(tenant=invitation.tenant, sent_at__gt=at - timedelta(days=1))
    if today.count() >= settings.CAPS["invitations"]:
        raise TooMany(_("This project has sent as many invitations as it can in a day."), retry_after_s=3600)


def _check_mailbox(email: str, at: datetime) -> None:
    """Not more than a few a day, of all tenants together; two that send at once may both be the last."""
    day = timedelta(days=1)
    letters = Letter.objects.filter(to=email, invites=True, created_at__gt=at - day).order_by("-created_at")
    newest = list(letters.values_list("created_at", flat=True)[:LETTERS_A_DAY])
    if len(newest) == LETTERS_A_DAY:
        _wait_until(newest[-1] + day, at, _("This address has been sent as many invitations as it can be in a day."))


def _wait_until(moment: datetime, at: datetime, words: str) -> None:
    if at < moment:
        raise TooMany(words, retry_after_s=int((moment - at).total_seconds()) + 1)


def _written_down(invitation: Invitation, actor: Actor, action: str) -> None:
    audit_record(
        actor, action, invitation, tenant=invitation.tenant, member=invitation.email, role=invitation.role.name
    )
    event_append(invitation.tenant, "invitation.changed", "invitation", invitation.pk)


def _again(invitation: Invitation) -> Invitation:
    """As it stands now that nobody else can change it; raises ``Conflict`` if it has ended."""
    rows = Invitation.objects.select_related("role", "tenant")
    row = rows.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).first()
    if row is None:
        raise Conflict(_("This invitation has ended already."), code="invitation_ended", hint="")
    return row


def _open(tenant: Tenant) -> QuerySet[Invitation]:
    return Invitation.objects.filter(tenant=tenant, accepted_at=None, revoked_at=None, expires_at__gt=now())


def _alive() -> QuerySet[Invitation]:
    rows = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=now(), tenant__state="active")
    return rows.select_related("tenant", "role", "invited_by", "sent_with__role")


def _living(which: Q) -> Invitation:
    with every_tenant(why="an invitation comes before its tenant"):
        row = _alive().filter(which).first()
        if row is None or not _still_offered(row):
            raise InvitationOver
        return row


def _of_members(user: User) -> QuerySet[Invitation, UUID]:
    """Invitations to tenants that ``user`` belongs to already."""
    mine = Member.objects.filter(user=user).values("tenant")
    return Invitation.objects.filter(tenant__in=mine).values_list("pk", flat=True)


def _still_offered(invitation: Invitation) -> bool:
    """Could whoever sent it send it today, and with the token they came with, if they did? The portal itself could."""
    sender, token = invitation.invited_by, invitation.sent_with
    if token is not None and not token.is_alive(now()):
        return False
    if sender is None:
        return token is None or token.role is None or could_send(token.role, invitation.role)
    if sender.is_staff and sender.is_active:
        return True
    member = Member.objects.filter(tenant=invitation.tenant, user=sender).select_related("role").first()
    return member is not None and sender.is_active and could_send(member.role, invitation.role)


def _tell_sender(invitation: Invitation, subject: str | Promise, *, text: str | Promise = "") -> None:
    """A notice to whoever sent it, if they are still a member."""
    sender = invitation.invited_by
    if sender is None or not Member.objects.filter(tenant=invitation.tenant, user=sender).exists():
        return
    notice_send(
        invitation.tenant,
        [sender],
        NoticeKind.INVITATION,
        subject=subject,
        text=text,
        url=reverse("tenants:member_list", args=[invitation.tenant.slug]),
    )


def _accepted_elsewhere(invitation: Invitation, user: User) -> str | Promise:
    words = gettext_lazy("The invitation was sent to {invited}; {email} accepted it.")
    return format_lazy(words, invited=invitation.email, email=user.email)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
