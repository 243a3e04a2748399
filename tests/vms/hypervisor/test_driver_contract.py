"""What every driver promises; each promise is tried on the host in memory and on a real libvirtd with real QEMU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.lab.waiting import wait_until
from tests.vms.hypervisor.conftest import OWNER, STRANGER, World
from vms.hypervisor.driver import AgentFacts, Owner
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.xml.domain import Disk
from vms.states import Power

NOBODY = "00000000-0000-4000-8000-000000000000"


def powers(world: World, uuid: str) -> list[tuple[Power, str]]:
    return [(event.power, event.reason) for event in world.events if event.domain == uuid]


def heard(world: World, uuid: str, power: Power) -> None:
    """Wait for an event: libvirt delivers from a thread of its own."""
    what = f"no event said {power}"
    wait_until(lambda: power in [said for said, _ in powers(world, uuid)] or None, timeout_s=5, what=what)


# --- the host -------------------------------------------------------------------------------------------------------


def test_a_host_tells_what_it_is(world: World):
    facts = world.hypervisor.facts()

    assert facts.hostname
    assert facts.cpus >= 1
    assert facts.memory_mib > 256
    assert facts.arch == "x86_64"
    assert "qemu" in facts.domain_types
    assert {"pc", "q35"} <= set(facts.machines)
    assert facts.emulator.startswith("/")


def test_a_living_host_is_alive(world: World):
    world.hypervisor.alive()


# --- domains --------------------------------------------------------------------------------------------------------


def test_a_defined_domain_is_found_with_what_we_wrote_on_it(world: World):
    spec = world.defined()

    seen = world.hypervisor.domain(spec.uuid)

    assert seen is not None
    assert (seen.uuid, seen.name, seen.power) == (spec.uuid, spec.name, Power.STOPPED)
    assert (seen.owner, seen.guest, seen.tenant, seen.generation) == (OWNER, spec.tag.subject, "acme", 2)
    assert spec.vnc is not None
    assert spec.serial is not None
    assert (seen.vnc_socket, seen.serial_socket) == (spec.vnc.socket, spec.serial.socket)
    assert seen in world.hypervisor.domains()


def test_defining_again_changes_the_definition(world: World):
    spec = world.defined()

    world.hypervisor.define(replace(spec, tag=replace(spec.tag, generation=3)), roots=world.roots)

    seen = world.hypervisor.domain(spec.uuid)
    assert seen is not None
    assert seen.generation == 3


def test_a_late_worker_cannot_put_an_older_generation_back(world: World):
    spec = world.defined()

    with pytest.raises(Refused):
        world.hypervisor.define(replace(spec, tag=replace(spec.tag, generation=1)), roots=world.roots)


def test_a_foreign_domain_is_seen_and_never_overwritten_or_removed(world: World):
    mine = world.spec()
    world.backstage.plant_domain(mine.uuid, "foreign")

    with pytest.raises(Refused):
        world.hypervisor.define(mine, roots=world.roots)
    with pytest.raises(Refused):
        world.hypervisor.undefine(mine.uuid, owner=OWNER)

    seen = world.hypervisor.domain(mine.uuid)
    assert seen is not None
    assert (seen.name, seen.owner) == ("foreign", None)


def test_a_name_that_is_taken_is_refused(world: World):
    world.backstage.plant_domain(NOBODY, "gh-contract-a")

    with pytest.raises(Refused):
        world.defined("gh-contract-a")


@pytest.mark.parametrize("owner", [STRANGER, Owner(OWNER.installation, 2)], ids=["installation", "epoch"])
def test_another_owner_neither_redefines_nor_removes(world: World, owner: Owner):
    spec = world.defined()

    with pytest.raises(Refused):
        world.hypervisor.define(replace(spec, tag=replace(spec.tag, owner=owner)), roots=world.roots)
    with pytest.raises(Refused):
        world.hypervisor.undefine(spec.uuid, owner=owner)

    assert world.hypervisor.domain(spec.uuid) is not None


@pytest.mark.parametrize("path", ["/etc/shadow", "{pool}/../secret", "{pool}", "relative"])
def test_a_disk_outside_of_the_pool_is_refused(world: World, path: str):
    disk = Disk(path=path.format(pool=world.pool_path), target="vda")

    with pytest.raises(Refused):
        world.defined(disks=(disk,))

    assert world.hypervisor.domains() == ()


def test_text_that_is_no_xml_is_refused(world: World):
    with pytest.raises(Refused):
        world.defined(title="a\nb")


def test_undefining_twice_is_fine(world: World):
    spec = world.defined()

    world.hypervisor.undefine(spec.uuid, owner=OWNER)
    world.hypervisor.undefine(spec.uuid, owner=OWNER)

    assert world.hypervisor.domain(spec.uuid) is None
    heard(world, spec.uuid, Power.ABSENT)


def test_a_running_domain_is_not_undefined(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)

    with pytest.raises(Busy):
        world.hypervisor.undefine(spec.uuid, owner=OWNER)


def test_the_definition_is_read_without_its_password(world: World):
    spec = world.defined()

    assert "s3cretpw" not in world.hypervisor.domain_xml(spec.uuid)


# --- power ----------------------------------------------------------------------------------------------------------


def test_starting_twice_starts_once(world: World):
    spec = world.defined()

    world.hypervisor.start(spec.uuid)
    world.hypervisor.start(spec.uuid)

    assert world.hypervisor.wait_power(spec.uuid, frozenset({Power.RUNNING}), timeout_s=5) is Power.RUNNING
    heard(world, spec.uuid, Power.RUNNING)
    assert powers(world, spec.uuid).count((Power.RUNNING, "booted")) == 1


def test_pulling_the_plug_stops_and_may_be_repeated(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)

    world.hypervisor.pull_plug(spec.uuid)
    world.hypervisor.pull_plug(spec.uuid)

    seen = world.hypervisor.domain(spec.uuid)
    assert seen is not None
    assert (seen.power, seen.reason) == (Power.STOPPED, "destroyed")
    heard(world, spec.uuid, Power.STOPPED)
    world.hypervisor.pull_plug(NOBODY)


def test_pause_and_resume_may_be_repeated(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)

    world.hypervisor.pause(spec.uuid)
    world.hypervisor.pause(spec.uuid)
    paused = world.hypervisor.domain(spec.uuid)
    world.hypervisor.resume(spec.uuid)
    world.hypervisor.resume(spec.uuid)

    assert paused is not None
    assert (paused.power, paused.reason) == (Power.PAUSED, "paused")
    heard(world, spec.uuid, Power.PAUSED)
    assert world.hypervisor.wait_power(spec.uuid, frozenset({Power.RUNNING}), timeout_s=5)
    wait_until(lambda: (Power.RUNNING, "resumed") in powers(world, spec.uuid) or None, timeout_s=5, what="no resume")


def test_a_saved_domain_is_suspended_not_stopped_and_wakes(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)

    world.hypervisor.save(spec.uuid)
    world.hypervisor.save(spec.uuid)

    seen = world.hypervisor.domain(spec.uuid)
    assert seen is not None
    assert (seen.power, seen.reason) == (Power.SUSPENDED, "saved")
    assert seen in world.hypervisor.domains()
    heard(world, spec.uuid, Power.SUSPENDED)
    assert Power.STOPPED not in [power for power, _reason in powers(world, spec.uuid)]

    world.hypervisor.start(spec.uuid)

    assert world.hypervisor.wait_power(spec.uuid, frozenset({Power.RUNNING}), timeout_s=10)
    wait_until(lambda: (Power.RUNNING, "restored") in powers(world, spec.uuid) or None, timeout_s=5, what="no wake")


def test_a_discarded_save_leaves_a_stopped_domain(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)
    world.hypervisor.save(spec.uuid)

    world.hypervisor.discard_save(spec.uuid)
    world.hypervisor.discard_save(spec.uuid)

    seen = world.hypervisor.domain(spec.uuid)
    assert seen is not None
    assert seen.power is Power.STOPPED


def test_a_suspended_domain_can_be_undefined(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)
    world.hypervisor.save(spec.uuid)

    world.hypervisor.undefine(spec.uuid, owner=OWNER)

    assert world.hypervisor.domain(spec.uuid) is None


def test_a_reset_is_told_as_a_reboot(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)

    world.hypervisor.reset(spec.uuid)

    told = lambda: [event for event in world.events if event.rebooted and event.domain == spec.uuid] or None  # noqa: E731
    wait_until(told, timeout_s=5, what="no reboot event")


@pytest.mark.parametrize("verb", ["pause", "resume", "reset", "save", "press_reset_acpi", "screenshot"])
def test_what_needs_a_running_domain_is_refused_on_a_stopped_one(world: World, verb: str):
    spec = world.defined()

    with pytest.raises(Refused):
        getattr(world.hypervisor, verb)(spec.uuid)


def test_pressing_the_button_of_a_stopped_domain_changes_nothing(world: World):
    spec = world.defined()

    world.hypervisor.press_power(spec.uuid)

    assert world.hypervisor.wait_power(spec.uuid, frozenset({Power.STOPPED}), timeout_s=1)


@pytest.mark.parametrize(
    "verb", ["start", "press_power", "reset", "pause", "resume", "save", "domain_xml", "agent_facts", "screenshot"]
)
def test_a_missing_domain_is_missing(world: World, verb: str):
    with pytest.raises(Missing):
        getattr(world.hypervisor, verb)(NOBODY)


def test_a_missing_domain_is_none_to_a_look(world: World):
    assert world.hypervisor.domain(NOBODY) is None


def test_waiting_ends_at_its_limit(world: World):
    spec = world.defined()

    with pytest.raises(Busy):
        world.hypervisor.wait_power(spec.uuid, frozenset({Power.RUNNING}), timeout_s=0.2)
    with pytest.raises(Missing):
        world.hypervisor.wait_power(NOBODY, frozenset({Power.RUNNING}), timeout_s=0.2)


def test_a_silent_agent_says_nothing(world: World):
    spec = world.defined()

    assert world.hypervisor.agent_facts(spec.uuid) == AgentFacts()
    world.hypervisor.start(spec.uuid)
    assert world.hypervisor.agent_facts(spec.uuid) == AgentFacts()


def test_a_running_domain_has_a_picture(world: World):
    spec = world.defined()
    world.hypervisor.start(spec.uuid)

    assert world.hypervisor.screenshot(spec.uuid).startswith((b"\x89PNG", b"P6"))
