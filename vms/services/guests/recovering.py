"""Machines that crashed are started again, later each time, until they crash too often.

How often a machine was started so is read off its operations: nothing is remembered, and each round may be the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from operations.models import Operation
from tenants.journal.events import event_append
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.tenants import tenants_down
from vms.models import Guest
from vms.services.guests.again import few_each, power_again
from vms.services.guests.observe import CRASHED_TOO_OFTEN
from vms.services.guests.wanting import is_crashed
from vms.services.volumes.check import guest_locked
from vms.states import AfterCrash, HostState, Power

WHY: Final = "crashed"
WITHIN: Final = timedelta(hours=1)
WAITS: Final = tuple(timedelta(seconds=each) for each in (0, 30, 60, 120, 240))
"""How long it stays off after its first crash within the hour, its second, and so on; after one more it is left off."""


def again_at(crashed_at: datetime, starts: Collection[datetime]) -> datetime | None:
    """When one that crashed is to be started, which was so started at ``starts``; None: it crashed too often. Pure."""
    lately = sum(crashed_at - WITHIN < each for each in starts)
    return crashed_at + WAITS[lately] if lately < len(WAITS) else None


def guests_recover(*, at: datetime) -> int:
    """Ask for the start of those whose wait is over, on each host a few at a time; how many were asked. Safe to repeat.

    Those on which something is being done, and those of projects that are suspended or being closed, wait.
    """
    with every_tenant(why="machines of every tenant may crash"):
        rows = list(_crashed().exclude(tenant__in=tenants_down()).select_related("tenant").order_by("seen_since", "pk"))
        starts = _starts(rows) if rows else {}
        due: dict[UUID, Guest] = {}
        for row in rows:
            moment = again_at(_since(row), starts.get(row.pk, ()))
            if moment is None:
                _leave(row)
            elif moment <= at:
                due[row.pk] = row
        turn = few_each((pk, row.host_id) for pk, row in due.items() if row.host_id is not None) if due else []
    return sum(power_again(due[pk], "start", still=_is_to_start, why=WHY) for pk in turn)


def _crashed() -> QuerySet[Guest]:
    return Guest.objects.filter(
        want_power=Power.RUNNING, seen_power=Power.CRASHED, after_crash=AfterCrash.RESTART, built_at__isnull=False,
        binned_at=None, host__state=HostState.UP,
    ).exclude(problem_code=CRASHED_TOO_OFTEN)  # fmt: skip


def _is_to_start(guest: Guest) -> bool:
    return is_crashed(guest) and guest.after_crash == AfterCrash.RESTART


def _since(guest: Guest) -> datetime:
    assert guest.seen_since is not None, "it was seen to crash"
    return guest.seen_since


def _starts(guests: Sequence[Guest]) -> dict[UUID, list[datetime]]:
    """Of each machine the moments of its starts after crashes, since somebody else started it, as far back as counts."""
    asked = Operation.objects.filter(
        kind="guest.start",
        subject_type="guest",
        subject_id__in=[guest.pk for guest in guests],
        created_at__gt=min(map(_since, guests)) - WITHIN,
    )
    found: dict[UUID, list[datetime]] = defaultdict(list)
    ended: set[UUID] = set()
    for pk, via, moment in asked.order_by("-created_at").values_list("subject_id", "requested_via", "created_at"):
        if via != WHY:
            ended.add(pk)
        elif pk not in ended:
            found[pk].append(moment)
    return found


def _leave(guest: Guest) -> None:
    """It crashed too often: its page says so, and it stays off until somebody starts it."""
    with tenant_scope(guest.tenant), transaction.atomic():
        guest = guest_locked(guest.pk)
        if not _is_to_start(guest):
            return
        guest.problem_code = CRASHED_TOO_OFTEN
        guest.problem_message = _("It crashed %d times within an hour, so it is left off.") % (len(WAITS) + 1)
        guest.save(update_fields=["problem_code", "problem_message"])
        event_append(guest.tenant, "guest.changed", "guest", guest.pk)
