"""Which host takes a machine: the rules alone, without rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.placement import Kin, Lack, Need, Room, Rule, choose, plan_many, slots_of, verdicts
from vms.states import HostState

SMALL = Need(vcpus=1, memory_mib=1024, disk_gib=10)
POOL = UUID(int=900)
APART, TOGETHER = Rule("apart", strict=True), Rule("together", strict=True)


def room(number: int, **more: Any) -> Room:
    """A host with 4 processors, 8 GiB and 100 GiB, of which nothing is claimed."""
    fields: dict[str, Any] = {
        "pk": UUID(int=number),
        "name": f"h{number}",
        "state": HostState.UP,
        "enabled": True,
        "maintenance": False,
        "cpus": 4,
        "vcpus": 8,
        "memory_mib": 8192,
        "claimed_vcpus": 0,
        "claimed_memory_mib": 0,
        "disk_free_gib": 100,
        "kin": Kin(POOL),
    }
    return Room(**fields | more)


def chosen(*rooms: Room, need: Need = SMALL) -> str | None:
    choice = choose(rooms, need)
    return None if choice.room is None else choice.room.name


TENANT, PARENT, OTHER, CLASS = UUID(int=50), UUID(int=51), UUID(int=52), UUID(int=60)


@pytest.mark.parametrize(
    ("lack", "of_room", "of_need"),
    [
        ("", {}, {}),
        ("disabled", {"enabled": False, "maintenance": True}, {}),
        ("maintenance", {"maintenance": True, "state": HostState.DOWN}, {}),
        ("silent", {"state": HostState.SUSPECT}, {}),
        ("silent", {"state": HostState.DOWN}, {}),
        ("set_aside", {"set_aside": OTHER}, {"lineage": frozenset({TENANT, PARENT})}),
        ("", {"set_aside": PARENT}, {"lineage": frozenset({TENANT, PARENT})}),
        ("label", {"labels": frozenset({"kvm"})}, {"labels": frozenset({"kvm", "gpu"})}),
        ("", {"labels": frozenset({"kvm", "gpu"})}, {"labels": frozenset({"gpu"})}),
        ("", {"traits": None}, {}),
        ("", {"traits": frozenset()}, {}),
        ("untested", {"traits": None}, {"traits": frozenset({"uefi"})}),
        ("uefi", {"traits": frozenset()}, {"traits": frozenset({"uefi", "secure_boot", "tpm"})}),
        ("secure_boot", {"traits": frozenset({"uefi", "tpm"})}, {"traits": frozenset({"uefi", "secure_boot"})}),
        ("tpm", {"traits": frozenset({"uefi", "secure_boot"})}, {"traits": frozenset({"tpm"})}),
        ("", {"traits": frozenset({"uefi", "tpm"})}, {"traits": frozenset({"tpm", "uefi"})}),
        ("label", {"traits": None}, {"traits": frozenset({"tpm"}), "labels": frozenset({"gpu"})}),
        ("storage_class", {}, {"classes": frozenset({CLASS})}),
        ("", {"classes": frozenset({CLASS})}, {"classes": frozenset({CLASS})}),
        ("apart", {}, {"apart_from": frozenset({UUID(int=1)})}),
        ("together", {}, {"beside": frozenset({UUID(int=2)})}),
        ("unguarded", {"guards": False}, {}),
        ("", {"guards": False}, {"has_cards": False}),
        ("too_few_cpus", {}, {"vcpus": 5}),
        ("cpu", {"claimed_vcpus": 7}, {"vcpus": 2}),
        ("", {"claimed_vcpus": 7}, {"vcpus": 1}),
        ("memory", {"claimed_memory_mib": 8192 - 1023}, {}),
        ("", {"claimed_memory_mib": 8192 - 1024}, {}),
        ("disk", {}, {"disk_gib": 101}),
        ("", {"disk_free_gib": None}, {"disk_gib": 101}),
        ("reserve", {"kin": Kin(POOL, spare_hosts=1)}, {}),
    ],
)
def test_what_a_host_lacks_is_named(lack: Lack, of_room: dict[str, Any], of_need: dict[str, Any]) -> None:
    one, need = room(1, **of_room), replace(SMALL, **of_need)

    assert verdicts([one], need) == {one.pk: lack}
    assert chosen(one, need=need) == (None if lack else "h1")
    assert choose([one], need).lacking == ({"h1": lack} if lack else {})
    assert (slots_of([one], need) > 0) == (not lack)


def test_the_emptiest_by_what_it_is_shortest_of_is_taken_and_the_fullest_where_they_are_packed() -> None:
    empty, by_cpu, by_memory = room(3), room(1, claimed_vcpus=4), room(2, claimed_memory_mib=6144)
    packed = [replace(each, kin=Kin(POOL, packs=True)) for each in (empty, by_cpu, by_memory)]

    assert chosen(by_cpu, by_memory, empty) == "h3"
    assert chosen(by_cpu, by_memory) == "h1"
    assert chosen(*packed) == "h2"
    assert chosen(room(2), room(1)) == "h1"


def test_who_has_hosts_set_aside_goes_nowhere_else() -> None:
    own, common = room(1, set_aside=PARENT, claimed_memory_mib=8192), room(2)
    mine = replace(SMALL, lineage=frozenset({TENANT, PARENT}))

    assert chosen(own, common, need=mine) is None
    assert choose([own, common], mine).lacking == {"h1": "memory", "h2": "set_aside"}
    assert chosen(own, common) == "h2"


def test_a_pool_keeps_the_worth_of_its_largest_hosts_back() -> None:
    kin = Kin(POOL, spare_hosts=1)
    rooms = [room(1, kin=kin), room(2, kin=kin, memory_mib=16384), room(3, kin=kin, state=HostState.DOWN)]

    plan = plan_many(rooms, SMALL, 20)

    assert len(plan.hosts) == 8 == slots_of(rooms, SMALL)
    assert plan.lacking == {"h1": "reserve", "h2": "reserve", "h3": "silent"}
    assert len(plan_many([*rooms, room(4, kin=kin)], SMALL, 20).hosts) == 16
    assert len(plan_many([*rooms, room(4, kin=Kin(OTHER))], SMALL, 20).hosts) == 16


def test_machines_of_a_group_go_apart_or_together_strictly_or_as_long_as_it_can_be() -> None:
    rooms = [room(1), room(2), room(3, claimed_memory_mib=7168)]

    def hosts(count: int, rule: Rule) -> list[str]:
        return [f"h{pk.int}" for pk in plan_many(rooms, SMALL, count, rule=rule).hosts]

    first, last = UUID(int=1), UUID(int=3)
    assert sorted(hosts(4, APART)) == ["h1", "h2", "h3"]
    assert hosts(2, APART.with_one(first)) == ["h2", "h3"]
    assert sorted(hosts(4, Rule("apart"))) == ["h1", "h1", "h2", "h3"]
    assert hosts(9, TOGETHER) == ["h1"] * 8
    assert hosts(2, TOGETHER.with_one(last)) == ["h3"]
    assert hosts(2, Rule("together").with_one(last)) == ["h3", "h1"]
    assert [slots_of(rooms, SMALL, rule=rule) for rule in (APART, TOGETHER, Rule("apart"))] == [3, 8, 17]
    assert slots_of(rooms, SMALL, rule=APART.with_one(first)) == 2


_rooms = st.builds(
    lambda number, cpus, memory, vcpus, used, disk, spare: room(
        number, cpus=cpus, vcpus=2 * cpus, memory_mib=memory, claimed_vcpus=vcpus, claimed_memory_mib=used, disk_free_gib=disk,
        kin=Kin(POOL, spare_hosts=spare),
    ),
    st.integers(1, 99), st.integers(1, 8), st.integers(512, 16384), st.integers(0, 16), st.integers(0, 16384),
    st.none() | st.integers(0, 60), st.just(0),
)  # fmt: skip


@given(
    st.lists(_rooms, min_size=1, max_size=6, unique_by=lambda each: each.pk),
    st.builds(Need, st.integers(1, 4), st.integers(256, 4096), st.integers(1, 20)),
    st.sampled_from([Rule(), APART, TOGETHER]),
    st.integers(0, 2),
)
def test_as_many_fit_as_are_said_to_and_nothing_is_sold_twice(
    rooms: list[Room], need: Need, rule: Rule, spare: int
) -> None:
    rooms = [replace(each, kin=Kin(POOL, spare_hosts=spare)) for each in rooms]

    said = slots_of(rooms, need, rule=rule)
    hosts = plan_many(rooms, need, said + 1, rule=rule).hosts

    assert len(hosts) <= said
    if rule.kind != "together" and not spare:
        assert len(hosts) == said
    for each in rooms:
        here = hosts.count(each.pk)
        if here:
            assert each.claimed_vcpus + here * need.vcpus <= each.cpus * 2
            assert each.claimed_memory_mib + here * need.memory_mib <= each.memory_mib
            assert each.disk_free_gib is None or here * need.disk_gib <= each.disk_free_gib
