"""A backup of a machine is asked for."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.services.quota import quota_reserve
from vms.models import Backup, BackupDisk, BackupTurn, Guest, Volume
from vms.models.hardware import HARDWARE
from vms.pool_kinds import is_home
from vms.services.backups.record import backup_told
from vms.services.backups.stores import repository_of
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.volumes.check import guest_locked, name_errors, require_reach


@transaction.atomic
def backup_create(
    guest: Guest, *, actor: Actor, name: str = "", full: bool = False, turn: BackupTurn | None = None
) -> Operation:
    """Back up all disks of ``guest``, which may run on: only what changed is read, unless ``full`` or where nobody knows that.

    ``turn`` is that of the schedule that asks, if one does. A gibibyte is reserved now and more as bytes go to the store.
    Raises ``Invalid``, ``NoStore``, ``OverQuota``, or ``Conflict`` in a state that forbids it; then nothing was changed.
    """
    actor.require(Permission.BACKUP_MANAGE, guest)
    require_reach(actor, guest)
    guest = guest_locked(guest.pk)
    refuse_unless_allowed(guest, "backup.create", actor)
    name = name or f"{guest.name[:50]}-{Backup.objects.filter(guest=guest).count() + 1}"
    if errors := name_errors(name):
        raise Invalid(errors=[FieldError("/name", fault.code, fault.message) for fault in errors])
    volumes = list(Volume.objects.filter(guest=guest).select_related("pool__host"))
    for volume in volumes:
        _refuse_pool(volume)
    quota_reserve(guest.tenant, {"backups_gib": 1})
    repository = repository_of(guest.tenant)
    backup = Backup.objects.create(
        tenant=guest.tenant,
        name=name,
        repository=repository,
        guest=guest,
        schedule_id=turn.schedule_id if turn is not None else None,
        slot=turn.slot if turn is not None else None,
        guest_name=guest.name,
        flavor=guest.flavor,
        image_id=guest.image_id,
        **{name: getattr(guest, name) for name in HARDWARE},
        reserved_gib=1,
    )
    for volume in volumes:
        BackupDisk.objects.create(
            tenant=guest.tenant,
            backup=backup,
            position=volume.position,
            name=volume.name,
            size_gib=volume.size_gib,
            volume=volume,
            known_as=volume.serial,
        )
    assert guest.host is not None
    operation = operation_submit(
        backup,
        kind="backup.create",
        actor=actor,
        holds=[
            Hold("guest", guest.pk),
            Hold("backup", backup.pk),
            Hold("backup_repository", repository.pk, exclusive=False),
        ],
        lane=guest.host.lane,
        params={"full": full},
    )
    audit_record(actor, "backup.create", backup, guest=guest.name, full=full)
    backup_told(backup)
    return operation


def _refuse_pool(volume: Volume) -> None:
    """Raise ``Conflict`` for a disk outside its host's own directory: only what lies there is read at one moment."""
    if volume.pool is not None and not is_home(volume.pool, volume.pool.host):
        raise Conflict(
            _("The volume %(name)s lies in a storage pool of which no backups are made."),
            code="no_backups_there",
            name=volume.name,
            hint=_("Detach it first, or copy what is on it to another volume."),
        )
