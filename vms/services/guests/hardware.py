"""What a machine is built of: taken from its image when it is made or rebuilt, and kept whatever is said of that later."""

from __future__ import annotations

from django.utils.translation import gettext as _

from portal.core.errors import Conflict
from vms.models import BackupDisk, Guest, Image
from vms.models.hardware import HARDWARE, Hardware
from vms.placement import trait_lacking
from vms.specs import GuestSpec
from vms.states import ImageKind, ImageState


def hardware_take(guest: Guest, image: Image, *, former: Hardware | None = None) -> list[str]:
    """Set on ``guest``, unsaved, what a machine of ``image`` is built of; returns the names of the fields.

    ``former`` is what the machine was built of whose disks it gets: its system might not find itself in another.
    A Windows machine gets the newest CD with drivers that operators offer; where they offer none, it goes without.
    """
    for name in HARDWARE:
        setattr(guest, name, getattr(former or image, name))
    guest.is_windows = image.is_windows
    guest.drivers = _drivers() if image.is_windows else None
    return [*HARDWARE, "is_windows", "drivers"]


def hardware_of(spec: GuestSpec) -> Hardware:
    """What the machines of ``spec`` are to be built of: as the one they are like, as their backup says, or their image."""
    if spec.like is not None:
        return spec.like
    return spec.root.backup if isinstance(spec.root, BackupDisk) else spec.image


def hardware_like(guest: Guest, other: Guest) -> None:
    """Set on ``guest``, unsaved, what ``other`` is built of; what lies on its disks knows that."""
    for name in (*HARDWARE, "is_windows", "drivers"):
        setattr(guest, name, getattr(other, name))


def refuse_unbuildable(guest: Guest, built: Hardware) -> None:
    """Raise ``Conflict`` where the machine's host, which its disks lie on, cannot make of it what ``built`` says.

    What it is built of by now is not asked for again.
    """
    wanted = built.traits - guest.traits
    if guest.host is not None and trait_lacking(wanted, guest.host.traits):
        raise Conflict(
            _("The host of this machine has not the firmware or the TPM that this asks for."),
            code="host_lacks",
            hint=_("Make a new machine of it."),
        )


def _drivers() -> Image | None:
    offered = Image.objects.filter(tenant=None, kind=ImageKind.DRIVERS, state=ImageState.READY)
    return offered.order_by("-created_at").first()
