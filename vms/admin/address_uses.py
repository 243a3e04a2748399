"""Who had which address, and when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_shown import column, moment, mono
from vms.models import AddressUse


@admin.register(AddressUse)
class AddressUseAdmin(ServiceAdmin):
    """Addresses of machines, those that are gone, too."""

    plural = gettext_lazy("Addresses")
    lede = gettext_lazy("Who had which address from when to when. Nothing of it is changed or deleted.")
    list_display = ("shown_ip", "guest_name", "tenant", "network_name", "shown_mac", "begun", "ended")
    list_filter = ("tenant",)
    list_select_related = ("tenant",)
    search_fields = ("ip", "mac", "guest_name", "network_name")
    ordering = ("-since", "-id")
    fieldsets = (
        (None, {"fields": ("shown_ip", "guest_name", "tenant", "network_name", "shown_mac", "begun", "ended")}),
    )

    shown_ip = column("ip", gettext_lazy("Address"), mono)
    shown_mac = column("mac", gettext_lazy("MAC"), mono)
    begun = moment("since", gettext_lazy("From"))
    ended = moment("until", gettext_lazy("Until"))

    def links(self, use: AddressUse) -> Iterable[tuple[str, Any, str]]:
        yield reverse("admin:tenants_tenant_change", args=[use.tenant_id]), _("The project"), "folder"
