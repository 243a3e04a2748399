"""What is seen is written down once, in order, by one function; a wish follows what an owner did from inside, never a crash."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from operations.services import Hold, operation_submit
from portal.core.clock import now
from tenants.journal.models import Event, UsageInterval
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from vms.models import Guest
from vms.services.guests import Observation, guest_record_observation, guests_mark_unknown
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> factories.House:
    return factories.tenant_with_owner()


def see(guest: Guest, power: Power, *, at: Any = None, **facts: Any) -> bool:
    return guest_record_observation(
        guest.pk, Observation(power, at=at or now(), **{"generation": guest.want_generation, **facts}), host=guest.host
    )


def fresh(guest: Guest) -> Guest:
    with every_tenant(why="test"):
        return Guest.objects.select_related("tenant", "host").get(pk=guest.pk)


def events(guest: Guest) -> int:
    with tenant_scope(guest.tenant):
        return Event.objects.filter(resource_id=str(guest.pk)).count()


def test_the_same_sight_again_changes_and_says_nothing(house: factories.House) -> None:
    guest = factories.guest(house)
    display = guest.seen_display
    before = events(guest)

    for _ in range(3):
        assert not see(guest, Power.RUNNING, display=display)
    assert events(guest) == before


def test_a_late_sight_changes_nothing(house: factories.House) -> None:
    guest = factories.guest(house)
    moment = now()

    assert see(guest, Power.STOPPED, at=moment)
    assert not see(guest, Power.RUNNING, at=moment - timedelta(seconds=1))
    assert fresh(guest).seen_power == Power.STOPPED


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_in_whatever_order_sights_arrive_the_newest_stands(house: factories.House, order: tuple[int, ...]) -> None:
    guest, began = factories.guest(house), now()
    sights = [(Power.STOPPED, 1), (Power.RUNNING, 2), (Power.PAUSED, 3)]

    for index in (*order, *order):
        power, second = sights[index]
        see(guest, power, at=began + timedelta(seconds=second))

    assert fresh(guest).seen_power == Power.PAUSED
    with tenant_scope(guest.tenant):
        assert UsageInterval.objects.filter(resource_id=guest.pk, meter="vcpus", ended_at=None).count() == 1


def test_a_sight_of_another_host_or_an_older_generation_changes_nothing(house: factories.House) -> None:
    guest = factories.guest(house)
    with tenant_scope(guest.tenant):
        Guest.objects.filter(pk=guest.pk).update(want_generation=5, seen_generation=4)

    assert not guest_record_observation(guest.pk, Observation(Power.STOPPED, generation=5), host=factories.host_up())
    assert not see(guest, Power.STOPPED, generation=3)
    assert fresh(guest).seen_power == Power.RUNNING
    assert see(guest, Power.STOPPED, generation=9)
    assert fresh(guest).seen_generation == 5, "never ahead of the wish"


@pytest.mark.parametrize(
    ("seen", "wish"),
    [
        (Power.STOPPED, Power.STOPPED),
        (Power.PAUSED, Power.PAUSED),
        (Power.SUSPENDED, Power.SUSPENDED),
        (Power.CRASHED, Power.RUNNING),
        (Power.UNKNOWN, Power.RUNNING),
        (Power.ABSENT, Power.RUNNING),
    ],
    ids=lambda power: str(power),
)
def test_the_wish_follows_what_was_done_from_inside_but_no_crash_and_no_silence(
    house: factories.House, seen: Power, wish: Power
) -> None:
    guest = factories.guest(house)

    see(guest, seen)

    assert (fresh(guest).seen_power, fresh(guest).want_power) == (seen, wish)


def test_the_wish_stays_while_somebody_works_on_the_machine(house: factories.House) -> None:
    guest = factories.guest(house)
    with tenant_scope(guest.tenant):
        operation_submit(guest, kind="guest.reset", actor=house.actor, holds=[Hold("guest", guest.pk)])

    see(guest, Power.STOPPED)

    assert (fresh(guest).seen_power, fresh(guest).want_power) == (Power.STOPPED, Power.RUNNING)


def test_after_silence_what_is_seen_again_is_no_wish(house: factories.House) -> None:
    guest = factories.guest(house)

    see(guest, Power.UNKNOWN)
    see(guest, Power.STOPPED)

    assert fresh(guest).want_power == Power.RUNNING


def test_nothing_is_metered_while_it_is_off_and_silence_changes_no_meter(house: factories.House) -> None:
    guest = factories.guest(house)

    def running() -> bool:
        with tenant_scope(guest.tenant):
            meters = set(
                UsageInterval.objects.filter(resource_id=guest.pk, ended_at=None).values_list("meter", flat=True)
            )
        assert meters in (set(), {"vcpus", "memory_mib"})
        return bool(meters)

    assert running()
    see(guest, Power.UNKNOWN)
    assert running()
    see(guest, Power.STOPPED)
    assert not running()
    see(guest, Power.PAUSED)
    assert running()


def test_a_silent_host_makes_its_machines_unknown_and_no_others(house: factories.House) -> None:
    mine = factories.guest(house)
    stopped = factories.guest(house, power=Power.STOPPED)
    assert mine.host is not None

    assert guests_mark_unknown(mine.host) == 2

    assert {fresh(guest).seen_power for guest in (mine, stopped)} == {Power.UNKNOWN}
    assert fresh(mine).seen_display == {}
    assert guests_mark_unknown(mine.host) == 0


def test_what_is_seen_of_nobodys_machine_is_ignored() -> None:
    assert not guest_record_observation(factories.installation().pk, Observation(Power.RUNNING))
