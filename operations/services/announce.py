"""Telling the pages that an operation moved, and whoever asked for it that it failed."""

from __future__ import annotations

from django.urls import reverse
from django.utils.functional import lazy
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from operations.models import Operation
from operations.selectors import operation_label
from tenants.journal.events import event_append
from tenants.models import Member, NoticeKind
from tenants.scoping import tenant_scope
from tenants.services.notices import notice_send


def announce(operation: Operation) -> None:
    """Tell the tenant's pages; an operation without a tenant has nobody to tell."""
    if operation.tenant is None:
        return
    with tenant_scope(operation.tenant):
        event_append(operation.tenant, "operation.changed", "operation", operation.pk)


def tell_who_asked(operation: Operation) -> None:
    """Tell the person who asked that it failed, if they still belong to the tenant; many at once are one notice."""
    tenant, person = operation.tenant, operation.requested_by
    if tenant is None or person is None:
        return
    with tenant_scope(tenant):
        if not Member.objects.filter(user=person).exists():
            return
    notice_send(
        tenant,
        [person],
        NoticeKind.OPERATION_FAILED,
        subject=format_lazy(_("Failed: {what}"), what=lazy(operation_label, str)(operation)),
        text=" ".join(filter(None, (operation.error_message, operation.error_hint))),
        url=reverse("operations:operation_detail", args=[tenant.slug, operation.pk]),
    )
