"""OpenID Connect, as the accounts library speaks it: what we believe of what a provider says."""

from __future__ import annotations

from typing import Any, Final

from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp, SocialLogin
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, Forbidden
from portal.core.sealed import unseal
from tenants.accounts.outbound import ProviderSession
from tenants.accounts.sessions import person_at
from tenants.listings import providers
from tenants.services.account_log import account_note
from tenants.services.sign_in import NotVouchedFor, person_vouched_for
from tenants.services.sign_in_providers import is_open, issuer_of, origin_of

NONCE: Final = "nonce"
"""What a token must repeat of our question; lies in the session of the browser that asked."""


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """A provider's word opens what ``tenants.services.sign_in`` says it opens; nothing is joined to an account by hand."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def authenticate_by_email(self, sociallogin: SocialLogin) -> None:
        """Never by the library: ``pre_social_login`` finds the account, with more care."""

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[SocialApp]:
        found: list[SocialApp] = super().list_apps(request, provider=provider, client_id=client_id)
        apps = [app for app in found if is_open(app)]
        for app in apps:
            if sealed := app.settings.get("sealed_secret"):
                app.secret = unseal(sealed)
        return apps

    def get_requests_session(self) -> ProviderSession:
        """The way out to providers: into our own networks only to those that an operator said are there."""
        private = providers().filter(settings__private=True)
        return ProviderSession(origin_of(app.settings["server_url"]) for app in private)

    @transaction.atomic
    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Whom the provider means: an account that is there or made now, tied to this identity from then on."""
        if sociallogin.state.get("process") != AuthProcess.LOGIN:
            raise Forbidden(_("Accounts are not joined by hand."), code="sign_in_only", hint="")
        app = sociallogin.provider.app
        known = sociallogin.user if sociallogin.is_existing else None
        email, name = _claims(sociallogin, app)
        user = person_vouched_for(app, email=email, name=name, known=known)
        if known is not None:
            return
        sociallogin.user = user
        try:
            with transaction.atomic():
                sociallogin.save(request, connect=True)
        except IntegrityError as error:
            raise Conflict(_("You signed in twice at once."), code="sign_in_twice", hint=_("Try again.")) from error
        account_note(person_at(request, user), "sign_on_link", user, provider=app.provider_id)


def _claims(sociallogin: SocialLogin, app: SocialApp) -> tuple[str, str]:
    """The address and name that the provider vouches for; raises ``NotVouchedFor`` where it did not verify the address.

    The library has compared the token's issuer with what the provider's description says of itself, and its audience with
    us. Left to us: that it is the provider we were told of, the answer to what this browser asked, and of one person.
    The library takes any true value for verified, and the text ``"false"`` is one: some providers send it.
    """
    said = sociallogin.account.extra_data
    token, claims = said.get("id_token") or {}, said.get("userinfo") or {}
    asked = (sociallogin.state.get("data") or {}).get(NONCE)
    if issuer_of(str(token.get("iss"))) != app.settings["server_url"] or not asked or token.get("nonce") != asked:
        raise NotVouchedFor
    if not token.get("sub") or claims.get("sub") != token["sub"]:
        raise NotVouchedFor
    email = str(claims.get("email") or "").strip().lower()
    if not email or not email.isascii() or claims.get("email_verified") not in (True, "true"):
        raise NotVouchedFor(
            _("Your organisation's sign-on has not verified your address."), code="address_not_verified"
        )
    return email, str(claims.get("name") or "")
