"""Single sign-on: whose people come by which provider, and what becomes of somebody it vouches for."""

from __future__ import annotations

import re
from typing import Any, Final

import structlog
from allauth.socialaccount.models import SocialApp
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.errors import Conflict, FieldError, Forbidden, Invalid
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.models import Member, Role, SignInDomain, SignInJoin, Tenant, User
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.letters import address_check
from tenants.services.members import member_add
from tenants.services.people import person_make
from tenants.services.roles import role_keep
from tenants.services.sign_in_providers import is_open, vouches_for_everybody

log = structlog.get_logger(__name__)
DOMAIN: Final = re.compile(r"\A(?=.{3,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z")
JOINED: Final = "member.sign_in"


class NotVouchedFor(Forbidden):
    """A provider said who somebody is, and that opens nothing here."""

    code = "not_vouched_for"
    message = gettext_lazy("Your organisation's sign-on does not open this portal for you.")
    hint = gettext_lazy("Ask an owner of your project for an invitation, or sign in with your password.")


def provider_for(email: str) -> SocialApp | None:
    """Where the people of this address's domain sign in; None where nobody has said, or that provider is off."""
    row = SignInDomain.objects.select_related("app").filter(domain=domain_of(email)).first()
    return row.app if row is not None and is_open(row.app) else None


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
        raise Invalid(errors=[FieldError("/domain", "invalid", _("This is no mail domain."))])
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
        raise Invalid(errors=[FieldError("/role", "invalid", _("There is no such role."))])
    with tenant_scope(tenant):
        role_keep(role)


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
        if Member.objects.filter(user=user).exists():
            return
        _join, is_first = SignInJoin.objects.get_or_create(tenant=row.tenant, user=user)
        if not is_first:
            return
        actor = system_actor(row.tenant, why="sign-on")
        member_add(row.tenant, user, role=row.role, actor=actor)
        audit_record(actor, JOINED, user, tenant=row.tenant, member=user.email, domain=row.domain)


def _refused(app: SocialApp, why: str) -> NotVouchedFor:
    log.warning("sign_on_refused", provider=app.provider_id, why=why)
    return NotVouchedFor()
