"""What the end of a machine's way back to a backup returns or confirms; in the ending transaction, for every status."""

from __future__ import annotations

from django.utils.translation import gettext as _

from operations.models import Operation
from operations.states import Status
from tenants.actors import system_actor
from tenants.journal.events import event_append
from vms.models import Backup, Guest, Volume
from vms.services.backups.record import backup_told
from vms.services.guests.asking import guest_ask
from vms.services.guests.settle import want_seen
from vms.services.guests.wanting import WISH
from vms.services.putback.swap import former_ids, fresh_ids
from vms.services.volumes.record import volume_doom
from vms.services.volumes.settle import volume_forget


def put_back(operation: Operation) -> None:
    """Done: the problem is over. Not done: it says whether the machine has the disks of the backup or those of before.

    Of disks that never came to their places what lies on the host is removed, and what they held returns with that. Nothing
    of what they were to replace is deleted then.
    """
    guest = Guest.objects.select_for_update(of=("self",)).select_related("tenant", "host").get(pk=operation.subject_id)
    if operation.status == Status.SUCCEEDED:
        guest.problem_code = guest.problem_message = ""
    else:
        operation.error_hint = str(_how_it_stands(operation))
        operation.save(update_fields=["error_hint"])
        want_seen(guest, operation, was_left=not operation.goes_through)
        message = f"{operation.error_message} {operation.error_hint}".strip()
        guest.problem_code, guest.problem_message = operation.error_code, message
    guest.save(update_fields=[*WISH, "problem_code", "problem_message"])
    if not operation.goes_through:
        _clear_away(guest, operation)
    backup = Backup.objects.filter(pk=operation.params["backup"]).first()
    if backup is not None:
        backup_told(backup)
    event_append(guest.tenant, "guest.changed", "guest", guest.pk)


def _how_it_stands(operation: Operation) -> str:
    if not operation.goes_through:
        return _("The machine has its disks as before; nothing of them was changed.")
    if operation.params["keep"] or not former_ids(operation):
        return _("The machine has the disks of the backup.")
    return _("The machine has the disks of the backup. Those of before may still be there, among the volumes.")


def _clear_away(guest: Guest, operation: Operation) -> None:
    """What was made has no place: files first, rows and quota with them; at once where no worker ever began."""
    rows = Volume.objects.select_for_update(of=("self",)).select_related("tenant", "storage_class")
    fresh = list(rows.filter(pk__in=fresh_ids(operation)))
    for volume in fresh:
        if operation.started_at is None:
            volume_forget(volume)
        else:
            volume_doom(volume)
    if operation.started_at is not None and guest.host is not None:
        actor = system_actor(guest.tenant, why="settle")
        params = {"volumes": [str(volume.pk) for volume in fresh]}
        guest_ask(guest, "guest.tidy", actor=actor, params=params, after=operation)
