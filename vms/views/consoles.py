"""The console: a page for the screen, one for the serial line, and the ticket that both open it with."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.csp import CSP
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csp import csp_override
from django.views.decorators.http import require_POST, require_safe

from portal.core.clock import rfc3339
from portal.core.errors import PortalError
from portal.core.htmx import is_partial, part_template
from tenants.models import User
from tenants.pages import gone, page
from tenants.policy import Permission
from tenants.shapes import initials
from tenants.types import HttpRequest
from vms.models import Guest
from vms.selectors.guests import guests_visible
from vms.services.consoles import console_open, console_watchers
from vms.views.find import guest_now, guest_or_404

CHORDS: Final = (
    ("ctrl+alt+del", "Ctrl-Alt-Del"),
    ("ctrl+alt+backspace", "Ctrl-Alt-Backspace"),
    ("ctrl+alt+f1", "Ctrl-Alt-F1"),
    ("ctrl+alt+f2", "Ctrl-Alt-F2"),
    ("ctrl+alt+f7", "Ctrl-Alt-F7"),
    ("alt+tab", "Alt-Tab"),
    ("alt+f4", "Alt-F4"),
    ("super", "Super"),
    ("esc", "Esc"),
    ("tab", "Tab"),
    ("print", "Print"),
)
DRAWN_BY_XTERM: Final = {**settings.SECURE_CSP, "style-src": [CSP.SELF, CSP.UNSAFE_INLINE]}
"""xterm sizes its rows by style elements of its own; no other page allows that."""


@require_safe
@page(Permission.GUEST_CONSOLE)
def console(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """The machine's screen."""
    return _console(request, guest_id, kind="vnc")


@csp_override(DRAWN_BY_XTERM)
@require_safe
@page(Permission.GUEST_CONSOLE)
def console_serial(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """The machine's serial line."""
    return _console(request, guest_id, kind="serial")


def _console(request: HttpRequest, guest_id: UUID, *, kind: str) -> HttpResponse:
    guest = guests_visible(request.actor).filter(pk=guest_id).first()
    if guest is None and is_partial(request):
        return gone()
    guest = guest_or_404(request, guest_id)
    request.actor.require(Permission.GUEST_CONSOLE, guest)
    context: dict[str, Any] = {"guest": guest_now(request, guest), "kind": kind}
    if not is_partial(request):
        context |= {
            "kinds": _kinds(request, guest, kind),
            "chords": [{"keys": k, "label": label} for k, label in CHORDS],
        }
        context |= _watchers(request, guest)
    return render(request, part_template(request, "vms/console.html", default="bar"), context)


def _kinds(request: HttpRequest, guest: Guest, current: str) -> list[dict[str, Any]]:
    slug = request.actor.tenant.slug if request.actor.tenant else ""
    return [
        {"key": key, "label": label, "url": reverse(name, args=[slug, guest.pk]), "current": key == current}
        for key, name, label in (("vnc", "vms:console", _("Screen")), ("serial", "vms:console_serial", _("Serial")))
    ]


def _watchers(request: HttpRequest, guest: Guest) -> dict[str, Any]:
    """Who looks at it besides this page."""
    ids = {watcher.user for watcher in console_watchers(guest) if watcher.user != "system"}
    people = [user for user in User.objects.filter(pk__in=ids) if user.pk != request.user.pk]
    label = ngettext("%d other person is watching", "%d other people are watching", len(people)) % len(people)
    return {
        "watchers": [{"name": person.label, "initials": initials(person.label)} for person in people[:4]],
        "watchers_label": label,
    }


@never_cache
@require_POST
@page(Permission.GUEST_CONSOLE)
def console_ticket(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponseBase:
    """A single-use address of the console as JSON; a refusal is a problem document, since a script asks."""
    guest = guest_or_404(request, guest_id)
    try:
        opening = console_open(guest, kind=request.POST.get("kind", "vnc"), actor=request.actor)
    except PortalError as error:
        problem = {
            "title": error.code,
            "status": error.http_status,
            "detail": f"{error.sentence} {error.advice}".strip(),
        }
        return JsonResponse(problem, status=error.http_status, content_type="application/problem+json")
    return JsonResponse({"url": opening.url, "kind": opening.kind, "expires_at": rfc3339(opening.expires_at)})
