"""What was done, by whom."""

from __future__ import annotations

import json

from django.contrib import admin
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_shown import column, moment, verbatim
from tenants.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(ServiceAdmin):
    """What was done, by whom; each entry is chained to the one before it."""

    plural = gettext_lazy("Audit log")
    lede = gettext_lazy(
        "What was done, by whom, in every tenant. Nobody can change it; manage.py verify_audit_log checks it."
    )
    list_display = ("when_shown", "action", "shown_subject", "tenant", "who", "how", "address")
    list_filter = ("via", "subject_type")
    list_select_related = ("tenant",)
    search_fields = ("action", "subject_name", "actor_label", "tenant__slug", "request_id", "subject_id")
    ordering = ("-at",)
    fieldsets = (
        (None, {"fields": ("when_shown", "action", "shown_subject", "tenant", "shown_changes")}),
        (gettext_lazy("Who"), {"fields": ("who", "how", "address", "request")}),
        (gettext_lazy("Chain"), {"fields": ("seq", "before", "own")}),
    )

    when_shown = moment("at", gettext_lazy("When"))
    who = column("actor_label", gettext_lazy("Who"))
    how = column("via", gettext_lazy("Through"))
    request = column("request_id", gettext_lazy("Request"))
    before = column("prev_hash", gettext_lazy("Hash of the one before"))
    own = column("hash", gettext_lazy("Own hash"))

    @admin.display(description=gettext_lazy("To what"), ordering="subject_name")
    def shown_subject(self, entry: AuditEntry) -> str:
        return f"{entry.subject_type} {entry.subject_name}".strip() or "–"

    @admin.display(description=gettext_lazy("Changes"))
    def shown_changes(self, entry: AuditEntry) -> str:
        return verbatim(json.dumps(entry.changes, indent=2, ensure_ascii=False, sort_keys=True))
