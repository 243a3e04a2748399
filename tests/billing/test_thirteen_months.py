"""Thirteen months with a leap day, summer time, set clocks, doubled and shuffled events: two implementations, the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import transaction

from billing.metering import HOUR, line_of, windows
from billing.selectors.ledger import spans
from billing.selectors.proof import prove
from billing.selectors.records import standing_in
from billing.services.hours import GRACE, hours_close
from portal.core.ids import uuid7
from tenants.journal.usage import usage_switch
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests import factories
from tests.billing.by_hand import Life
from tests.billing.ledgers import everything

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2023, 12, 1, tzinfo=UTC)
END = datetime(2025, 1, 1, tzinfo=UTC)
NAMED = [
    datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC),
    datetime(2024, 3, 31, 1, 59, 59, tzinfo=BERLIN),
    datetime(2024, 3, 31, 3, 0, tzinfo=BERLIN),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
    datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
    datetime(2024, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]
"""The leap day's last second, the hours that are skipped and that come twice in Berlin, the year's last."""

type Event = tuple[datetime, int, str, str, int]
"""When it was so, which thing, meter, flavor, and how much."""


def story(seed: int, begin: datetime, end: datetime, amount: int) -> list[Event]:
    """What is heard, in the order it is heard in."""
    dice = random.Random(seed)
    whole = int((end - begin).total_seconds())
    moments = sorted([begin + timedelta(seconds=dice.randrange(whole), microseconds=dice.randrange(10**6)) for _ in range(amount)]
                     + [at for at in NAMED if begin <= at < end])  # fmt: skip
    heard: list[Event] = []
    for at in moments:
        step = timedelta(seconds=dice.choice([0] * 8 + [-7200, 5400]))
        meter = dice.choice(["vcpus", "memory_mib"])
        event = (at + step, dice.randrange(6), meter, dice.choice(["small", "large"]), dice.choice([0, 1, 1, 2, 4096]))
        heard += [event] * dice.choice([1, 1, 1, 2])
        if dice.random() < 0.15 and len(heard) > 3:
            heard[-1], heard[-3] = heard[-3], heard[-1]
    return heard


class Both:
    """The product's ledger and the other one, told the same."""

    def __init__(self, seed: int, begin: datetime, end: datetime, amount: int) -> None:
        self.begin, self.end = begin, end
        self.tenant: Tenant = factories.tenant_with_owner().tenant
        things = [uuid7() for _ in range(6)]
        self.lives: dict[tuple[UUID, str], Life] = {}
        for at, number, meter, flavor, quantity in story(seed, begin, end, amount):
            pk = things[number]
            with time_machine.travel(at, tick=False), tenant_scope(self.tenant), transaction.atomic():
                usage_switch(
                    self.tenant,
                    resource_type="guest",
                    resource_id=pk,
                    meter=meter,
                    quantity=quantity,
                    at=at,
                    flavor=flavor,
                )
            life = self.lives.setdefault((pk, meter), Life(str(self.tenant.pk), str(pk), meter))
            life.hear(at.timestamp(), quantity, flavor)

    def by_hand(self) -> list[bytes]:
        begin, end = int(self.begin.timestamp()), int(self.end.timestamp())
        rows = [(pk, meter, *row) for (pk, meter), life in self.lives.items() for row in life.lines(begin, end)]
        return [row[3] for row in sorted(rows)]

    def lifetime(self) -> int:
        begin, end = int(self.begin.timestamp()), int(self.end.timestamp())
        return sum(life.seconds(begin, end) for life in self.lives.values())


def in_order(found: Iterator[Any]) -> list[bytes]:
    return [line_of(each, revision=1, correction=False) for each in sorted(found, key=lambda each: each.key)]


@pytest.mark.parametrize("seed", [1, 2])
def test_thirteen_months_are_the_same_bytes(seed: int) -> None:
    both = Both(seed, BEGIN, END, 250)

    with everything():
        found = list(windows(spans(BEGIN, END), BEGIN, END))

    assert in_order(iter(found)) == both.by_hand()
    assert len(found) > 10_000
    assert sum((each.end - each.start).total_seconds() for each in found) == both.lifetime()


def test_what_was_closed_hour_by_hour_is_the_same_bytes(settings: Any, tmp_path: Path) -> None:
    """Over the night in which an hour comes twice, closed while things are still being heard, and proved."""
    settings.DATA_DIR = tmp_path
    begin = datetime(2024, 10, 26, 18, tzinfo=UTC)
    end = begin + 18 * HOUR
    both = Both(3, begin, end, 60)

    assert hours_close(at=end + GRACE) >= 18

    with everything():
        stand = [each.window for each in standing_in(begin, end) if each.window.amount]
        proof = prove(begin, end)
    assert in_order(iter(stand)) == both.by_hand()
    assert (proof.findings, proof.pending, proof.seconds) == ([], 0, both.lifetime())
