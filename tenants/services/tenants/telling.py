"""What a tenant's owners are told when it is suspended, taken up again, closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from tenants.models import NoticeKind, Tenant, User
from tenants.policy import Permission
from tenants.services.notices import notice_send

SUBJECTS: Final[dict[str, Any]] = {
    "tenant.suspend": _("{name} is suspended"),
    "tenant.unsuspend": _("{name} is active again"),
    "tenant.close": _("{name} is being closed"),
    "tenant.reopen": _("{name} is active again"),
    "tenant.closed": _("{name} is closed"),
}
TEXTS: Final[dict[str, Any]] = {
    "tenant.suspend": _("It can be looked at, paid for and exported, nothing else."),
    "tenant.unsuspend": _("Machines that were stopped stay stopped until somebody starts them."),
    "tenant.close": _("Its machines are stopped. Until everything is removed it can be exported, and reopened."),
    "tenant.reopen": _("Machines that were stopped stay stopped until somebody starts them."),
    "tenant.closed": _("Everything that was in it has been removed."),
}


def owners_tell(tenant: Tenant, action: str, *, reason: str = "", owners: Sequence[User] | None = None) -> None:
    """Tell a tenant's owners what ``action`` made of it, with the reason that was given; in the transaction of the change.

    ``owners`` where they are its owners no longer.
    """
    url = f"/t/{tenant.slug}/settings/" if action != "tenant.closed" else ""
    notice_send(
        tenant, Permission.OWNER_MANAGE if owners is None else owners, NoticeKind.TENANT,
        subject=format_lazy(SUBJECTS[action], name=tenant.name),
        text=format_lazy("{said} {reason}", said=TEXTS[action], reason=reason), url=url,
    )  # fmt: skip
