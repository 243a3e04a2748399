"""Which permission each REST route asks for: one row per method and route; a route without a row fails the suite.

``None`` is any live token. ``OPERATE`` is an operator's.
"""

from __future__ import annotations

from typing import NamedTuple

from tenants.policy import Permission

P = Permission


class Row(NamedTuple):
    """One method of one route (below ``/api/v1``), and what it needs; ``whole``: of a token that is not cut down.

    ``also`` is what the service asks for besides, since it makes something of another kind.
    """

    method: str
    route: str
    permission: Permission | None
    whole: bool = False
    also: tuple[Permission, ...] = ()


T = "/tenants/{tenant}"
GUEST = f"{T}/guests/{{guest_id}}"

TABLE = [
    Row("GET", "/me", None),
    Row("GET", "/me/notices", None, whole=True),
    Row("POST", "/me/notices/read", None, whole=True),
    Row("GET", "/me/notices/choices", None, whole=True),
    Row("PATCH", "/me/notices/choices/{kind}", None, whole=True),
    Row("GET", "/flavors", None),
    Row("GET", "/flavors/{flavor_id}", None),
    Row("POST", "/flavors", P.OPERATE),
    Row("PATCH", "/flavors/{flavor_id}", P.OPERATE),
    # one tenant
    Row("GET", T, P.TENANT_VIEW),
    Row("PATCH", T, P.TENANT_EDIT),
    Row("POST", f"{T}/suspend", P.OPERATE),
    Row("POST", f"{T}/unsuspend", P.OPERATE),
    Row("POST", f"{T}/close", P.TENANT_CLOSE),
    Row("POST", f"{T}/reopen", P.TENANT_CLOSE),
    Row("GET", f"{T}/leavings", P.TENANT_CLOSE),
    Row("GET", f"{T}/export", P.TENANT_EXPORT),
    Row("GET", f"{T}/quota", P.QUOTA_VIEW),
    Row("PATCH", f"{T}/quota", P.OPERATE),
    Row("GET", f"{T}/quota-requests", P.QUOTA_VIEW),
    Row("POST", f"{T}/quota-requests", P.QUOTA_REQUEST),
    Row("GET", f"{T}/quota-requests/{{request_id}}", P.QUOTA_VIEW),
    Row("POST", f"{T}/quota-requests/{{request_id}}/withdraw", P.QUOTA_REQUEST),
    # guests
    Row("GET", f"{T}/guests", P.GUEST_VIEW),
    Row("POST", f"{T}/guests", P.GUEST_CREATE),
    Row("GET", GUEST, P.GUEST_VIEW),
    Row("PATCH", GUEST, P.GUEST_EDIT),
    Row("DELETE", GUEST, P.GUEST_DELETE),
    Row("GET", f"{GUEST}/metrics", P.GUEST_VIEW),
    Row("POST", f"{GUEST}/restore", P.GUEST_DELETE),
    Row("POST", f"{GUEST}/console", P.GUEST_CONSOLE),
    Row("POST", f"{GUEST}/start", P.GUEST_POWER),
    Row("POST", f"{GUEST}/shutdown", P.GUEST_POWER),
    Row("POST", f"{GUEST}/stop", P.GUEST_POWER),
    Row("POST", f"{GUEST}/reboot", P.GUEST_POWER),
    Row("POST", f"{GUEST}/reset", P.GUEST_POWER),
    Row("POST", f"{GUEST}/pause", P.GUEST_POWER),
    Row("POST", f"{GUEST}/resume", P.GUEST_POWER),
    Row("POST", f"{GUEST}/suspend", P.GUEST_POWER),
    Row("POST", f"{GUEST}/wake", P.GUEST_POWER),
    Row("POST", f"{GUEST}/resize", P.GUEST_EDIT),
    Row("POST", f"{GUEST}/rebuild", P.GUEST_DELETE),
    Row("POST", f"{GUEST}/rescue", P.GUEST_EDIT),
    Row("POST", f"{GUEST}/unrescue", P.GUEST_EDIT),
    Row("POST", f"{GUEST}/password", P.GUEST_EDIT),
    Row("POST", f"{GUEST}/keys", P.GUEST_EDIT),
    Row("POST", f"{GUEST}/screenshot", P.GUEST_CONSOLE),
    Row("GET", f"{GUEST}/screenshot", P.GUEST_CONSOLE),
    Row("POST", f"{GUEST}/console-log", P.GUEST_CONSOLE),
    Row("GET", f"{GUEST}/console-log", P.GUEST_CONSOLE),
    Row("POST", f"{GUEST}/reported", P.GUEST_CONSOLE),
    Row("GET", f"{GUEST}/reported", P.GUEST_VIEW),
    # operations
    Row("GET", f"{T}/operations", P.OPERATION_VIEW),
    Row("GET", f"{T}/operations/{{operation_id}}", P.OPERATION_VIEW),
    Row("POST", f"{T}/operations/{{operation_id}}/cancel", P.OPERATION_CANCEL),
    # what guests are made of
    Row("GET", f"{T}/images", P.IMAGE_VIEW),
    Row("POST", f"{T}/images", P.IMAGE_MANAGE),
    Row("GET", f"{T}/images/{{image_id}}", P.IMAGE_VIEW),
    Row("PATCH", f"{T}/images/{{image_id}}", P.IMAGE_MANAGE),
    Row("DELETE", f"{T}/images/{{image_id}}", P.IMAGE_MANAGE),
    Row("GET", f"{T}/image-uploads", P.IMAGE_VIEW),
    Row("POST", f"{T}/image-uploads", P.IMAGE_MANAGE),
    Row("GET", f"{T}/image-uploads/{{upload_id}}", P.IMAGE_VIEW),
    Row("PATCH", f"{T}/image-uploads/{{upload_id}}", P.IMAGE_MANAGE),
    Row("DELETE", f"{T}/image-uploads/{{upload_id}}", P.IMAGE_MANAGE),
    Row("GET", f"{T}/networks", P.NETWORK_VIEW),
    Row("POST", f"{T}/networks", P.NETWORK_MANAGE),
    Row("GET", f"{T}/networks/{{network_id}}", P.NETWORK_VIEW),
    Row("DELETE", f"{T}/networks/{{network_id}}", P.NETWORK_MANAGE),
    Row("GET", f"{T}/ports", P.NETWORK_VIEW),
    Row("GET", f"{T}/ports/{{port_id}}", P.NETWORK_VIEW),
    Row("GET", f"{T}/volumes", P.VOLUME_VIEW),
    Row("POST", f"{T}/volumes", P.VOLUME_MANAGE),
    Row("GET", f"{T}/volumes/{{volume_id}}", P.VOLUME_VIEW),
    Row("PATCH", f"{T}/volumes/{{volume_id}}", P.VOLUME_MANAGE),
    Row("DELETE", f"{T}/volumes/{{volume_id}}", P.VOLUME_MANAGE),
    Row("POST", f"{T}/volumes/{{volume_id}}/attach", P.VOLUME_MANAGE),
    Row("POST", f"{T}/volumes/{{volume_id}}/detach", P.VOLUME_MANAGE),
    Row("POST", f"{T}/volumes/{{volume_id}}/extend", P.VOLUME_MANAGE),
    Row("POST", f"{T}/volumes/{{volume_id}}/limits", P.VOLUME_MANAGE),
    Row("GET", f"{T}/backups", P.BACKUP_VIEW),
    Row("POST", f"{T}/backups", P.BACKUP_MANAGE),
    Row("GET", f"{T}/backups/{{backup_id}}", P.BACKUP_VIEW),
    Row("DELETE", f"{T}/backups/{{backup_id}}", P.BACKUP_MANAGE),
    Row("POST", f"{T}/backups/{{backup_id}}/verify", P.BACKUP_MANAGE),
    Row("POST", f"{T}/backups/{{backup_id}}/restore", P.BACKUP_MANAGE, also=(P.GUEST_CREATE, P.VOLUME_MANAGE)),
    Row("GET", f"{T}/ssh-keys", P.KEY_VIEW),
    Row("POST", f"{T}/ssh-keys", P.KEY_MANAGE),
    Row("GET", f"{T}/ssh-keys/{{key_id}}", P.KEY_VIEW),
    Row("DELETE", f"{T}/ssh-keys/{{key_id}}", P.KEY_MANAGE),
    # people and tokens
    Row("GET", f"{T}/members", P.MEMBER_VIEW),
    Row("POST", f"{T}/members", P.OPERATE),
    Row("GET", f"{T}/members/{{member_id}}", P.MEMBER_VIEW),
    Row("PATCH", f"{T}/members/{{member_id}}", P.MEMBER_MANAGE),
    Row("DELETE", f"{T}/members/{{member_id}}", P.MEMBER_MANAGE),
    Row("POST", f"{T}/members/{{member_id}}/transfer", P.OWNER_MANAGE),
    Row("GET", f"{T}/invitations", P.MEMBER_VIEW),
    Row("POST", f"{T}/invitations", P.MEMBER_MANAGE),
    Row("GET", f"{T}/invitations/{{invitation_id}}", P.MEMBER_VIEW),
    Row("POST", f"{T}/invitations/{{invitation_id}}/resend", P.MEMBER_MANAGE),
    Row("DELETE", f"{T}/invitations/{{invitation_id}}", P.MEMBER_MANAGE),
    Row("GET", f"{T}/roles", P.MEMBER_VIEW),
    Row("POST", f"{T}/roles", P.ROLE_MANAGE),
    Row("GET", f"{T}/roles/{{role_id}}", P.MEMBER_VIEW),
    Row("PATCH", f"{T}/roles/{{role_id}}", P.ROLE_MANAGE),
    Row("DELETE", f"{T}/roles/{{role_id}}", P.ROLE_MANAGE),
    Row("GET", f"{T}/tokens", P.TOKEN_VIEW),
    Row("POST", f"{T}/tokens", P.TOKEN_OWN),
    Row("GET", f"{T}/tokens/{{token_id}}", P.TOKEN_VIEW),
    Row("POST", f"{T}/tokens/{{token_id}}/rotate", P.TOKEN_OWN),
    Row("DELETE", f"{T}/tokens/{{token_id}}", P.TOKEN_VIEW),
    # the journal
    Row("GET", f"{T}/audit-events", P.AUDIT_VIEW),
    Row("GET", f"{T}/audit-events/verify", P.AUDIT_VIEW),
    Row("GET", f"{T}/audit-events/export", P.AUDIT_VIEW),
    Row("GET", f"{T}/audit-events/{{entry_id}}", P.AUDIT_VIEW),
    Row("GET", f"{T}/events", P.EVENT_VIEW),
    Row("GET", f"{T}/usage", P.USAGE_VIEW),
    # operators
    Row("GET", "/audit-events", P.OPERATE),
    Row("GET", "/audit-events/verify", P.OPERATE),
    Row("GET", "/quota/verify", P.OPERATE),
    Row("GET", "/quota-requests", P.OPERATE),
    Row("GET", "/quota-requests/{request_id}", P.OPERATE),
    Row("POST", "/quota-requests/{request_id}/approve", P.OPERATE),
    Row("POST", "/quota-requests/{request_id}/decline", P.OPERATE),
    Row("GET", "/sign-in-providers", P.OPERATE),
    Row("POST", "/sign-in-providers", P.OPERATE),
    Row("GET", "/sign-in-providers/{provider_id}", P.OPERATE),
    Row("PATCH", "/sign-in-providers/{provider_id}", P.OPERATE),
    Row("DELETE", "/sign-in-providers/{provider_id}", P.OPERATE),
    Row("GET", "/sign-in-domains", P.OPERATE),
    Row("POST", "/sign-in-domains", P.OPERATE),
    Row("GET", "/sign-in-domains/{domain_id}", P.OPERATE),
    Row("PATCH", "/sign-in-domains/{domain_id}", P.OPERATE),
    Row("DELETE", "/sign-in-domains/{domain_id}", P.OPERATE),
    Row("GET", "/tenants", P.OPERATE),
    Row("POST", "/tenants", P.OPERATE),
    Row("GET", "/operations", P.OPERATE),
    Row("GET", "/operations/{operation_id}", P.OPERATE),
    Row("POST", "/operations/{operation_id}/cancel", P.OPERATE),
    Row("POST", "/operations/{operation_id}/retry", P.OPERATE),
    Row("GET", "/images", P.OPERATE),
    Row("POST", "/images", P.OPERATE),
    Row("GET", "/images/{image_id}", P.OPERATE),
    Row("PATCH", "/images/{image_id}", P.OPERATE),
    Row("DELETE", "/images/{image_id}", P.OPERATE),
    Row("GET", "/hosts", P.OPERATE),
    Row("POST", "/hosts", P.OPERATE),
    Row("GET", "/hosts/{host_id}", P.OPERATE),
    Row("PATCH", "/hosts/{host_id}", P.OPERATE),
    Row("POST", "/hosts/{host_id}/test", P.OPERATE),
    Row("GET", "/backup-stores", P.OPERATE),
    Row("POST", "/backup-stores", P.OPERATE),
    Row("GET", "/backup-stores/{store_id}", P.OPERATE),
    Row("PATCH", "/backup-stores/{store_id}", P.OPERATE),
    Row("GET", "/host-pools", P.OPERATE),
    Row("GET", "/host-pools/{pool_id}", P.OPERATE),
    Row("GET", "/storage-pools", P.OPERATE),
    Row("GET", "/storage-pools/{pool_id}", P.OPERATE),
]
