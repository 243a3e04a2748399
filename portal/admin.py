"""What operators did on their site: the record of what belongs to no tenant, and so stands in no tenant's audit log."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_shown import column, moment


@admin.register(LogEntry)
class LogEntryAdmin(ServiceAdmin):
    """Deeds, newest first."""

    plural = gettext_lazy("Operators' log")
    lede = gettext_lazy("What operators did here. What touched a tenant stands in its audit log, too.")
    list_display = ("when_shown", "user", "kind", "what", "said")
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "change_message", "user__email", "object_id")
    ordering = ("-action_time",)
    fieldsets = ((None, {"fields": ("when_shown", "user", "kind", "what", "object_id", "said")}),)

    when_shown = moment("action_time", gettext_lazy("When"))
    what = column("object_repr", gettext_lazy("To what"))
    said = column("change_message", gettext_lazy("What was done"))

    @admin.display(description=gettext_lazy("Kind"))
    def kind(self, entry: LogEntry) -> str:
        return str(entry.content_type.name) if entry.content_type is not None else ""

    def heading(self, row: Any) -> str:
        return str(row.object_repr)
