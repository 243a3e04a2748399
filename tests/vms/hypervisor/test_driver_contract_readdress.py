"""What every driver promises of a card's other address; tried on the host in memory and on a real libvirtd with real QEMU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.vms.hypervisor.conftest import OWNER, STRANGER, World
from tests.vms.hypervisor.test_driver_contract_cards import FIRST, NOBODY, SEEN, machine
from vms.hypervisor.errors import Missing, Refused

OTHER = "10.93.0.99"
SEEN_OTHER = replace(SEEN[FIRST.mac], ip=OTHER)


@pytest.mark.parametrize("runs", [True, False], ids=["running", "off"])
def test_a_card_speaks_as_another_address_now_and_at_the_next_start(world: World, runs: bool):
    spec, hv = machine(world, runs=runs), world.hypervisor

    for _twice in range(2):
        hv.readdress_card(spec.uuid, FIRST.mac, OTHER, owner=OWNER)
    seen = hv.cards(spec.uuid)
    hv.readdress_card(spec.uuid, FIRST.mac, SEEN[FIRST.mac].ip, owner=OWNER)

    assert (seen.live is None) is not runs
    assert seen.everywhere() == ((SEEN_OTHER,),) * len(seen.everywhere())
    assert set(hv.cards(spec.uuid).everywhere()) == {(SEEN[FIRST.mac],)}


def test_no_card_of_a_strangers_and_none_that_is_not_there_gets_an_address(world: World):
    spec, hv = machine(world, runs=False), world.hypervisor

    for uuid, mac, ip, owner, error in (
        (NOBODY, FIRST.mac, OTHER, OWNER, Missing),
        (spec.uuid, "52:54:00:00:00:01", OTHER, OWNER, Missing),
        (spec.uuid, FIRST.mac, OTHER, STRANGER, Refused),
        (spec.uuid, FIRST.mac, "10.93.0.0/24", OWNER, Refused),
        (spec.uuid, FIRST.mac, "'/><evil", OWNER, Refused),
    ):
        with pytest.raises(error):
            hv.readdress_card(uuid, mac, ip, owner=owner)

    assert hv.cards(spec.uuid).kept == (SEEN[FIRST.mac],)
