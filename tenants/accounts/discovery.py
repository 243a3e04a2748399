"""Whether a provider is there: asked before an operator adds one, so that a slip of the pen is found at once."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from requests import RequestException, Response

from portal.core.errors import FieldError, Invalid
from portal.core.reach import NotReached, resolve
from tenants.accounts.outbound import ProviderSession
from tenants.actors import Actor
from tenants.policy import Permission
from tenants.services.sign_in_providers import WELL_KNOWN, issuer_faults, issuer_of, origin_of

NEEDED: Final = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")


def provider_look(issuer: str, *, private: bool, actor: Actor) -> None:
    """Read the description of the provider at ``issuer``; ``private`` lets us look inside our own networks.

    Raises ``Invalid`` where we do not go there, nobody answers, or what answers is no provider of that address.
    """
    actor.require(Permission.OPERATE)
    issuer = issuer_of(issuer)
    if faults := issuer_faults(issuer, private=private):
        raise Invalid(errors=faults)
    parts = urlsplit(issuer)
    try:
        resolve(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), allow_private=private)
    except NotReached as error:
        raise _refusal(error.code, error.sentence) from error
    try:
        with ProviderSession([origin_of(issuer)] if private else []) as session:
            answer = session.get(issuer + WELL_KNOWN)
            _check(answer, issuer)
    except RequestException as error:
        raise _refusal("provider_silent", _("Nobody answers there as a provider does.")) from error


def _check(answer: Response, issuer: str) -> None:
    """Raises ``Invalid`` unless it is the description of the provider at ``issuer``."""
    said = answer.json() if answer.status_code == 200 else None
    if not isinstance(said, dict) or not isinstance(said.get("issuer"), str):
        raise _refusal("provider_silent", _("Nobody answers there as a provider does."))
    if issuer_of(said["issuer"]) != issuer:
        words = _("The provider calls itself %s; enter that address.") % said["issuer"][:200]
        raise _refusal("issuer_differs", words)
    if lacking := [name for name in NEEDED if not isinstance(said.get(name), str)]:
        raise _refusal("provider_incomplete", _("Its description names no %s.") % ", ".join(lacking))


def _refusal(code: str, words: str) -> Invalid:
    return Invalid(errors=[FieldError("/issuer", code, words)])
