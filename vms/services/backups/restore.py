"""What is in a backup comes back: as a machine of its own, or one disk of it as a volume."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Backup, BackupDisk, Flavor, Guest, Network, SshKey
from vms.services.backups.remove import backup_to_change
from vms.services.backups.verify import refuse_unready
from vms.services.guests.create import Fit, guest_create, guest_fit
from vms.services.volumes.check import require_reach
from vms.services.volumes.create import volume_create
from vms.services.volumes.foresee import volume_fit
from vms.specs import GuestSpec, VolumeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredGuest:
    """A new machine of all disks of a backup; of the former one's size unless ``flavor`` says another."""

    name: str
    flavor: Flavor | None = None
    networks: tuple[Network, ...] = ()
    ssh_keys: tuple[SshKey, ...] = ()
    tags: tuple[str, ...] = ()
    start: bool = True

    def of(self, backup: Backup) -> GuestSpec:
        """The machine to be made; the backup has a first disk."""
        root, *others = backup.disks.order_by("position")
        return GuestSpec(
            name=self.name,
            flavor=self.flavor or backup.flavor,
            image=backup.image,
            networks=self.networks,
            ssh_keys=self.ssh_keys,
            tags=self.tags,
            start=self.start,
            root=root,
            volumes=tuple(VolumeSpec(name=disk.name, size_gib=disk.size_gib, source=disk) for disk in others),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredVolume:
    """A volume of the disk at ``position``, plugged into ``guest`` if one is given."""

    name: str
    position: int = 0
    guest: Guest | None = None

    def of(self, backup: Backup) -> VolumeSpec:
        """The volume to be made; raises ``Invalid`` where the backup has no such disk."""
        disk = BackupDisk.objects.filter(backup=backup, position=self.position).first()
        if disk is None:
            raise Invalid(errors=[FieldError("/position", "unknown", _("The backup has no such disk."))])
        return VolumeSpec(name=self.name, size_gib=disk.size_gib, source=disk, guest=self.guest)


@transaction.atomic
def backup_restore_guest(backup: Backup, spec: RestoredGuest, *, actor: Actor) -> Operation:
    """Make a new machine of all its disks, with addresses of its own.

    Raises what ``guest_create`` raises, and ``Conflict`` (``backup_not_ready``).
    """
    backup = _readable(backup, actor)
    operation = guest_create(backup.tenant, spec.of(backup), actor=actor)
    audit_record(actor, "backup.restore", backup, guest=spec.name)
    return operation


@transaction.atomic
def backup_restore_volume(backup: Backup, spec: RestoredVolume, *, actor: Actor) -> Operation:
    """Make a volume of one of its disks.

    Raises what ``volume_create`` raises, and ``Conflict`` (``backup_not_ready``).
    """
    backup = _readable(backup, actor)
    operation = volume_create(backup.tenant, spec.of(backup), actor=actor)
    audit_record(actor, "backup.restore", backup, volume=spec.name)
    return operation


@transaction.atomic
def backup_restore_fit(backup: Backup, spec: RestoredGuest | RestoredVolume, *, actor: Actor) -> Fit:
    """The answer that either would give, and the quota before and after; changes nothing. Raises as they do of a backup."""
    backup = _readable(backup, actor)
    if isinstance(spec, RestoredGuest):
        return guest_fit(backup.tenant, spec.of(backup), actor=actor)
    return volume_fit(backup.tenant, spec.of(backup), actor=actor)


def _readable(backup: Backup, actor: Actor) -> Backup:
    """The backup, read anew and locked, which the actor may use; raises ``Conflict`` (``backup_not_ready``)."""
    actor.require(Permission.BACKUP_MANAGE, backup)
    backup = backup_to_change(backup)
    require_reach(actor, backup.guest)
    refuse_unready(backup)
    return backup
