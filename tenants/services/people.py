"""People who can sign in, as operators make them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import available_timezones

from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.models import User
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.services.account_log import account_note
from tenants.services.letters import address_check
from tenants.services.notices import security_notice


def password_make() -> str:
    """A random password of 120 bits, easy to copy."""
    return secrets.token_urlsafe(15)


@transaction.atomic
def user_create(*, email: str, password: str, actor: Actor, name: str = "", operator: bool = False) -> User:
    """A person with a verified address; ``operator`` runs the installation."""
    actor.require(Permission.OPERATE)
    user = person_make(email=email, password=password, name=name, operator=operator)
    audit_record(actor, "person.create", user, email=user.email, operator=operator)
    return user


@transaction.atomic
def person_make(*, email: str, password: str | None, name: str = "", operator: bool = False) -> User:
    """The rows of a person whose address has been proven, or is vouched for; whoever calls has made sure of that.

    Without a password they come by single sign-on alone, until they set one.

    Raises ``Invalid`` for what is no address, ``Conflict`` where somebody has it.
    """
    email = email.strip().lower()
    address_check(email)
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, name=name, is_staff=operator, is_superuser=operator)
            EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    except IntegrityError as error:
        raise Conflict(_("Somebody with this address exists."), code="email_taken", hint="") from error
    return user


@transaction.atomic
def profile_edit(user: User, *, name: str, timezone: str, actor: Actor) -> User:
    """Somebody changes what they are called and their time zone; both are their own to choose."""
    name = name.strip()
    if len(name) > 100 or not (name.isprintable() or not name):
        raise Invalid(errors=[FieldError("/name", "invalid_name", _("A name of at most 100 characters is needed."))])
    if timezone not in available_timezones():
        raise Invalid(errors=[FieldError("/timezone", "unknown_timezone", _("There is no such time zone."))])
    before, user.name, user.timezone = (user.name, user.timezone), name, timezone
    user.save(update_fields=["name", "timezone"])
    account_note(actor, "profile", user, name=[before[0], name], timezone=[before[1], timezone])
    return user


def sign_ins_delete(sessions: Sequence[UserSession]) -> None:
    """Take away these browser sessions and what is known of them; whoever calls has said who loses what is open."""
    Session.objects.filter(pk__in=[session.session_key for session in sessions]).delete()
    UserSession.objects.filter(pk__in=[session.pk for session in sessions]).delete()


def sign_ins_forget(*, at: datetime) -> int:
    """Let go of browser sessions that ran out, begun and never finished sign-ins among them; how many."""
    old = Session.objects.filter(expire_date__lt=at)
    UserSession.objects.filter(session_key__in=old.values("session_key")).delete()
    return old.delete()[0]


@transaction.atomic
def password_set(user: User, *, password: str, actor: Actor) -> None:
    """An operator gives somebody a new password: every sign-in and console under the old one ends (P-F5)."""
    actor.require(Permission.OPERATE)
    user.set_password(password)
    user.save(update_fields=["password"])
    audit_record(actor, "user.password", user, person=user.email)
    security_notice(
        user,
        subject=gettext_lazy("An operator gave your account a new password"),
        text=gettext_lazy("Every sign-in under the old one has ended. Did you not ask for it? Ask your operator why."),
    )
    announce("access.revoked", user=user, tenant=None, session="", reason="password changed")
