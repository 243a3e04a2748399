"""May this be done with a snapshot now? Each refusal says what to do."""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Missing
from tenants.actors import Actor
from vms.models import Guest, Snapshot, Volume
from vms.pool_kinds import is_home
from vms.services.volumes.check import guest_locked, require_reach
from vms.states import SnapshotState

NAME: Final = re.compile(r"\A[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z")
DESCRIPTION_MAX: Final = 255


def text_errors(name: str | None, description: str | None) -> list[FieldError]:
    """What is wrong with a snapshot's name and description; None is not looked at."""
    errors = []
    if name is not None and not NAME.match(name):
        message = _("Use small letters, digits, dots and hyphens, at most 63.")
        errors.append(FieldError("/name", "invalid_name", message))
    if description is not None and not (len(description) <= DESCRIPTION_MAX and description.isprintable()):
        message = _("At most %d printable characters.") % DESCRIPTION_MAX
        errors.append(FieldError("/description", "invalid_description", message))
    return errors


def name_taken(guest: Guest | None, name: str, *, but: Snapshot | None = None) -> list[FieldError]:
    """What is wrong with a name that another snapshot of the same machine has; the caller has locked the machine."""
    if guest is None:
        return []
    others = Snapshot.objects.filter(guest=guest, name=name)
    if not (others if but is None else others.exclude(pk=but.pk)).exists():
        return []
    return [FieldError("/name", "name_taken", _("This machine has a snapshot of that name."))]


def locked(snapshot: Snapshot, *, actor: Actor | None = None) -> tuple[Snapshot, Guest | None]:
    """The snapshot and the machine it is about, read anew and locked, machine first; ``Missing`` where it is gone.

    Of a single volume's: the machine that the volume hangs on now, if it does. With ``actor``, ``Forbidden`` where that is
    none that they may change.
    """
    guest_id = snapshot.guest_id
    if guest_id is None:
        hangs_on = snapshot.disks.values_list("volume__guest", flat=True)
        guest_id = next(iter(hangs_on), None)
    guest = guest_locked(guest_id) if guest_id is not None else None
    if actor is not None:
        require_reach(actor, guest)
    row = Snapshot.objects.select_for_update(of=("self",)).select_related("tenant").filter(pk=snapshot.pk).first()
    if row is None:
        raise Missing
    if row.guest_id is None and list(row.disks.values_list("volume__guest", flat=True)) != [guest_id]:
        raise Conflict(_("Something else is being done with this right now."), code="operation_in_progress", hint="")
    return row, guest


def refuse_unready(snapshot: Snapshot) -> None:
    """Raise ``Conflict`` unless all of the snapshot is there."""
    if snapshot.state != SnapshotState.READY:
        raise Conflict(_("This snapshot is not ready."), code="snapshot_not_ready", state=snapshot.state, hint="")


def refuse_pool(volume: Volume) -> None:
    """Raise ``Conflict`` for a disk outside its host's own directory: only what lies there keeps snapshots inside itself."""
    if volume.pool is not None and not is_home(volume.pool, volume.pool.host):
        raise Conflict(
            _("The volume %(name)s lies in a storage pool that keeps no snapshots."),
            code="no_snapshots_there",
            hint=_("Snapshots are of machines all of whose disks are of the first disk's kind."),
            name=volume.name,
        )
