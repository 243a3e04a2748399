"""What is made of disks as they were at one moment: each dialog says first what it takes, and what the copy is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from operations.models import Operation
from portal.core.errors import PortalError
from portal.core.forms import refusals_in
from portal.core.htmx import part_template
from portal.core.ids import uuid_or_none
from tenants.actors import Actor
from tenants.pages import page
from tenants.policy import Permission
from tenants.services.quota import Kind, Line, kind_of
from tenants.types import HttpRequest
from vms.forms.copies import CaptureForm, CloneForm, CopyVolumeForm
from vms.models import Guest, Snapshot, SnapshotDisk
from vms.selectors.snapshots import snapshots_of, snapshots_visible
from vms.services import copies as services
from vms.services.guests.create import Fit
from vms.states import Init, SnapshotState
from vms.views.find import guest_or_404, tenant_of
from vms.views.guest_create import before_after
from vms.views.guest_life import refusal_words
from vms.views.snapshots import SHOWN, back_to, whose

FIELDS = dict.fromkeys(("over_quota", "no_room", "no_storage", "name_taken"), "name")


@dataclass(frozen=True, slots=True)
class Dialog:
    """What one of them says, how it is asked for, and what it would take (None: the form says too little)."""

    title: str
    text: str
    button: str
    back: dict[str, str]
    ask: Callable[[dict[str, Any]], tuple[Operation, str]]
    fit: Callable[[dict[str, Any]], Fit]
    notes: tuple[str, ...] = ()


def _find(request: HttpRequest, snapshot_id: UUID) -> Snapshot:
    found: Snapshot = get_object_or_404(snapshots_visible(request.actor), pk=snapshot_id)
    return found


def _disks(snapshot: Snapshot) -> list[SnapshotDisk]:
    return list(snapshot.disks.select_related("volume").order_by("position"))


@require_safe
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_copy(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """What can be made of a snapshot."""
    snapshot, actor = _find(request, snapshot_id), request.actor
    choices = [
        {
            "url": reverse("vms:snapshot_volume", args=[tenant, snapshot.pk]),
            "icon": "database",
            "title": _("A volume"),
            "text": _("One of its disks, to plug in wherever it is needed."),
            "may": actor.may(Permission.VOLUME_MANAGE),
        },
        {
            "url": reverse("vms:snapshot_image", args=[tenant, snapshot.pk]),
            "icon": "photo",
            "title": _("An image"),
            "text": _("To make any number of machines of."),
            "may": actor.may(Permission.IMAGE_MANAGE),
        },
    ]
    choices.append(
        {
            "url": reverse("vms:snapshot_export", args=[tenant, snapshot.pk]),
            "icon": "download",
            "title": _("A file"),
            "text": _("One of its disks as qcow2, to fetch and to take away."),
            "may": True,
        }
    )
    if snapshot.guest is not None:
        machine = {
            "url": reverse("vms:guest_clone", args=[tenant, snapshot.guest_id]) + f"?snapshot={snapshot.pk}",
            "icon": "server-2",
            "title": _("A machine"),
            "text": _("Another one of all its disks, with an identity of its own."),
            "may": actor.may(Permission.GUEST_CREATE),
        }
        choices.insert(0, machine)
    context = {
        "snapshot": snapshot,
        "back": back_to(request, whose(snapshot)),
        "choices": [choice for choice in choices if choice["may"]],
    }
    return render(request, part_template(request, "vms/snapshot_copy.html", default="dialog"), context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_volume(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """One disk of a snapshot as a volume."""
    snapshot = _find(request, snapshot_id)
    disks = _disks(snapshot)
    start = {"name": f"{snapshot.name[:50].replace('.', '-').replace('_', '-')}-disk", "position": disks[0].position}

    def ask(words: dict[str, Any]) -> tuple[Operation, str]:
        operation = services.snapshot_to_volume(snapshot, actor=request.actor, **words)
        return operation, reverse("vms:volume_detail", args=[tenant_of(request).slug, operation.subject_id])

    return copy_dialog(
        request,
        CopyVolumeForm(_given(request, start), disks=disks, actor=request.actor),
        Dialog(
            title=_("Make a volume of %s") % snapshot.name,
            text=_("A disk as it was then, as a volume that stands by itself. The machine goes on meanwhile."),
            button=_("Create volume"),
            back=back_to(request, whose(snapshot)),
            ask=ask,
            fit=lambda words: services.snapshot_volume_fit(snapshot, actor=request.actor, **words),
        ),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def guest_clone(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """Another machine like this one; ``?snapshot=`` chooses of which moment."""
    guest, actor = guest_or_404(request, guest_id), request.actor
    wish = (request.POST if request.method == "POST" else request.GET).get("snapshot", "")
    snapshots = _moments(actor, guest, wish)
    chosen = next((snapshot for snapshot in snapshots if str(snapshot.pk) == wish), None)
    disks = _disks(chosen) if chosen is not None else services.disks_now(guest)
    start = {
        "name": f"{guest.name[:57]}-clone",
        "snapshot": str(chosen.pk) if chosen is not None else "",
        "flavor": guest.flavor_id,
        "volumes": [disk.position for disk in disks if disk.position],
        "start": True,
    }
    form = CloneForm(_given(request, start), snapshots=snapshots, disks=disks)

    def ask(_words: dict[str, Any]) -> tuple[Operation, str]:
        operation = services.guest_clone(guest, form.spec(), actor=actor)
        return operation, reverse("vms:guest_detail", args=[tenant, operation.subject_id])

    return copy_dialog(
        request,
        form,
        Dialog(
            title=_("Clone %s") % guest.name,
            text=_("Another machine of what its disks hold, with a name, addresses and an identity of its own."),
            button=_("Clone"),
            back={"url": reverse("vms:guest_detail", args=[tenant, guest.pk]), "label": guest.name},
            ask=ask,
            fit=lambda _words: services.guest_clone_fit(guest, form.spec(), actor=actor),
            notes=tuple(_clone_notes(guest)),
        ),
    )


def _moments(actor: Actor, guest: Guest, wish: str) -> list[Snapshot]:
    """The snapshots that somebody can choose from, and the one with the id ``wish``, however old it is or why it was taken."""
    rows = snapshots_of(actor, guest).filter(state=SnapshotState.READY)
    offered = list(rows.filter(passing=False)[:SHOWN])
    pk = uuid_or_none(wish)
    if pk is None or pk in {snapshot.pk for snapshot in offered}:
        return offered
    return [*offered, *rows.filter(pk=pk)]


def _clone_notes(guest: Guest) -> Iterator[str]:
    """What somebody who clones it should know before."""
    if guest.tpm:
        yield _("Its TPM is not copied. A disk that is sealed with it, as by BitLocker, asks for its recovery key.")
    if guest.image.init == Init.NONE:
        yield _("Nothing in it reads what a new machine is told: it keeps its host name, keys and fixed addresses.")
    yield _("Passwords and keys that lie on its disks let the same people into the clone.")


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def guest_image(request: HttpRequest, tenant: str, guest_id: UUID) -> HttpResponse:
    """An image of a machine as it is now."""
    guest = guest_or_404(request, guest_id)
    back = {"url": reverse("vms:guest_detail", args=[tenant, guest.pk]), "label": guest.name}
    return _capture(request, guest, services.disks_now(guest), back)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.SNAPSHOT_MANAGE)
def snapshot_image(request: HttpRequest, tenant: str, snapshot_id: UUID) -> HttpResponse:
    """An image of a disk as it was."""
    snapshot = _find(request, snapshot_id)
    return _capture(request, snapshot, _disks(snapshot), back_to(request, whose(snapshot)))


def _capture(
    request: HttpRequest, of: Guest | Snapshot, disks: list[SnapshotDisk], back: dict[str, str]
) -> HttpResponse:
    actor = request.actor

    def ask(words: dict[str, Any]) -> tuple[Operation, str]:
        operation = services.image_capture(of, actor=actor, **words)
        return operation, reverse("vms:image_detail", args=[tenant_of(request).slug, operation.subject_id])

    start = {"name": of.name[:90], "position": disks[0].position if disks else ""}
    return copy_dialog(
        request,
        CaptureForm(_given(request, start), disks=disks),
        Dialog(
            title=_("Make an image of %s") % of.name,
            text=_("One disk as a whole, for this project alone. While it comes in, all that it may unpack to counts."),
            button=_("Make image"),
            back=back,
            ask=ask,
            fit=lambda words: services.image_capture_fit(of, actor=actor, **words),
            notes=(
                _(
                    "All that is on the disk is in the image: passwords, keys, host keys, histories. Clear it inside "
                    "first, as with cloud-init clean or sysprep, if others are to make machines of it."
                ),
            ),
        ),
    )


def _is_drawn(line: Line) -> bool:
    """Is it worth a gauge? What has no limit, or is about one machine alone, only where it does not fit."""
    bounded = line.limit is not None and kind_of(line.name) != Kind.EACH
    return line.is_short or (bounded and line.after != line.before)


def _given(request: HttpRequest, start: dict[str, Any]) -> Any:
    """What was sent, or what is chosen already when the dialog opens."""
    if request.method == "POST":
        return request.POST
    return request.GET if "name" in request.GET else start


def copy_dialog(request: HttpRequest, form: forms.Form, dialog: Dialog) -> HttpResponse:
    """Show it with what it takes; asked for, show what is made."""
    posted = request.method == "POST"
    if form.is_valid() and posted:
        with refusals_in(form, FIELDS):
            _operation, made = dialog.ask(form.cleaned_data)
            return redirect(made)
    fit, error = None, ""
    if not form.errors:
        try:
            fit = dialog.fit(form.cleaned_data)
        except PortalError as refused:
            error = refusal_words(refused)
    if not posted:
        form.errors.clear()
    context = {
        "form": form,
        "dialog": dialog,
        "path": request.path,
        "quota": [before_after(line) for line in fit.quota if _is_drawn(line)] if fit else [],
        "price": fit.price if fit else None,
        "reasons": [message for _code, message in fit.reasons] if fit else [error] if error else [],
        "fits": fit is not None and fit.fits,
    }
    template = part_template(request, "vms/copy_form.html", default="dialog", parts=("forecast",))
    return render(request, template, context, status=422 if posted else 200)
