"""A machine is to go back to a backup: allowed? possible? paid for, written down, asked for; one transaction."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.services.quota import quota_reserve
from vms.models import Backup, BackupDisk, Guest, StoragePool, Volume
from vms.services.backups.record import backup_told
from vms.services.backups.remove import backup_to_change
from vms.services.backups.verify import refuse_unready
from vms.services.guests.allowed import refuse_unless_allowed
from vms.services.guests.asking import guest_ask, guest_wish
from vms.services.guests.wanting import is_on
from vms.services.putback.plan import (
    Change,
    changes_of,
    cost_of,
    has_other_firmware,
    pools_of,
    refuse_held,
    refuse_protected,
    refuse_running,
    refuse_unlike,
)
from vms.services.volumes.check import guest_locked, require_reach
from vms.services.volumes.record import source_holds, volume_meter, volumes_say
from vms.states import Power

KIND = "guest.putback"


@transaction.atomic
def backup_put_back(
    backup: Backup,
    *,
    actor: Actor,
    disks: Collection[int] | None = None,
    stop: bool = False,
    keep: bool = True,
) -> Operation:
    """Have the machine of ``backup`` go back to it: all its disks, or those at the places ``disks`` of the backup.

    The disks are made beside the present ones, which lose their places once all of them are whole; those are volumes of their
    own from then on, or deleted where not ``keep``. One that runs is refused, or with ``stop`` switched off for it, without
    asking, and started again. Name, size, addresses, tags and other volumes stay.

    Raises ``Invalid``, ``OverQuota``, ``NoStorage``, or ``Conflict`` where the machine's condition or its snapshots forbid it,
    or the backup is not whole; then nothing was changed.
    """
    guest = machine_of(backup, actor)
    backup = backup_to_change(backup)
    refuse_unready(backup)
    refuse_unless_allowed(guest, KIND, actor)
    refuse_running(guest, stop=stop)
    refuse_protected(guest, keep=keep)
    changes = changes_of(backup, guest, disks)
    refuse_unlike(changes, guest, backup)
    refuse_held(changes, guest, keep=keep)
    quota_reserve(guest.tenant, cost_of(changes, guest))
    fresh = [_volume_write(change, guest, pool) for change, pool in zip(changes, pools_of(changes, guest), strict=True)]
    before = guest.want_power
    guest_wish(guest, Power.RUNNING if is_on(guest) else Power.STOPPED)
    swaps = [
        {
            "fresh": str(volume.pk),
            "former": str(change.present.pk) if change.present is not None else None,
            "position": change.position,
        }
        for change, volume in zip(changes, fresh, strict=True)
    ]
    params: dict[str, Any] = {
        "want_before": before,
        "backup": str(backup.pk),
        "swaps": swaps,
        "keep": keep,
        "other_firmware": has_other_firmware(backup, guest) and any(change.position == 0 for change in changes),
    }
    formers = [change.present.pk for change in changes if change.present is not None]
    held = [Hold("volume", pk) for pk in sorted([*formers, *(volume.pk for volume in fresh)])]
    sources = source_holds(Volume.objects.filter(pk__in=[volume.pk for volume in fresh]))
    operation = guest_ask(guest, KIND, actor=actor, params=params, more=[*held, *sources])
    names = [change.name for change in changes]
    audit_record(actor, "backup.put_back", backup, guest=guest.name, disks=names, keep=keep, stop=stop)
    audit_record(actor, KIND, guest, backup=backup.name, disks=names, keep=keep)
    backup_told(backup)
    volumes_say(fresh)
    return operation


def machine_of(backup: Backup, actor: Actor) -> Guest:
    """The machine that the backup is of, locked; raises ``Forbidden``, or ``Conflict`` where it is gone."""
    actor.require(Permission.BACKUP_MANAGE, backup)
    actor.require(Permission.VOLUME_MANAGE)
    if backup.guest_id is None:
        raise Conflict(
            _("The machine of this backup is gone."), code="machine_gone", hint=_("Make a new machine of it.")
        )
    guest = guest_locked(backup.guest_id)
    require_reach(actor, guest)
    return guest


def _volume_write(change: Change, guest: Guest, pool: StoragePool | None) -> Volume:
    """The row of a new disk, which hangs on no machine until it is whole."""
    present = change.present
    volume = Volume.objects.create(
        tenant=guest.tenant,
        name=change.name,
        source=change.disk,
        known_as=_serial_of_one_gone(change.disk) if present is None else "",
        storage_class=change.storage_class,
        pool=pool,
        size_gib=change.size_gib,
        iops=present.iops if present is not None else 0,
        mbps=present.mbps if present is not None else 0,
    )
    volume_meter(volume)
    return volume


def _serial_of_one_gone(disk: BackupDisk) -> str:
    """The serial of a disk that was deleted, by which its machine looks for it; empty where another has it, or may have."""
    if disk.volume_id is not None or Volume.objects.filter(known_as=disk.known_as).exists():
        return ""
    return disk.known_as
