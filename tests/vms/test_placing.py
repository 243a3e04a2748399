"""Machines find hosts: what rows say counts, and what two ask for at once is sold once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from portal.core.errors import Invalid
from tenants.models import Tenant
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.support.crowd import meeting, together
from vms.models import Guest, Host, HostClaim, HostPool, ImageTest
from vms.services.flavors import flavor_write
from vms.services.guests import guest_create, guest_fit
from vms.services.host_pools import host_pool_write
from vms.services.hosts import host_edit
from vms.services.image_tests import image_test_place
from vms.services.placing import NoRoom, placement_look
from vms.specs import GuestSpec

RESERVED_MIB = 512


@pytest.fixture
def house(db: None) -> House:
    return factories.tenant_with_owner(limits={"guests": None, "vcpus": None, "memory_mib": None, "disk_gib": None})


def host_for(machines: int, name: str = "") -> Host:
    """A host with room for so many machines of a GiB."""
    return factories.host_up(name, memory_mib=RESERVED_MIB + machines * 1024)


def spec(name: str = "web", count: int = 1, **of_flavor: Any) -> GuestSpec:
    fields = {"memory_mib": 1024, **of_flavor}
    flavor = factories.flavor("-".join(fields).replace("_", "-"), **fields)
    return GuestSpec(name, flavor, factories.image("one"), count=count)


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


@pytest.mark.django_db(transaction=True)
def test_the_last_room_is_sold_once_however_many_ask(house: House) -> None:
    for machines in (1, 2, 1):
        host_for(machines)
    asked = [spec(f"g{number}") for number in range(8)]

    def make(one: GuestSpec) -> Callable[[], object]:
        def go() -> object:
            with tenant_scope(house.tenant):
                return guest_create(house.tenant, one, actor=house.actor)

        return go

    answers = together([make(one) for one in asked])

    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [NoRoom] * 4
    with every_tenant(why="test"):
        claims = HostClaim.objects.values_list("host__memory_mib", flat=True)
        assert sorted(claims) == sorted([1536, 1536, 2560, 2560])


@pytest.mark.django_db(transaction=True)
def test_what_a_pool_keeps_back_is_not_sold_by_two_at_once_on_two_hosts() -> None:
    factories.installation()
    host_pool_write(HostPool.objects.get(), actor=factories.desk(), spare_hosts=1)
    for _number in range(3):
        host_for(2)
    houses = [factories.tenant_with_owner() for _ in range(6)]

    def make(house: House, number: int) -> Callable[[], object]:
        asked = spec(f"g{number}")

        def go() -> object:
            with tenant_scope(house.tenant):
                return guest_create(house.tenant, asked, actor=house.actor)

        return go

    answers = together([make(house, number) for number, house in enumerate(houses)])

    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [NoRoom] * 2


@pytest.mark.django_db(transaction=True)
def test_who_takes_room_on_one_host_waits_for_nobody_on_another(house: House) -> None:
    small, large = host_for(1, "small"), host_for(5, "large")
    asked, other = spec("mine"), factories.tenant_with_owner()

    with transaction.atomic():
        Host.objects.select_for_update().get(pk=small.pk)
        (answer,) = together([lambda: made(other, asked)])

    assert answer == [large.name]


@pytest.mark.django_db(transaction=True)
def test_who_was_late_for_the_chosen_host_gets_another(house: House) -> None:
    """It chose before the other had written, waited for its row, and looked again."""
    first, asked = host_for(1, "first"), spec("mine")
    host_for(1, "second")
    assert placement_look(asked.flavor).chosen == first

    answer = meeting(
        lambda: Host.objects.select_for_update(no_key=True).get(pk=first.pk),
        lambda: made(house, asked),
        lambda: ImageTest.objects.create(image=asked.image, host=first, memory_mib=1024, disk_gib=1),
    )

    assert answer == ["second"]


def test_a_batch_is_placed_whole_or_not_at_all(house: House) -> None:
    for name in ("a", "b", "c"):
        host_for(2, name)

    assert refused(house, spec("many", 7)) == "There is room for 6 of these machines right now, not for all."
    assert made(house, spec("some", 6)) == ["a", "a", "b", "b", "c", "c"]
    assert refused(house, spec("more")) == "No host has room for a machine this size right now."


def test_what_a_flavor_needs_and_a_pool_says_decides(house: House) -> None:
    for name in ("a", "b", "c"):
        host_for(4, name)
    needy = spec("gpu", labels=["gpu"])

    assert refused(house, needy) == "No host in service has what this size asks for."
    host_edit(Host.objects.get(name="b"), actor=factories.desk(), labels=["gpu", "ssd", "gpu"])
    assert made(house, needy) == ["b"]
    assert made(factories.tenant_with_owner(), spec("free")) == ["a"]
    host_pool_write(HostPool.objects.get(), actor=factories.desk(), packs=True)
    assert made(factories.tenant_with_owner(), spec("packed", 3)) == ["a", "a", "a"]

    Host.objects.update(maintenance=True)
    assert refused(house, spec("late")) == "No host is in service right now."


def test_a_machine_goes_to_a_host_that_has_what_its_image_asks_for(house: House) -> None:
    """The first by name has no UEFI, the second no TPM, and of the third nobody knows."""
    for name, traits in (("a", []), ("b", ["uefi", "secure_boot"]), ("c", None)):
        host_for(4, name)
        Host.objects.filter(name=name).update(traits=traits)
    plain, modern = spec("plain"), factories.image_built("modern", firmware="uefi")
    strict = factories.image_built("strict", firmware="uefi", secure_boot=True, tpm=True)
    nowhere = "No host in service has the firmware or the TPM that this machine asks for."

    assert made(house, replace(plain, name="first", image=modern)) == ["b"]
    assert made(house, replace(plain, name="many", image=modern, count=2)) == ["b", "b"]
    assert made(factories.tenant_with_owner(), plain) == ["a"]
    assert refused(house, replace(plain, name="later", image=strict)) == nowhere
    looks = [placement_look(plain.flavor, image=image) for image in (None, modern, strict)]
    assert [[(each.host.name, each.lack, each.slots) for each in look.hosts] for look in looks] == [
        [("a", "", 3), ("b", "", 1), ("c", "", 4)],
        [("a", "uefi", 0), ("b", "", 1), ("c", "untested", 0)],
        [("a", "uefi", 0), ("b", "tpm", 0), ("c", "untested", 0)],
    ]
    assert [look.fit for look in looks] == [8, 1, 0]

    Host.objects.filter(name="c").update(traits=["uefi", "secure_boot", "tpm"])
    assert made(house, replace(plain, name="later", image=strict)) == ["c"]
    assert made(house, replace(plain, name="last", image=modern, count=2)) == ["c", "c"]


def test_a_test_boot_takes_room_only_where_its_image_can_start(house: House) -> None:
    for name in ("a", "b"):
        host_for(4, name)
    Host.objects.filter(name="a").update(traits=[])
    image, other = [factories.image_built(name, firmware="uefi") for name in ("modern", "other")]
    test = ImageTest.objects.create(image=image, memory_mib=1024, disk_gib=1)

    image_test_place(test)

    test.refresh_from_db()
    assert test.host == Host.objects.get(name="b")
    Host.objects.update(traits=None)
    with pytest.raises(NoRoom):
        image_test_place(ImageTest.objects.create(image=other, memory_mib=1024, disk_gib=1))


def test_a_host_set_aside_is_for_one_project_and_its_children_and_they_go_nowhere_else(house: House) -> None:
    for name in ("a", "b"):
        host_for(2, name)
    child, other = factories.tenant_with_owner(), factories.tenant_with_owner()
    Tenant.objects.filter(pk=child.tenant.pk).update(parent=house.tenant)
    child.tenant.refresh_from_db()
    host_edit(Host.objects.get(name="b"), actor=factories.desk(), set_aside_for=house.tenant)

    assert made(child, spec("childs")) == ["b"]
    assert made(other, spec("others", 2)) == ["a", "a"]
    assert made(house, spec("own")) == ["b"]
    assert refused(house, spec("more")) == "No host has room for a machine this size right now."
    look = placement_look(spec().flavor, house.tenant)
    assert [(each.host.name, each.lack, each.slots) for each in look.hosts] == [
        ("a", "set_aside", 0),
        ("b", "memory", 0),
    ]


def test_a_look_and_a_create_ask_the_database_as_often_for_many_hosts(house: House) -> None:
    def queries(name: str) -> tuple[int, int]:
        asked = spec(name)
        with CaptureQueriesContext(connection) as look:
            placement_look(asked.flavor)
        with CaptureQueriesContext(connection) as create:
            made(house, asked)
        return len(look), len(create)

    for _number in range(2):
        host_for(4)
    made(house, spec("warm"))
    few = queries("few")
    for _number in range(10):
        host_for(4)

    assert queries("many") == few


@pytest.mark.parametrize("labels", [["Gpu"], ["a b"], ["x" * 32], [f"w{number}" for number in range(21)], [""]])
def test_labels_are_words(house: House, labels: list[str]) -> None:
    host = host_for(1)

    with pytest.raises(Invalid):
        host_edit(host, actor=factories.desk(), labels=labels)
    with pytest.raises(Invalid):
        flavor_write(None, actor=factories.desk(), name="x", vcpus=1, memory_mib=64, disk_gib=1, labels=labels)
    host.refresh_from_db()
    assert host.labels == []
