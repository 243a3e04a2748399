"""Backup schedules as lists and pages show them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from portal.core.paging import Page, Sorts, keyset_page
from tenants.actors import Actor
from tenants.journal.events import shows
from tenants.policy import Permission
from vms.models import Backup, BackupSchedule, BackupTurn, Guest
from vms.selectors.guests import SECRETS

SCHEDULE_SORTS: Sorts = {"created_at": ("created_at", "id"), "name": ("name", "id")}
MACHINE_SORTS: Sorts = {"name": ("name", "id")}


@dataclass(frozen=True, slots=True)
class Lately:
    """What came last of one machine: its newest turn, and the backup of it if one was asked for."""

    turn: BackupTurn
    backup: Backup | None


def backup_schedules_visible(actor: Actor) -> QuerySet[BackupSchedule]:
    """The schedules that the actor's role reaches: all, or those of nothing but machines within its tags."""
    rows = BackupSchedule.objects.select_related("tenant")
    if not actor.narrowed:
        return rows
    all_of_them = BackupSchedule.objects.prefetch_related("guests__tags")
    return rows.filter(pk__in=[row.pk for row in all_of_them if schedule_within(row, actor)])


@shows("backup_schedule")
def backup_schedules_seen(actor: Actor, ids: Collection[str]) -> set[str]:
    """Which of these ids ``actor`` may look at."""
    return {str(pk) for pk in backup_schedules_visible(actor).filter(pk__in=ids).values_list("pk", flat=True)}


def schedule_within(schedule: BackupSchedule, actor: Actor, permission: Permission = Permission.GUEST_VIEW) -> bool:
    """Does it touch nothing but machines on which the actor has ``permission``, now and by the backups that it made?"""
    if permission not in actor.tagged:
        return True
    backed_up = Guest.objects.filter(pk__in=schedule.backups.values("guest")).prefetch_related("tags")
    worn = [guest.tag_names() for guest in (*schedule.guests.all(), *backed_up)]
    return all(actor.reaches(permission, tags) for tags in (*worn, *([tag] for tag in schedule.tags)))


def machines_of(guests: Collection[UUID], tags: Collection[str]) -> QuerySet[Guest]:
    """The machines with these ids, and those that wear one of these tags; those in the bin, too."""
    tagged = Guest.tags.through._base_manager.filter(tag__name__in=list(tags)).values("guest")
    return Guest.objects.filter(pk__in=list(guests)) | Guest.objects.filter(pk__in=tagged)


def schedules_of(actor: Actor, guest: Guest) -> list[BackupSchedule]:
    """The schedules within the actor's reach that back the machine up, as things are; by name."""
    chosen = set(
        BackupSchedule.guests.through._base_manager.filter(guest=guest).values_list("backupschedule", flat=True)
    )
    worn = set(guest.tag_names())
    rows = backup_schedules_visible(actor).order_by("name", "pk")
    return [row for row in rows if row.pk in chosen or worn.intersection(row.tags)]


def schedule_machines(schedule: BackupSchedule) -> QuerySet[Guest]:
    """The machines that it backs up, as things are."""
    rows = machines_of(list(schedule.guests.values_list("pk", flat=True)), schedule.tags)
    return rows.defer(*SECRETS)


def machine_page(schedule: BackupSchedule, *, cursor: str = "", limit: int = 50) -> Page[Guest]:
    """Its machines, by name."""
    return keyset_page(schedule_machines(schedule), sorts=MACHINE_SORTS, sort="name", cursor=cursor, limit=limit)


def lately_of(schedule: BackupSchedule, guests: Collection[UUID]) -> dict[UUID, Lately]:
    """What came last of each of these machines; two queries."""
    newest: dict[UUID, BackupTurn] = {}
    for turn in BackupTurn.objects.filter(schedule=schedule, guest__in=guests).order_by("slot"):
        newest[turn.guest_id] = turn
    slots = {turn.slot for turn in newest.values()}
    backups = {(row.guest_id, row.slot): row for row in schedule.backups.filter(guest__in=guests, slot__in=slots)}
    return {pk: Lately(turn, backups.get((pk, turn.slot))) for pk, turn in newest.items()}
