"""Pools of storage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Note, column, moment, mono, yes_no
from portal.core.units import GIB, gib_label
from tenants.actors import Actor
from vms.models import Host, StorageClass, StoragePool
from vms.models.volumes import PoolKind
from vms.selectors.pools import pools_shown
from vms.services.pools import PoolWish, pool_add, pool_offer, pool_prepare, pool_remove


class PoolForm(DeedForm):
    """Where storage is, and which class it serves."""

    host: forms.ModelChoiceField[Host] = forms.ModelChoiceField(None, label=gettext_lazy("Host"))
    word = forms.CharField(
        label=gettext_lazy("Name"), max_length=31,
        help_text=gettext_lazy("A word. What hosts share has the same word on each of them."),
    )  # fmt: skip
    kind = forms.ChoiceField(label=gettext_lazy("What it is"), choices=PoolKind.choices)
    storage_class: forms.ModelChoiceField[StorageClass] = forms.ModelChoiceField(None, label=gettext_lazy("Class"))
    path = forms.CharField(
        label=gettext_lazy("Path"), max_length=255, required=False, widget=forms.TextInput(attrs={"class": "mono"}),
        help_text=gettext_lazy("Of a directory, or where an export is mounted."),
    )  # fmt: skip
    source = forms.CharField(
        label=gettext_lazy("Comes from"), max_length=255, required=False, widget=forms.TextInput(attrs={"class": "mono"}),
        help_text=gettext_lazy("What an NFS server exports, a volume group, or a Ceph pool."),
    )  # fmt: skip
    servers = forms.CharField(
        label=gettext_lazy("Servers"), max_length=2000, required=False,
        help_text=gettext_lazy("NFS's server, or Ceph's monitors, apart by commas."),
    )  # fmt: skip
    account = forms.CharField(label=gettext_lazy("Ceph's name for the host"), max_length=63, required=False)
    secret = forms.CharField(
        label=gettext_lazy("Secret"), max_length=36, required=False, widget=forms.TextInput(attrs={"class": "mono"}),
        help_text=gettext_lazy("Uuid of the secret that libvirt keeps on the host."),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, rows in (("host", Host.objects.order_by("name")), ("storage_class", StorageClass.objects.all())):
            self.fields[name].queryset = rows  # type: ignore[attr-defined]

    def clean_servers(self) -> tuple[str, ...]:
        """Names, one by one."""
        return tuple(self.cleaned_data["servers"].replace(",", " ").split())


def _offers(on: bool) -> Any:
    def foresee(self: Any, pool: StoragePool, actor: Actor) -> Forecast:
        if pool.enabled == on:
            return Forecast(False, _("takes them already") if on else _("takes none already"))
        return Forecast(True, _("takes new volumes again") if on else _("takes new volumes no more"))

    return foresee


@admin.register(StoragePool)
class StoragePoolAdmin(ServiceAdmin):
    """Where bytes are kept."""

    plural = gettext_lazy("Storage pools")
    lede = gettext_lazy("Where disks lie, what is sold of it and what is taken, as the hosts last said.")
    list_display = (
        "name", "host", "kind", "storage_class", "offered", "capacity_shown", "sold", "written_shown", "taken", "free",
    )  # fmt: skip
    list_filter = ("storage_class", "kind", "enabled")
    search_fields = ("name", "host__name", "path", "source")
    ordering = ("host__name", "name")
    fieldsets = (
        (None, {"fields": ("name", "host", "storage_class", "kind", "share", "offered", "ready", "problem")}),
        (gettext_lazy("Where it is"), {"fields": ("shown_path", "shown_source", "servers_shown", "account")}),
        (gettext_lazy("How full"), {"fields": ("capacity_shown", "sold", "written_shown", "taken", "free")}),
    )

    shown_path = column("path", gettext_lazy("Path"), mono)
    shown_source = column("source", gettext_lazy("Comes from"), mono)
    ready = moment("ready_at", gettext_lazy("Ready since"))
    written_shown = column("written", gettext_lazy("Written"), lambda size: gib_label(size // GIB))
    taken = column("allocation", gettext_lazy("Allocated"), lambda size: gib_label(size // GIB))
    free = column("available", gettext_lazy("Free"), lambda size: gib_label(size // GIB))

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoragePool]:
        return pools_shown().order_by(*self.ordering)

    @admin.display(description=gettext_lazy("Capacity"), ordering="capacity")
    def capacity_shown(self, pool: StoragePool) -> str:
        return gib_label(pool.capacity // GIB) if pool.capacity else _("not measured")

    @admin.display(description=gettext_lazy("Takes new volumes"), ordering="enabled")
    def offered(self, pool: StoragePool) -> str:
        return str(yes_no(pool.enabled)) if pool.ready_at is not None else _("not ready")

    @admin.display(description=gettext_lazy("Sold"))
    def sold(self, pool: Any) -> str:
        return gib_label(pool.sold_gib)

    @admin.display(description=gettext_lazy("Servers"))
    def servers_shown(self, pool: StoragePool) -> str:
        return ", ".join(pool.servers) or "–"

    def notes(self, pool: StoragePool) -> Iterable[Note]:
        if pool.problem:
            yield Note("red", _("It is not ready."), pool.problem)

    @deed(
        gettext_lazy("Add a storage pool"),
        explain=gettext_lazy("A worker prepares it on its host; volumes of its class are put there from then on."),
        icon="plus", form=PoolForm, adds=True,
    )  # fmt: skip
    def add(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        host = answers.pop("host")
        pool, _operation = pool_add(host, PoolWish(**answers), actor=actor)
        return _("%s is being prepared.") % pool

    @deed(
        gettext_lazy("Prepare again"),
        explain=gettext_lazy("After a mend on the host: it is looked at and started there."),
        icon="refresh", foresee=lambda self, pool, actor: Forecast(True, _("is looked at")),
    )  # fmt: skip
    def prepare(self, pool: StoragePool, actor: Actor, answers: dict[str, Any]) -> str:
        pool_prepare(pool, actor=actor)
        return _("%s is being prepared.") % pool

    @deed(
        gettext_lazy("Take no new volumes"),
        explain=gettext_lazy("What lies there stays."),
        icon="history", many=True, foresee=_offers(on=False),
    )  # fmt: skip
    def close(self, pool: StoragePool, actor: Actor, answers: dict[str, Any]) -> str:
        pool_offer(pool, enabled=False, actor=actor)
        return _("%s takes no new volumes.") % pool

    @deed(
        gettext_lazy("Take new volumes"),
        explain=gettext_lazy("Volumes of its class are put there again."),
        icon="arrow-back-up", many=True, foresee=_offers(on=True),
    )  # fmt: skip
    def open(self, pool: StoragePool, actor: Actor, answers: dict[str, Any]) -> str:
        pool_offer(pool, enabled=True, actor=actor)
        return _("%s takes new volumes.") % pool

    @deed(
        gettext_lazy("Give up"),
        explain=gettext_lazy("Its host forgets it; what else is in it stays. Refused while volumes lie there."),
        icon="trash", danger=True, foresee=lambda self, pool, actor: Forecast(True, _("is given up")),
    )  # fmt: skip
    def remove(self, pool: StoragePool, actor: Actor, answers: dict[str, Any]) -> str:
        pool_remove(pool, actor=actor)
        return _("%s is being given up.") % pool
