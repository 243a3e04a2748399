"""Permissions in words, grouped as people think of them."""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tenants.policy import ALL_TENANT_PERMISSIONS, Permission

P = Permission

PERMISSIONS: Final[list[tuple[str | Promise, dict[Permission, str | Promise]]]] = [
    (
        _("Machines"),
        {
            P.GUEST_VIEW: _("See machines"),
            P.GUEST_CREATE: _("Create machines"),
            P.GUEST_POWER: _("Start, stop and restart"),
            P.GUEST_EDIT: _("Rename, tag and protect"),
            P.GUEST_CONSOLE: _("Open consoles"),
            P.GUEST_DELETE: _("Delete and restore"),
        },
    ),
    (
        _("What machines need"),
        {
            P.IMAGE_VIEW: _("See images"),
            P.IMAGE_MANAGE: _("Bring in, change and delete images"),
            P.VOLUME_VIEW: _("See volumes"),
            P.VOLUME_MANAGE: _("Create, attach and delete volumes"),
            P.BACKUP_VIEW: _("See backups"),
            P.BACKUP_MANAGE: _("Make, restore and delete backups"),
            P.SNAPSHOT_VIEW: _("See snapshots"),
            P.SNAPSHOT_MANAGE: _("Take, revert to and delete snapshots"),
            P.NETWORK_VIEW: _("See networks"),
            P.NETWORK_MANAGE: _("Create and delete networks"),
            P.PLACEMENT_VIEW: _("See placement groups"),
            P.PLACEMENT_MANAGE: _("Create and delete placement groups"),
            P.KEY_VIEW: _("See SSH keys"),
            P.KEY_MANAGE: _("Add and remove SSH keys"),
        },
    ),
    (
        _("What happens"),
        {
            P.OPERATION_VIEW: _("See activity"),
            P.OPERATION_CANCEL: _("Call off what is running"),
            P.EVENT_VIEW: _("Hear changes live"),
            P.AUDIT_VIEW: _("Read the audit log"),
        },
    ),
    (
        _("People"),
        {
            P.MEMBER_VIEW: _("See members"),
            P.MEMBER_MANAGE: _("Invite, change and remove members"),
            P.ROLE_MANAGE: _("Create and change roles"),
            P.OWNER_MANAGE: _("Make and unmake owners"),
        },
    ),
    (
        _("Tokens"),
        {
            P.TOKEN_VIEW: _("See their own tokens"),
            P.TOKEN_OWN: _("Make tokens of their own"),
            P.TOKEN_MANAGE: _("Manage everybody’s tokens and the project’s"),
        },
    ),
    (
        _("The project"),
        {
            P.TENANT_VIEW: _("See the project"),
            P.TENANT_EDIT: _("Change its settings"),
            P.TENANT_EXPORT: _("Export its data"),
            P.TENANT_CLOSE: _("Close it"),
            P.QUOTA_VIEW: _("See the quota"),
            P.QUOTA_REQUEST: _("Ask for more quota"),
            P.USAGE_VIEW: _("See usage"),
        },
    ),
]
"""Groups in order, each permission of a tenant once; a test holds it complete."""

LABELS: Final = {permission: words for _group, rows in PERMISSIONS for permission, words in rows.items()}


def permission_label(value: str) -> str:
    """A stored permission in words; what nobody knows any more as it is."""
    return (
        str(LABELS[Permission(value)])
        if value in Permission._value2member_map_ and Permission(value) in LABELS
        else value
    )


def permission_choices(allowed: frozenset[Permission]) -> list[tuple[str | Promise, list[tuple[str, str | Promise]]]]:
    """Groups of ``(value, words)`` for a form, without what is not in ``allowed``."""
    groups = [(group, [(p.value, words) for p, words in rows.items() if p in allowed]) for group, rows in PERMISSIONS]
    return [(group, rows) for group, rows in groups if rows]


assert set(LABELS) == ALL_TENANT_PERMISSIONS
