"""What every driver promises of how fast a card may be; tried on the host in memory and on a real libvirtd with real QEMU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host, Lab
from tests.vms.hypervisor.conftest import OWNER, STRANGER, World, libvirt_world
from tests.vms.hypervisor.test_driver_contract_cards import FIRST, NOBODY, machine
from vms.hypervisor.errors import Missing, Refused, Unsupported
from vms.hypervisor.xml.devices import Bandwidth

SLOW = Bandwidth(inbound_kbit=8192, outbound_kbit=4096)
FASTER = Bandwidth(inbound_kbit=16384)


def limits(world: World, uuid: str) -> set[tuple[int, int]]:
    """Of its one card, in each definition."""
    return {card.limits for cards in world.hypervisor.cards(uuid).everywhere() for card in cards}


@pytest.mark.parametrize("runs", [False], ids=["off"])
def test_limits_are_those_of_the_next_start(world: World, runs: bool):
    spec, hv = machine(world, runs=runs), world.hypervisor
    assert limits(world, spec.uuid) == {(0, 0)}

    for limit, seen in ((SLOW, (1000, 500)), (SLOW, (1000, 500)), (FASTER, (2000, 0)), (None, (0, 0))):
        hv.limit_card(spec.uuid, FIRST.mac, limit, owner=OWNER)
        assert limits(world, spec.uuid) == {seen}


def test_no_card_of_a_strangers_and_none_that_is_not_there_is_limited(world: World):
    spec, hv = machine(world, runs=False), world.hypervisor

    for uuid, mac, owner, error in (
        (NOBODY, FIRST.mac, OWNER, Missing),
        (spec.uuid, "52:54:00:00:00:01", OWNER, Missing),
        (spec.uuid, FIRST.mac, STRANGER, Refused),
    ):
        with pytest.raises(error):
            hv.limit_card(uuid, mac, SLOW, owner=owner)

    assert limits(world, spec.uuid) == {(0, 0)}


@pytest.fixture(scope="module")
def shaping_host() -> Iterator[Host]:
    """A host whose kernel limits, or is made to."""
    lab = Lab(Path(f"/var/tmp/ghs-{os.getpid()}"), tied=True, tc_shim=True)
    yield lab.up(1)[0]
    lab.down()


@pytest.fixture
def shaping(shaping_host: Host, tmp_path: Path) -> Iterator[World]:
    made = libvirt_world(shaping_host, tmp_path)
    yield made
    made.clear()
    made.hypervisor.close()


@pytest.mark.xdist_group("machine")
def test_a_running_card_is_as_fast_as_it_was_told_last(shaping: World, shaping_host: Host):
    spec, hv = machine(shaping, runs=True), shaping.hypervisor

    for limit, seen in ((SLOW, (1000, 500)), (FASTER, (2000, 0)), (SLOW, (1000, 500)), (None, (0, 0))):
        hv.limit_card(spec.uuid, FIRST.mac, limit, owner=OWNER)
        assert limits(shaping, spec.uuid) == {seen}
        shaped = [line for line in shaping_host.exec("tc", "qdisc", "show").stdout.splitlines() if " dev vnet" in line]
        assert any(" htb " in line for line in shaped) is (seen[0] > 0), shaped
        assert any(" ingress " in line for line in shaped) is (seen[1] > 0), shaped


@pytest.mark.xdist_group("machine")
def test_one_that_is_limited_still_gets_another_address(shaping: World):
    spec, hv = machine(shaping, runs=True), shaping.hypervisor
    hv.limit_card(spec.uuid, FIRST.mac, SLOW, owner=OWNER)

    hv.readdress_card(spec.uuid, FIRST.mac, "10.93.0.99", owner=OWNER)

    (seen,) = set(hv.cards(spec.uuid).everywhere())
    assert [(card.ip, card.limits) for card in seen] == [("10.93.0.99", (1000, 500))]


@pytest.mark.parametrize("world", ["libvirt"], indirect=True)
def test_a_kernel_that_cannot_limit_is_told_apart_and_half_of_a_limit_is_none(world: World, lab_host: Host):
    """On a kernel that can, the limit stands: one of both is so, never something between."""
    spec, hv = machine(world, runs=True), world.hypervisor
    feature = ""

    try:
        hv.limit_card(spec.uuid, FIRST.mac, SLOW, owner=OWNER)
    except Unsupported as error:
        feature = error.feature

    shaped = [line for line in lab_host.exec("tc", "qdisc", "show").stdout.splitlines() if " dev vnet" in line]
    stands = {word for line in shaped for word in ("htb", "ingress") if f" {word} " in line}
    found = (feature, limits(world, spec.uuid), stands)
    assert found in (("bandwidth", {(0, 0)}, set()), ("", {(1000, 500)}, {"htb", "ingress"}))
