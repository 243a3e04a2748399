"""What follows when somebody signs out, changes a password or a factor: open consoles and live pages hear of it."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.signals import email_changed, password_changed, password_reset
from allauth.account.signals import user_logged_in as account_logged_in
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.internal.flows.sessions import end_other_sessions
from allauth.usersessions.models import UserSession
from allauth.usersessions.signals import on_user_logged_in
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.contrib.sessions.models import Session
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase

from tenants.access import session_mark
from tenants.accounts.sessions import sessions_end, sign_in_remember
from tenants.actors import system_actor
from tenants.models import User
from tenants.reactions import announce, reacts
from tenants.services.account_log import account_note
from tenants.services.second_factor import factor_gone, has_second_factor


@receiver(user_logged_in)
def _signed_in(request: HttpRequest | None = None, **kwargs: object) -> None:
    """What was begun in a short-lived session goes on in one that is remembered."""
    if request is not None and hasattr(request, "session"):
        request.session.set_expiry(settings.SESSION_COOKIE_AGE)


@receiver(account_logged_in)
def _remembered(request: HttpRequest, user: User, response: HttpResponseBase, **kwargs: object) -> None:
    """In the place of the library's own, which looks at every session of a person one by one."""
    sign_in_remember(request, user, response)


account_logged_in.disconnect(on_user_logged_in)


@receiver(user_logged_out)
def _signed_out(request: HttpRequest | None = None, user: object = None, **kwargs: object) -> None:
    """Leaving closes the consoles and live pages of that browser."""
    if request is not None and user is not None:
        mark = getattr(request, "session_mark", "") or session_mark(request.session.session_key)
        announce("access.revoked", user=None, tenant=None, session=mark, reason="signed out")


@receiver([password_changed, password_reset])
def _password_changed(user: object = None, **kwargs: object) -> None:
    """A new password closes everything that was open under the old one."""
    announce("access.revoked", user=user, tenant=None, session="", reason="password changed")


@receiver(email_changed)
def _email_changed(request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Whoever knew the old address's letters is out."""
    end_other_sessions(request, user)


@reacts("sign_in_provider.closed")
def _provider_closed(provider: str) -> None:
    """Whoever came by a provider that vouches for nobody any more is out where they came by it."""
    people = SocialAccount.objects.filter(provider=provider).values("user")
    rows = {row.session_key: row for row in UserSession.objects.filter(user__in=people).select_related("user")}
    came = [rows[each.session_key] for each in Session.objects.filter(pk__in=rows) if _came_by(each, provider)]
    sessions_end(came)
    for user in {row.user_id: row.user for row in came}.values():
        ended = sum(row.user_id == user.pk for row in came)
        account_note(system_actor(None, why="sign-on"), "sign_ins_end", user, ended=ended, provider=provider)


def _came_by(session: Session, provider: str) -> bool:
    ways = session.get_decoded().get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    return any(way.get("method") == "socialaccount" and way.get("provider") == provider for way in ways)


@receiver(authenticator_added)
def _factor_added(request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    """Sessions that passed without the new factor end, and this one gets another key."""
    if authenticator.type == Authenticator.Type.RECOVERY_CODES:
        return
    end_other_sessions(request, user)
    request.session.cycle_key()
    UserSession.objects.create_from_request(request)


@receiver(authenticator_removed)
def _factor_removed(user: User, **kwargs: Any) -> None:
    """Without a second factor nothing stays open where one is required."""
    if not has_second_factor(user):
        factor_gone(user)
