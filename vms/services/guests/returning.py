"""Machines that were lost with their host are started again once it is back, in the order that their project gave them.

The order holds among a project's machines wherever they lie, as far as their hosts answer: nobody waits for one that is silent.
It is read off what is wanted and seen, so nothing is remembered and each round may be the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import QuerySet

from tenants.scoping import every_tenant
from tenants.services.tenants import tenants_down
from vms.models import Guest
from vms.services.guests.again import few_each, power_again
from vms.services.guests.wanting import is_lost
from vms.states import LOST, HostState, Power

WHY: Final = "host_restarted"
LAST: Final = 1 << 16
"""The place of those that have none."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A machine that is wanted on, and how far it is; ``since`` is when it was seen to begin what it does."""

    pk: UUID
    tenant: UUID
    host: UUID
    place: int
    delay_s: int
    power: Power
    since: datetime | None
    is_lost: bool

    def is_awaited(self, at: datetime) -> bool:
        """Have those of later places still to wait for it? Not for one that crashed, or is gone."""
        if self.power == Power.RUNNING:
            return self.since is not None and self.since + timedelta(seconds=self.delay_s) > at
        return self.is_lost or self.power == Power.UNKNOWN


def their_turn(placed: Sequence[Placed], at: datetime) -> list[Placed]:
    """Those that are lost and for which no earlier one of their tenant is awaited, in their order; pure."""
    first: dict[UUID, int] = {}
    for one in placed:
        if one.is_awaited(at):
            first[one.tenant] = min(one.place, first.get(one.tenant, LAST))
    now = [one for one in placed if one.is_lost and one.place <= first[one.tenant]]
    return sorted(now, key=lambda one: (one.place, one.pk))


def guests_return(*, at: datetime) -> int:
    """Ask for the start of those whose turn it is, on each host a few at a time; how many were asked. Safe to repeat.

    Those on which something is being done, and those of projects that are suspended or being closed, wait.
    """
    with every_tenant(why="machines of every tenant were lost with their host"):
        tenants = set(_lost().exclude(tenant__in=tenants_down()).values_list("tenant", flat=True))
        if not tenants:
            return 0
        turn = few_each((one.pk, one.host) for one in their_turn(_placed(tenants), at))
        rows = list(_lost().select_related("tenant").filter(pk__in=turn))
    places = {pk: place for place, pk in enumerate(turn)}
    return sum(
        power_again(guest, "start", still=is_lost, why=WHY)
        for guest in sorted(rows, key=lambda guest: places[guest.pk])
    )


def _wanted() -> QuerySet[Guest]:
    return Guest.objects.filter(
        want_power=Power.RUNNING, built_at__isnull=False, binned_at=None, host__state=HostState.UP
    )


def _lost() -> QuerySet[Guest]:
    return _wanted().filter(seen_power=Power.STOPPED, seen_reason=LOST)


def _placed(tenants: Iterable[UUID]) -> list[Placed]:
    """All that are lost, and those with a place that may be awaited."""
    rows = (_lost() | _wanted().exclude(start_order=None)).filter(tenant__in=tenants)
    columns = ("pk", "tenant", "host", "start_order", "start_delay_s", "seen_power", "seen_since", "seen_reason")
    return [
        Placed(pk, tenant, host, place or LAST, delay_s, Power(power), since, (power, reason) == (Power.STOPPED, LOST))
        for pk, tenant, host, place, delay_s, power, since, reason in rows.values_list(*columns)
    ]
