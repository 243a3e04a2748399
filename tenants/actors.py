"""Who is asking. Services ask the actor, and nothing else, whether something is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _

from portal.core.errors import Forbidden
from tenants.policy import (
    ALL_TENANT_PERMISSIONS,
    CLOSING_TENANT,
    SUSPENDED_TENANT,
    TAGGABLE,
    Permission,
)

if TYPE_CHECKING:
    from tenants.models import Tenant, User

SYSTEM: Final = "system"
"""How the log calls the portal itself."""
type Reach = tuple[frozenset[str], ...]
"""Sets of tags, of each of which a machine must wear one; none: every machine."""
type Tagged = Mapping[Permission, Reach]
"""By permission. What is not in it holds on every machine."""

LEFT: Final = {
    "active": None,
    "suspended": SUSPENDED_TENANT,
    "closing": CLOSING_TENANT,
    "closed": frozenset[Permission](),
}
"""By a tenant's state: what its people may still do; None is all that their role allows."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, a token or the system, acting in one tenant (or, for operators at their own desk, in none).

    ``permissions`` are already the intersection of role, token scopes and the tenant's state. ``session`` is the hash that
    ties consoles to the sign-in or token they were opened with. ``name`` is what the log calls an actor that is no person.
    ``lacks`` names what keeps a person from everything here until they have it (``second_factor``).
    ``visit`` is the id of an operator's visit in somebody's place, ``place`` whose. ``until`` is when a token ends by itself.
    """

    user: User | None
    tenant: Tenant | None
    permissions: frozenset[Permission]
    via: str
    role: str = ""
    tagged: Tagged = field(default_factory=dict)
    session: str = ""
    address: str = ""
    request_id: str = ""
    token_id: str = ""
    name: str = ""
    lacks: str = ""
    visit: str = ""
    place: str = ""
    until: datetime | None = None

    @property
    def label(self) -> str:
        """How the audit log names them."""
        if self.user is None:
            return self.name or SYSTEM
        return f"{self.user.email} as {self.place}" if self.place else self.user.email

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
        if permission in self.tagged and subject is not None and hasattr(subject, "tag_names"):
            return self.reaches(permission, subject.tag_names())
        return True

    def reaches(self, permission: Permission, tags: Iterable[str]) -> bool:
        """Does the permission, where they have it, hold on a machine that wears ``tags``?"""
        worn = frozenset(tags)
        return all(worn & wanted for wanted in self.tagged.get(permission, ()))

    def require(self, permission: Permission, subject: Any = None) -> None:
        """Raise ``Forbidden`` unless allowed; the sentence says what is in the way: a state, a missing second factor."""
        if self.may(permission, subject):
            return
        if self.lacks:
            raise Forbidden(
                _("This project asks its people for a second factor."),
                code="second_factor_required",
                hint=_("Set one up in your account, then come back."),
                permission=permission.value,
            )
        left = LEFT[self.tenant.standing] if self.tenant is not None else None
        if self.tenant is not None and left is not None and permission not in left:
            raise _standing_refusal(self.tenant, permission)
        raise Forbidden(permission=permission.value)

    def visible[Row: Model](self, rows: QuerySet[Row], permission: Permission = Permission.GUEST_VIEW) -> QuerySet[Row]:
        """Narrow a queryset of guests to those on which they have ``permission``."""
        return within(rows, self.reach(permission))

    def reach(self, permission: Permission) -> Reach:
        """On which machines they have the permission, where they have it: those that ``within`` leaves."""
        return self.tagged.get(permission, ())

    @property
    def narrowed(self) -> bool:
        """Are there machines in the tenant that they may not look at?"""
        return Permission.GUEST_VIEW in self.tagged


def within[Row: Model](rows: QuerySet[Row], reach: Reach) -> QuerySet[Row]:
    """The guests that wear one tag of each set."""
    for wanted in reach:
        rows = rows.filter(pk__in=_wearing(rows.model, wanted))
    return rows


@lru_cache(maxsize=1024)
def _wearing(model: Any, wanted: frozenset[str]) -> QuerySet[Any]:
    """Ids of the rows that wear one of ``wanted``, to be looked up in: never read itself, so that one serves every request.

    To make it takes three times as long as to use it, and each page of a list does.
    """
    worn = model.tags.through._base_manager.filter(tag__name__in=sorted(wanted))
    return cast("QuerySet[Any]", worn.values(model._meta.model_name))


def _standing_refusal(tenant: Tenant, permission: Permission) -> Forbidden:
    """Why a tenant's state forbids something, with the reason that its people were given."""
    state = tenant.standing
    if state == "suspended":
        message, code = _("This project is suspended: it can be looked at, not changed."), "tenant_suspended"
    else:
        message, code = _("This project is being closed: it can be looked at, not changed."), "tenant_closing"
    hint = tenant.state_reason if tenant.state == state else ""
    return Forbidden(message, code=code, hint=hint or _("Ask the operator why."), permission=permission.value)


def system_actor(tenant: Tenant | None, *, why: str) -> Actor:
    """The portal itself, acting for a stated reason (``sweep``, ``bin``, ``seed``)."""
    return Actor(user=None, tenant=tenant, permissions=frozenset(Permission), via=why)


def known(permissions: Iterable[str]) -> frozenset[Permission]:
    """Stored permissions as values; what is unknown and ``OPERATE`` grant nothing."""
    return frozenset(
        {Permission(p) for p in permissions if p in Permission._value2member_map_} & ALL_TENANT_PERMISSIONS
    )


def left_in(tenant: Tenant, permissions: frozenset[Permission]) -> frozenset[Permission]:
    """What a tenant's state leaves of ``permissions``; an unknown state leaves nothing."""
    left = LEFT.get(tenant.standing, frozenset())
    return permissions if left is None else permissions & left


def role_reach(
    permissions: Iterable[str], tagged: Iterable[str], tags: Iterable[str], tenant: Tenant
) -> tuple[frozenset[Permission], Tagged]:
    """A role's stored grants as what an actor has: all its permissions, and which of them hold on tagged machines only."""
    everywhere = known(permissions)
    some = (known(tagged) & TAGGABLE) - everywhere if tags else frozenset()
    wanted = (frozenset(tags),)
    return left_in(tenant, everywhere | some), dict.fromkeys(some, wanted)


def cut(tagged: Tagged, tags: Iterable[str]) -> Tagged:
    """``tagged`` where every permission on machines holds only on those that also wear one of ``tags``; none: unchanged."""
    wanted = frozenset(tags)
    if not wanted:
        return tagged
    return {permission: (*tagged.get(permission, ()), wanted) for permission in TAGGABLE}
