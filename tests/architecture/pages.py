"""Which permission each page asks for: one row per method and route; a route without a row fails the suite."""

from __future__ import annotations

from typing import NamedTuple

from tenants.policy import Permission

P = Permission


class PageRow(NamedTuple):
    """One method of one page, by its name, and what it needs; ``None`` is anybody who is signed in.

    ``also`` is what the service asks for besides, about a thing that is not the caller's own. ``anybody`` need not be
    signed in: what is in the address is the secret.
    """

    method: str
    name: str
    permission: Permission | None
    also: tuple[Permission, ...] = ()
    anybody: bool = False


PAGES = [
    PageRow("GET", "tenants:home", None),
    PageRow("GET", "tenants:notice_list", None),
    PageRow("GET", "tenants:notice_bell", None),
    PageRow("GET", "tenants:notice_choices", None),
    PageRow("POST", "tenants:notice_choices", None),
    PageRow("POST", "tenants:notice_read_all", None),
    PageRow("POST", "tenants:notice_open", None),
    PageRow("GET", "tenants:switch", P.TENANT_VIEW),
    PageRow("GET", "tenants:visit", P.OPERATE),
    PageRow("POST", "tenants:visit", P.OPERATE),
    PageRow("POST", "tenants:visit_end", P.TENANT_VIEW),
    PageRow("GET", "tenants:member_list", P.MEMBER_VIEW),
    PageRow("POST", "tenants:member_role", P.MEMBER_MANAGE),
    PageRow("GET", "tenants:member_remove", P.TENANT_VIEW, (P.MEMBER_MANAGE,)),
    PageRow("POST", "tenants:member_remove", P.TENANT_VIEW, (P.MEMBER_MANAGE,)),  # leaving needs no more
    PageRow("GET", "tenants:member_transfer", P.OWNER_MANAGE),
    PageRow("POST", "tenants:member_transfer", P.OWNER_MANAGE),
    PageRow("POST", "tenants:invitation_create", P.MEMBER_MANAGE),
    PageRow("POST", "tenants:invitation_resend", P.MEMBER_MANAGE),
    PageRow("POST", "tenants:invitation_revoke", P.MEMBER_MANAGE),
    PageRow("GET", "tenants:invitation", None, anybody=True),
    PageRow("POST", "tenants:invitation", None, anybody=True),
    PageRow("POST", "tenants:invitation_decline", None, anybody=True),
    PageRow("POST", "tenants:invitation_join", None),
    PageRow("POST", "tenants:invitation_stay_out", None),
    PageRow("GET", "tenants:role_list", P.MEMBER_VIEW),
    PageRow("GET", "tenants:role_create", P.ROLE_MANAGE),
    PageRow("POST", "tenants:role_create", P.ROLE_MANAGE),
    PageRow("GET", "tenants:role_edit", P.ROLE_MANAGE),
    PageRow("POST", "tenants:role_edit", P.ROLE_MANAGE),
    PageRow("POST", "tenants:role_delete", P.ROLE_MANAGE),
    PageRow("GET", "tenants:token_list", P.TOKEN_VIEW),
    PageRow("POST", "tenants:token_create", P.TOKEN_OWN),
    PageRow("POST", "tenants:token_rotate", P.TOKEN_OWN),
    PageRow("GET", "tenants:token_revoke", P.TOKEN_VIEW, (P.TOKEN_MANAGE,)),
    PageRow("POST", "tenants:token_revoke", P.TOKEN_VIEW, (P.TOKEN_MANAGE,)),
    PageRow("GET", "tenants:quota", P.QUOTA_VIEW),
    PageRow("POST", "tenants:quota_ask", P.QUOTA_REQUEST),
    PageRow("POST", "tenants:quota_withdraw", P.QUOTA_REQUEST),
    PageRow("GET", "tenants:audit_list", P.AUDIT_VIEW),
    PageRow("GET", "tenants:audit_verify", P.AUDIT_VIEW),
    PageRow("GET", "tenants:audit_export", P.AUDIT_VIEW),
    PageRow("GET", "tenants:settings", P.TENANT_VIEW),
    PageRow("POST", "tenants:settings", P.TENANT_VIEW),
    PageRow("GET", "tenants:second_factor", P.TENANT_EDIT),
    PageRow("POST", "tenants:second_factor", P.TENANT_EDIT),
    PageRow("GET", "tenants:export", P.TENANT_EXPORT),
    PageRow("GET", "tenants:close", P.TENANT_CLOSE),
    PageRow("POST", "tenants:close", P.TENANT_CLOSE),
    PageRow("POST", "tenants:reopen", P.TENANT_CLOSE),
    PageRow("GET", "vms:overview", P.TENANT_VIEW),
    PageRow("GET", "vms:guest_list", P.GUEST_VIEW),
    PageRow("POST", "vms:guest_bulk", P.GUEST_VIEW),  # each action is the service's to refuse, per machine
    PageRow("GET", "vms:guest_create", P.GUEST_CREATE),
    PageRow("POST", "vms:guest_create", P.GUEST_CREATE),
    PageRow("POST", "vms:guest_recap", P.GUEST_CREATE),
    PageRow("GET", "vms:guest_detail", P.GUEST_VIEW),
    PageRow("GET", "vms:guest_row", P.GUEST_VIEW),
    PageRow("GET", "vms:guest_menu", P.GUEST_VIEW),
    PageRow("GET", "vms:guest_header", P.GUEST_VIEW),
    PageRow("GET", "vms:guest_power", P.GUEST_POWER),
    PageRow("POST", "vms:guest_power", P.GUEST_POWER),
    PageRow("POST", "vms:guest_rename", P.GUEST_EDIT),
    PageRow("POST", "vms:guest_tags", P.GUEST_EDIT),
    PageRow("POST", "vms:guest_protect", P.GUEST_EDIT),
    PageRow("GET", "vms:guest_resize", P.GUEST_EDIT),
    PageRow("POST", "vms:guest_resize", P.GUEST_EDIT),
    PageRow("GET", "vms:guest_rebuild", P.GUEST_DELETE),
    PageRow("POST", "vms:guest_rebuild", P.GUEST_DELETE),
    PageRow("GET", "vms:guest_rescue", P.GUEST_EDIT),
    PageRow("POST", "vms:guest_rescue", P.GUEST_EDIT),
    PageRow("POST", "vms:guest_unrescue", P.GUEST_EDIT),
    PageRow("POST", "vms:guest_lease", P.GUEST_DELETE),
    PageRow("POST", "vms:guest_schedule_add", P.GUEST_POWER),
    PageRow("POST", "vms:guest_schedule_change", P.GUEST_POWER),
    PageRow("POST", "vms:guest_look", P.GUEST_CONSOLE),
    PageRow("GET", "vms:guest_screen", P.GUEST_CONSOLE),
    PageRow("GET", "vms:guest_password", P.GUEST_EDIT),
    PageRow("POST", "vms:guest_password", P.GUEST_EDIT),
    PageRow("GET", "vms:guest_keys", P.GUEST_EDIT),
    PageRow("POST", "vms:guest_keys", P.GUEST_EDIT),
    PageRow("GET", "vms:guest_delete", P.GUEST_DELETE),
    PageRow("POST", "vms:guest_delete", P.GUEST_DELETE),
    PageRow("POST", "vms:guest_restore", P.GUEST_DELETE),
    PageRow("GET", "vms:console", P.GUEST_CONSOLE),
    PageRow("GET", "vms:console_serial", P.GUEST_CONSOLE),
    PageRow("POST", "vms:console_ticket", P.GUEST_CONSOLE),
    PageRow("GET", "vms:volume_list", P.VOLUME_VIEW),
    PageRow("POST", "vms:volume_create", P.VOLUME_MANAGE),
    PageRow("GET", "vms:volume_detail", P.VOLUME_VIEW),
    PageRow("POST", "vms:volume_edit", P.VOLUME_MANAGE),
    PageRow("POST", "vms:volume_attach", P.VOLUME_MANAGE),
    PageRow("GET", "vms:volume_detach", P.VOLUME_MANAGE),
    PageRow("POST", "vms:volume_detach", P.VOLUME_MANAGE),
    PageRow("POST", "vms:volume_extend", P.VOLUME_MANAGE),
    PageRow("POST", "vms:volume_limits", P.VOLUME_MANAGE),
    PageRow("GET", "vms:volume_delete", P.VOLUME_MANAGE),
    PageRow("POST", "vms:volume_delete", P.VOLUME_MANAGE),
    PageRow("GET", "vms:image_list", P.IMAGE_VIEW),
    PageRow("GET", "vms:image_add", P.IMAGE_MANAGE),
    PageRow("POST", "vms:image_add", P.IMAGE_MANAGE),
    PageRow("GET", "vms:image_detail", P.IMAGE_VIEW),
    PageRow("POST", "vms:image_edit", P.IMAGE_MANAGE),
    PageRow("POST", "vms:image_offer", P.IMAGE_MANAGE),
    PageRow("GET", "vms:image_delete", P.IMAGE_MANAGE),
    PageRow("POST", "vms:image_delete", P.IMAGE_MANAGE),
    PageRow("POST", "vms:upload_create", P.IMAGE_MANAGE),
    PageRow("GET", "vms:upload_piece", P.IMAGE_MANAGE),
    PageRow("PUT", "vms:upload_piece", P.IMAGE_MANAGE),
    PageRow("POST", "vms:upload_abandon", P.IMAGE_MANAGE),
    PageRow("GET", "vms:network_list", P.NETWORK_VIEW),
    PageRow("POST", "vms:network_create", P.NETWORK_MANAGE),
    PageRow("POST", "vms:network_delete", P.NETWORK_MANAGE),
    PageRow("GET", "vms:key_list", P.KEY_VIEW),
    PageRow("POST", "vms:key_create", P.KEY_MANAGE),
    PageRow("POST", "vms:key_delete", P.KEY_MANAGE),
    PageRow("GET", "operations:operation_list", P.OPERATION_VIEW),
    PageRow("GET", "operations:running_pill", P.OPERATION_VIEW),
    PageRow("GET", "operations:operation_detail", P.OPERATION_VIEW),
    PageRow("GET", "operations:operation_partial", P.OPERATION_VIEW),
    PageRow("POST", "operations:operation_cancel", P.OPERATION_CANCEL),
]
