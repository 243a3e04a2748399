"""Snapshots where something else is in the way: other people's machines, a size that waits, a worker that thaws late."""

from __future__ import annotations

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict, Forbidden
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import at_points
from tests.vms.reconcile.snapshot_lives import Shots
from tests.vms.reconcile.volume_lives import Disks
from vms.hypervisor.errors import Refused
from vms.models import Volume
from vms.reconcile.sweep import sweep
from vms.services import snapshots as services
from vms.services.guests import guest_resize
from vms.services.guests.resize import When
from vms.services.snapshots import revert_foresee
from vms.states import Power


@pytest.fixture
def shots(bench: Bench) -> Shots:
    return Shots(bench)


def root_of(shots: Shots, guest: object) -> Volume:
    with every_tenant(why="test"):
        return Volume.objects.get(guest=guest, position=0)


@pytest.mark.parametrize("verb", ["edit", "revert", "delete"])
def test_whoever_may_change_some_machines_leaves_the_volumes_of_others_alone(verb: str, shots: Shots) -> None:
    guest = shots.machine(Power.STOPPED)
    snapshot = shots.snapshot(root_of(shots, guest))
    tenant = shots.bench.house.tenant
    narrow = [Permission.GUEST_EDIT, Permission.SNAPSHOT_VIEW, Permission.SNAPSHOT_MANAGE]
    person, _token = factories.member_with(tenant, narrow, tags=["mine"])
    more = {"name": "theirs"} if verb == "edit" else {}

    with tenant_scope(tenant), pytest.raises(Forbidden):
        getattr(services, f"snapshot_{verb}")(snapshot, actor=factories.actor_in(tenant, person), **more)


def test_a_single_volumes_revert_promises_to_switch_nothing_off(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    alone, whole = shots.snapshot(root_of(shots, guest)), shots.snapshot(guest)

    with tenant_scope(shots.bench.house.tenant):
        assert not revert_foresee(alone).stops
        assert revert_foresee(whole).stops


def test_memory_does_not_come_back_into_a_machine_that_waits_for_another_size(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    snapshot = shots.snapshot(guest, memory=True)
    with tenant_scope(shots.bench.house.tenant):
        waits = guest_resize(guest, shots.bench.larger, when=When.POWER_OFF, actor=shots.bench.house.actor)
    assert run(waits.pk) == "succeeded"
    assert shots.bench.fresh(guest).next_flavor_id is not None

    with pytest.raises(Conflict) as refused:
        shots.ask(snapshot, "revert", memory=True)

    assert refused.value.code == "no_memory"
    assert run(shots.ask(snapshot, "revert").pk) == "succeeded"
    assert shots.bench.fresh(guest).vcpus == shots.bench.larger.vcpus
    assert shots.bench.findings() == []


def test_a_machine_that_wakes_in_a_snapshot_has_the_limits_of_now(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    snapshot, root = shots.snapshot(guest, memory=True), root_of(shots, guest)
    assert run(Disks(shots.bench).ask(root, "limit", iops=7, mbps=0).pk) == "succeeded"

    assert run(shots.ask(snapshot, "revert", memory=True).pk) == "succeeded"

    live = shots.bench.on_host.domains[str(guest.pk)].live
    assert [disk.iotune.iops for disk in live if disk.path == shots.paths(root)[0] and disk.iotune] == [7]
    assert shots.bench.findings() == []


@pytest.mark.parametrize("memory", [False, True], ids=["disks", "with memory"])
def test_what_was_taken_first_is_what_the_row_says_when_a_worker_thaws(memory: bool, shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    snapshot, operation = shots.ask_create(guest, memory=memory)
    said = []

    def freeze(passed: str) -> None:
        if passed == "snapshot.create:take:after" and not said:
            said.append(None)
            shots.bench.on_host.agent.pop(str(guest.pk))
            lapse(Operation.objects.get(pk=operation.pk))
            shots.bench.settle()
            row = shots.fresh(snapshot.pk)
            said.append((row.state, row.consistency, row.taken_at, row.version))

    with at_points(freeze):
        run(operation.pk)

    row = shots.fresh(snapshot.pk)
    assert (row.state, row.consistency, row.taken_at, row.version) == said[1]
    assert row.consistency == ("memory" if memory else "power_cut")


def test_a_worker_that_thaws_after_its_snapshot_was_deleted_says_nothing(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    snapshot, operation = shots.ask_create(guest)
    late = []

    def freeze(passed: str) -> None:
        if passed == "snapshot.create:take:after" and not late:
            late.append(passed)
            lapse(Operation.objects.get(pk=operation.pk))
            shots.bench.settle()
            assert run(shots.ask(snapshot, "delete").pk) == "succeeded"

    with at_points(freeze):
        assert run(operation.pk) == "succeeded"

    assert shots.is_gone(snapshot)
    assert shots.bench.findings() == []


def test_a_worker_that_thaws_before_it_wakes_a_machine_leaves_what_was_done_since_alone(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    snapshot = shots.snapshot(guest, memory=True)
    operation = shots.ask(snapshot, "revert", memory=True)
    woken: list[int] = []

    def freeze(passed: str) -> None:
        if passed == "snapshot.revert:wake:before" and not woken:
            woken.append(0)
            lapse(Operation.objects.get(pk=operation.pk))
            shots.bench.settle()
            assert run(shots.bench.ask(guest, "stop").pk) == "succeeded"
            woken.append(shots.bench.on_host.calls["wake_snapshot"])

    with at_points(freeze):
        run(operation.pk)

    assert woken == [0, 1]
    assert shots.bench.on_host.calls["wake_snapshot"] == 1
    assert shots.bench.fresh(guest).seen_power == Power.STOPPED
    assert shots.bench.findings() == []


def test_a_disk_that_a_revert_left_smaller_than_it_is_paid_for_is_grown_again(shots: Shots) -> None:
    """The revert fails between putting the disks back and growing them; nothing else would ever look at their size."""
    bench = shots.bench
    guest = shots.machine(Power.STOPPED)
    data = Disks(bench)
    with every_tenant(why="test"):
        volume = Volume.objects.get(guest=guest, position=1)
    snapshot = shots.snapshot(guest)
    assert run(data.ask(volume, "extend", size_gib=3).pk) == "succeeded"
    bench.on_host.fail("resize_volume", Refused("no"))
    assert run(shots.ask(snapshot, "revert").pk) == "failed"
    assert any("charged for 3 GiB" in finding for finding in bench.findings())

    for _look in range(2):
        with every_tenant(why="test"):
            sweep(bench.host)
    bench.settle()

    assert bench.findings() == []
    assert data.fresh(volume.pk).size_gib == 3
    mended = Operation.objects.filter(kind="volume.extend", subject_id=volume.pk, requested_via="sweep")
    assert [operation.status for operation in mended] == ["succeeded"]


def test_a_disk_that_cannot_be_grown_again_is_not_tried_at_every_look(shots: Shots) -> None:
    bench = shots.bench
    guest = shots.machine(Power.STOPPED)
    snapshot = shots.snapshot(guest)
    with every_tenant(why="test"):
        volume = Volume.objects.get(guest=guest, position=1)
    assert run(Disks(bench).ask(volume, "extend", size_gib=3).pk) == "succeeded"
    bench.on_host.fail("resize_volume", Refused("no"))
    assert run(shots.ask(snapshot, "revert").pk) == "failed"

    for _look in range(4):
        bench.on_host.fail("resize_volume", Refused("no"))
        with every_tenant(why="test"):
            sweep(bench.host)
        bench.settle()

    mends = Operation.objects.filter(kind="volume.extend", subject_id=volume.pk, params__mends=True)
    assert [operation.status for operation in mends] == ["failed"]
    assert Disks(bench).fresh(volume.pk).size_gib == 3


def test_the_memory_of_a_machine_with_a_tpm_is_not_kept(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    with tenant_scope(shots.bench.house.tenant):
        type(guest).objects.filter(pk=guest.pk).update(tpm=True)

        with pytest.raises(Conflict) as refused:
            services.snapshot_create(guest, name="s", memory=True, actor=shots.bench.house.actor)

    assert refused.value.code == "tpm_memory"
