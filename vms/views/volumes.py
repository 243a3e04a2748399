"""Volumes: the list with a form for a new one, and the page of each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.shapes import operation_shown
from portal.core.errors import Conflict
from portal.core.forms import refusals_in
from portal.core.htmx import part_template
from portal.core.units import gib_label
from tenants.actors import Actor
from tenants.listings import quota_rows
from tenants.pages import confirm, page
from tenants.policy import Permission
from tenants.shapes import Gauge, gauges
from tenants.types import HttpRequest
from vms.forms.volumes import AttachForm, EditForm, ExtendForm, LimitsForm, VolumeForm
from vms.models import Guest, Volume
from vms.models.volumes import Scrub
from vms.selectors.volumes import volume_page, volumes_free, volumes_visible
from vms.services import volumes as services
from vms.services.guests.create import Fit
from vms.services.volumes.foresee import extend_fit, volume_fit
from vms.states import VolumeState
from vms.views.find import tenant_of
from vms.views.guest_create import before_after
from vms.views.shapes import VOLUME_STATES
from vms.views.snapshots import snapshots_context

TILES = ("volumes", "disk_gib")
SHOWN = 20


@require_safe
@page(Permission.VOLUME_VIEW)
def volume_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """The project's disks, and making one; ``?guest=`` chooses its machine."""
    guest = request.GET.get("guest", "")
    return _list(request, VolumeForm(actor=request.actor, initial={"guest": guest}))


@require_POST
@page(Permission.VOLUME_MANAGE)
def volume_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Make a volume; its page shows how far it is."""
    form = VolumeForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form, {"no_storage": "size_gib", "over_quota": "size_gib"}):
            operation = services.volume_create(tenant_of(request), form.spec(), actor=request.actor)
            return redirect("vms:volume_detail", tenant, operation.subject_id)
    return _list(request, form, status=422)


def _list(request: HttpRequest, form: VolumeForm, *, status: int = 200) -> HttpResponse:
    actor, tenant = request.actor, tenant_of(request)
    found = volume_page(actor, cursor=request.GET.get("cursor", ""))
    live = operations_live_on("volume", [volume.pk for volume in found.items])
    may = actor.may(Permission.VOLUME_MANAGE)
    context = {
        "volumes": [volume_shown(volume, live.get(volume.pk), actor, tenant.slug) for volume in found.items],
        "page": {"shown_label": "", "next_url": f"?cursor={found.next}" if found.next else None},
        "form": form if may else None,
        "gauges": _room(request) if may else [],
        **recap_of(None, reverse("vms:volume_recap", args=[tenant.slug])),
    }
    return render(request, "vms/volume_list.html", context, status=status)


def _room(request: HttpRequest) -> list[Gauge]:
    """What the quota leaves, for who may look at it."""
    return gauges(quota_rows(tenant_of(request)), only=TILES) if request.actor.may(Permission.QUOTA_VIEW) else []


def volume_shown(volume: Volume, operation: Operation | None, actor: Actor, slug: str) -> dict[str, Any]:
    """A volume for rows and its page; asks the database nothing."""
    ready = volume.state == VolumeState.READY and operation is None
    may = actor.may(Permission.VOLUME_MANAGE, volume)
    guest = None
    if volume.guest is not None:
        guest = {"name": volume.guest.name, "url": reverse("vms:guest_detail", args=[slug, volume.guest.pk])}
    return {
        "pk": volume.pk,
        "name": _("Root disk") if volume.is_root else volume.name,
        "size_gib": volume.size_gib,
        "state": volume.state,
        "state_label": VOLUME_STATES[volume.state],
        "class_name": volume.storage_class.name,
        "image_name": volume.image.name if volume.image is not None else "",
        "guest": guest,
        "device": volume.device if guest else "",
        "serial": volume.serial,
        "is_root": volume.is_root,
        "fate_label": _("goes with it") if volume.goes_with_guest else _("is kept"),
        "boot_order": volume.boot_order,
        "limits_label": _limits(volume.iops, volume.mbps),
        "operation": operation_shown(operation, actor) if operation is not None else None,
        "created_at": volume.created_at,
        "may_edit": may and operation is None,
        "may_change": may and ready,
        "may_attach": may and ready and guest is None,
        "may_detach": may and ready and guest is not None and not volume.is_root,
        "may_export": ready and actor.may(Permission.SNAPSHOT_MANAGE),
        "may_delete": may and operation is None and (guest is None or volume.state == VolumeState.DELETING),
    }


def guest_storage(actor: Actor, guest: Guest, *, tab: str) -> dict[str, Any]:
    """What a machine's page shows of volumes besides its disks: may one look at them, and, on its tab, which could be added."""
    plugs = tab == "storage" and actor.may(Permission.VOLUME_MANAGE) and guest.binned_at is None
    return {
        "volume_links": actor.may(Permission.VOLUME_VIEW),
        "may_plug": plugs and guest.built_at is not None,
        "free_volumes": list(volumes_free(actor, guest)[:SHOWN]) if plugs else [],
    }


def _limits(iops: int, mbps: int) -> str:
    words = [_("%d operations a second") % iops] if iops else []
    words += [_("%d MiB a second") % mbps] if mbps else []
    return ", ".join(words) or _("none of its own")


def _find(request: HttpRequest, volume_id: UUID) -> Volume:
    found: Volume = get_object_or_404(volumes_visible(request.actor), pk=volume_id)
    return found


@require_POST
@page(Permission.VOLUME_MANAGE)
def volume_recap(request: HttpRequest, tenant: str) -> HttpResponse:
    """What the form for a new volume would take as it stands, and whether it fits; changes nothing."""
    draft = VolumeForm(request.POST, actor=request.actor).draft()
    fit = None if draft is None else volume_fit(tenant_of(request), draft, actor=request.actor)
    return _recap(request, fit, "vms:volume_recap")


@require_POST
@page(Permission.VOLUME_MANAGE)
def volume_extend_recap(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """The same of making one larger."""
    volume = _find(request, volume_id)
    form = ExtendForm(request.POST, volume=volume)
    size_gib = form.cleaned_data["size_gib"] if form.is_valid() else 0
    fit = extend_fit(volume, size_gib=size_gib, actor=request.actor) if size_gib else None
    return _recap(request, fit, "vms:volume_extend_recap", volume.pk)


def _recap(request: HttpRequest, fit: Fit | None, name: str, *args: Any) -> HttpResponse:
    return render(
        request, "vms/_volume_recap.html", recap_of(fit, reverse(name, args=[tenant_of(request).slug, *args]))
    )


def recap_of(fit: Fit | None, url: str) -> dict[str, Any]:
    """What ``_volume_recap.html`` shows; it asks ``url`` again when its form changes. None: the form cannot be read yet."""
    return {
        "recap_url": url,
        "recap": fit
        and {
            "quota": [before_after(line) for line in fit.quota if line.limit is not None or line.is_short],
            "reasons": [message for _code, message in fit.reasons if message],
            "price": fit.price,
            "fits": fit.fits,
        },
    }


@require_safe
@page(Permission.VOLUME_VIEW)
def volume_detail(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """One volume: where it is, how large, how fast, and what becomes of it."""
    return _detail(request, _find(request, volume_id))


def _detail(request: HttpRequest, volume: Volume, **forms: forms.Form) -> HttpResponse:
    """The page; ``forms`` are those that were refused, by name."""
    live = operations_live_on("volume", [volume.pk]).get(volume.pk)
    context = {
        "volume": volume_shown(volume, live, request.actor, tenant_of(request).slug),
        "attach_form": AttachForm(actor=request.actor) if volume.guest_id is None else None,
        "edit_form": EditForm(volume=volume),
        "extend_form": ExtendForm(volume=volume),
        "limits_form": LimitsForm(volume=volume),
        "gauges": _room(request),
        **recap_of(None, reverse("vms:volume_extend_recap", args=[tenant_of(request).slug, volume.pk])),
        **snapshots_context(request.actor, volume, busy=live is not None),
        **forms,
    }
    return render(request, "vms/volume_detail.html", context, status=422 if forms else 200)


@require_POST
@page(Permission.VOLUME_MANAGE)
def volume_edit(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """Rename it, say when it is booted from and what becomes of it with its machine."""
    volume = _find(request, volume_id)
    form = EditForm(request.POST, volume=volume)
    if form.is_valid():
        with refusals_in(form):
            services.volume_edit(volume, actor=request.actor, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("vms:volume_detail", tenant, volume.pk)
    return _detail(request, volume, edit_form=form)


@require_POST
@page(Permission.VOLUME_MANAGE)
def volume_extend(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """Make it larger."""
    volume = _find(request, volume_id)
    form = ExtendForm(request.POST, volume=volume)
    if form.is_valid():
        with refusals_in(form, {"over_quota": "size_gib"}):
            services.volume_extend(volume, actor=request.actor, size_gib=form.cleaned_data["size_gib"])
            return redirect("vms:volume_detail", tenant, volume.pk)
    return _detail(request, volume, extend_form=form)


@require_POST
@page(Permission.VOLUME_MANAGE)
def volume_limits(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """Give it limits of its own."""
    volume = _find(request, volume_id)
    form = LimitsForm(request.POST, volume=volume)
    if form.is_valid():
        with refusals_in(form):
            services.volume_limit(volume, actor=request.actor, **form.cleaned_data)
            return redirect("vms:volume_detail", tenant, volume.pk)
    return _detail(request, volume, limits_form=form)


@require_POST
@page(Permission.VOLUME_MANAGE)
def volume_attach(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """Plug it in, and show the machine's disks."""
    volume = _find(request, volume_id)
    form = AttachForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form):
            services.volume_attach(volume, actor=request.actor, **form.cleaned_data)
            address = reverse("vms:guest_detail", args=[tenant, form.cleaned_data["guest"].pk])
            return redirect(f"{address}?tab=storage")
    return _detail(request, volume, attach_form=form)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.VOLUME_MANAGE)
def volume_detach(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """Ask first, then take it off its machine."""
    volume = _find(request, volume_id)
    back = {"url": reverse("vms:volume_detail", args=[tenant, volume.pk]), "label": volume.name}
    if request.method == "POST":
        services.volume_detach(volume, actor=request.actor)
        return redirect(back["url"])
    facts = {"name": volume.name, "guest": volume.guest.name if volume.guest is not None else "–"}
    question = {
        "title": _("Detach %(name)s from %(guest)s?") % facts,
        "text": _(
            "Unmount it inside the machine first: what is not written to it by then is lost. The volume is kept."
        ),
        "button": _("Detach"),
        "icon": "plug-connected-x",
    }
    return confirm(request, question, back=back)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.VOLUME_MANAGE)
def volume_delete(request: HttpRequest, tenant: str, volume_id: UUID) -> HttpResponse:
    """Say what falls; then, with the name typed, delete it for good."""
    volume = _find(request, volume_id)
    if request.method != "POST":
        return _delete_dialog(request, volume)
    if request.POST.get("typed", "").strip() != volume.name:
        return _delete_dialog(request, volume, error=_("That is not its name. Nothing was deleted."))
    try:
        services.volume_delete(volume, actor=request.actor)
    except Conflict as error:
        return _delete_dialog(request, volume, error=f"{error.sentence} {error.advice}".strip())
    messages.success(request, _("Deleting %s.") % volume.name)
    return redirect("vms:volume_list", tenant)


def _delete_dialog(request: HttpRequest, volume: Volume, *, error: str = "") -> HttpResponse:
    zeros = volume.storage_class.scrub == Scrub.ZERO
    context = {
        "volume": volume,
        "size_label": gib_label(volume.size_gib),
        "fate": _("overwritten with zeros, then deleted") if zeros else _("deleted"),
        "attached_to": volume.guest.name if volume.guest and volume.state != VolumeState.DELETING else "",
        "error": error,
    }
    template = part_template(request, "vms/volume_delete.html", default="dialog")
    return render(request, template, context, status=422 if error else 200)
