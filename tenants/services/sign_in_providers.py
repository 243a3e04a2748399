"""OpenID Connect providers, as operators keep them.

A provider is allauth's ``SocialApp``. Its ``settings`` hold, beside what the library reads: ``vouches_for`` (``"everybody"``
for the installation's own provider; any other vouches only for the domains in its ``SignInDomain`` rows), ``sealed_secret``
(the client secret, which the table itself never has in plain), ``private`` (it lies in a network of ours, so that we may go
there), ``off`` (it vouches for nobody) and ``version``.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from allauth.socialaccount.models import SocialAccount, SocialApp
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.reach import is_allowed
from portal.core.sealed import seal
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.listings import PROVIDER
from tenants.models import SignInDomain
from tenants.policy import Permission
from tenants.reactions import announce

EVERYBODY: Final = "everybody"
WELL_KNOWN: Final = "/.well-known/openid-configuration"
SLUG: Final = re.compile(r"\A[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")
PLAIN: Final = re.compile(r"\A[!-\[\]_a-z~|]{1,500}\Z", re.IGNORECASE)
"""Printable ASCII without what programs disagree about in addresses."""
INSIDE: Final = (".local", ".localhost", ".internal")


def providers_of_installation() -> list[SocialApp]:
    """The providers that everybody is offered."""
    apps = SocialApp.objects.filter(provider=PROVIDER, settings__vouches_for=EVERYBODY).order_by("name")
    return [app for app in apps if is_open(app)]


def vouches_for_everybody(app: SocialApp) -> bool:
    """Is it the installation's own provider?"""
    return bool(app.settings.get("vouches_for") == EVERYBODY)


def is_open(app: SocialApp) -> bool:
    """Does it vouch for anybody, rather than being switched off?"""
    return not app.settings.get("off")


def is_private(app: SocialApp) -> bool:
    """Does it lie in a network of ours, as an operator said?"""
    return bool(app.settings.get("private"))


def version_of(app: SocialApp) -> int:
    """Which version of it this is, from 1."""
    return int(app.settings.get("version", 1))


def callback_of(app: SocialApp) -> str:
    """The address that the provider must be told to send people back to."""
    path = reverse("openid_connect_callback", args=[app.provider_id])
    return f"{settings.PUBLIC_URL}{path}"


def issuer_of(address: str) -> str:
    """A provider's address as it is kept: what is pasted may end in its description's path, or a slash."""
    return address.strip().removesuffix(WELL_KNOWN).rstrip("/")


def origin_of(issuer: str) -> str:
    """Scheme, host and port of a provider's address."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}"


@transaction.atomic
def provider_create(
    *,
    slug: str,
    name: str,
    issuer: str,
    client_id: str,
    client_secret: str,
    actor: Actor,
    everybody: bool = False,
    private: bool = False,
) -> SocialApp:
    """An OpenID Connect provider; ``everybody`` makes it the installation's own, which vouches for every address.

    ``issuer`` is its address, below which ``/.well-known/openid-configuration`` lies; nobody goes there yet. ``private``
    says that it lies in a network of ours: only then we go to addresses that are not public.
    """
    actor.require(Permission.OPERATE)
    issuer = issuer_of(issuer)
    _check(
        [] if SLUG.match(slug) else [_wrong("/id", _("Use small letters, digits and hyphens."))],
        _name_faults(name),
        issuer_faults(issuer, private=private),
        _client_faults(client_id),
    )
    if SocialApp.objects.filter(provider_id=slug).exists():
        raise Conflict(_("A provider of this id exists."), code="provider_taken", hint="")
    app: SocialApp = SocialApp.objects.create(
        provider=PROVIDER,
        provider_id=slug,
        name=name.strip(),
        client_id=client_id,
        settings={
            "server_url": issuer,
            "sealed_secret": seal(client_secret),
            "vouches_for": EVERYBODY if everybody else "its domains",
            "private": private,
            "version": 1,
        },
    )
    facts: dict[str, Any] = {"provider": slug, "issuer": issuer, "everybody": everybody, "private": private}
    audit_record(actor, "sign_in_provider.create", app, **facts)
    return app


@transaction.atomic
def provider_edit(
    app: SocialApp, *, name: str, client_id: str, private: bool, actor: Actor, client_secret: str = ""
) -> SocialApp:
    """Change how it is called, what it knows us by, and whether it lies in a network of ours; "" keeps the secret.

    Its address stays: another one's people may have the same numbers, and would become ours. Whom it vouches for stays, too.
    """
    actor.require(Permission.OPERATE)
    app = _locked(app)
    issuer = app.settings["server_url"]
    _check(_name_faults(name), issuer_faults(issuer, private=private), _client_faults(client_id))
    wanted = {"name": name.strip(), "client_id": client_id, "private": private}
    present = {"name": app.name, "client_id": app.client_id, "private": is_private(app)}
    changes: dict[str, Any] = {
        field: [present[field], value] for field, value in wanted.items() if present[field] != value
    }
    app.name, app.client_id, app.settings["private"] = wanted["name"], client_id, private
    if client_secret:
        app.settings["sealed_secret"] = seal(client_secret)
        changes["client_secret"] = "renewed"
    if changes:
        _save(app, actor, "sign_in_provider.edit", **changes)
    return app


@transaction.atomic
def provider_switch(app: SocialApp, *, on: bool, actor: Actor) -> SocialApp:
    """Let it vouch for its people again, or for nobody: then whoever came by it is signed out everywhere. Safe to repeat."""
    actor.require(Permission.OPERATE)
    app = _locked(app)
    if is_open(app) == on:
        return app
    app.settings["off"] = not on
    _save(app, actor, "sign_in_provider.edit", on=[not on, on])
    if not on:
        announce("sign_in_provider.closed", provider=app.provider_id)
    return app


@transaction.atomic
def provider_delete(app: SocialApp, *, actor: Actor) -> None:
    """Take a provider away; raises ``Conflict`` while domains point at it.

    People it vouched for keep their accounts, and are signed out where they came by it.
    """
    actor.require(Permission.OPERATE)
    if SignInDomain.objects.filter(app=app).exists():
        raise Conflict(_("Domains still sign in there."), code="provider_in_use", hint=_("Delete the domains first."))
    audit_record(actor, "sign_in_provider.delete", app, provider=app.provider_id)
    announce("sign_in_provider.closed", provider=app.provider_id)
    SocialAccount.objects.filter(provider=app.provider_id).delete()
    app.delete()


def _locked(app: SocialApp) -> SocialApp:
    row: SocialApp = SocialApp.objects.select_for_update().get(pk=app.pk)
    return row


def _save(app: SocialApp, actor: Actor, action: str, **changes: Any) -> None:
    app.settings["version"] = version_of(app) + 1
    app.save(update_fields=["name", "client_id", "settings"])
    audit_record(actor, action, app, provider=app.provider_id, **changes)


def _check(*faults: list[FieldError]) -> None:
    """Raise ``Invalid`` with every wrong field at once, if there is one."""
    if errors := [error for some in faults for error in some]:
        raise Invalid(errors=errors)


def _name_faults(name: str) -> list[FieldError]:
    fits = 0 < len(name.strip()) <= 40 and name.isprintable()
    return [] if fits else [_wrong("/name", _("At most 40 characters."))]


def _client_faults(client_id: str) -> list[FieldError]:
    return [] if 0 < len(client_id) <= 191 else [_wrong("/client_id", _("At most 191 characters."))]


def issuer_faults(issuer: str, *, private: bool) -> list[FieldError]:
    """What is wrong with an address as such, before anybody asks what it resolves to."""
    parts = _parts(issuer)
    if parts is None:
        return [_wrong("/issuer", _("An https address is needed."))]
    host = parts.hostname or ""
    here = host in ("localhost", "127.0.0.1", "::1")
    if parts.scheme == "http" and not (here and private):
        return [_wrong("/issuer", _("An https address is needed."))]
    if (here or host.endswith(INSIDE) or _is_forbidden(host, private=private)) and not private:
        return [_wrong("/issuer", _("This address leads into a private network."))]
    if _is_forbidden(host, private=private):
        return [_wrong("/issuer", _("No provider can have this address."))]
    return []


def _parts(issuer: str) -> SplitResult | None:
    """The parts of an address that leaves no room for two readings; None for any other."""
    if not PLAIN.match(issuer):
        return None
    try:
        parts = urlsplit(issuer)
        port = parts.port
    except ValueError:
        return None
    odd = parts.query or parts.fragment or "@" in parts.netloc or port == 0
    return parts if parts.hostname and parts.scheme in ("http", "https") and not odd else None


def _is_forbidden(host: str, *, private: bool) -> bool:
    """Is it an address in figures that we do not go to?"""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not is_allowed(host, allow_private=private)


def _wrong(pointer: str, words: str) -> FieldError:
    return FieldError(pointer, "invalid", words)
