"""Compute hosts: enrol, test, maintenance, and what each can and cannot do."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Note, Panel, cells, column, labelled, moment, mono
from portal.core.units import GIB, gib_label, mib_label
from portal.templatetags.portal_ui import when
from tenants.actors import Actor
from tenants.models import Tenant
from vms.admin.shown import LIMITS, drift_words, guest_state, host_state, listed, words_of
from vms.models import Drift, Guest, Host, HostPool
from vms.selectors.fleet import HostLoad, fleet_hosts
from vms.selectors.hardware import TRAIT_WORDS
from vms.services.hosts import host_edit, host_enrol, host_test
from vms.states import TRAITS, HostState

GUESTS_SHOWN = 50


class EnrolForm(DeedForm):
    """Where a host is, and where on it our things go."""

    uri = forms.CharField(
        label=gettext_lazy("Address for libvirt"), max_length=255, initial="qemu:///system",
        help_text=gettext_lazy("Such as qemu:///system for this machine, or qemu+tls://host/system."),
    )  # fmt: skip
    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=64, required=False,
        help_text=gettext_lazy("How it is called here. Left empty: its host name."),
    )  # fmt: skip
    data_dir = forms.CharField(
        label=gettext_lazy("Directory for disks"), max_length=200,
        help_text=gettext_lazy("On the host; disks and images lie below it."),
    )  # fmt: skip
    run_dir = forms.CharField(
        label=gettext_lazy("Directory for sockets"), max_length=64,
        help_text=gettext_lazy("On the host; short, since a socket's path ends at 107 bytes."),
    )  # fmt: skip
    addresses = forms.CharField(
        label=gettext_lazy("Its own addresses"), required=False, widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("One a line. Its machines may not reach them."),
    )  # fmt: skip
    pool = forms.ModelChoiceField(
        label=gettext_lazy("Pool"), queryset=HostPool.objects.order_by("name"), required=False,
        empty_label=gettext_lazy("the first one"),
    )  # fmt: skip

    def clean_addresses(self) -> list[str]:
        """Addresses, one a line or apart by commas."""
        words: list[str] = self.cleaned_data["addresses"].replace(",", " ").split()
        for word in words:
            try:
                ipaddress.ip_address(word)
            except ValueError as error:
                raise forms.ValidationError(_("%s is not an address.") % word) from error
        return words


class PurposeForm(DeedForm):
    """What a host has, and for whom it is."""

    labels = forms.CharField(
        label=gettext_lazy("Labels"), max_length=700, required=False,
        help_text=gettext_lazy("Words for what it has, apart by spaces. A flavor may need some."),
    )  # fmt: skip
    set_aside_for = forms.ModelChoiceField(
        label=gettext_lazy("Set aside for"), queryset=Tenant.objects.order_by("name"), required=False,
        empty_label=gettext_lazy("nobody: it is for all"),
        help_text=gettext_lazy("It takes only this project's new machines and its children's, and they go nowhere else."),
    )  # fmt: skip

    def __init__(self, *args: Any, row: Host | None = None, **kwargs: Any) -> None:
        if row is not None:
            kwargs["initial"] = {"labels": " ".join(row.labels), "set_aside_for": row.set_aside_for}
        super().__init__(*args, row=row, **kwargs)

    def clean_labels(self) -> list[str]:
        """Words, each once."""
        return words_of(self.cleaned_data["labels"])


def _enters(self: Any, host: Host, actor: Actor) -> Forecast:
    if host.maintenance:
        return Forecast(False, _("is in maintenance already"))
    return Forecast(True, _("takes no new machines; those on it stay"))


def _leaves(self: Any, host: Host, actor: Actor) -> Forecast:
    if not host.maintenance:
        return Forecast(False, _("is in service already"))
    return Forecast(True, _("takes new machines again"))


@admin.register(Host)
class HostAdmin(ServiceAdmin):
    """Hosts and what we know of them."""

    plural = gettext_lazy("Hosts")
    lede = gettext_lazy("Where machines run. A host takes machines once it has been tested and heard.")
    list_display = ("name", "shown_state", "pool", "processors", "memory", "machines", "acceleration", "heard")
    list_filter = ("state", "maintenance", "accelerated", "pool")
    list_select_related = ("pool", "set_aside__tenant")
    search_fields = ("name", "uri")
    ordering = ("name",)
    fieldsets = (
        (
            gettext_lazy("Now"),
            {"fields": ("shown_state", "heard", "swept", "problem", "pool", "shown_labels", "own_project")},
        ),
        (gettext_lazy("Sold and used"), {"fields": ("vcpu_share", "memory_share", "disk_share")}),
        (
            gettext_lazy("What it is"),
            {
                "fields": (
                    "hostname",
                    "cpu_model",
                    "processors",
                    "memory",
                    "versions",
                    "acceleration",
                    "built_of",
                    "limits",
                    "findings",
                )
            },
        ),
        (gettext_lazy("How we reach it"), {"fields": ("shown_uri", "own_addresses", "data", "run", "shown_watcher")}),
    )

    processors = column("cpus", gettext_lazy("Processors"))
    memory = column("memory_mib", gettext_lazy("Memory"), mib_label)
    findings = column("notes", gettext_lazy("What the test found"), listed)
    shown_labels = column("offers", gettext_lazy("Has"), " ".join)
    shown_uri = column("uri", gettext_lazy("Address for libvirt"), mono)
    data = column("data_dir", gettext_lazy("Disks"), mono)
    run = column("run_dir", gettext_lazy("Sockets"), mono)
    heard = moment("seen_at", gettext_lazy("Heard"))
    swept = moment("swept_at", gettext_lazy("Looked through"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Host]:
        rows: QuerySet[Host] = super().get_queryset(request)
        return rows.annotate(guest_count=Count("guests", filter=Q(guests__binned_at=None)))

    @admin.display(description=gettext_lazy("State"), ordering="state")
    def shown_state(self, host: Host) -> str:
        return host_state(host)

    @admin.display(description=gettext_lazy("Machines"), ordering="guest_count")
    def machines(self, host: Any) -> int:
        return int(host.guest_count)

    @admin.display(description=gettext_lazy("Acceleration"), ordering="accelerated")
    def acceleration(self, host: Host) -> str:
        return "KVM" if host.accelerated else _("None: machines are emulated and slow")

    @admin.display(description=gettext_lazy("Machines can have"))
    def built_of(self, host: Host) -> str:
        if host.traits is None:
            return _("Not tested for UEFI, Secure Boot and TPM")
        return ", ".join(str(TRAIT_WORDS[trait]) for trait in TRAITS if trait in host.traits) or _(
            "Neither UEFI nor a TPM"
        )

    @admin.display(description=gettext_lazy("Host name"))
    def hostname(self, host: Host) -> str:
        return str(host.facts.get("hostname", ""))

    @admin.display(description=gettext_lazy("Processor"))
    def cpu_model(self, host: Host) -> str:
        return " ".join(str(host.facts.get(key, "")) for key in ("cpu_model", "arch")).strip()

    @admin.display(description=gettext_lazy("Versions"))
    def versions(self, host: Host) -> str:
        if not host.facts:
            return ""
        return f"libvirt {host.facts.get('libvirt_version', '?')}, QEMU {host.facts.get('qemu_version', '?')}"

    @admin.display(description=gettext_lazy("Limits not enforced"))
    def limits(self, host: Host) -> str:
        return listed([LIMITS.get(name, name) for name in host.unenforced]) if host.unenforced else _("None")

    @admin.display(description=gettext_lazy("Its own addresses"))
    def own_addresses(self, host: Host) -> str:
        return listed([mono(address) for address in host.addresses])

    @admin.display(description=gettext_lazy("Set aside for"))
    def own_project(self, host: Host) -> str:
        return _("Nobody") if host.set_aside_for is None else str(labelled(host.set_aside_for))

    @admin.display(description=gettext_lazy("Listened to by"))
    def shown_watcher(self, host: Host) -> str:
        return mono(host.watcher) if host.watcher else _("Nobody")

    @admin.display(description=gettext_lazy("vCPUs"))
    def vcpu_share(self, host: Host) -> str:
        share = self._load(host).vcpus
        return _("%(sold)d of %(total)d sold, %(used)d in use") % _figures(share.sold, share.total, share.used)

    @admin.display(description=gettext_lazy("Memory"))
    def memory_share(self, host: Host) -> str:
        share = self._load(host).memory_mib
        return _("%(sold)s of %(total)s sold, %(used)s in use") % _figures(
            mib_label(share.sold), mib_label(share.total), mib_label(share.used)
        )

    @admin.display(description=gettext_lazy("Disk"))
    def disk_share(self, host: Host) -> str:
        share = self._load(host).disk_gib
        return _("%(sold)s of %(total)s sold, %(used)s in use") % _figures(
            gib_label(share.sold), gib_label(share.total), gib_label(share.used)
        )

    def _load(self, host: Any) -> HostLoad:
        """Read once for a page: kept on the row."""
        if not hasattr(host, "_load"):
            host._load = fleet_hosts(Host.objects.filter(pk=host.pk))[0]
        load: HostLoad = host._load
        return load

    def notes(self, host: Host) -> Iterable[Note]:
        if host.problem:
            yield Note("red", _("The last test failed."), host.problem)
        if host.state == HostState.DOWN and host.seen_at is not None:
            yield Note(
                "red", _("This host does not answer."),
                _("Its machines show as unknown. Do not start them elsewhere before it is known to be off."),
            )  # fmt: skip
        if "groups" in host.unenforced:
            yield Note(
                "red", _("Security groups do not hold here."),
                _("Bridged frames bypass its packet filter: it takes no new machines. What to set stands in its notes."),
            )  # fmt: skip
        if host.unenforced:
            yield Note("amber", _("Some limits are not enforced here."), _("They stand below, in words."))

    def panels(self, host: Host) -> Iterable[Panel]:
        guests = Guest.objects.filter(host=host).select_related("tenant").order_by("tenant__slug", "name")
        yield Panel(
            _("Machines"),
            [_("Name"), _("Tenant"), _("State"), _("Size")],
            list(cells(_guest_line(guest) for guest in guests[:GUESTS_SHOWN])),
            _("No machine is on it."),
            f"{reverse('admin:vms_guest_changelist')}?host__id__exact={host.pk}",
        )
        yield Panel(
            _("Storage"),
            [_("Pool"), _("Path"), _("Class"), _("Capacity"), _("Taken"), _("Free")],
            [
                (labelled(pool), mono(pool.path), str(pool.storage_class), *_bytes(pool))
                for pool in host.storage_pools.select_related("storage_class", "host").order_by("name")
            ],
            _("No storage has been prepared: test the host."),
        )
        yield Panel(
            _("Drift"),
            [_("What"), _("Which"), _("Detail"), _("Last seen")],
            [
                (labelled(found, drift_words(found)), mono(found.subject), found.detail, when(found.last_seen_at))
                for found in Drift.objects.filter(host=host)[:GUESTS_SHOWN]
            ],
            _("What the host has and what we want agree."),
        )

    @deed(
        gettext_lazy("Enrol a host"),
        explain=gettext_lazy("Takes a host in and has a worker test it. An address that is enrolled already is updated."),
        icon="plus", form=EnrolForm, adds=True,
    )  # fmt: skip
    def enrol(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        host, _operation = host_enrol(actor=actor, **answers)
        return _("%s is enrolled and being tested.") % host

    @deed(
        gettext_lazy("Test"),
        explain=gettext_lazy("A worker connects, reads what the host is, and starts a tiny machine for a moment."),
        icon="plug-connected", many=True,
        foresee=lambda self, host, actor: Forecast(True, _("is connected to and tested")),
    )  # fmt: skip
    def test(self, host: Host, actor: Actor, answers: dict[str, Any]) -> str:
        host_test(host, actor=actor)
        return _("%s is being tested; its page shows what was found.") % host

    @deed(
        gettext_lazy("Labels and project"),
        explain=gettext_lazy("Says which new machines it takes. Those that are on it stay."),
        icon="pencil", form=PurposeForm,
        foresee=lambda self, host, actor: Forecast(True, _("is changed for what is placed from now on")),
    )  # fmt: skip
    def dedicate(self, host: Host, actor: Actor, answers: dict[str, Any]) -> str:
        before = host.version
        changed = host_edit(host, actor=actor, **answers).version != before
        return _("%s is changed.") % host if changed else _("Nothing was changed.")

    @deed(
        gettext_lazy("Begin maintenance"),
        explain=gettext_lazy("The host takes no new machines until maintenance ends. Those on it stay and go on running."),
        icon="player-pause", many=True, foresee=_enters,
    )  # fmt: skip
    def maintain(self, host: Host, actor: Actor, answers: dict[str, Any]) -> str:
        host_edit(host, maintenance=True, actor=actor)
        return _("%s is in maintenance.") % host

    @deed(
        gettext_lazy("End maintenance"),
        explain=gettext_lazy("The host takes new machines again."),
        icon="player-play", many=True, foresee=_leaves,
    )  # fmt: skip
    def release(self, host: Host, actor: Actor, answers: dict[str, Any]) -> str:
        host_edit(host, maintenance=False, actor=actor)
        return _("%s is in service.") % host


def _guest_line(guest: Guest) -> tuple[str, ...]:
    size = _("%(n)d vCPU, %(memory)s") % {"n": guest.vcpus, "memory": mib_label(guest.memory_mib)}
    return labelled(guest), str(guest.tenant), guest_state(guest), size


def _bytes(pool: Any) -> tuple[str, str, str]:
    return (
        gib_label(pool.capacity // GIB) if pool.capacity else "–",
        gib_label(pool.allocation // GIB),
        gib_label(pool.available // GIB),
    )


def _figures(sold: object, total: object, used: object) -> dict[str, object]:
    return {"sold": sold, "total": total, "used": used}
