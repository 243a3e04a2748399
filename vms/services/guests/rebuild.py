"""A machine is made anew from an image, and keeps its name, size, addresses, cards and keys."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Guest, Image, Volume
from vms.models.spares import SpareRole
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask, guest_wish
from vms.services.guests.hardware import refuse_unbuildable
from vms.services.guests.spares import refuse_image, spare_make
from vms.services.guests.wanting import is_on
from vms.services.volumes.check import guest_locked, refuse_kept
from vms.states import Power


@transaction.atomic
def guest_rebuild(guest: Guest, image: Image, *, actor: Actor) -> Operation:
    """Ask for the first disk to be replaced by a fresh one of ``image``; one that is on starts from it.

    The old disk goes only once the new one is whole. Raises ``Conflict`` for a protected machine, or on a host that lacks
    what the image asks for, ``Invalid`` for an image that does not fit it.
    """
    actor.require(Permission.GUEST_DELETE, guest)
    guest = guest_locked(guest.pk)
    if guest.protected:
        raise Conflict(
            _("This machine is protected against deletion."), code="protected", hint=_("Take the protection off first.")
        )
    refuse_unless_allowed(guest, "guest.rebuild", actor)
    refuse_image(guest, image)
    refuse_unbuildable(guest, image)
    root = Volume.objects.get(guest=guest, position=0)
    refuse_kept(root, _("Snapshots hold the first disk of this machine."))
    if root.size_gib < image.min_disk_gib:
        message = _("This image needs a disk of %d GiB.") % image.min_disk_gib
        raise Invalid(errors=[FieldError("/image", "disk_too_small", message)])
    spare_make(guest, SpareRole.FRESH, image, size_gib=root.size_gib)
    before = guest.want_power
    guest_wish(guest, Power.RUNNING if is_on(guest) else Power.STOPPED)
    params = {"want_before": before, "image": str(image.pk)}
    operation = guest_ask(guest, "guest.rebuild", actor=actor, params=params)
    audit_record(actor, "guest.rebuild", guest, image=image.name)
    return operation
