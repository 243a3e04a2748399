"""What every driver promises of counters, tried on the host in memory and on real QEMU."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from tests.vms.hypervisor.conftest import OWNER, FakeBackstage, World
from tests.vms.hypervisor.test_driver_contract_cards import FIRST, SECOND, machine
from vms.hypervisor import fake, libvirt_driver
from vms.hypervisor.stats import DomainStats, Traffic

FOREIGN = "7d1c8a3e-0000-4000-8000-000000000009"


def one(world: World, uuid: str) -> DomainStats:
    (found,) = world.hypervisor.stats([uuid])
    assert found.uuid == uuid
    return found


def test_a_host_says_for_how_long_it_is_up_and_that_does_not_fall(world: World):
    first, second = world.hypervisor.up_s(), world.hypervisor.up_s()

    assert 0 < first < second + 60


def test_only_those_asked_for_that_run_have_counters(world: World):
    running, off, other = (world.defined(f"gh-contract-{letter}") for letter in "abc")
    for spec in (running, other):
        world.hypervisor.start(spec.uuid)

    assert [each.uuid for each in world.hypervisor.stats([running.uuid, off.uuid, FOREIGN])] == [running.uuid]
    assert world.hypervisor.stats([]) == ()


def test_counters_of_one_start_never_fall_and_each_start_is_another_run(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)
    first, second = one(world, spec.uuid), one(world, spec.uuid)

    assert second.run == first.run
    assert second.cpu_ns >= first.cpu_ns
    assert (first.disks, first.nics, first.memory_used_kib) == ({}, {}, None)

    world.hypervisor.pause(spec.uuid)
    assert one(world, spec.uuid).run == first.run
    world.hypervisor.pull_plug(spec.uuid)
    world.hypervisor.start(spec.uuid)
    assert one(world, spec.uuid).run != first.run


def test_cards_are_known_by_their_mac_as_they_come_and_go(world: World):
    spec, hv = machine(world, runs=False), world.hypervisor
    assert hv.card_traffic(spec.uuid) is None
    hv.start(spec.uuid)
    if isinstance(world.backstage, FakeBackstage):
        fake.host("contract").stats[spec.uuid] = DomainStats(uuid=spec.uuid, run=0, nics={FIRST.mac: Traffic(7, 8)})
    seen, alone = one(world, spec.uuid), hv.card_traffic(spec.uuid)
    assert alone is not None
    assert (seen.nics.keys(), alone.nics.keys()) == ({FIRST.mac}, {FIRST.mac})
    assert (alone.uuid, alone.run, alone.generation) == (spec.uuid, seen.run, spec.tag.generation)
    assert seen.generation == spec.tag.generation
    assert hv.card_traffic(FOREIGN) is None


@pytest.mark.parametrize("world", ["libvirt"], indirect=True)
def test_a_card_that_comes_is_counted_too(world: World):
    spec, hv = machine(world, runs=True), world.hypervisor
    before = one(world, spec.uuid)
    hv.attach_card(spec.uuid, SECOND, owner=OWNER)

    after, alone = one(world, spec.uuid), hv.card_traffic(spec.uuid)

    assert alone is not None
    assert before.nics.keys() == {FIRST.mac}
    assert after.nics.keys() == alone.nics.keys() == {FIRST.mac, SECOND.mac}


@pytest.fixture
def frozen(world: World, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Two machines of a real host; the QEMU of the first does not answer."""
    host: Host = request.getfixturevalue("lab_host")
    stuck, well = (world.defined(f"gh-contract-{letter}") for letter in "ab")
    for spec in (stuck, well):
        world.hypervisor.start(spec.uuid)
    (pid,) = map(int, subprocess.check_output(["pgrep", "-f", f"guest={stuck.name},.*{host.directory}"]).split())
    os.kill(pid, signal.SIGSTOP)
    yield stuck.uuid, well.uuid
    os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("world", ["libvirt"], indirect=True)
def test_a_frozen_guest_holds_the_first_call_and_none_after_it(world: World, frozen: tuple[str, str], lab_host: Host):
    """What the sampler stands on: with NOWAIT later calls pass by a guest that an earlier one waits for."""
    ears = libvirt_driver.connect(lab_host.uri)
    first = threading.Thread(target=world.hypervisor.stats, args=(frozen,), daemon=True)
    first.start()
    first.join(1)
    assert first.is_alive()

    found = wait_until(lambda: ears.stats(frozen), timeout_s=10, what="an answer of the others")

    assert frozen[1] in [each.uuid for each in found]
    cards = threading.Thread(target=ears.card_traffic, args=(frozen[0],), daemon=True)
    cards.start()
    cards.join(20)
    assert not cards.is_alive(), "its cards' counters are asked of the host's kernel alone"
    assert len(ears.domains()) >= 2
    ears.close()
