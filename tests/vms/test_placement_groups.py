"""Machines of a group go to hosts of their own, or to one, whoever asks at once and whatever was deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from portal.core.errors import Conflict, Invalid, Missing
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.support.crowd import meeting, together
from vms.models import Guest, Host, PlacementGroup
from vms.services.guests import guest_create, guest_edit, guest_fit
from vms.services.placement_groups import placement_group_create, placement_group_delete
from vms.services.placing import NoRoom
from vms.specs import GuestSpec


@pytest.fixture
def house(db: None) -> House:
    for name in ("a", "b", "c"):
        factories.host_up(name, memory_mib=512 + 4 * 1024)
    return factories.tenant_with_owner(limits={"guests": None, "vcpus": None, "memory_mib": None, "disk_gib": None})


def group(house: House, kind: str = "apart", *, strict: bool = True, name: str = "") -> PlacementGroup:
    with tenant_scope(house.tenant):
        return placement_group_create(
            house.tenant, name=name or f"{kind}-{strict}".lower(), kind=kind, strict=strict, actor=house.actor
        )


def spec(name: str, of: PlacementGroup | None, count: int = 1) -> GuestSpec:
    flavor = factories.flavor("placed", vcpus=1, memory_mib=1024, disk_gib=1)
    return GuestSpec(name, flavor, factories.image("one"), count=count, placement_group=of)


def made(house: House, asked: GuestSpec) -> list[str]:
    """The hosts, by name, of the machines that were made."""
    with tenant_scope(house.tenant):
        guest_create(house.tenant, asked, actor=house.actor)
        return sorted(Guest.objects.filter(name__in=asked.names()).values_list("host__name", flat=True))


def refused(house: House, asked: GuestSpec) -> str:
    """What is said where it does not fit; before it is asked for it is said the same."""
    with tenant_scope(house.tenant):
        fit = guest_fit(house.tenant, asked, actor=house.actor)
        with pytest.raises(NoRoom) as refusal:
            guest_create(house.tenant, asked, actor=house.actor)
    assert fit.reasons == [("no_room", refusal.value.sentence)]
    return refusal.value.sentence


def edit(house: House, machine: str, **change: Any) -> Guest:
    with tenant_scope(house.tenant):
        return guest_edit(Guest.objects.get(name=machine), actor=house.actor, **change)


def test_one_host_each_and_none_beyond_them(house: House) -> None:
    apart = group(house)

    assert made(house, spec("web", apart, 2)) == ["a", "b"]
    assert made(house, spec("third", apart)) == ["c"]
    assert refused(house, spec("fourth", apart)) == (
        "No host without a machine of this placement group has room right now."
    )
    assert made(house, spec("other", group(house, name="another"))) == ["a"], "another group's hosts are nothing to it"


def test_how_many_more_fit_counts_the_group(house: House) -> None:
    apart = group(house)
    with tenant_scope(house.tenant):
        fit = guest_fit(house.tenant, spec("web", apart), actor=house.actor)
        loose = guest_fit(house.tenant, spec("web", None), actor=house.actor)

    assert (fit.more_fit, loose.more_fit) == (2, 11)


def test_as_far_as_possible_gives_way_before_it_refuses(house: House) -> None:
    assert made(house, spec("web", group(house, strict=False), 4)) == ["a", "a", "b", "c"]
    assert made(house, spec("app", group(house, "together", strict=False), 4)) == ["b", "b", "b", "c"]


def test_all_on_one_host_or_not_at_all(house: House) -> None:
    one = group(house, "together")

    assert made(house, spec("app", one, 3)) == ["a", "a", "a"]
    assert made(house, spec("last", one)) == ["a"]
    assert refused(house, spec("more", one)) == "The host of this placement group's machines has no room right now."


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["apart", "together"])
def test_many_at_once_keep_the_rule(kind: str, house: House) -> None:
    of = group(house, kind)
    asked = [spec(f"g{number}", of) for number in range(8)]

    def make(one: GuestSpec) -> Callable[[], list[str]]:
        return lambda: made(house, one)

    answers = together([make(one) for one in asked])

    hosts = sorted(answer[0] for answer in answers if isinstance(answer, list))
    assert hosts == (["a", "b", "c"] if kind == "apart" else ["a"] * 4)
    assert {type(answer) for answer in answers if not isinstance(answer, list)} == {NoRoom}


def test_the_database_refuses_two_on_one_host_by_itself(house: House) -> None:
    made(house, spec("web", group(house), 2))

    with tenant_scope(house.tenant), pytest.raises(IntegrityError), transaction.atomic():
        Guest.objects.filter(name="web-2").update(host=Host.objects.get(name="a"))
    with tenant_scope(house.tenant), pytest.raises(IntegrityError), transaction.atomic():
        Guest.objects.filter(name="web-2").update(placement_group=None)


def test_a_machine_joins_where_it_stands_right_and_leaves_freely(house: House) -> None:
    apart, one = group(house), group(house, "together")
    assert made(house, spec("web", apart)) == ["a"]
    made(house, spec("b", None))
    with tenant_scope(house.tenant):
        Guest.objects.filter(name="b").update(host=Host.objects.get(name="a"))

    with pytest.raises(Conflict, match="on the same host") as refusal:
        edit(house, "b", placement_group=apart)
    assert refusal.value.code == "placement_group_unmet"
    assert edit(house, "b", placement_group=one).placement_group == one
    with tenant_scope(house.tenant):
        Guest.objects.filter(name="web").update(host=Host.objects.get(name="c"))
    with pytest.raises(Conflict, match="on another host"):
        edit(house, "web", placement_group=one)
    assert edit(house, "b", placement_group=apart).keeps_apart
    edit(house, "b", name="still")
    assert edit(house, "still", tags=["x"]).placement_group == apart, "not named, so not changed"
    left = edit(house, "still", placement_group=None)
    assert (left.placement_group, left.keeps_apart) == (None, False)


def test_a_group_is_deleted_once_nobody_is_in_it(house: House) -> None:
    apart = group(house)
    made(house, spec("web", apart))

    with tenant_scope(house.tenant), pytest.raises(Conflict) as refusal:
        placement_group_delete(apart, actor=house.actor)
    assert refusal.value.code == "placement_group_in_use"
    edit(house, "web", placement_group=None)
    with tenant_scope(house.tenant):
        placement_group_delete(apart, actor=house.actor)
    with pytest.raises(Missing):
        made(house, spec("late", apart))


@pytest.mark.django_db(transaction=True)
def test_a_group_that_is_just_being_deleted_takes_no_machine(house: House) -> None:
    apart = group(house)

    def delete() -> None:
        with tenant_scope(house.tenant):
            placement_group_delete(apart, actor=house.actor)

    assert isinstance(meeting(delete, lambda: made(house, spec("web", apart)), lambda: None), Missing)
    with tenant_scope(house.tenant):
        assert not Guest.objects.exists()


@pytest.mark.parametrize("name", ["", "Web", "a b", "-a", "x" * 41, "a\n", "ü"])
def test_what_is_no_name_is_refused(name: str, house: House) -> None:
    with tenant_scope(house.tenant), pytest.raises(Invalid) as refusal:
        placement_group_create(house.tenant, name=name, kind="near", strict=True, actor=house.actor)
    assert [error.pointer for error in refusal.value.errors] == ["/name", "/kind"]


def test_a_project_has_so_many_groups_and_no_two_of_one_name(house: House, settings: Any) -> None:
    group(house, name="web")
    with pytest.raises(Conflict) as refusal:
        group(house, "together", name="web")
    assert refusal.value.code == "name_taken"
    settings.CAPS = {**settings.CAPS, "placement_groups": 1}
    with pytest.raises(Conflict) as refusal:
        group(house, name="app")
    assert refusal.value.code == "too_many_groups"
