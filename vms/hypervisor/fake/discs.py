"""A ``FakeHost``'s domains and what lies in their CD drives."""

from __future__ import annotations

from dataclasses import replace

from vms.hypervisor import allowlist
from vms.hypervisor.driver import Roots
from vms.hypervisor.errors import Busy, NoSlot, Refused
from vms.hypervisor.fake.disks import Disks
from vms.hypervisor.fake.domains import must_be_ours
from vms.hypervisor.fake.link import ACTIVE
from vms.hypervisor.xml.devices import Disk
from vms.hypervisor.xml.metadata import Owner


class Discs(Disks):
    """The protocol's verbs for CDs; a ``deaf`` host's guests keep their trays locked."""

    def insert_disc(self, uuid: str, disc: Disk, *, owner: Owner, roots: Roots) -> None:
        with self._host.call("insert_disc"):
            try:
                allowlist.check_disk(disc.element(), roots=roots)
            except ValueError as error:
                raise Refused(f"insert into {uuid}: {error}") from error
            domain = self._get(uuid)
            must_be_ours(domain, owner)
            if not any(disc.path == seen.path for p in self._host.pools.values() for seen, _ in p.volumes.values()):
                raise Refused(f"no file {disc.path}")
            held = {drive.target: drive for drive in domain.live if drive.device == "cdrom"}
            if domain.power in ACTIVE and disc.target not in held:
                raise NoSlot(f"domain {uuid} runs without a drive at {disc.target}")
            self._each(domain, lambda disks: tuple(_filled(drive, disc) for drive in disks))
            domain.trays.discard(disc.target)

    def eject_disc(self, uuid: str, target: str, *, owner: Owner, force: bool) -> None:
        with self._host.call("eject_disc"):
            domain = self._host.domains.get(uuid)
            if domain is None:
                return
            must_be_ours(domain, owner)
            held = target not in domain.trays and any(drive.target == target and drive.path for drive in domain.live)
            if domain.power in ACTIVE and held and self._host.deaf and not force:
                raise Busy(f"the guest keeps {target} locked")
            self._each(domain, lambda disks: tuple(_emptied(drive, target) for drive in disks))
            domain.trays.discard(target)


def _filled(drive: Disk, disc: Disk) -> Disk:
    if drive.target != disc.target:
        return drive
    if drive.path not in ("", disc.path):
        raise Refused(f"another disc in {drive.target}")
    return replace(disc, boot_order=drive.boot_order)


def _emptied(drive: Disk, target: str) -> Disk:
    return replace(drive, path="", boot_order=None) if drive.target == target else drive
