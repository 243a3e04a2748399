"""Drift: what hosts have that the database does not, and the other way round; shown, never mended here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_shown import column, moment, mono
from vms.admin.shown import drift_words
from vms.models import Drift


@admin.register(Drift)
class DriftAdmin(ServiceAdmin):
    """What was found."""

    plural = gettext_lazy("Drift")
    lede = gettext_lazy(
        "Found by looking through the hosts. Nothing is changed by itself; what is no longer so goes away."
    )
    list_display = ("kind_shown", "host", "shown_subject", "detail", "sightings", "first", "last")
    list_filter = ("kind", "host")
    list_select_related = ("host",)
    search_fields = ("subject", "detail", "host__name")
    fieldsets = ((None, {"fields": ("kind_shown", "host", "shown_subject", "detail", "sightings", "first", "last")}),)

    shown_subject = column("subject", gettext_lazy("Which"), mono)
    first = moment("first_seen_at", gettext_lazy("First seen"))
    last = moment("last_seen_at", gettext_lazy("Last seen"))

    @admin.display(description=gettext_lazy("What"), ordering="kind")
    def kind_shown(self, drift: Drift) -> str:
        return drift_words(drift)

    def links(self, drift: Drift) -> Iterable[tuple[str, Any, str]]:
        if drift.guest_id is not None:
            yield reverse("admin:vms_guest_change", args=[drift.guest_id]), _("The machine"), "device-desktop"
