"""What a machine is built of: taken from its image when it is made or rebuilt, and kept whatever is said of that later."""

from __future__ import annotations

from vms.models import Guest, Image
from vms.models.hardware import HARDWARE, Hardware
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


def hardware_like(guest: Guest, other: Guest) -> None:
    """Set on ``guest``, unsaved, what ``other`` is built of; what lies on its disks knows that."""
    for name in (*HARDWARE, "is_windows", "drivers"):
        setattr(guest, name, getattr(other, name))


def _drivers() -> Image | None:
    offered = Image.objects.filter(tenant=None, kind=ImageKind.DRIVERS, state=ImageState.READY)
    return offered.order_by("-created_at").first()
