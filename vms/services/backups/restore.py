"""What is in a backup comes back: as a machine of its own, or one disk of it as a volume."""

from __future__ import annotations

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
from vms.services.guests.create import guest_create
from vms.services.volumes.check import require_reach
from vms.services.volumes.create import volume_create
from vms.specs import GuestSpec, VolumeSpec


@transaction.atomic
def backup_restore_guest(
    backup: Backup,
    *,
    actor: Actor,
    name: str,
    flavor: Flavor | None = None,
    networks: tuple[Network, ...] = (),
    ssh_keys: tuple[SshKey, ...] = (),
    tags: tuple[str, ...] = (),
    start: bool = True,
) -> Operation:
    """Make a new machine of all its disks, of the former one's size unless ``flavor`` says another.

    It has addresses of its own. Raises what ``guest_create`` raises, and ``Conflict`` (``backup_not_ready``).
    """
    actor.require(Permission.BACKUP_MANAGE, backup)
    backup = backup_to_change(backup)
    require_reach(actor, backup.guest)
    refuse_unready(backup)
    root, *others = backup.disks.order_by("position")
    spec = GuestSpec(
        name=name,
        flavor=flavor or backup.flavor,
        image=backup.image,
        networks=networks,
        ssh_keys=ssh_keys,
        tags=tags,
        start=start,
        root=root,
        volumes=tuple(VolumeSpec(name=disk.name, size_gib=disk.size_gib, source=disk) for disk in others),
    )
    operation = guest_create(backup.tenant, spec, actor=actor)
    audit_record(actor, "backup.restore", backup, guest=name)
    return operation


@transaction.atomic
def backup_restore_volume(
    backup: Backup, *, actor: Actor, name: str, position: int = 0, guest: Guest | None = None
) -> Operation:
    """Make a volume of one of its disks, plugged into ``guest`` if one is given.

    Raises what ``volume_create`` raises, and ``Conflict`` (``backup_not_ready``).
    """
    actor.require(Permission.BACKUP_MANAGE, backup)
    backup = backup_to_change(backup)
    require_reach(actor, backup.guest)
    refuse_unready(backup)
    disk = BackupDisk.objects.filter(backup=backup, position=position).first()
    if disk is None:
        raise Invalid(errors=[FieldError("/position", "unknown", _("The backup has no such disk."))])
    spec = VolumeSpec(name=name, size_gib=disk.size_gib, source=disk, guest=guest)
    operation = volume_create(backup.tenant, spec, actor=actor)
    audit_record(actor, "backup.restore", backup, volume=name)
    return operation
