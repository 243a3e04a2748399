"""Where people are signed in: so many browsers at most, listed and ended at a cost that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from allauth.account.internal.flows.login import get_authentication_records
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _

from portal.core.clock import now
from portal.core.middleware import client_address
from tenants.access import session_mark
from tenants.accounts.browsers import browser_label, see, was_seen
from tenants.actors import Actor
from tenants.models import User
from tenants.reactions import announce
from tenants.services.account_log import account_note, has_signed_in
from tenants.services.notices import security_notice
from tenants.services.people import sign_ins_delete

AT_ONCE: Final = 100
"""How many of too many one sign-in ends: whoever signs in does not wait for all that a flood has left."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """One browser that somebody is signed in with; ``agent`` is what it says of itself."""

    pk: int
    label: str
    agent: str
    address: str
    since: datetime
    is_current: bool


def person_at(request: HttpRequest, user: User | None) -> Actor:
    """``user`` at a browser, about their own account."""
    request_id = getattr(request, "request_id", "")
    return Actor(user, None, frozenset(), "browser", address=client_address(request), request_id=request_id)


def sign_in_remember(request: HttpRequest, user: User, response: HttpResponseBase) -> None:
    """Note where ``user`` signed in just now, and tell them of a browser not seen before.

    Whoever is signed in in too many browsers is signed out in the oldest.
    """
    UserSession.objects.create_from_request(request)
    rows = UserSession.objects.filter(user=user).order_by("-created_at", "-pk")
    most = settings.CAPS["sign_ins"]
    ended = sessions_end(rows[most : most + AT_ONCE])
    label, actor = browser_label(request.headers.get("User-Agent", "")), person_at(request, user)
    if not was_seen(request, user) and has_signed_in(user):
        security_notice(
            user,
            subject=_("You signed in with a browser not seen before"),
            text=_("%(browser)s, from %(address)s. Was it not you? Change your password and sign out everywhere else.")
            % {"browser": label, "address": actor.address},
        )
    see(request, response, user)
    account_note(
        actor, "sign_in", user, ways=ways_of(request, user), browser=label, **({"ended": ended} if ended else {})
    )


def ways_of(request: HttpRequest, user: User) -> list[str]:
    """How somebody got in: ``password``, ``totp``, ``webauthn``, ``recovery_codes``, a provider's id; none by a link."""
    records = get_authentication_records(request, user)
    return [str(each.get("provider") or each.get("type") or each["method"]) for each in records]


@transaction.atomic
def sessions_end(sessions: Iterable[UserSession]) -> int:
    """End these sessions with their consoles and live pages; how many."""
    ended = list(sessions)
    for session in ended:
        announce(
            "access.revoked",
            user=None,
            tenant=None,
            session=session_mark(session.session_key),
            reason="signed out elsewhere",
        )
    sign_ins_delete(ended)
    return len(ended)


def sign_ins_of(user: User, current: str | None) -> list[SignIn]:
    """Where ``user`` is signed in, newest first; two queries. What ran out, or ended with a password, is not there.

    ``current`` is the key of the session that asks.
    """
    rows = UserSession.objects.filter(user=user).order_by("-created_at", "-pk")[: settings.CAPS["sign_ins"]]
    found = {row.session_key: row for row in rows}
    alive = Session.objects.filter(pk__in=found, expire_date__gt=now())
    marks = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    standing = {session.pk for session in alive if _stands(session, marks)}
    return [_shown(row, current) for key, row in found.items() if key in standing]


def _shown(row: UserSession, current: str | None) -> SignIn:
    agent = row.user_agent
    return SignIn(row.pk, browser_label(agent), agent, row.ip, row.created_at, row.session_key == current)


def _stands(session: Session, marks: tuple[str, ...]) -> bool:
    """Does the session belong to the password of today?"""
    mark = session.get_decoded().get(HASH_SESSION_KEY, "")
    return any(constant_time_compare(mark, each) for each in marks)
