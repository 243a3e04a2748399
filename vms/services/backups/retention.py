"""Which of a schedule's backups stay: exact counts, by their moments; and how the others go, many in one operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import transaction

from operations.models import Operation, OperationLock
from operations.services import Hold, operation_submit
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from vms.models import Backup, BackupRepository, BackupSchedule
from vms.services.backups.record import backup_told
from vms.states import BackupState

KEPT: Final = ("last", "hourly", "daily", "weekly", "monthly")
KEEP_MAX: Final = 366

_BUCKETS: Final[Mapping[str, Callable[[datetime], object]]] = {
    "hourly": lambda moment: moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
}
"""What two moments must share, as the schedule's clocks show them, to be of the same hour, day, week (from Monday) or month."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How many stay: the last ones, and of each of so many hours, days, weeks and months that have any the last one."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


def keep_of(schedule: BackupSchedule) -> Keep:
    """What its row says."""
    return Keep(**{name: getattr(schedule, f"keep_{name}") for name in KEPT})


def clocks(zone: str) -> ZoneInfo:
    """A time zone; UTC where there is none of that name any more."""
    try:
        return ZoneInfo(zone)
    except ZoneInfoNotFoundError:
        return ZoneInfo("UTC")


def kept(moments: Sequence[datetime], keep: Keep, zone: str) -> set[int]:
    """The places in ``moments``, newest first, of those that stay; the newest always does. Pure."""
    local = [moment.astimezone(clocks(zone)) for moment in moments]
    found = set(range(min(max(keep.last, 1), len(local))))
    for name, bucket in _BUCKETS.items():
        seen: set[object] = set()
        for place, moment in enumerate(local):
            if bucket(moment) not in seen and len(seen) < getattr(keep, name):
                seen.add(bucket(moment))
                found.add(place)
    return found


def backups_expired(schedule: BackupSchedule, keep: Keep | None = None) -> list[Backup]:
    """What the schedule made and does not keep: by its own counts, or by ``keep``; nothing is changed.

    Of each machine at least the newest that is whole stays. One that was found damaged counts for nothing and stays until
    somebody deletes it. What failed, or was to go before and did not, goes with what is older than a newer success.
    """
    rows = Backup.objects.filter(schedule=schedule, guest__isnull=False).exclude(state=BackupState.CREATING)
    going: list[Backup] = []
    for _guest, backups in groupby(rows.order_by("guest", "-slot", "-created_at"), key=lambda row: row.guest_id):
        going += _expired(list(backups), keep or keep_of(schedule), schedule.timezone)
    return going


def _expired(backups: Sequence[Backup], keep: Keep, zone: str) -> Iterable[Backup]:
    whole = [row for row in backups if row.state == BackupState.READY and (row.verified or row.verified_at is None)]
    if not whole:
        return []
    stay = kept([row.slot or row.created_at for row in whole], keep, zone)
    old = [row for place, row in enumerate(whole) if place not in stay]
    broken = [row for row in backups if row.state in (BackupState.ERROR, BackupState.DELETING)]
    return [*old, *(row for row in broken if row.created_at < whole[0].created_at)]


@transaction.atomic
def backups_tidy(schedule: BackupSchedule, *, actor: Actor) -> Operation | None:
    """Have what the schedule does not keep deleted, in one operation; None where there is nothing. Safe to repeat.

    What is being restored or verified now is passed over; it goes after the next backup.
    """
    found = {row.pk for row in backups_expired(schedule)}
    busy = OperationLock.objects.filter(resource_type="backup", resource_id__in=found)
    found -= set(busy.values_list("resource_id", flat=True))
    rows = Backup.objects.select_for_update(of=("self",)).select_related("tenant").filter(pk__in=found)
    going = [row for row in rows.order_by("pk") if row.state != BackupState.CREATING]
    if not going:
        return None
    for row in going:
        row.state = BackupState.DELETING
        row.version += 1
        row.save(update_fields=["state", "version"])
        backup_told(row)
    repository = BackupRepository.objects.select_related("store").get(pk=going[0].repository_id)
    operation = repository_tidy(repository, [row.pk for row in going], actor=actor)
    audit_record(actor, "backup_schedule.tidy", schedule, backups=[row.name for row in going])
    return operation


def repository_tidy(repository: BackupRepository, going: Iterable[UUID] = (), *, actor: Actor) -> Operation:
    """Have everything leave the store that no row names, and the rows of ``going`` with it; in the caller's transaction."""
    ids = list(going)
    return operation_submit(
        repository,
        kind="backup.tidy",
        actor=actor,
        holds=[Hold("backup", pk) for pk in ids],
        params={"backups": [str(pk) for pk in ids]},
    )
