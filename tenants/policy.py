"""Who may do what: permissions, and the roles every installation has. Pure data for the whole house.

A role is a set of permissions that hold everywhere in its tenant, and of those that hold only on machines which wear one
of its tags.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """One thing a member or token may do in its tenant."""

    GUEST_VIEW = "guest.view"
    GUEST_CREATE = "guest.create"
    GUEST_POWER = "guest.power"
    GUEST_EDIT = "guest.edit"
    GUEST_DELETE = "guest.delete"
    GUEST_CONSOLE = "guest.console"
    IMAGE_VIEW = "image.view"
    IMAGE_MANAGE = "image.manage"
    VOLUME_VIEW = "volume.view"
    VOLUME_MANAGE = "volume.manage"
    BACKUP_VIEW = "backup.view"
    BACKUP_MANAGE = "backup.manage"
    SNAPSHOT_VIEW = "snapshot.view"
    SNAPSHOT_MANAGE = "snapshot.manage"
    NETWORK_VIEW = "network.view"
    NETWORK_MANAGE = "network.manage"
    PLACEMENT_VIEW = "placement.view"
    PLACEMENT_MANAGE = "placement.manage"
    KEY_VIEW = "key.view"
    KEY_MANAGE = "key.manage"
    OPERATION_VIEW = "operation.view"
    OPERATION_CANCEL = "operation.cancel"
    EVENT_VIEW = "event.view"
    MEMBER_VIEW = "member.view"
    MEMBER_MANAGE = "member.manage"
    ROLE_MANAGE = "role.manage"
    OWNER_MANAGE = "owner.manage"
    TOKEN_VIEW = "token.view"
    """Look at one's own tokens; with the next but one, at everybody's."""
    TOKEN_OWN = "token.own"
    """Make, renew and end personal tokens of one's own."""
    TOKEN_MANAGE = "token.manage"
    """End anybody's tokens; make the tenant's service tokens."""
    QUOTA_VIEW = "quota.view"
    QUOTA_REQUEST = "quota.request"
    USAGE_VIEW = "usage.view"
    AUDIT_VIEW = "audit.view"
    TENANT_VIEW = "tenant.view"
    TENANT_EDIT = "tenant.edit"
    TENANT_EXPORT = "tenant.export"
    TENANT_CLOSE = "tenant.close"
    OPERATE = "operate"
    """Held by operators alone: hosts, flavors, public images, all tenants."""


P = Permission
_VIEW = frozenset(
    {
        P.GUEST_VIEW,
        P.IMAGE_VIEW,
        P.VOLUME_VIEW,
        P.BACKUP_VIEW,
        P.SNAPSHOT_VIEW,
        P.NETWORK_VIEW,
        P.PLACEMENT_VIEW,
        P.KEY_VIEW,
        P.OPERATION_VIEW,
        P.EVENT_VIEW,
        P.MEMBER_VIEW,
        P.TOKEN_VIEW,
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
    P.VOLUME_MANAGE,
    P.BACKUP_MANAGE,
    P.SNAPSHOT_MANAGE,
    P.IMAGE_MANAGE,
    P.PLACEMENT_MANAGE,
    P.KEY_MANAGE,
    P.OPERATION_CANCEL,
    P.TOKEN_OWN,
}
_RUN = _WORK | {
    P.NETWORK_MANAGE,
    P.MEMBER_MANAGE,
    P.ROLE_MANAGE,
    P.TOKEN_MANAGE,
    P.QUOTA_REQUEST,
    P.AUDIT_VIEW,
    P.USAGE_VIEW,
    P.TENANT_EDIT,
    P.TENANT_EXPORT,
}

BUILT_IN_ROLES: dict[str, frozenset[Permission]] = {
    "owner": _RUN | {P.OWNER_MANAGE, P.TENANT_CLOSE},
    "admin": _RUN,
    "member": _WORK,
    "viewer": _VIEW | {P.TOKEN_OWN},
    "billing": frozenset({P.TENANT_VIEW, P.USAGE_VIEW, P.TOKEN_VIEW, P.TOKEN_OWN}),
}
"""Every permission a tenant's people can hold; ``OPERATE`` is in none of them."""

ALL_TENANT_PERMISSIONS = BUILT_IN_ROLES["owner"]
READ_ONLY = frozenset(p for p in Permission if p.value.endswith(".view"))
MONEY = frozenset({P.USAGE_VIEW})
"""What a token is cut to that reads usage, statements and prices alone; an operator's then reads every tenant's."""
TAGGABLE = frozenset(p for p in Permission if p.value.startswith("guest."))
"""What acts on one machine, so that a role or a token may have it for machines of certain tags only."""
TAG: Final = re.compile(r"\A[a-z0-9](?:[a-z0-9._-]{0,30}[a-z0-9])?\Z")
"""What a machine can wear, and so what a role or a token can be bound to."""
MOST_TAGS: Final = 20
WHO_COMES_IN = frozenset(
    {P.MEMBER_MANAGE, P.ROLE_MANAGE, P.OWNER_MANAGE, P.TOKEN_OWN, P.TOKEN_MANAGE},
)
"""Who opens the tenant, as what and with which token: a visitor leaves no way in behind."""
SUSPENDED_TENANT = READ_ONLY | {P.TENANT_EXPORT}
"""What people of a suspended tenant may still do: look, and take their data with them."""
CLOSING_TENANT = SUSPENDED_TENANT | {P.TENANT_CLOSE}
"""The same while a tenant waits for its end; whoever may close it may think again."""
