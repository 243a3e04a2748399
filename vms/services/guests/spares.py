"""Disks that a machine has only for a while: made, put in the first disk's place, forgotten."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.units import mib_label
from tenants.actors import system_actor
from tenants.journal.events import event_append
from tenants.journal.usage import usage_close, usage_switch
from vms.models import Guest, Image, Spare, Volume
from vms.models.spares import SpareRole
from vms.services.guests.asking import guest_ask
from vms.services.guests.hardware import hardware_take
from vms.services.volumes.record import volumes_say
from vms.states import ImageKind, ImageState, VolumeState


def refuse_image(guest: Guest, image: Image) -> None:
    """Raise ``Invalid`` where this machine cannot start from ``image``."""
    message = ""
    if image.state != ImageState.READY and image.pk != guest.image_id:
        message = _("This image is not ready.")
    elif image.kind != ImageKind.DISK:
        message = _("This image is a CD; no disk is made of it.")
    elif guest.memory_mib < image.min_memory_mib:
        message = _("This image needs %s of memory.") % mib_label(image.min_memory_mib)
    if message:
        raise Invalid(errors=[FieldError("/image", "image_unfit", message)])


def spare_make(guest: Guest, role: SpareRole, image: Image, *, size_gib: int) -> Spare:
    """A disk to be made on the machine's host; raises ``Conflict`` while one of that role is left over from before."""
    if Spare.objects.filter(guest=guest, role=role).exists():
        raise Conflict(
            _("What was left of the last time is still being removed."), code="being_tidied", hint=_("Try again soon.")
        )
    return Spare.objects.create(tenant=guest.tenant, guest=guest, role=role, image=image, size_gib=size_gib)


def spare_of(guest: Guest, role: SpareRole) -> Spare | None:
    """The machine's spare disk of that role, with its image."""
    return Spare.objects.select_related("image").filter(guest=guest, role=role).first()


@transaction.atomic
def spare_become_root(guest: Guest) -> None:
    """The fresh disk, which is whole, takes the place of the first one, whose file is to go; both keep their ids.

    As large as that and of the same class, so that no quota moves. Safe to repeat.
    """
    guest = Guest.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=guest.pk)
    fresh = spare_of(guest, SpareRole.FRESH)
    if fresh is None or fresh.image is None:
        return
    old = Volume.objects.select_for_update().select_related("storage_class").get(guest=guest, position=0)
    was = old.pk
    Spare.objects.create(
        tenant=guest.tenant, guest=guest, role=SpareRole.WORN, image=old.image, size_gib=old.size_gib, pk=was
    )
    usage_close(guest.tenant, resource_ids=[was], at=now())
    Volume.objects.filter(pk=was).delete()
    old.pk, old.image, old.state, old.created_at = fresh.pk, fresh.image, VolumeState.READY, now()
    old.version += 1
    old.save(force_insert=True)
    usage_switch(
        guest.tenant,
        resource_type="volume",
        resource_id=old.pk,
        meter="disk_gib",
        quantity=old.size_gib,
        at=now(),
        storage_class=old.storage_class.name,
    )
    guest.image = fresh.image
    built = hardware_take(guest, fresh.image)
    guest.version += 1
    guest.save(update_fields=["image", *built, "version"])
    fresh.delete()
    event_append(guest.tenant, "volume.deleted", "volume", was)
    volumes_say([old])


def spare_forget(spare: Spare) -> None:
    """Its file is gone."""
    spare.delete()


def spares_left(guest: Guest) -> list[Spare]:
    """Those that nobody needs any more."""
    rows = Spare.objects.filter(guest=guest)
    return list(rows.exclude(role=SpareRole.RESCUE) if guest.in_rescue else rows)


def spares_tidy(guest: Guest, operation: Operation) -> None:
    """After ``operation``, which is just being settled: have what it left removed, if it left anything.

    What no worker ever began has no file.
    """
    left = spares_left(guest)
    if operation.started_at is None:
        for spare in left:
            spare.delete()
        return
    if not left or guest.host is None:
        return
    guest_ask(guest, "guest.tidy", actor=system_actor(guest.tenant, why="settle"), after=operation)
