"""What was done, by whom."""

from __future__ import annotations

import json
from typing import Any, Final

from django.contrib import admin
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_shown import column, moment, verbatim
from tenants.journal.models import Deed
from tenants.models import AuditEntry, InstallationEntry

WHO: Final[Any] = (gettext_lazy("Who"), {"fields": ("who", "how", "address", "request")})
CHAIN: Final[Any] = (gettext_lazy("Chain"), {"fields": ("seq", "before", "own")})


class LogAdmin(ServiceAdmin):
    """What was done, by whom; each entry is chained to the one before it."""

    list_filter = ("via", "subject_type")
    ordering = ("-at",)

    when_shown = moment("at", gettext_lazy("When"))
    who = column("actor_label", gettext_lazy("Who"))
    how = column("via", gettext_lazy("Through"))
    request = column("request_id", gettext_lazy("Request"))
    before = column("prev_hash", gettext_lazy("Hash of the one before"))
    own = column("hash", gettext_lazy("Own hash"))

    @admin.display(description=gettext_lazy("To what"), ordering="subject_name")
    def shown_subject(self, entry: Deed) -> str:
        return f"{entry.subject_type} {entry.subject_name}".strip() or "–"

    @admin.display(description=gettext_lazy("Changes"))
    def shown_changes(self, entry: Deed) -> str:
        return verbatim(json.dumps(entry.changes, indent=2, ensure_ascii=False, sort_keys=True))


@admin.register(AuditEntry)
class AuditEntryAdmin(LogAdmin):
    """What was done in tenants."""

    plural = gettext_lazy("Audit log")
    lede = gettext_lazy(
        "What was done, by whom, in every tenant. Nobody can change it; manage.py verify_audit_log checks it."
    )
    list_display = ("when_shown", "action", "shown_subject", "tenant", "who", "how", "address")
    list_select_related = ("tenant",)
    search_fields = ("action", "subject_name", "actor_label", "tenant__slug", "request_id", "subject_id")
    fieldsets = ((None, {"fields": ("when_shown", "action", "shown_subject", "tenant", "shown_changes")}), WHO, CHAIN)


@admin.register(InstallationEntry)
class InstallationEntryAdmin(LogAdmin):
    """What was done outside of any tenant."""

    plural = gettext_lazy("The installation's log")
    lede = gettext_lazy(
        "What was done, by whom, outside of any tenant: hosts, flavors, images, people. Nobody can change it."
    )
    list_display = ("when_shown", "action", "shown_subject", "who", "how", "address")
    search_fields = ("action", "subject_name", "actor_label", "request_id", "subject_id")
    fieldsets = ((None, {"fields": ("when_shown", "action", "shown_subject", "shown_changes")}), WHO, CHAIN)
