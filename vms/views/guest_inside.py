"""Into a machine: its screen, its serial log, what it says of itself; a new password, another key."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.errors import Missing, PortalError
from portal.core.htmx import part_template
from tenants.actors import Actor
from tenants.pages import page
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.forms.guest_inside import KeyIntoGuestForm, PasswordForm
from vms.models import Guest
from vms.models.readings import ReadingKind
from vms.services import guests as services
from vms.services.guests.allowed import Answer, answer
from vms.services.guests.inside import guest_reading, guest_reported
from vms.views.find import guest_now, guest_or_404, tenant_of
from vms.views.guest_life import refusal_words


def inside_context(guest: Guest, actor: Actor, *, busy: bool) -> dict[str, Any]:
    """What the machine's page shows of its inside, for who may open its console."""
    sees = actor.may(Permission.GUEST_CONSOLE, guest)
    screen, log = (guest_reading(guest, kind) if sees else None for kind in (ReadingKind.SCREEN, ReadingKind.LOG))
    may_enter = actor.may(Permission.GUEST_EDIT, guest) and answer(guest, "guest.password", actor) == Answer.NOW
    return {
        "sees_inside": sees,
        "may_look": sees and not busy and answer(guest, "guest.look", actor) == Answer.NOW,
        "may_enter": may_enter and not busy,
        "screen_at": screen.at if screen is not None else None,
        "log": bytes(log.content).decode("utf-8", "replace") if log is not None else "",
        "log_at": log.at if log is not None else None,
        "reported": guest_reported(guest),
    }


def _inside(tenant: str, guest: Guest) -> str:
    return reverse("vms:guest_detail", args=[tenant, guest.pk]) + "?tab=inside"


@require_POST
@page(Permission.GUEST_CONSOLE)
def guest_look(request: HttpRequest, tenant: str, guest_id: UUID, what: str) -> HttpResponse:
    """Ask for a look."""
    guest = guest_or_404(request, guest_id)
    if what not in ReadingKind.values:
        raise Missing
    services.guest_look(guest, ReadingKind(what), actor=request.actor)
    return redirect(_inside(tenant, guest))


@require_safe
@page(Permission.GUEST_CONSOLE)
def guest_screen(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """The picture that was taken last."""
    reading = guest_reading(guest_or_404(request, guest_id), ReadingKind.SCREEN)
    if reading is None:
        raise Missing
    return HttpResponse(bytes(reading.content), content_type="image/png", headers={"Cache-Control": "no-store"})


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def guest_password(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """A new password, by its agent."""
    guest = guest_or_404(request, guest_id)
    form = PasswordForm(request.POST or None, actor=request.actor, initial={"user": guest.image.default_user})
    error = ""
    if form.is_valid():
        try:
            services.guest_set_password(guest, actor=request.actor, **form.spec())
        except PortalError as refused:
            error = refusal_words(refused)
        else:
            messages.success(request, _("Asking %s to set the password.") % guest.name)
            return redirect(_inside(tenant, guest))
    return _dialog(request, guest, form, error, title=_("Reset a password"), route="vms:guest_password")


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.GUEST_EDIT)
def guest_keys(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Another key, by its agent."""
    guest = guest_or_404(request, guest_id)
    form = KeyIntoGuestForm(request.POST or None, actor=request.actor, initial={"user": guest.image.default_user})
    error = ""
    if form.is_valid():
        try:
            services.guest_add_keys(guest, actor=request.actor, **form.spec())
        except PortalError as refused:
            error = refusal_words(refused)
        else:
            messages.success(request, _("Asking %s to take the key.") % guest.name)
            return redirect(_inside(tenant, guest))
    return _dialog(request, guest, form, error, title=_("Add a key"), route="vms:guest_keys")


def _dialog(request: HttpRequest, guest: Guest, form: Any, error: str, *, title: str, route: str) -> HttpResponse:
    slug = tenant_of(request).slug
    context = {
        "guest": guest_now(request, guest),
        "slug": slug,
        "form": form,
        "error": error,
        "title": title,
        "action": reverse(route, args=[slug, guest.pk]),
        "back": _inside(slug, guest),
    }
    template = part_template(request, "vms/guest_enter.html", default="dialog")
    return render(request, template, context, status=422 if request.method == "POST" else 200)
