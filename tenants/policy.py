"""Who may do what: permissions, and the roles every installation has. Pure data for the whole house.

A role is a set of permissions plus, optionally, tags: with tags, permissions that act on one machine bite only on
machines that wear one of them.
"""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """One thing a member or token may do in its tenant."""

    GUEST_VIEW = "guest.view"
    GUEST_CREATE = "guest.create"
    GUEST_POWER = "guest.power"
    GUEST_EDIT = "guest.edit"
    GUEST_DELETE = "guest.delete"
    GUEST_CONSOLE = "guest.console"
    IMAGE_VIEW = "image.view"
    VOLUME_VIEW = "volume.view"
    NETWORK_VIEW = "network.view"
    NETWORK_MANAGE = "network.manage"
    KEY_VIEW = "key.view"
    KEY_MANAGE = "key.manage"
    OPERATION_VIEW = "operation.view"
    OPERATION_CANCEL = "operation.cancel"
    EVENT_VIEW = "event.view"
    MEMBER_VIEW = "member.view"
    MEMBER_MANAGE = "member.manage"
    OWNER_MANAGE = "owner.manage"
    TOKEN_VIEW = "token.view"
    TOKEN_MANAGE = "token.manage"
    QUOTA_VIEW = "quota.view"
    USAGE_VIEW = "usage.view"
    AUDIT_VIEW = "audit.view"
    TENANT_VIEW = "tenant.view"
    TENANT_EDIT = "tenant.edit"
    OPERATE = "operate"
    """Held by operators alone: hosts, flavors, public images, all tenants."""


P = Permission
_VIEW = frozenset(
    {
        P.GUEST_VIEW,
        P.IMAGE_VIEW,
        P.VOLUME_VIEW,
        P.NETWORK_VIEW,
        P.KEY_VIEW,
        P.OPERATION_VIEW,
        P.EVENT_VIEW,
        P.MEMBER_VIEW,
        P.QUOTA_VIEW,
        P.TENANT_VIEW,
    }
)
_WORK = _VIEW | {
    P.GUEST_CREATE,
    P.GUEST_POWER,
    P.GUEST_EDIT,
    P.GUEST_DELETE,
    P.GUEST_CONSOLE,
    P.KEY_MANAGE,
    P.OPERATION_CANCEL,
}
_RUN = _WORK | {
    P.NETWORK_MANAGE,
    P.MEMBER_MANAGE,
    P.TOKEN_VIEW,
    P.TOKEN_MANAGE,
    P.AUDIT_VIEW,
    P.USAGE_VIEW,
    P.TENANT_EDIT,
}

BUILT_IN_ROLES: dict[str, frozenset[Permission]] = {
    "owner": _RUN | {P.OWNER_MANAGE},
    "admin": _RUN,
    "member": _WORK,
    "viewer": _VIEW,
    "billing": frozenset({P.TENANT_VIEW, P.QUOTA_VIEW, P.USAGE_VIEW, P.AUDIT_VIEW, P.EVENT_VIEW, P.OPERATION_VIEW}),
}
"""Every permission a tenant's people can hold; ``OPERATE`` is in none of them."""

ALL_TENANT_PERMISSIONS = BUILT_IN_ROLES["owner"]
READ_ONLY = frozenset(p for p in Permission if p.value.endswith(".view"))
SUSPENDED_TENANT = READ_ONLY
"""What people of a suspended tenant may still do: look."""
