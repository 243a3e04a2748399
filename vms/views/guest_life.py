"""What changes a machine that is there: each dialog says first what it takes and what is lost."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from portal.core.errors import PortalError
from portal.core.htmx import part_template
from portal.core.units import gib_label, mib_label
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.guest_life import ImageForm, ResizeForm
from vms.models import Flavor, Guest
from vms.selectors.stock import images_offered
from vms.services import guests as services
from vms.services.guests.resize import grows_live, resize_fit
from vms.states import Power
from vms.views.find import guest_now, guest_or_404, tenant_of
from vms.views.guest_create import before_after
from vms.views.shapes import system_of, version_of


def refusal_words(error: PortalError) -> str:
    """A refusal and what to do about it, in one line."""
    faults = " ".join(fault.message for fault in getattr(error, "errors", ()))
    return " ".join(part for part in (faults or error.sentence, error.advice) if part)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def guest_resize(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Choose another size; what it takes of the quota shows before the click."""
    guest = guest_or_404(request, guest_id)
    given = request.POST if request.method == "POST" else request.GET
    form = ResizeForm(given, actor=request.actor)
    error = ""
    if request.method == "POST" and form.is_valid():
        try:
            services.guest_resize(guest, actor=request.actor, **form.spec())
        except PortalError as refused:
            error = refusal_words(refused)
        else:
            messages.success(request, _("Resizing %s.") % guest.name)
            return redirect("vms:guest_detail", tenant, guest.pk)
    template = part_template(request, "vms/guest_resize.html", default="dialog", parts=("forecast",))
    context = _resize_context(request, guest, form, error=error)
    return render(request, template, context, status=422 if request.method == "POST" else 200)


def _resize_context(request: HttpRequest, guest: Guest, form: ResizeForm, *, error: str) -> dict[str, Any]:
    flavors = list(Flavor.objects.filter(enabled=True))
    form.is_valid()
    chosen = form.cleaned_data.get("flavor")
    running = guest.seen_power == Power.RUNNING
    live = running and chosen is not None and grows_live(guest, chosen)
    when = form.best_when(running=running, live=live)
    fit = resize_fit(guest, chosen, actor=request.actor, when=when) if chosen is not None else None
    return {
        "guest": guest_now(request, guest),
        "slug": tenant_of(request).slug,
        "flavors": [
            {
                "pk": flavor.pk,
                "name": flavor.name,
                "detail": f"{flavor.vcpus} vCPU, {mib_label(flavor.memory_mib)}, {gib_label(flavor.disk_gib)}",
                "is_now": flavor.pk == guest.flavor_id,
                "selected": flavor == chosen,
            }
            for flavor in flavors
        ],
        "chosen": chosen,
        "running": running,
        "live": live,
        "when": when.value,
        "disk_stays": chosen is not None and chosen.disk_gib < guest.disk_gib,
        "quota": [before_after(line) for line in fit.quota if line.after != line.before or line.is_short]
        if fit
        else [],
        "reasons": [message for _code, message in fit.reasons] if fit else [],
        "price": fit.price if fit else None,
        "fits": fit is not None and fit.fits,
        "error": error,
    }


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_DELETE)
def guest_rebuild(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Say what is lost; then, with the name typed, make it anew."""
    guest = guest_or_404(request, guest_id)
    if request.method != "POST":
        return _image_dialog(request, "vms/guest_rebuild.html", guest)
    form = ImageForm(request.POST, actor=request.actor)
    if request.POST.get("typed", "").strip() != guest.name:
        error = _("That is not its name. Nothing was changed.")
    elif form.is_valid():
        try:
            services.guest_rebuild(guest, form.cleaned_data["image"], actor=request.actor)
        except PortalError as refused:
            error = refusal_words(refused)
        else:
            messages.success(request, _("Rebuilding %s.") % guest.name)
            return redirect("vms:guest_detail", tenant, guest.pk)
    else:
        error = _("Choose an image.")
    return _image_dialog(request, "vms/guest_rebuild.html", guest, error=error)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def guest_rescue(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Choose what to start from."""
    guest = guest_or_404(request, guest_id)
    if request.method != "POST":
        return _image_dialog(request, "vms/guest_rescue.html", guest)
    form, error = ImageForm(request.POST, actor=request.actor), _("Choose an image.")
    if form.is_valid():
        try:
            services.guest_rescue(guest, form.cleaned_data["image"], actor=request.actor)
        except PortalError as refused:
            error = refusal_words(refused)
        else:
            messages.success(request, _("Starting %s for rescue.") % guest.name)
            return redirect("vms:guest_detail", tenant, guest.pk)
    return _image_dialog(request, "vms/guest_rescue.html", guest, error=error)


@require_POST
@page(Permission.GUEST_EDIT)
def guest_unrescue(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Back to its own disk."""
    guest = guest_or_404(request, guest_id)
    services.guest_unrescue(guest, actor=request.actor)
    messages.success(request, _("Ending the rescue of %s.") % guest.name)
    return redirect("vms:guest_detail", tenant, guest.pk)


def _image_dialog(request: HttpRequest, template: str, guest: Guest, *, error: str = "") -> HttpResponse:
    chosen = request.POST.get("image") or str(guest.image_id)
    context = {
        "guest": guest_now(request, guest),
        "slug": tenant_of(request).slug,
        "images": [
            {
                "pk": image.pk,
                "name": image.name,
                "version": version_of(image),
                "os_family": system_of(image.os_family, image.name),
                "selected": str(image.pk) == chosen,
            }
            for image in images_offered()
        ],
        "error": error,
    }
    return render(request, part_template(request, template, default="dialog"), context, status=422 if error else 200)
