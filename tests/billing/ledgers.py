"""Usage ledgers for tests of billing: switches as services make them, at moments of one's choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import time_machine
from django.db import transaction

from billing.models import UsageRecord
from billing.services.hours import GRACE, hours_close
from portal.core.ids import uuid7
from tenants.journal.models import UsageInterval
from tenants.journal.usage import usage_switch
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House

BEGIN = datetime(2026, 3, 28, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Ledger:
    """A tenant's machines, switched at ``BEGIN`` plus so many seconds."""

    house: House = field(default_factory=factories.tenant_with_owner)
    begin: datetime = BEGIN

    def at(self, seconds: float) -> datetime:
        return self.begin + timedelta(seconds=seconds)

    def switch(
        self,
        seconds: float,
        quantity: int,
        *,
        of: UUID | None = None,
        meter: str = "vcpus",
        late: float = 0,
        **words: str,
    ) -> UUID:
        """From then on ``of`` (something new) uses so much; written down ``late`` seconds after it was so."""
        pk = of or uuid7()
        with (
            time_machine.travel(self.at(seconds + late), tick=False),
            tenant_scope(self.house.tenant),
            transaction.atomic(),
        ):
            usage_switch(
                self.house.tenant, resource_type="guest", resource_id=pk, meter=meter, quantity=quantity,
                at=self.at(seconds), **(words or {"flavor": "small"}),
            )  # fmt: skip
        return pk

    def close(self, hours: float) -> int:
        """Close what is over so many hours after ``BEGIN``."""
        return hours_close(at=self.begin + hours * HOUR + GRACE)

    def records(self) -> list[UsageRecord]:
        with tenant_scope(self.house.tenant):
            return list(UsageRecord.objects.order_by("seq"))

    def said(self) -> list[tuple[str, str, int, int]]:
        """Every record as begin, end, quantity, revision; moments in hours and minutes since ``BEGIN``."""
        return [
            (self._short(row.window_start), self._short(row.window_end), row.quantity, row.revision)
            for row in self.records()
        ]

    def _short(self, moment: datetime) -> str:
        minutes, seconds = divmod(int((moment - self.begin).total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


@contextmanager
def everything() -> Iterator[None]:
    """The scope of who looks at all of it."""
    with every_tenant(why="test"):
        yield


def intervals() -> list[UsageInterval]:
    with everything():
        return list(UsageInterval.objects.order_by("resource_id", "meter", "started_at"))
