"""The second factor: who has one, and who must."""

from __future__ import annotations

from typing import Final

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Member, Tenant, User
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.scoping import every_tenant, tenant_scope

FACTORS: Final = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
"""Recovery codes are no factor of their own: they stand in for one."""


def has_second_factor(user: User) -> bool:
    """Has the person an authenticator app or a passkey?"""
    return bool(Authenticator.objects.filter(user=user, type__in=FACTORS).exists())


def lacks_second_factor(user: User, tenant: Tenant | None) -> bool:
    """Is a second factor asked of the person here that they do not have?"""
    asked = (tenant is not None and tenant.require_second_factor) or (
        user.is_staff and settings.OPERATORS_NEED_SECOND_FACTOR
    )
    return asked and not has_second_factor(user)


@transaction.atomic
def tenant_require_second_factor(tenant: Tenant, *, required: bool, actor: Actor) -> Tenant:
    """Ask all people of the tenant for a second factor, or no longer; whoever has none is out within seconds.

    Raises ``Conflict`` where a member would lock themselves out by it. So already is fine.
    """
    actor.require(Permission.TENANT_EDIT)
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    if tenant.require_second_factor == required:
        return tenant
    if required and actor.user is not None and not actor.is_operator and not has_second_factor(actor.user):
        raise Conflict(
            _("You have no second factor yourself: this would lock you out."),
            code="own_second_factor_first",
            hint=_("Set one up in your account first."),
        )
    tenant.require_second_factor = required
    tenant.version += 1
    tenant.save(update_fields=["require_second_factor", "version"])
    audit_record(
        actor, "tenant.require_second_factor", tenant, tenant=tenant, require_second_factor=[not required, required]
    )
    event_append(tenant, "tenant.changed", "tenant", tenant.pk)
    if required:
        for person in _people_without(tenant):
            announce("access.revoked", user=person, tenant=tenant, session="", reason="second factor required")
    return tenant


def factor_gone(user: User) -> None:
    """The person has no second factor any more: close what they have open wherever one is required."""
    if user.is_staff and settings.OPERATORS_NEED_SECOND_FACTOR:
        announce("access.revoked", user=user, tenant=None, session="", reason="second factor removed")
    with every_tenant(why="one person's memberships, to close what they have open"):
        asking = Member.objects.filter(user=user, tenant__require_second_factor=True).select_related("tenant")
        for member in asking:
            announce("access.revoked", user=user, tenant=member.tenant, session="", reason="second factor removed")


def members_without(tenant: Tenant) -> list[User]:
    """Members that have neither app nor passkey."""
    return list(_without(_members(tenant)))


def _people_without(tenant: Tenant) -> list[User]:
    """Members, and operators who may be looking, that have neither app nor passkey."""
    return list(_without(_members(tenant) | User.objects.filter(is_staff=True)))


def _members(tenant: Tenant) -> QuerySet[User]:
    with tenant_scope(tenant):
        return User.objects.filter(pk__in=list(Member.objects.values_list("user", flat=True)))


def _without(people: QuerySet[User]) -> QuerySet[User]:
    strong = Authenticator.objects.filter(type__in=FACTORS).values("user")
    return people.filter(is_active=True).exclude(pk__in=strong)
