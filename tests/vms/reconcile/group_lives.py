"""Security groups on a bench: how they are made and changed, and whether a host has what their rows say."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from operations.models import Operation
from operations.runner import run
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from vms.firewall import Direction, Protocol, Rule
from vms.guards import group_wanted
from vms.hypervisor import fake
from vms.hypervisor.bridges import group_guard
from vms.hypervisor.fake.host import FakeHost
from vms.models import Guest, Host, Port, SecurityGroup
from vms.selectors.installation import installation_owner
from vms.services.guests import guest_create
from vms.services.hosts import host_enrol, host_record_facts, host_record_heartbeat
from vms.services.security_groups import group_create, group_rules_set
from vms.specs import GuestSpec

NUMBERS = itertools.count(1)
SSH = Rule(direction=Direction.IN, protocol=Protocol.TCP, ports=(22, 22)).as_dict()
OUT = Rule(direction=Direction.OUT).as_dict()


def made(bench: Bench, name: str = "web", rules: Sequence[dict[str, Any]] = (SSH, OUT)) -> SecurityGroup:
    with tenant_scope(bench.house.tenant):
        return group_create(bench.house.tenant, name=name, rules=rules, actor=bench.house.actor)


def machine(bench: Bench, *groups: SecurityGroup) -> Guest:
    with tenant_scope(bench.house.tenant):
        spec = GuestSpec(name=f"m{next(NUMBERS)}", flavor=bench.flavor, image=bench.image, groups=groups)
        operation = guest_create(bench.house.tenant, spec, actor=bench.house.actor)
        bench.let_speak(operation.subject_id)
    bench.settle()
    operation.refresh_from_db()
    assert operation.status == "succeeded", operation.error_message
    return bench.fresh(Guest(pk=operation.subject_id))


def change(bench: Bench, group: SecurityGroup, rules: Sequence[dict[str, Any]]) -> Operation:
    with tenant_scope(bench.house.tenant):
        return group_rules_set(group, rules, actor=bench.house.actor)


def fresh(group: SecurityGroup) -> SecurityGroup:
    with every_tenant(why="test"):
        return SecurityGroup.objects.get(pk=group.pk)


def card(guest: Guest) -> Port:
    with every_tenant(why="test"):
        return Port.objects.select_related("guest", "network").get(guest=guest)


def in_force(bench: Bench, group: SecurityGroup, on: FakeHost | None = None) -> bool:
    """Does the host (the bench's, unless another is named) have the group as its row says?"""
    with every_tenant(why="test"):
        spec = group_guard(group_wanted(group, group.rules, installation_owner()))
    seen = (on or bench.on_host).filters.get(spec.name)
    return seen is not None and seen.meaning() == spec.meaning()


def ours(bench: Bench) -> set[str]:
    return {name for name in bench.on_host.filters if "-g-" in name or "-p-" in name}


def second_host(bench: Bench) -> tuple[Host, FakeHost]:
    """One more host; the bench's own takes no machine from here on."""
    name = f"{bench.name}-b"
    on_host = fake.host(name)
    with every_tenant(why="test"):
        host, probe = host_enrol(
            uri=f"fake://{name}",
            name=name,
            data_dir=f"/data/{name}",
            run_dir=f"/run/{name}",
            actor=factories.desk(),
        )
    assert run(probe.pk) == "succeeded"
    host_record_facts(host, facts={}, cpus=64, memory_mib=256 * 1024)
    host_record_heartbeat(host)
    Host.objects.filter(pk=bench.host.pk).update(maintenance=True)
    host.refresh_from_db()
    return host, on_host
