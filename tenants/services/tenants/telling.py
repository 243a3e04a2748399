"""What a tenant's owners are told when it is suspended, taken up again, closed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    "tenant.suspend above": _("{name} is suspended"),
    "tenant.unsuspend above": _("{name} is active again"),
}
TEXTS: Final[dict[str, Any]] = {
    "tenant.suspend": _("It can be looked at, paid for and exported, nothing else."),
    "tenant.unsuspend": _("Machines that were stopped stay stopped until somebody starts them."),
    "tenant.close": _("Its machines are stopped. Until everything is removed it can be exported, and reopened."),
    "tenant.reopen": _("Machines that were stopped stay stopped until somebody starts them."),
    "tenant.closed": _("Everything that was in it has been removed."),
    "tenant.suspend above": _(
        "A project that it belongs to is suspended: it can be looked at and exported, nothing else."
    ),
    "tenant.unsuspend above": _("Machines that were stopped stay stopped until somebody starts them."),
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


def families_tell(children: Iterable[Tenant], action: str) -> None:
    """Tell the owners of those below what ``action`` above made of theirs, without the reason: that is the other's affair."""
    if f"{action} above" in SUBJECTS:
        for child in children:
            owners_tell(child, f"{action} above")
