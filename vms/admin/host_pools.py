"""Pools of hosts: what is alike about them, and how they are filled."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from tenants.actors import Actor
from vms.models import Fabric, HostPool
from vms.services.host_pools import host_pool_write


class HostPoolForm(DeedForm):
    """How full hosts may be, how they are filled, and how soon silence counts."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=40, help_text=gettext_lazy("Small letters, digits, dots and hyphens.")
    )
    cpu_overcommit = forms.DecimalField(
        label=gettext_lazy("vCPUs sold for each processor"), min_value=1, max_digits=5, decimal_places=2, initial=8
    )
    memory_overcommit = forms.DecimalField(
        label=gettext_lazy("Memory sold for each MiB"), min_value=1, max_digits=5, decimal_places=2, initial=1,
        help_text=gettext_lazy("More than 1 needs swap on the hosts: machines are not asked to give any back."),
    )  # fmt: skip
    spare_hosts = forms.IntegerField(
        label=gettext_lazy("Hosts that may fail"), min_value=0, max_value=1000, initial=0,
        help_text=gettext_lazy("The worth of so many of its largest hosts is not sold, so that there is somewhere to go."),
    )  # fmt: skip
    packs = forms.TypedChoiceField(
        label=gettext_lazy("New machines go"), coerce=lambda value: value == "packs", initial="spreads",
        choices=[("spreads", gettext_lazy("to the emptiest host")), ("packs", gettext_lazy("to the fullest one that has room"))],
    )  # fmt: skip
    suspect_after_s = forms.IntegerField(
        label=gettext_lazy("Late after, seconds"), min_value=2, max_value=32767, initial=10
    )
    down_after_s = forms.IntegerField(
        label=gettext_lazy("Silent after, seconds"), min_value=3, max_value=32767, initial=20
    )

    fabric = forms.ModelChoiceField(
        label=gettext_lazy("Fabric"), queryset=Fabric.objects.order_by("name"), required=False,
        empty_label=gettext_lazy("none: each host's own bridges"),
        help_text=gettext_lazy("What carries its machines' networks. It cannot be changed under machines."),
    )  # fmt: skip

    def __init__(self, *args: Any, row: HostPool | None = None, **kwargs: Any) -> None:
        if row is not None:
            known = {name: getattr(row, name) for name in self.base_fields}
            kwargs["initial"] = known | {"packs": "packs" if row.packs else "spreads"}
        super().__init__(*args, row=row, **kwargs)


@admin.register(HostPool)
class HostPoolAdmin(ServiceAdmin):
    """Hosts that are alike."""

    plural = gettext_lazy("Host pools")
    lede = gettext_lazy(
        "Hosts that are alike share an engine, overcommit, how they are filled, and how soon silence counts."
    )
    list_display = ("name", "carrier", "hosts", "cpu_overcommit", "memory_overcommit", "filling", "kept", "silence")
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "carrier", "hosts", "silence")}),
        (gettext_lazy("How full"), {"fields": ("cpu_overcommit", "memory_overcommit", "kept", "filling")}),
    )

    list_select_related = ("fabric",)

    @admin.display(description=gettext_lazy("Networks by"), ordering="fabric")
    def carrier(self, pool: HostPool) -> str:
        return str(pool.fabric) if pool.fabric else _("its hosts' own bridges")

    def get_queryset(self, request: HttpRequest) -> QuerySet[HostPool]:
        rows: QuerySet[HostPool] = super().get_queryset(request)
        return rows.annotate(host_count=Count("hosts"))

    @admin.display(description=gettext_lazy("Hosts"), ordering="host_count")
    def hosts(self, pool: Any) -> int:
        return int(pool.host_count)

    @admin.display(description=gettext_lazy("Late and silent after"))
    def silence(self, pool: HostPool) -> str:
        return _("%(late)d s, %(silent)d s") % {"late": pool.suspect_after_s, "silent": pool.down_after_s}

    @admin.display(description=gettext_lazy("New machines go"), ordering="packs")
    def filling(self, pool: HostPool) -> str:
        return _("to the fullest host with room") if pool.packs else _("to the emptiest host")

    @admin.display(description=gettext_lazy("Hosts that may fail"), ordering="spare_hosts")
    def kept(self, pool: HostPool) -> int:
        return pool.spare_hosts

    @deed(
        gettext_lazy("Add a host pool"),
        explain=gettext_lazy("Hosts can be enrolled in it from then on."),
        icon="plus", form=HostPoolForm, adds=True,
    )  # fmt: skip
    def add(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s can take hosts now.") % host_pool_write(None, actor=actor, **answers)

    @deed(
        gettext_lazy("Edit"),
        explain=gettext_lazy("Holds for what is placed from now on. Machines stay where they are."),
        icon="pencil", form=HostPoolForm,
        foresee=lambda self, pool, actor: Forecast(True, _("is changed for what is placed from now on")),
    )  # fmt: skip
    def edit(self, pool: HostPool, actor: Actor, answers: dict[str, Any]) -> str:
        changed = [f"{name} {getattr(pool, name)} → {to}" for name, to in answers.items() if getattr(pool, name) != to]
        if not changed:
            return _("Nothing was changed.")
        host_pool_write(pool, actor=actor, **answers)
        return ", ".join(changed)
