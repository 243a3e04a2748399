"""CDs are put into a machine's drives and taken out again; what its own system does with the tray is only noted."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.selectors import operations_live_on
from operations.states import Status
from portal.core.errors import Conflict, FieldError, Invalid, Missing
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from vms.models import Disc, Guest, Image
from vms.models.discs import DRIVES, DiscBoot
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask
from vms.services.volumes.check import guest_locked
from vms.states import ImageKind, ImageState


@transaction.atomic
def disc_insert(guest: Guest, image: Image, *, actor: Actor, boot: str = DiscBoot.AFTER) -> Operation:
    """Put a CD into the lowest drive of ``guest`` that is empty, running or not; it is taken out again where that fails.

    Raises ``Invalid`` for an image that is none or not ready, ``Conflict`` without an empty drive, or where the machine's
    condition forbids it.
    """
    actor.require(Permission.GUEST_EDIT, guest)
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, "guest.insert", actor)
    errors = [] if boot in DiscBoot.values else [FieldError("/boot", "invalid_boot", _("Choose after, once or first."))]
    if image.kind == ImageKind.DISK:
        errors.append(FieldError("/image", "image_no_cd", _("This image is a disk, not a CD.")))
    elif image.state != ImageState.READY:
        errors.append(FieldError("/image", "image_not_ready", _("This image is not ready.")))
    if errors:
        raise Invalid(errors=errors)
    disc = Disc.objects.create(tenant=guest.tenant, guest=guest, drive=_empty_drive(guest), image=image, boot=boot)
    operation = guest_ask(guest, "guest.insert", actor=actor, params={"disc": str(disc.pk)})
    audit_record(actor, "guest.insert", guest, image=image.name, drive=disc.drive, boot=str(boot))
    return operation


@transaction.atomic
def disc_eject(disc: Disc, *, actor: Actor, force: bool = False) -> Operation:
    """Take a CD out of its drive. A running system that has locked the tray keeps it, unless ``force`` opens it.

    It lies in the drive until it is seen to be out. Raises ``Conflict`` where the machine's condition forbids it.
    """
    actor.require(Permission.GUEST_EDIT, disc.guest)
    guest, disc = _own(disc)
    refuse_unless_allowed(guest, "guest.eject", actor)
    operation = guest_ask(guest, "guest.eject", actor=actor, params={"disc": str(disc.pk), "force": force})
    audit_record(actor, "guest.eject", guest, image=disc.image.name, drive=disc.drive, force=force)
    return operation


@transaction.atomic
def disc_edit(disc: Disc, *, actor: Actor, boot: str) -> Disc:
    """Say when the machine is started from the CD, from its next start on.

    Raises ``Conflict`` while something is done with the machine, which may have read what it was.
    """
    actor.require(Permission.GUEST_EDIT, disc.guest)
    guest, disc = _own(disc)
    if boot not in DiscBoot.values:
        raise Invalid(errors=[FieldError("/boot", "invalid_boot", _("Choose after, once or first."))])
    if boot == disc.boot:
        return disc
    if operations_live_on("guest", [guest.pk]):
        raise Conflict(_("Something else is being done with this right now."), code="operation_in_progress", hint="")
    audit_record(actor, "guest.disc_edit", guest, image=disc.image.name, drive=disc.drive, boot=[disc.boot, boot])
    disc.boot = boot
    disc.version += 1
    disc.save(update_fields=["boot", "version"])
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)
    return disc


def disc_lay(guest: Guest, image: Image) -> Disc:
    """A machine that is just being made has the CD in its first drive, and is set up from it since its disk is empty."""
    return Disc.objects.create(tenant=guest.tenant, guest=guest, drive=1, image=image, boot=DiscBoot.AFTER)


def discs_follow(guest: Guest, out: Collection[int], *, at: datetime) -> bool:
    """Write down in which drives of a running machine no CD was to be seen at ``at``, though it has one; True if that is news.

    Not while something is done with it, nor where something was since then: the look is older than what lies there. Safe to
    repeat.
    """
    with tenant_scope(guest.tenant), transaction.atomic():
        row = Guest.objects.select_for_update(of=("self",)).filter(pk=guest.pk).first()
        if row is None or operations_live_on("guest", [row.pk]):
            return False
        if Operation.objects.filter(subject_id=row.pk, finished_at__gte=at).exists():
            return False
        changed = [disc for disc in Disc.objects.filter(guest=row) if disc.is_out != (disc.drive in out)]
        for disc in changed:
            disc.is_out = not disc.is_out
            disc.save(update_fields=["is_out"])
        if changed:
            event_append(guest.tenant, "guest.changed", "guest", row.pk)
        return bool(changed)


def inserted(operation: Operation) -> None:
    """In, or not: then it is taken out again, since half of it may be done, and counts as in until that is sure."""
    guest, disc = _found(operation)
    if guest is None or disc is None:
        return
    if operation.status != Status.SUCCEEDED:
        if operation.started_at is None:
            disc.delete()
        else:
            params: dict[str, Any] = {"disc": str(disc.pk), "force": False}
            guest_ask(
                guest, "guest.eject", actor=system_actor(guest.tenant, why="settle"), after=operation, params=params
            )
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def ejected(operation: Operation) -> None:
    """Out: forgotten. Not out, or nobody knows: it lies in its drive still."""
    guest, disc = _found(operation)
    if guest is None or disc is None:
        return
    if operation.status == Status.SUCCEEDED:
        disc.delete()
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def _found(operation: Operation) -> tuple[Guest | None, Disc | None]:
    rows = Guest.objects.select_for_update(of=("self",)).select_related("tenant", "host")
    guest = rows.filter(pk=operation.subject_id).first()
    return guest, Disc.objects.select_for_update().filter(pk=operation.params["disc"]).first()


def _own(disc: Disc) -> tuple[Guest, Disc]:
    """The CD and its machine, read anew and locked, machine first; raises ``Missing`` where it is out already."""
    guest = guest_locked(disc.guest_id)
    row = Disc.objects.select_for_update(of=("self",)).select_related("image").filter(pk=disc.pk).first()
    if row is None:
        raise Missing
    return guest, row


def _empty_drive(guest: Guest) -> int:
    taken = set(Disc.objects.filter(guest=guest).values_list("drive", flat=True))
    for drive in range(1, DRIVES + 1):
        if drive not in taken:
            return drive
    raise Conflict(_("Each of the machine's CD drives holds a CD."), code="no_drive", hint=_("Eject one first."))
