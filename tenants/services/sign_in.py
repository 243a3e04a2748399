"""Single sign-on: which provider vouches for whom, and what becomes of somebody it vouches for.

A provider is allauth's ``SocialApp``. Its ``settings`` hold, beside what the library reads: ``vouches_for`` (``"everybody"``
for the installation's own provider; any other vouches only for the domains in its ``SignInDomain`` rows), ``sealed_secret``
(the client secret, which the table itself never has in plain), and ``version``.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from allauth.socialaccount.models import SocialAccount, SocialApp
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.errors import Conflict, FieldError, Forbidden, Invalid
from portal.core.sealed import seal
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.models import AuditEntry
from tenants.listings import PROVIDER
from tenants.models import Member, Role, SignInDomain, Tenant, User
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.letters import address_check
from tenants.services.members import member_add
from tenants.services.people import person_make

log = structlog.get_logger(__name__)
EVERYBODY: Final = "everybody"
DOMAIN: Final = re.compile(r"\A(?=.{3,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")
SLUG: Final = re.compile(r"\A[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")
JOINED: Final = "member.sign_in"


class NotVouchedFor(Forbidden):
    """A provider said who somebody is, and that opens nothing here."""

    code = "not_vouched_for"
    message = gettext_lazy("Your organisation's sign-on does not open this portal for you.")
    hint = gettext_lazy("Ask an owner of your project for an invitation, or sign in with your password.")


# --- providers ------------------------------------------------------------------------------------------------------
def providers_of_installation() -> list[SocialApp]:
    """The providers that everybody is offered."""
    return list(SocialApp.objects.filter(provider=PROVIDER, settings__vouches_for=EVERYBODY).order_by("name"))


def provider_for(email: str) -> SocialApp | None:
    """Where the people of this address's domain sign in; None where nobody has said."""
    row = SignInDomain.objects.select_related("app").filter(domain=domain_of(email)).first()
    return row.app if row is not None else None


def vouches_for_everybody(app: SocialApp) -> bool:
    """Is it the installation's own provider?"""
    return bool(app.settings.get("vouches_for") == EVERYBODY)


@transaction.atomic
def provider_create(
    *, slug: str, name: str, issuer: str, client_id: str, client_secret: str, actor: Actor, everybody: bool = False
) -> SocialApp:
    """An OpenID Connect provider; ``everybody`` makes it the installation's own, which vouches for every address.

    ``issuer`` is its address, below which ``/.well-known/openid-configuration`` lies.
    """
    actor.require(Permission.OPERATE)
    errors = [
        *([] if SLUG.match(slug) else [_wrong("/id", _("Use small letters, digits and hyphens."))]),
        *([] if 0 < len(name.strip()) <= 40 and name.isprintable() else [_wrong("/name", _("At most 40 characters."))]),
        *([] if _is_issuer(issuer) else [_wrong("/issuer", _("An https address is needed."))]),
        *([] if 0 < len(client_id) <= 191 else [_wrong("/client_id", _("At most 191 characters."))]),
    ]
    if errors:
        raise Invalid(errors=errors)
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
        },
    )
    audit_record(actor, "sign_in_provider.create", app, provider=slug, issuer=issuer, everybody=everybody)
    return app


@transaction.atomic
def provider_delete(app: SocialApp, *, actor: Actor) -> None:
    """Take a provider away; raises ``Conflict`` while domains point at it. People it vouched for keep their accounts."""
    actor.require(Permission.OPERATE)
    if SignInDomain.objects.filter(app=app).exists():
        raise Conflict(_("Domains still sign in there."), code="provider_in_use", hint=_("Delete the domains first."))
    audit_record(actor, "sign_in_provider.delete", app, provider=app.provider_id)
    SocialAccount.objects.filter(provider=app.provider_id).delete()
    app.delete()


def _is_issuer(address: str) -> bool:
    url = urlsplit(address)
    plain = url.scheme == "http" and url.hostname in ("localhost", "127.0.0.1", "::1")
    return bool(url.hostname) and (url.scheme == "https" or plain) and not url.query and not url.fragment


def _wrong(pointer: str, words: str) -> FieldError:
    return FieldError(pointer, "invalid", words)


# --- domains --------------------------------------------------------------------------------------------------------
def domain_of(email: str) -> str:
    """The domain of an address, small."""
    return email.rpartition("@")[2].strip().lower()


@transaction.atomic
def sign_in_domain_create(domain: str, *, tenant: Tenant, app: SocialApp, role: Role, actor: Actor) -> SignInDomain:
    """Let the people of a mail domain into ``tenant`` with ``role``, on ``app``'s word."""
    actor.require(Permission.OPERATE)
    domain = domain.strip().lower()
    if not DOMAIN.match(domain):
        raise Invalid(errors=[_wrong("/domain", _("This is no mail domain."))])
    _role_check(role, tenant)
    try:
        with transaction.atomic():
            row = SignInDomain.objects.create(domain=domain, tenant=tenant, app=app, role=role)
    except IntegrityError as error:
        raise Conflict(_("This domain signs in already."), code="domain_taken", hint="") from error
    _note(actor, "sign_in_domain.create", row, provider=app.provider_id, role=role.name)
    return row


@transaction.atomic
def sign_in_domain_edit(row: SignInDomain, *, role: Role, actor: Actor) -> SignInDomain:
    """Give those who come from now on another role; who is a member already keeps theirs."""
    actor.require(Permission.OPERATE)
    _role_check(role, row.tenant)
    if row.role_id == role.pk:
        return row
    before, row.role = row.role.name, role
    row.version += 1
    row.save(update_fields=["role", "version"])
    _note(actor, "sign_in_domain.edit", row, role=[before, role.name])
    return row


@transaction.atomic
def sign_in_domain_delete(row: SignInDomain, *, actor: Actor) -> None:
    """Nobody comes by this domain any more; members stay members."""
    actor.require(Permission.OPERATE)
    _note(actor, "sign_in_domain.delete", row, role=row.role.name)
    row.delete()


def _note(actor: Actor, action: str, row: SignInDomain, **changes: Any) -> None:
    """Into the tenant's own audit log: it says who may come in."""
    with tenant_scope(row.tenant):
        audit_record(actor, action, row, tenant=row.tenant, domain=row.domain, **changes)


def _role_check(role: Role, tenant: Tenant) -> None:
    if role.tenant_id not in (None, tenant.pk):
        raise Invalid(errors=[_wrong("/role", _("There is no such role."))])


# --- somebody is vouched for ----------------------------------------------------------------------------------------
@transaction.atomic
def person_vouched_for(app: SocialApp, *, email: str, name: str, known: User | None) -> User:
    """Whom ``app`` means by a verified ``email``: found or made, and let into the tenant of the domain.

    ``known`` is who came with the same identity before. Raises ``NotVouchedFor`` where the provider may not speak for the
    address, or for the account: it never reaches one of another domain, nor (but for the installation's own) an operator's.
    """
    address_check(email)
    domain = domain_of(email)
    row = SignInDomain.objects.select_related("tenant", "role").filter(domain=domain, app=app).first()
    everybody = vouches_for_everybody(app)
    if row is None and not everybody:
        raise _refused(app, "another domain")
    user = known or User.objects.filter(email=email).first()
    if user is None:
        if row is None:
            raise _refused(app, "nobody here")
        user = _person_make(email, name)
    if not everybody and (user.is_staff or not _owns(app, user)):
        raise _refused(app, "an account beyond its reach")
    if row is not None:
        _let_in(user, row)
    return user


def _owns(app: SocialApp, user: User) -> bool:
    """Is the person's address today still one that the provider may vouch for?"""
    return SignInDomain.objects.filter(app=app, domain=domain_of(user.email)).exists()


def _person_make(email: str, name: str) -> User:
    try:
        return person_make(email=email, password=None, name=name.strip()[:100] if name.isprintable() else "")
    except Conflict:  # they came twice at once
        return User.objects.get(email=email)


def _let_in(user: User, row: SignInDomain) -> None:
    """Make the person a member, once: whom the tenant took out again stays out until invited."""
    if not row.tenant.is_active:
        return
    with tenant_scope(row.tenant):
        before: dict[str, Any] = {"action": JOINED, "subject_id": str(user.pk)}
        if Member.objects.filter(user=user).exists() or AuditEntry.objects.filter(**before).exists():
            return
        actor = system_actor(row.tenant, why="sign-on")
        member_add(row.tenant, user, role=row.role, actor=actor)
        audit_record(actor, JOINED, user, tenant=row.tenant, member=user.email, domain=row.domain)


def _refused(app: SocialApp, why: str) -> NotVouchedFor:
    log.warning("sign_on_refused", provider=app.provider_id, why=why)
    return NotVouchedFor()
