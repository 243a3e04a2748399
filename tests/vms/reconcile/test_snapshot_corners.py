"""Snapshots where something else is in the way: other people's machines, a size that waits, a worker that thaws late."""

from __future__ import annotations

import pytest

from operations.runner import run
from portal.core.errors import Conflict, Forbidden
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.snapshot_lives import Shots
from vms.models import Volume
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
