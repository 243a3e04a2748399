"""Where people are signed in: so many browsers at most, listed and ended at a cost that does not grow with them."""

from __future__ import annotations

from typing import Final

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from portal.core.clock import now
from tenants.accounts.adapters import UserSessionsAdapter
from tenants.models import User

AT_ONCE: Final = 100
"""How many of too many one sign-in ends: whoever signs in does not wait for all that a flood has left."""


def sign_in_remember(request: HttpRequest, user: User) -> None:
    """Note where ``user`` signed in just now; whoever is signed in in too many browsers is signed out in the oldest."""
    UserSession.objects.create_from_request(request)
    rows = UserSession.objects.filter(user=user).order_by("-created_at", "-pk")
    most = settings.CAPS["sign_ins"]
    UserSessionsAdapter().end_sessions(list(rows[most : most + AT_ONCE]))


def sign_ins_of(user: User) -> list[UserSession]:
    """Where ``user`` is signed in, newest first; two queries. What ran out, or ended with a password, is not there."""
    rows = UserSession.objects.filter(user=user).order_by("-created_at", "-pk")[: settings.CAPS["sign_ins"]]
    found = {row.session_key: row for row in rows}
    alive = Session.objects.filter(pk__in=found, expire_date__gt=now())
    marks = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    standing = {session.pk for session in alive if _stands(session, marks)}
    return [row for key, row in found.items() if key in standing]


def _stands(session: Session, marks: tuple[str, ...]) -> bool:
    """Does the session belong to the password of today?"""
    mark = session.get_decoded().get(HASH_SESSION_KEY, "")
    return any(constant_time_compare(mark, each) for each in marks)
