"""API tokens: shown once, kept as a hash, never stronger than their owner."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Forbidden, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.models import ApiToken, Tenant, User
from tenants.policy import Permission
from tenants.reactions import announce


def token_digest(raw: str) -> str:
    """How a token is looked up; the token itself has 256 bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(raw.encode()).hexdigest()


@transaction.atomic
def token_create(
    user: User,
    *,
    name: str,
    actor: Actor,
    tenant: Tenant | None = None,
    permissions: Sequence[str] | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A new token of ``user`` and, this once, its text. ``permissions`` None: all that its owner may, at any later time.

    A token that makes a token hands on no more than it has: its own scopes and its own end are the child's limits.
    """
    actor.require(Permission.OPERATE if tenant is None else Permission.TOKEN_MANAGE)
    if actor.user is not None and actor.user.pk != user.pk and not actor.is_operator:
        raise Forbidden
    name = name.strip()
    if not name or len(name) > 64:
        raise Invalid(errors=[FieldError("/name", "invalid_name", _("A name of at most 64 characters is needed."))])
    if permissions is not None:
        unknown = [p for p in permissions if p not in Permission._value2member_map_]
        if unknown:
            raise Invalid(
                errors=[FieldError("/permissions", "unknown_permission", _("There is no permission %s.") % unknown[0])]
            )
        beyond = [p for p in permissions if Permission(p) not in actor.permissions]
        if beyond:
            raise Forbidden(_("A token cannot be given more than you may do yourself."), code="beyond_own_role")
    parent = ApiToken.objects.filter(pk=actor.token_id).first() if actor.token_id else None
    if parent is not None:
        permissions = parent.permissions if permissions is None else permissions
        expires_at = min(filter(None, (parent.expires_at, expires_at)), default=None)
    if expires_at is not None and expires_at <= now():
        raise Invalid(errors=[FieldError("/expires_at", "in_the_past", _("That moment has passed."))])
    alive = ApiToken.objects.filter(user=user, tenant=tenant, revoked_at=None).count()
    if alive >= settings.CAPS["tokens"]:
        raise Conflict(
            _("You have as many tokens as one can have."),
            code="too_many_tokens",
            hint=_("Revoke one you no longer use."),
        )
    prefix = "gh_" + secrets.token_hex(4)
    raw = f"{prefix}_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(
        tenant=tenant,
        user=user,
        name=name,
        prefix=prefix,
        digest=token_digest(raw),
        permissions=sorted(permissions) if permissions is not None else None,
        expires_at=expires_at,
    )
    audit_record(actor, "token.create", token, tenant=tenant, prefix=prefix, permissions=token.permissions)
    return token, raw


@transaction.atomic
def token_revoke(token: ApiToken, *, actor: Actor) -> ApiToken:
    """End a token at once, with the consoles opened by it. Revoked already is fine."""
    own = actor.user is not None and actor.user.pk == token.user_id
    if not own or actor.via == "token":
        actor.require(Permission.TOKEN_MANAGE, token)
    if token.revoked_at is None:
        token.revoked_at = now()
        token.version += 1
        token.save(update_fields=["revoked_at", "version"])
        audit_record(actor, "token.revoke", token, tenant=token.tenant, prefix=token.prefix)
        announce("access.revoked", user=None, tenant=None, session=token_session(token), reason="token revoked")
    return token


def token_session(token: ApiToken) -> str:
    """The name under which consoles opened by this token are registered."""
    return f"token:{token.pk}"
