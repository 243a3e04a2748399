"""Pools of hosts and of storage; to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_shown import column, mono
from portal.core.units import GIB, gib_label
from vms.models import HostPool, StoragePool


@admin.register(HostPool)
class HostPoolAdmin(ServiceAdmin):
    """Hosts that are alike."""

    plural = gettext_lazy("Host pools")
    lede = gettext_lazy("Hosts that are alike share an engine, overcommit, and how soon silence counts.")
    list_display = ("name", "engine", "hosts", "cpu_overcommit", "memory_overcommit", "silence")
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = ((None, {"fields": ("name", "engine", "hosts", "cpu_overcommit", "memory_overcommit", "silence")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[HostPool]:
        rows: QuerySet[HostPool] = super().get_queryset(request)
        return rows.annotate(host_count=Count("hosts"))

    @admin.display(description=gettext_lazy("Hosts"), ordering="host_count")
    def hosts(self, pool: Any) -> int:
        return int(pool.host_count)

    @admin.display(description=gettext_lazy("Late and silent after"))
    def silence(self, pool: HostPool) -> str:
        return _("%(late)d s, %(silent)d s") % {"late": pool.suspect_after_s, "silent": pool.down_after_s}


@admin.register(StoragePool)
class StoragePoolAdmin(ServiceAdmin):
    """Where bytes are kept."""

    plural = gettext_lazy("Storage pools")
    lede = gettext_lazy("Where disks lie, and how full it is, as the hosts last said.")
    list_display = ("name", "host", "storage_class", "shown_path", "capacity_shown", "taken", "free")
    list_filter = ("storage_class", "kind")
    list_select_related = ("host", "storage_class")
    search_fields = ("name", "host__name", "path")
    ordering = ("host__name", "name")
    fieldsets = (
        (None, {"fields": ("name", "host", "storage_class", "kind", "shown_path")}),
        (gettext_lazy("How full"), {"fields": ("capacity_shown", "taken", "free")}),
    )

    shown_path = column("path", gettext_lazy("Path"), mono)
    taken = column("allocation", gettext_lazy("Taken"), lambda size: gib_label(size // GIB))
    free = column("available", gettext_lazy("Free"), lambda size: gib_label(size // GIB))

    @admin.display(description=gettext_lazy("Capacity"), ordering="capacity")
    def capacity_shown(self, pool: StoragePool) -> str:
        return gib_label(pool.capacity // GIB) if pool.capacity else _("not measured")
