"""What cards carry stands in the ledger once, whatever becomes of their machines and of the looks at them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from operations.runner import run
from portal.core.clock import now
from tenants.journal.counters import Count, UsageCount, counts_add
from tenants.scoping import every_tenant
from tests import factories
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.test_ports import attach, detach
from vms.hypervisor import pool
from vms.hypervisor.errors import Busy, Refused
from vms.hypervisor.stats import DomainStats, Traffic
from vms.models import CardCounter, Guest, Port
from vms.reconcile.counting import looks_of
from vms.reconcile.sample import Sampler
from vms.services.counting import IDLE, traffic_record
from vms.states import Power

pytestmark = pytest.mark.django_db
HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)


class Wire:
    """The counters of a bench's machines on its host, and the looks at them."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.turn = bench, 0
        self.sampler = Sampler(bench.host, pool.get(bench.host.uri))

    def carry(self, guest: Guest, *, cpu_s: int, **by_mac: tuple[int, int]) -> None:
        """What its cards have by now; ``card`` is its first."""
        nics = {card(guest).mac if name == "card" else name: Traffic(*way) for name, way in by_mac.items()}
        self.bench.on_host.stats[str(guest.pk)] = DomainStats(
            uuid=str(guest.pk), run=0, cpu_ns=cpu_s * 10**9, nics=nics
        )

    def look(self) -> None:
        self.turn += 1
        with every_tenant(why="test"):
            self.sampler.sample(self.turn)


@pytest.fixture
def wire(bench: Bench) -> Wire:
    return Wire(bench)


def card(guest: Guest) -> Port:
    """Its first one."""
    with every_tenant(why="test"):
        return Port.objects.select_related("guest", "network").get(guest=guest, position=0)


def booked() -> dict[str, int]:
    """By meter, of all cards and hours together."""
    found: dict[str, int] = {}
    with every_tenant(why="test"):
        for count in UsageCount.objects.all():
            found[count.meter] = found.get(count.meter, 0) + count.quantity
    return found


def both(inbound: int, outbound: int) -> dict[str, int]:
    pairs = {"traffic_in_bytes": inbound, "traffic_out_bytes": outbound}
    return {meter: amount for meter, amount in pairs.items() if amount}


def counter(guest: Guest) -> CardCounter:
    with every_tenant(why="test"):
        return CardCounter.objects.get(port__guest=guest, port__position=0)


def test_what_a_card_carries_is_counted_from_its_first_byte_on(bench: Bench, wire: Wire) -> None:
    guest = bench.guest()
    wire.carry(guest, cpu_s=1, card=(100, 10))
    wire.look()
    wire.carry(guest, cpu_s=2, card=(150, 10))
    wire.look()
    wire.look()

    assert booked() == both(150, 10)
    assert (counter(guest).in_bytes, counter(guest).out_bytes, counter(guest).unread_ends) == (150, 10, 0)
    with every_tenant(why="test"):
        rows = {row.meter: row for row in UsageCount.objects.all()}
    row = rows["traffic_in_bytes"]
    assert (row.resource_type, row.resource_id, row.tenant_id) == ("port", card(guest).pk, guest.tenant_id)
    assert row.attributes == {"guest": str(guest.pk), "network": str(card(guest).network_id), "reach": "all"}
    assert bench.findings() == []


@pytest.mark.parametrize("action", ["stop", "suspend", "delete", "purge", "rebuild"])
def test_the_last_look_before_it_goes_off_loses_nothing(bench: Bench, wire: Wire, action: str) -> None:
    guest = bench.guest()
    wire.carry(guest, cpu_s=1, card=(100, 10))
    wire.look()
    wire.carry(guest, cpu_s=2, card=(170, 40))

    assert run(bench.ask(guest, action).pk) == "succeeded"
    bench.on_host.stats.clear()
    wire.look()

    assert booked() == both(170, 40)
    assert bench.findings() == []


def test_each_start_counts_anew_also_past_what_the_last_one_had(bench: Bench, wire: Wire) -> None:
    guest = bench.guest()
    wire.carry(guest, cpu_s=5, card=(100, 10))
    assert run(bench.ask(guest, "stop").pk) == "succeeded"
    assert run(bench.ask(guest, "start").pk) == "succeeded"
    wire.carry(guest, cpu_s=1, card=(400, 40))

    wire.look()

    assert booked() == both(500, 50)
    assert counter(guest).unread_ends == 0


def test_one_that_goes_off_by_itself_is_said_to_have_gone_unread(bench: Bench, wire: Wire) -> None:
    guest = bench.guest()
    wire.carry(guest, cpu_s=5, card=(100, 10))
    wire.look()
    hv = pool.get(bench.host.uri)
    hv.pull_plug(str(guest.pk))
    hv.start(str(guest.pk))
    wire.carry(guest, cpu_s=1, card=(30, 3))

    wire.look()

    assert (booked(), counter(guest).unread_ends) == (both(130, 13), 1)


@pytest.mark.parametrize("error", [Refused("no"), Busy("no")])
def test_counters_that_cannot_be_read_keep_nobody_from_stopping(bench: Bench, wire: Wire, error: Exception) -> None:
    guest = bench.guest()
    bench.on_host.fail("card_traffic", error)

    assert run(bench.ask(guest, "stop").pk) == "succeeded"


def test_a_look_that_comes_after_the_last_one_counts_nothing_twice(bench: Bench, wire: Wire) -> None:
    guest = bench.guest()
    wire.carry(guest, cpu_s=5, card=(100, 10))
    hv = pool.get(bench.host.uri)
    late = looks_of(bench.host, hv.stats([str(guest.pk)]), at=now())
    wire.carry(guest, cpu_s=6, card=(120, 20))
    assert run(bench.ask(guest, "stop").pk) == "succeeded"

    with every_tenant(why="test"):
        assert traffic_record(bench.host, late) == 0
    assert run(bench.ask(guest, "start").pk) == "succeeded"
    wire.carry(guest, cpu_s=1, card=(7, 0))
    wire.look()
    with every_tenant(why="test"):
        assert traffic_record(bench.host, late) == 0

    assert booked() == both(127, 20)


def test_a_stop_that_the_host_refuses_goes_on_being_counted(bench: Bench, wire: Wire) -> None:
    guest = bench.guest()
    wire.carry(guest, cpu_s=5, card=(100, 10))
    bench.on_host.fail("pull_plug", Refused("no"))
    assert run(bench.ask(guest, "stop").pk) == "failed"
    wire.carry(guest, cpu_s=6, card=(130, 10))

    wire.look()

    assert booked() == both(130, 10)


def test_a_card_that_is_taken_off_is_counted_to_its_end_and_the_ledger_keeps_it(bench: Bench, wire: Wire) -> None:
    guest, back = bench.guest(), factories.network(bench.house, "back")
    assert run(attach(bench, guest, back).pk) == "succeeded"
    with every_tenant(why="test"):
        second = Port.objects.get(guest=guest, network=back)
    wire.carry(guest, cpu_s=1, card=(5, 0), **{second.mac: (100, 10)})
    wire.look()
    wire.carry(guest, cpu_s=2, card=(9, 0), **{second.mac: (200, 10)})

    assert run(detach(bench, guest, back).pk) == "succeeded"
    wire.carry(guest, cpu_s=3, card=(11, 0))
    wire.look()

    assert booked() == both(211, 10)
    with every_tenant(why="test"):
        assert set(UsageCount.objects.values_list("resource_id", flat=True)) == {second.pk, card(guest).pk}
    assert bench.findings() == []


def test_cards_from_before_there_were_counters_are_counted_from_now_on(bench: Bench, wire: Wire) -> None:
    guest = bench.guest()
    with every_tenant(why="test"):
        CardCounter.objects.all().delete()
    wire.carry(guest, cpu_s=1, card=(10**9, 10**9))
    wire.look()
    assert booked() == {}
    wire.carry(guest, cpu_s=2, card=(10**9 + 5, 10**9))
    wire.look()

    assert booked() == both(5, 0)
    assert bench.findings() == []


def test_a_card_that_carries_nothing_is_seldom_written_down(bench: Bench, wire: Wire) -> None:
    guest = bench.guest()
    wire.carry(guest, cpu_s=1, card=(5, 5))
    wire.look()
    first = counter(guest).read_at
    wire.look()
    assert counter(guest).read_at == first

    with every_tenant(why="test"):
        stats = pool.get(bench.host.uri).stats([str(guest.pk)])
        traffic_record(bench.host, looks_of(bench.host, stats, at=now() + IDLE))

    assert counter(guest).read_at != first
    assert booked() == both(5, 5)


def test_a_look_at_many_cards_costs_as_many_queries_as_one_at_one(bench: Bench, wire: Wire) -> None:
    costs = []
    for number in (1, 4):
        guests = [bench.guest() for _guest in range(number)]
        for guest in guests:
            wire.carry(guest, cpu_s=1, card=(5, 5))
        wire.look()
        for guest in guests:
            wire.carry(guest, cpu_s=2, card=(50, 50))
        with CaptureQueriesContext(connection) as found:
            wire.look()
        costs.append(len(found))

    assert costs[0] == costs[1]


def test_anothers_card_of_the_same_mac_is_not_what_a_machine_carries(bench: Bench, wire: Wire) -> None:
    guest, other = bench.guest(), bench.guest()
    wire.carry(guest, cpu_s=1, **{card(other).mac: (100, 100)})

    wire.look()

    assert booked() == {}


def test_rest_says_what_a_card_has_carried_and_that_nobody_can_tell_where_to(bench: Bench, wire: Wire) -> None:
    guest = bench.guest(Power.RUNNING)
    rest, path = Rest(bench.house.token), f"{bench.house.url}/ports/{card(guest).pk}"
    wire.carry(guest, cpu_s=1, card=(100, 10))
    wire.look()

    said: dict[str, Any] = rest.get(path).json["traffic"]
    assert (said["in_bytes"], said["out_bytes"], said["outside"], said["unread_ends"]) == (100, 10, None, 0)
    assert said["since"] <= said["counted_at"]


# --- the ledger ---------------------------------------------------------------------------------------------------


def add(
    house: factories.House, quantity: int, at: datetime, resource: Any = None, meter: str = "traffic_in_bytes"
) -> None:
    with every_tenant(why="test"):
        counts_add(
            [
                Count(
                    tenant_id=house.tenant.pk, resource_type="port", resource_id=resource or house.tenant.pk,
                    meter=meter, quantity=quantity,
                )
            ],
            at=at,
        )  # fmt: skip


def hours() -> list[tuple[datetime, int]]:
    with every_tenant(why="test"):
        return list(UsageCount.objects.order_by("starts_at").values_list("starts_at", "quantity"))


def test_each_hour_has_what_was_read_in_it(bench: Bench) -> None:
    for minutes, quantity in ((0, 1), (59, 2), (60, 4), (61, 0), (200, 8)):
        add(bench.house, quantity, HOUR + timedelta(minutes=minutes))

    later = [HOUR + timedelta(hours=number) for number in (0, 1, 3)]
    assert hours() == list(zip(later, (3, 4, 8), strict=True))


def test_a_clock_that_was_set_back_changes_no_hour_that_is_over(bench: Bench) -> None:
    add(bench.house, 1, HOUR)
    add(bench.house, 2, HOUR + timedelta(hours=1))
    add(bench.house, 4, HOUR + timedelta(minutes=30))

    assert hours() == [(HOUR, 1), (HOUR + timedelta(hours=1), 6)]


def test_nothing_is_written_of_nothing(bench: Bench) -> None:
    add(bench.house, 0, HOUR)

    assert hours() == []


def test_the_audit_compares_the_ledger_with_the_counters(bench: Bench, wire: Wire) -> None:
    guest = bench.guest()
    wire.carry(guest, cpu_s=1, card=(100, 10))
    wire.look()
    row = counter(guest)
    with every_tenant(why="test"):
        CardCounter.objects.filter(pk=row.pk).update(in_bytes=99)

    assert [line for line in bench.findings() if line.startswith(f"I5 port {row.port_id}")] != []
