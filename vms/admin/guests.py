"""Machines of all tenants: found by name, address, MAC or id; opened where their customer sees them; started and stopped."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.states import LIVE
from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Note, Panel, choice, column, labelled, moment, mono, yes_no
from portal.core.units import gib_label, mib_label
from portal.templatetags.portal_ui import when
from tenants.actors import Actor
from vms.admin.shown import guest_state
from vms.models import Address, Guest, Host, Port
from vms.services.guests import guest_power
from vms.services.guests.power import ACTIONS, GRACE_MAX_S, GRACE_S, guest_actions
from vms.states import Power

MAC = re.compile(r"\A[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\Z")
LIVE_KINDS = [status.value for status in LIVE]


class ShutdownForm(DeedForm):
    """How long a machine may take."""

    grace_s = forms.IntegerField(
        label=gettext_lazy("Seconds it may take"), min_value=1, max_value=GRACE_MAX_S, initial=GRACE_S,
        help_text=gettext_lazy("After that the operation fails and the machine goes on running."),
    )  # fmt: skip


def _power(action: str) -> Any:
    """The forecast of a change of power: as the customer's own buttons would have it."""

    def foresee(self: Any, guest: Any, actor: Actor) -> Forecast:
        if guest.live_kind:
            return Forecast(False, _("something else is being done with it"))
        if action in {each.name for each in guest_actions(guest, actor, busy=False)}:
            return Forecast(True, _("%s is asked for") % ACTIONS[action].label)
        return Forecast(False, _("its state does not allow it"))

    return foresee


ByPower = choice(
    "power", gettext_lazy("state"), lambda: [(power, power) for power in Power], lambda power: Q(seen_power=power)
)
OnHost = choice(
    "host__id__exact", gettext_lazy("host"),
    lambda: Host.objects.order_by("name").values_list("pk", "name"), lambda host: Q(host=host),
)  # fmt: skip
InBin = choice(
    "bin", gettext_lazy("bin"),
    lambda: [("no", gettext_lazy("Not in the bin")), ("yes", gettext_lazy("In the bin"))],
    lambda word: Q(binned_at__isnull=word == "no"),
)  # fmt: skip


@admin.register(Guest)
class GuestAdmin(ServiceAdmin):
    """Machines of all tenants."""

    plural = gettext_lazy("Machines")
    lede = gettext_lazy("Of all tenants. Search by name, address, MAC, id, or tenant.")
    list_display = ("name", "tenant", "shown_state", "host", "addresses", "size", "made")
    list_filter = (ByPower, OnHost, InBin)
    list_select_related = ("tenant", "host")
    search_fields = ("name",)
    search_help_text = gettext_lazy("Name, address, MAC, id, or tenant")
    ordering = ("-created_at",)
    fieldsets = (
        (gettext_lazy("Now"), {"fields": ("shown_state", "wanted", "seen", "reason", "problem_message", "host")}),
        (
            gettext_lazy("What it is"),
            {"fields": ("tenant", "flavor", "image", "size", "firmware", "shown_protected", "tags_shown")},
        ),
        (gettext_lazy("Where it came from"), {"fields": ("made", "built", "binned", "purged", "uuid")}),
    )

    wanted = column("want_power", gettext_lazy("Wanted"))
    reason = column("seen_reason", gettext_lazy("Why"))
    shown_protected = column("protected", gettext_lazy("Protected against deletion"), yes_no)
    uuid = column("pk", gettext_lazy("Id"), mono)
    made = moment("created_at", gettext_lazy("Created"))
    built = moment("built_at", gettext_lazy("Built"))
    seen = moment("seen_at", gettext_lazy("Last observed"))
    binned = moment("binned_at", gettext_lazy("Put in the bin"))
    purged = moment("purge_after", gettext_lazy("Removed for good"), "date")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Guest]:
        rows: QuerySet[Guest] = super().get_queryset(request)
        live = Operation.objects.filter(subject_id=OuterRef("pk"), status__in=LIVE_KINDS).order_by("-pk")
        ports = Port.objects.prefetch_related(Prefetch("addresses", Address.objects.order_by("ip")))
        return rows.select_related("tenant", "host", "flavor", "image").prefetch_related(
            Prefetch("ports", ports), "tags"
        ).annotate(live_kind=Subquery(live.values("kind")[:1]))  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """An address, a MAC or an id finds exactly; anything else is part of a name or a tenant's."""
        term = search_term.strip().lower()
        if not term:
            return queryset, False
        return queryset.filter(_meant(term)), False

    def heading(self, row: Guest) -> str:
        return f"{row} · {row.tenant}"

    @admin.display(description=gettext_lazy("State"), ordering="seen_power")
    def shown_state(self, guest: Any) -> str:
        return guest_state(guest, guest.live_kind or "")

    @admin.display(description=gettext_lazy("Addresses"))
    def addresses(self, guest: Guest) -> str:
        found = [address.ip for port in guest.ports.all() for address in port.addresses.all()]
        return mono(", ".join(found)) if found else "–"

    @admin.display(description=gettext_lazy("Size"), ordering="memory_mib")
    def size(self, guest: Guest) -> str:
        return f"{guest.vcpus} vCPU · {mib_label(guest.memory_mib)} · {gib_label(guest.disk_gib)}"

    @admin.display(description=gettext_lazy("Tags"))
    def tags_shown(self, guest: Guest) -> str:
        return ", ".join(guest.tag_names()) or "–"

    def notes(self, guest: Guest) -> Iterable[Note]:
        if guest.problem_message:
            yield Note("red", guest.problem_message)

    def links(self, guest: Guest) -> Iterable[tuple[str, Any, str]]:
        yield (
            reverse("vms:guest_detail", args=[guest.tenant.slug, guest.pk]),
            _("As its customer sees it"),
            "device-desktop",
        )

    def panels(self, guest: Guest) -> Iterable[Panel]:
        yield Panel(
            _("Network"),
            [_("Network"), _("MAC"), _("Addresses")],
            [
                (str(port.network), mono(port.mac), mono(", ".join(a.ip for a in port.addresses.all())))
                for port in guest.ports.select_related("network").prefetch_related("addresses")
            ],
            _("It has no network card."),
        )
        yield Panel(
            _("Disks"),
            [_("Name"), _("Size"), _("State"), _("Pool")],
            [
                (volume.name, gib_label(volume.size_gib), volume.state, labelled(volume.pool))
                for volume in guest.volumes.select_related("pool__host")
            ],
            _("It has no disk."),
        )
        operations = Operation.objects.filter(subject_id=guest.pk).order_by("-pk")
        yield Panel(
            _("Operations"),
            [_("What"), _("Status"), _("By"), _("When"), _("Why it failed")],
            [
                (
                    labelled(each, each.kind),
                    each.status,
                    each.requested_label,
                    when(each.created_at),
                    each.error_message,
                )
                for each in operations[:10]
            ],
            _("Nothing was asked of it yet."),
            f"{reverse('admin:operations_operation_changelist')}?q={guest.pk}",
        )

    @deed(
        gettext_lazy("Start"),
        explain=gettext_lazy("Powers the machine on, as its customer could."),
        icon="player-play", many=True, foresee=_power("start"),
    )  # fmt: skip
    def start(self, guest: Guest, actor: Actor, answers: dict[str, Any]) -> str:
        guest_power(guest, "start", actor=actor)
        return _("%s is being started.") % guest

    @deed(
        gettext_lazy("Shut down"),
        explain=gettext_lazy("Presses the power button and waits for the machine to end by itself."),
        icon="power", form=ShutdownForm, many=True, foresee=_power("shutdown"),
    )  # fmt: skip
    def shutdown(self, guest: Guest, actor: Actor, answers: dict[str, Any]) -> str:
        guest_power(guest, "shutdown", actor=actor, grace_s=answers["grace_s"])
        return _("%s is being shut down.") % guest

    @deed(
        gettext_lazy("Stop"),
        explain=gettext_lazy("Pulls the plug. What the machine had not written to its disk is lost."),
        icon="player-stop", many=True, danger=True, foresee=_power("stop"),
    )  # fmt: skip
    def stop(self, guest: Guest, actor: Actor, answers: dict[str, Any]) -> str:
        guest_power(guest, "stop", actor=actor)
        return _("%s is being stopped.") % guest


def _meant(term: str) -> Q:
    """What a search word means; ``term`` is in small letters."""
    held = Port.objects.filter(guest=OuterRef("pk"))
    if MAC.match(term):
        return Q(Exists(held.filter(mac=term.replace("-", ":"))))
    try:
        return Q(Exists(held.filter(addresses__ip=str(ipaddress.ip_address(term)))))
    except ValueError:
        pass
    try:
        return Q(pk=UUID(term))
    except ValueError:
        return Q(name__icontains=term) | Q(tenant__slug__icontains=term) | Q(tenant__name__icontains=term)
