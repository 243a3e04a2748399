"""API tokens: shown once, kept as a hash, never stronger than their owner or than what made them."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Forbidden, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.ledger import journal_lock
from tenants.models import ApiToken, Role, Tenant, User
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.scoping import tenant_scope
from tenants.services.notices import security_notice
from tenants.services.roles import role_keep, role_within_reach, tags_wrong

MOST_NETWORKS: Final = 20
OVERLAP_MAX: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is cut down to; the defaults cut nothing.

    ``permissions`` None is whatever its owner may. ``tags``: machines must wear one. ``networks``: CIDRs it works from.
    """

    permissions: Sequence[str] | None = None
    tags: Sequence[str] = ()
    networks: Sequence[str] = ()
    expires_at: datetime | None = None


def token_digest(raw: str) -> str:
    """How a token is looked up; the token itself has 256 bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(raw.encode()).hexdigest()


def token_find(raw: str, *, address: str) -> ApiToken | None:
    """The living token of that secret, or of its old one while a rotation's overlap lasts; None from where it may not be used."""
    digest, at = token_digest(raw), now()
    token = (
        ApiToken.objects.select_related("user", "tenant", "role")
        .filter(Q(digest=digest) | Q(old_digest=digest, old_until__gt=at), revoked_at=None)
        .first()
    )
    if token is None or not token.is_alive(at):
        return None
    return token if not token.networks or _inside(address, token.networks) else None


def _inside(address: str, networks: Sequence[str]) -> bool:
    """Is the address in one of the networks? Text that is no address is in none."""
    try:
        here = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(here, "ipv4_mapped", None)
    return any((mapped or here) in ipaddress.ip_network(network) for network in networks)


def _take_turns(user: User | None, tenant: Tenant | None) -> None:
    """Two who are at the cap wait for each other: on the person, or on the journal that every change of tokens writes."""
    if user is not None:
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
    elif tenant is not None:
        journal_lock(tenant)


@transaction.atomic
def token_create(
    user: User | None,
    *,
    name: str,
    actor: Actor,
    tenant: Tenant | None = None,
    scope: Scope | None = None,
    role: Role | None = None,
) -> tuple[ApiToken, str]:
    """A new token and, this once, its text: personal of ``user``, or, with ``role`` and no user, the tenant's own.

    A token that makes a token hands on no more than it has: its own scopes and its own end are the child's limits, and
    whoever revokes it revokes what it made.
    """
    _may_make(actor, user, tenant, role)
    name = name.strip()
    if not name or len(name) > 64:
        raise Invalid(errors=[FieldError("/name", "invalid_name", _("A name of at most 64 characters is needed."))])
    parent = _parent(actor)
    scope = _checked(scope or Scope(), actor, parent, own=role is None)
    if scope.expires_at is not None and scope.expires_at <= now():
        raise Invalid(errors=[FieldError("/expires_at", "in_the_past", _("That moment has passed."))])
    _take_turns(user, tenant)
    alive = ApiToken.objects.filter(user=user, tenant=tenant, revoked_at=None).count()
    if alive >= settings.CAPS["tokens"]:
        raise Conflict(
            _("You have as many tokens as one can have."),
            code="too_many_tokens",
            hint=_("Revoke one you no longer use."),
        )
    prefix, raw = _secret()
    token = ApiToken.objects.create(
        tenant=tenant,
        user=user,
        role=role,
        created_by=actor.user,
        made_with=parent,
        name=name,
        prefix=prefix,
        digest=token_digest(raw),
        permissions=sorted(scope.permissions) if scope.permissions is not None else None,
        tags=sorted(set(scope.tags)),
        networks=list(scope.networks),
        expires_at=scope.expires_at,
    )
    audit_record(
        actor,
        "token.create",
        token,
        tenant=tenant,
        prefix=prefix,
        permissions=token.permissions,
        role=role.name if role is not None else None,
    )
    if user is not None:
        _tell(user, token, actor)
    _changed(token)
    return token, raw


def _may_make(actor: Actor, user: User | None, tenant: Tenant | None, role: Role | None) -> None:
    if role is not None:
        if user is not None or tenant is None:
            raise ValueError("a service token belongs to a tenant and to nobody")
        actor.require(Permission.TOKEN_MANAGE)
        role_within_reach(actor, role)
        role_keep(role)
        return
    actor.require(Permission.OPERATE if tenant is None else Permission.TOKEN_OWN)
    if user is None or (actor.user is not None and actor.user.pk != user.pk and not actor.is_operator):
        raise Forbidden


def _parent(actor: Actor) -> ApiToken | None:
    """The token that ``actor`` came with, locked, so that its end waits for what it makes; raises ``Forbidden`` if dead."""
    if not actor.token_id:
        return None
    parent = ApiToken.objects.select_for_update(of=("self",), no_key=True).filter(pk=actor.token_id).first()
    if parent is None or parent.revoked_at is not None:
        raise Forbidden
    return parent


def _checked(scope: Scope, actor: Actor, parent: ApiToken | None, *, own: bool) -> Scope:
    """The scope, sane, and within what the actor and the token they came with may; raises ``Invalid`` or ``Forbidden``."""
    permissions = scope.permissions
    if permissions is not None:
        unknown = [p for p in permissions if p not in Permission._value2member_map_]
        if unknown:
            message = _("There is no permission %s.") % unknown[0]
            raise Invalid(errors=[FieldError("/permissions", "unknown_permission", message)])
        if own and any(Permission(p) not in actor.permissions for p in permissions):
            raise Forbidden(_("A token cannot be given more than you may do yourself."), code="beyond_own_role")
    if wrong := tags_wrong(scope.tags):
        raise Invalid(errors=wrong)
    networks = [_network(text) for text in scope.networks]
    if len(networks) > MOST_NETWORKS:
        raise Invalid(errors=[FieldError("/networks", "too_many", _("At most 20 networks."))])
    if parent is None:
        return Scope(permissions, scope.tags, networks, scope.expires_at)
    return Scope(
        parent.permissions if permissions is None else permissions,
        _within(scope.tags, parent.tags),
        _narrower(networks, parent.networks),
        min(filter(None, (parent.expires_at, scope.expires_at)), default=None),
    )


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        message = _("%s is not a network such as 192.0.2.0/24 or 2001:db8::/32.") % text[:50]
        raise Invalid(errors=[FieldError("/networks", "invalid_network", message)]) from error


def _within(tags: Sequence[str], limits: Sequence[str]) -> Sequence[str]:
    if not limits or (tags and set(tags) <= set(limits)):
        return tags
    if tags:
        raise Forbidden(_("A token cannot be given more than you may do yourself."), code="beyond_own_role")
    return limits


def _narrower(networks: list[str], limits: list[str]) -> list[str]:
    if not limits or not networks:
        return networks or limits
    outer = [ipaddress.ip_network(text) for text in limits]
    for text in networks:
        inner = ipaddress.ip_network(text)
        if not any(inner.version == net.version and inner.subnet_of(net) for net in outer):  # type: ignore[arg-type]
            raise Forbidden(_("A token cannot be given more than you may do yourself."), code="beyond_own_role")
    return networks


@transaction.atomic
def token_rotate(token: ApiToken, *, overlap: timedelta, actor: Actor) -> tuple[ApiToken, str]:
    """A new secret for the same token, and its text; the old one works for ``overlap`` more (zero: not at all).

    Of a personal token only its owner may, since the text opens what they may; a token may renew itself, and no other.
    Whatever was rotated before ends now.
    """
    token = ApiToken.objects.select_for_update(of=("self",)).get(pk=token.pk)
    _may_renew(actor, token)
    if not token.is_alive(now()):
        raise Conflict(_("This token is dead."), code="token_dead", hint=_("Make a new one."))
    if not timedelta() <= overlap <= OVERLAP_MAX:
        message = _("Between nothing and seven days.")
        raise Invalid(errors=[FieldError("/overlap_s", "out_of_range", message)])
    before = token.prefix
    if overlap:
        token.old_prefix, token.old_digest, token.old_until = token.prefix, token.digest, now() + overlap
    else:
        token.old_prefix, token.old_digest, token.old_until = "", None, None
    token.prefix, raw = _secret()
    token.digest = token_digest(raw)
    token.version += 1
    token.save(update_fields=["old_prefix", "old_digest", "old_until", "prefix", "digest", "version"])
    audit_record(actor, "token.rotate", token, tenant=token.tenant, prefix=[before, token.prefix])
    _changed(token)
    return token, raw


def _may_renew(actor: Actor, token: ApiToken) -> None:
    if actor.token_id and actor.token_id != str(token.pk):
        raise Forbidden(_("A token renews itself, not others."), code="not_this_token")
    if actor.token_id or token.role is None:
        actor.require(Permission.OPERATE if token.tenant_id is None else Permission.TOKEN_OWN)
    else:
        actor.require(Permission.TOKEN_MANAGE, token)
        role_within_reach(actor, token.role)
    if token.role is None and (actor.user is None or actor.user.pk != token.user_id):
        raise Forbidden


def _secret() -> tuple[str, str]:
    """A prefix that may be shown and looked for, and the whole text; 256 bits of it are random."""
    prefix = "gh_" + secrets.token_hex(4)
    return prefix, f"{prefix}_{secrets.token_urlsafe(32)}"


@transaction.atomic
def token_revoke(token: ApiToken, *, actor: Actor) -> ApiToken:
    """End a token at once, what was made with it, and the consoles opened by any of them. Revoked already is fine."""
    own = actor.user is not None and actor.user.pk == token.user_id
    if not own or (actor.via == "token" and actor.token_id != str(token.pk)):
        actor.require(Permission.TOKEN_MANAGE, token)
    tokens_end(ApiToken.objects.filter(pk=token.pk), actor=actor)
    token.refresh_from_db(fields=["revoked_at", "version"])
    return token


def tokens_end(tokens: QuerySet[ApiToken], *, actor: Actor) -> None:
    """Revoke these and, however far down, what was made with them; in the caller's transaction, who has asked whether it may.

    **Locks** each before its children: none is made by a token whose end has begun. Revoked ones stay as they are.
    """
    line: list[ApiToken] = []
    generation = _locked(tokens)
    while generation:
        line += generation
        generation = _locked(ApiToken.objects.filter(made_with__in=[token.pk for token in generation]))
    for token in sorted(line, key=_journal_order):
        if token.revoked_at is None:
            with tenant_scope(token.tenant) if token.tenant is not None else nullcontext():
                _end(token, actor)


def _locked(tokens: QuerySet[ApiToken]) -> list[ApiToken]:
    return list(tokens.select_related("tenant").select_for_update(of=("self",), no_key=True).order_by("pk"))


def _journal_order(token: ApiToken) -> tuple[bool, str]:
    """Tenants' journals by key, the installation's last: in this order they are locked."""
    return token.tenant_id is None, str(token.tenant_id)


def _end(token: ApiToken, actor: Actor) -> None:
    token.revoked_at = now()
    token.version += 1
    token.save(update_fields=["revoked_at", "version"])
    audit_record(actor, "token.revoke", token, tenant=token.tenant, prefix=token.prefix)
    _changed(token)
    announce("access.revoked", user=None, tenant=None, session=token_session(token), reason="token revoked")


def service_tokens_of(maker: User, tenant: Tenant) -> QuerySet[ApiToken]:
    """The tenant's own living tokens that ``maker`` made, and whose text they may have kept."""
    rows = ApiToken.objects.filter(tenant=tenant, created_by=maker, revoked_at=None).exclude(role=None)
    return rows.filter(Q(expires_at=None) | Q(expires_at__gt=now()))


def token_used(token: ApiToken, address: str) -> None:
    """Note that it was used, at most once a minute or where the address changed."""
    at = now()
    if (
        token.last_used_at is None
        or at - token.last_used_at > timedelta(minutes=1)
        or token.last_used_address != address
    ):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=at, last_used_address=address)


def token_session(token: ApiToken) -> str:
    """The name under which consoles opened by this token are registered."""
    return f"token:{token.pk}"


def _tell(user: User, token: ApiToken, actor: Actor) -> None:
    """Whoever it acts as hears of it: what took over a session would make one and stay."""
    facts = {"name": token.name, "prefix": token.prefix, "who": actor.label, "address": actor.address or "–"}
    security_notice(
        user,
        subject=gettext_lazy("A new API token acts as you"),
        text=gettext_lazy("%(name)s (%(prefix)s), made by %(who)s from %(address)s. Was it not you? Revoke it.")
        % facts,
    )


def _changed(token: ApiToken) -> None:
    if token.tenant is not None:
        event_append(token.tenant, "token.changed", "token", token.pk)
