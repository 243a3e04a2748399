"""Snapshots where something else is in the way: other people's machines, a size that waits, a worker that thaws late."""

from __future__ import annotations

import pytest

from portal.core.errors import Forbidden
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.snapshot_lives import Shots
from vms.models import Volume
from vms.services import snapshots as services
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
