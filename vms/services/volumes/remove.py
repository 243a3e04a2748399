"""A volume is deleted, for good: there is no bin for one alone."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, operation_submit
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from vms.models import Volume
from vms.models.volumes import Scrub
from vms.services.volumes.check import locked, refuse_kept, require_reach
from vms.services.volumes.record import volumes_say
from vms.states import VolumeState


@transaction.atomic
def volume_delete(volume: Volume, *, actor: Actor) -> Operation:
    """Delete a volume that hangs on no machine, its bytes as its class says; it counts until its file is gone.

    Raises ``Conflict`` while it is attached, or while something else is done with it. One whose deletion failed can be asked
    for again, and for nothing else.
    """
    actor.require(Permission.VOLUME_MANAGE, volume)
    require_reach(actor, volume.guest)
    volume, guest = locked(volume)
    if guest is not None and volume.state != VolumeState.DELETING:
        raise Conflict(
            _("This volume hangs on the machine %(name)s."),
            code="attached",
            name=guest.name,
            hint=_("It goes with the machine.") if volume.is_root else _("Detach it first."),
        )
    refuse_kept(volume, _("Snapshots hold this volume, and would go with it."))
    operation = _ask(volume, actor=actor)
    audit_record(actor, "volume.delete", volume, size_gib=volume.size_gib)
    return operation


def volume_clear(volume: Volume, *, actor: Actor, after: Operation) -> Operation:
    """What a failed creation left is taken off its machine and its host, and forgotten; asked for by its settling."""
    return _ask(volume, actor=actor, after=after)


def _ask(volume: Volume, *, actor: Actor, after: Operation | None = None) -> Operation:
    was_ready = after is None and volume.state == VolumeState.READY
    volume.state = VolumeState.DELETING
    volume.version += 1
    volume.save(update_fields=["state", "version"])
    holds = [Hold("guest", volume.guest_id)] if volume.guest_id is not None else []
    holds.append(Hold("volume", volume.pk))
    operation = operation_submit(
        volume,
        kind="volume.delete",
        actor=actor,
        holds=holds if after is None else (),
        after=after,
        lane=volume.pool.host.lane if volume.pool is not None else "",
        params={"was_ready": was_ready},
        long=volume.storage_class.scrub == Scrub.ZERO,
    )
    volumes_say([volume])
    return operation
