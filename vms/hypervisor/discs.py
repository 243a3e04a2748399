"""The part of the interface that speaks of CDs: what lies in a domain's drives, live and for its next start.

A drive stands in a definition from the start, since not every bus takes one while the domain runs. It is known by its target.
What is in a drive, and whether its tray stands open, is seen with the other disks (``Disks.disks``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vms.hypervisor.xml.devices import Disk
from vms.hypervisor.xml.metadata import Owner

if TYPE_CHECKING:
    from vms.hypervisor.driver import Roots


class Discs(Protocol):
    """Verbs on what lies in a domain's CD drives."""

    def insert_disc(self, uuid: str, disc: Disk, *, owner: Owner, roots: Roots) -> None:
        """Have the drive at ``disc.target`` hold ``disc``, now if it runs and at its next start, its tray shut.

        ``NoSlot`` where the running domain has no such drive, ``Refused`` where another disc lies in it; ``Missing`` without
        the domain. A definition without the drive is left alone: it is written anew before the next start.
        """

    def eject_disc(self, uuid: str, target: str, *, owner: Owner, force: bool) -> None:
        """Have the drive at ``target`` be empty; one that is not there is, and so is that of a missing domain.

        Live first. ``Busy`` where the guest keeps the tray locked; ``force`` opens it all the same. Then nothing has changed,
        but the guest was asked and may yet let go.
        """
