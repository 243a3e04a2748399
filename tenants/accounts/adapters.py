"""What the accounts library asks of us: who may sign up, where letters go, where addresses of pages begin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core.internal import ratelimit
from allauth.core.internal.ratelimit import truncate_ip
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.core.middleware import client_address
from portal.core.sealed import seal, unseal
from tenants.accounts.sessions import person_at, sessions_end
from tenants.models import User
from tenants.services.account_log import account_note, failure_tell
from tenants.services.letters import letter_write
from tenants.services.notices import security_notice

ANYWHERE: Final = "login_failed_anywhere"
"""The rate of failed tries of one account from all addresses together."""
CHANGES: Final[dict[str, Promise]] = {
    "password_changed": _("Your password was changed"),
    "password_set": _("Your account has a password now"),
    "password_reset": _("Your password was changed by a link in a letter"),
    "email_changed": _("You sign in with another address now"),
    "email_deleted": _("An address was taken off your account"),
    "totp_activated": _("An authenticator app was set up"),
    "totp_deactivated": _("Your authenticator app was switched off"),
    "webauthn_added": _("A passkey was added"),
    "webauthn_removed": _("A passkey was removed"),
    "recovery_codes_generated": _("New recovery codes were made"),
    "account_connected": _("You can sign in through your organisation now"),
    "account_disconnected": _("You no longer sign in through your organisation"),
}
"""What the library tells of, by the name of its letter."""


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up is closed; letters are written, not sent; links begin with our own address, whatever a Host header says."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _("This address and password do not belong together."),
        "too_many_login_attempts": _("Too many tries from here. Wait a few minutes, then try again."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address as the audit log has it: a header counts only where a proxy of ours wrote it."""
        return client_address(request) or "0.0.0.0"

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Write the letter; a worker sends it. So an answer takes no longer where there is somebody to write to."""
        if template_prefix == "account/email/unknown_account":
            _work_of_a_link(email)
        message = self.render_mail(template_prefix, email, {"email": email, "portal": settings.PUBLIC_URL, **context})
        letter_write(to=email, subject=str(message.subject), body=str(message.body))

    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Tell somebody of a change to their account, in the portal and by mail; of a new address, the old one."""
        subject = CHANGES[template_prefix.rpartition("/")[2]]
        facts = {"address": self.get_client_ip(self.request), "agent": self.get_http_user_agent(self.request)[:200]}
        text = (
            _("It was asked for from %(address)s, with this browser: %(agent)s. Was it not you? Tell your operator.")
            % facts
        )
        if email is None or email == user.email:
            security_notice(user, subject=subject, text=text)
            return
        letter_write(to=email, subject=str(subject), body=f"{text}\n\n{settings.PUBLIC_URL}\n")

    def get_reset_password_from_key_url(self, key: str) -> str:
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return f"{settings.PUBLIC_URL}{path.replace('UID-KEY', quote(key))}"

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Asks of somebody known what the library asked only of an unknown address: no answer tells by its time (P-C13)."""
        super().authentication_failed(request, **credentials)
        email = str(credentials.get("email", "")).lower()
        if EmailAddress.objects.filter(email=email, verified=True).exists():
            User.objects.filter(email=email).first()
        failure_tell(email, address=self.get_client_ip(request), request_id=person_at(request, None).request_id)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Failed tries count by address *and* account, so that nobody locks anybody else out (Keystone CVE-2021-38155)."""
        login = str(credentials.get("email", "")).lower()
        return f"{truncate_ip(self.get_client_ip(request))}:{login}"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Beside that, all addresses together try one account so often an hour, since whoever has a /48 has 65,536 of them.

        That slows an account's strangers, not its owner: an address that is signed in to it goes on as before, and so do
        passkeys, single sign-on and a new password by letter.
        """
        super().pre_authenticate(request, **credentials)
        login = str(credentials.get("email", "")).lower()
        self._anywhere = ratelimit.consume(request, app="allauth.account", action=ANYWHERE, key=login)
        if self._anywhere is None and not _signs_in_from(login, self.get_client_ip(request)):
            raise self.validation_error("too_many_login_attempts")

    def _rollback_login_failed_rl_usage(self) -> None:
        super()._rollback_login_failed_rl_usage()
        if self._anywhere is not None:
            self._anywhere.rollback()

    def _delete_login_attempts_cached_email(self, request: HttpRequest, **credentials: Any) -> None:
        super()._delete_login_attempts_cached_email(request, **credentials)
        login = str(credentials.get("email", "")).lower()
        ratelimit.clear(request, app="allauth.account", action=ANYWHERE, key=login)


def _signs_in_from(login: str, address: str) -> bool:
    """Is somebody signed in to that account from that address (of IPv6, from its /64) already? One query, whoever it is."""
    addresses = UserSession.objects.filter(user__email=login).values_list("ip", flat=True)
    return truncate_ip(address) in {truncate_ip(known) for known in addresses}


def _work_of_a_link(email: str) -> None:
    """What making a link for somebody known costs beyond what looking for nobody does: no answer tells by its time (P-C13).

    Two looks at their addresses and a signature; ``tests/tenants/accounts/test_enumeration.py`` counts along.
    """
    for _look in range(2):
        EmailAddress.objects.filter(email=email).first()
    default_token_generator.make_token(User(email=email))


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets of authenticator apps and recovery codes are sealed; passkeys are for the address people know us by."""

    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal(encrypted_text)

    def get_totp_issuer(self) -> str:
        return f"Guesthouse {urlsplit(settings.PUBLIC_URL).hostname}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {"id": urlsplit(settings.PUBLIC_URL).hostname or "", "name": "Guesthouse"}

    def generate_authenticator_name(self, user: Any, type: Any) -> str:  # noqa: A002  (the library's name for it)
        return ""


class UserSessionsAdapter(DefaultUserSessionsAdapter):
    """A session that is ended takes its consoles and live pages with it, and is written down."""

    @transaction.atomic
    def end_sessions(self, sessions: Iterable[UserSession]) -> None:
        """Whoever asks ends sessions of their own: the library knows of no others'."""
        user = self.request.user
        if ended := sessions_end(sessions):
            account_note(person_at(self.request, user), "sign_ins_end", user, ended=ended)
