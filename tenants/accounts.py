"""How the accounts library fits this house: people are invited or made by operators, never sign up by themselves."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.signals import password_changed, password_reset
from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest

from tenants.access import session_mark
from tenants.reactions import announce


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is closed."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


@receiver(user_logged_out)
def _logged_out(request: HttpRequest | None = None, user: object = None, **kwargs: object) -> None:
    """Leaving closes the consoles and live pages of that browser."""
    if request is not None and user is not None:
        mark = getattr(request, "session_mark", "") or session_mark(request.session.session_key)
        announce("access.revoked", user=None, tenant=None, session=mark, reason="signed out")


@receiver([password_changed, password_reset])
def _password_changed(user: object = None, **kwargs: object) -> None:
    """A new password closes everything that was open under the old one."""
    announce("access.revoked", user=user, tenant=None, session="", reason="password changed")
