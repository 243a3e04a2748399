"""A tenant's end on a real host, with its worker killed in the middle and its host silent for a while: nothing of it is left."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from operations.models import Operation
from operations.runner import run
from operations.services import operation_cancel, operations_expire
from portal.core.clock import now
from tenants.models import Role, Tenant, TenantState
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.ending import tenant_left, tenants_purge
from tenants.services.invitations import invitation_send
from tenants.services.tenants import tenant_close
from tenants.services.tokens import token_create
from tests import factories
from tests.architecture.test_what_stays_of_a_tenant import AFTERLIFE, GOES, there_is
from tests.journeys.test_create_guest import on_host
from tests.lab.hosts import Host as LabHost
from tests.live.livebench import LiveBench, left_of, work
from tests.operations.kinds import due, lapse
from vms.models import Guest, Host
from vms.services.guests import guest_create, guest_edit
from vms.services.hosts import host_record_heartbeat
from vms.services.keys import key_create
from vms.specs import GuestSpec
from vms.states import HostState, Power

pytestmark = pytest.mark.django_db(transaction=True)
NETWORK_POINTS = [f"network.delete:drop_{what}:{when}" for what in ("network", "bar") for when in ("before", "after")]


@pytest.fixture
def thawed(lab_host: LabHost) -> Iterator[LabHost]:
    """The host, which answers again whatever comes of the test."""
    yield lab_host
    lab_host.thaw()


def furnish(bench: LiveBench) -> list[Guest]:
    """Machines in every state on two networks, and something of everything else; the machines."""
    house = bench.house
    machines = [bench.guest(power) for power in (Power.RUNNING, Power.STOPPED)]
    machines.append(bench.binned())
    side = factories.network(house, "side")
    factories.network(house, "unused")
    with tenant_scope(house.tenant):
        spec = GuestSpec(name="beside", flavor=bench.flavor, image=bench.image, networks=(side,), tags=("web",))
        asked = guest_create(house.tenant, spec, actor=house.actor)
        assert run(asked.pk) == "succeeded"
        machines.append(Guest.objects.get(pk=asked.subject_id))
        guest_edit(machines[1], protected=True, actor=house.actor)
        key_create(house.tenant, name="k", public_key=factories.public_key(), actor=house.actor)
        token_create(house.owner, name="narrow", actor=house.actor, tenant=house.tenant)
        role = Role.objects.create(tenant=house.tenant, name="own", permissions=[])
        factories.join(house.tenant, factories.user(), role="viewer")
    with every_tenant(why="test"):
        invitation_send(house.tenant, email="asked@example.test", role=role, actor=house.actor)
    return machines


def close(bench: LiveBench) -> None:
    """Closed by its owner; the shutdowns that this asks for are called off, so that the end meets machines that run."""
    house = bench.house
    tenant_close(house.tenant, confirm=house.tenant.slug, actor=house.actor)
    for operation in Operation.objects.filter(tenant=house.tenant, status="queued"):
        with tenant_scope(house.tenant):
            operation_cancel(operation, actor=factories.system_actor(house.tenant, why="test"))
    Tenant.objects.filter(pk=house.tenant.pk).update(purge_after=now())


def queued(bench: LiveBench) -> list[Operation]:
    return list(Operation.objects.filter(tenant=bench.house.tenant, status="queued").order_by("created_at"))


def die_and_be_taken_over(bench: LiveBench, operation: Operation, point: str) -> bool:
    """The worker kills itself at the point, if it gets there, and another goes on; did it?"""
    due(operation)  # what met the silent host waits for a while before it is tried again
    done = work(operation, die_at=point, data=Path(settings.DATA_DIR))
    assert done.returncode in (0, -9), done.stderr
    if done.returncode == -9:
        lapse(operation)
        list(operations_expire())
        assert run(operation.pk) == "succeeded", point
    operation.refresh_from_db()
    assert operation.status == "succeeded", (point, operation.error_detail)
    return done.returncode == -9


def meet_a_silent_host(bench: LiveBench, host: LabHost, operation: Operation) -> None:
    """The host stops answering in the middle of the end: what is asked waits, nothing more is asked, and it is said."""
    host.freeze()
    assert run(operation.pk) == "queued"
    Host.objects.filter(pk=bench.host.pk).update(state=HostState.DOWN)
    asked = {waiting.pk for waiting in queued(bench)}

    (left,) = tenants_purge().values()

    assert left
    assert {waiting.pk for waiting in queued(bench)} == asked
    guests = [one for one in tenant_left(bench.house.tenant) if one.kind == "guest"]
    assert {one.why for one in guests} == {f"The host {bench.host.name} does not answer."}
    host.thaw()
    host_record_heartbeat(bench.host)
    Host.objects.filter(pk=bench.host.pk).update(state=HostState.UP)


def test_nothing_of_a_tenant_is_left_on_its_host(
    steps: dict[str, list[str]],
    request: pytest.FixtureRequest,
    thawed: LabHost,
) -> None:
    """W1, L2: and nothing in its rows but what the table keeps."""
    bench: LiveBench = request.getfixturevalue("bench")
    tenant, before = bench.house.tenant, on_host(thawed)
    machines = furnish(bench)
    close(bench)
    points = {"guest.purge": list(steps["guest.purge"]), "network.delete": list(NETWORK_POINTS)}
    for choice in points.values():
        random.Random(0).shuffle(choice)

    tenants_purge()
    meet_a_silent_host(bench, thawed, queued(bench)[0])
    killed = set()
    for _round in range(6):
        for operation in queued(bench):
            point = points[operation.kind].pop()
            if die_and_be_taken_over(bench, operation, point):
                killed.add(operation.kind)
        tenants_purge()

    tenant.refresh_from_db()
    assert tenant.state == TenantState.CLOSED
    assert "guest.purge" in killed
    assert on_host(thawed) == before
    assert [line for guest in machines for line in left_of(guest, thawed)] == []
    assert {label for label, there in there_is(tenant).items() if there and AFTERLIFE[label][0] == GOES} == set()
    assert bench.findings() == []
    call_command("verify_audit_log")
