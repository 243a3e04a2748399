"""A machine that does not start by itself starts from another image, with its own disks beside it."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.policy import Permission
from vms.models import Guest, Image
from vms.models.spares import SpareRole
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask, guest_wish
from vms.services.guests.spares import refuse_image, spare_make
from vms.services.guests.wanting import is_on
from vms.services.volumes.check import guest_locked
from vms.states import Power


@transaction.atomic
def guest_rescue(guest: Guest, image: Image, *, actor: Actor) -> Operation:
    """Ask for the machine to start from ``image``; its own disks are attached after that and not touched.

    Its power is pulled if it is on. Raises ``OverQuota`` where too many run already, ``Invalid`` for an image that does not fit.
    """
    actor.require(Permission.GUEST_EDIT, guest)
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, "guest.rescue", actor)
    refuse_image(guest, image)
    if (image.firmware, image.secure_boot) != (guest.firmware, guest.secure_boot):
        message = _("This image starts in another way than the machine (BIOS, UEFI, Secure Boot).")
        raise Invalid(errors=[FieldError("/image", "other_firmware", message)])
    spare_make(guest, SpareRole.RESCUE, image, size_gib=max(1, image.min_disk_gib))
    operation = _ask(guest, "guest.rescue", Power.RUNNING, actor=actor)
    audit_record(actor, "guest.rescue", guest, image=image.name)
    return operation


@transaction.atomic
def guest_unrescue(guest: Guest, *, actor: Actor) -> Operation:
    """Ask for the machine to have its own definition back; one that is on starts from its own disk again."""
    actor.require(Permission.GUEST_EDIT, guest)
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, "guest.unrescue", actor)
    wish = Power.RUNNING if is_on(guest) else Power.STOPPED
    operation = _ask(guest, "guest.unrescue", wish, actor=actor)
    audit_record(actor, "guest.unrescue", guest)
    return operation


def _ask(guest: Guest, kind: str, wish: Power, *, actor: Actor) -> Operation:
    before = guest.want_power
    guest_wish(guest, wish)
    return guest_ask(guest, kind, actor=actor, params={"want_before": before})


@transaction.atomic
def rescue_record(guest: Guest, *, on: bool) -> None:
    """From its next definition on the machine starts from the rescue disk, or from its own; it is off now. Safe to repeat."""
    row = Guest.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=guest.pk)
    if row.in_rescue == on:
        return
    row.in_rescue = on
    row.version += 1
    row.save(update_fields=["in_rescue", "version"])
    event_append(row.tenant, "guest.changed", "guest", row.pk)
