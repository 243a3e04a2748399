"""Who is asking. Services ask the actor, and nothing else, whether something is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _

from portal.core.errors import Forbidden
from tenants.policy import ALL_TENANT_PERMISSIONS, SUSPENDED_TENANT, Permission

if TYPE_CHECKING:
    from tenants.models import Tenant, User

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, a token or the system, acting in one tenant (or, for operators at their own desk, in none).

    ``permissions`` are already the intersection of role, token scopes and the tenant's state. ``tags`` narrow what acts on
    one machine. ``session`` is the hash that ties consoles to the sign-in or token they were opened with.
    """

    user: User | None
    tenant: Tenant | None
    permissions: frozenset[Permission]
    via: str
    role: str = ""
    tags: frozenset[str] = field(default_factory=frozenset)
    session: str = ""
    address: str = ""
    request_id: str = ""
    token_id: str = ""

    @property
    def label(self) -> str:
        """How the audit log names them."""
        return self.user.email if self.user is not None else "system"

    @property
    def is_operator(self) -> bool:
        return Permission.OPERATE in self.permissions

    def may(self, permission: Permission, subject: Any = None) -> bool:
        """Is this allowed, on this subject if one is given? A subject of another tenant never is."""
        if permission not in self.permissions:
            return False
        owner = getattr(subject, "tenant_id", None)
        if owner is not None and (self.tenant is None or owner != self.tenant.pk) and not self.is_operator:
            return False
        if self.tags and subject is not None and hasattr(subject, "tag_names"):
            return bool(self.tags & set(subject.tag_names()))
        return True

    def require(self, permission: Permission, subject: Any = None) -> None:
        """Raise ``Forbidden`` unless allowed; on a suspended tenant the sentence says so."""
        if self.may(permission, subject):
            return
        if self.tenant is not None and not self.tenant.is_active and permission not in SUSPENDED_TENANT:
            raise Forbidden(
                _("This project is suspended: it can be looked at, not changed."),
                code="tenant_suspended",
                hint=_("Ask the operator why."),
                permission=permission.value,
            )
        raise Forbidden(permission=permission.value)

    def visible(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Narrow a queryset of guests to the tags of the role."""
        return rows.filter(tags__name__in=sorted(self.tags)).distinct() if self.tags else rows


def system_actor(tenant: Tenant | None, *, why: str) -> Actor:
    """The portal itself, acting for a stated reason (``sweep``, ``bin``, ``seed``)."""
    return Actor(user=None, tenant=tenant, permissions=frozenset(Permission), via=why)


def narrowed(permissions: Iterable[str], tenant: Tenant) -> frozenset[Permission]:
    """A role's stored permissions as values; unknown ones and ``OPERATE`` grant nothing; a suspended tenant's only look."""
    known = {Permission(p) for p in permissions if p in Permission._value2member_map_} & ALL_TENANT_PERMISSIONS
    return frozenset(known if tenant.is_active else known & SUSPENDED_TENANT)
