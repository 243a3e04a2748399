"""I3: the audit finds a counter, a machine or a disk that is not what somebody is charged for."""

from __future__ import annotations

import re
from dataclasses import replace

from tenants.models import Quota
from tenants.scoping import every_tenant
from tests.vms.reconcile.bench import Bench
from vms.reconcile.sweep import sweep
from vms.states import Power


def test_all_is_well_with_machines_in_every_state(bench: Bench) -> None:
    for power in (Power.RUNNING, Power.STOPPED, Power.PAUSED, Power.SUSPENDED):
        bench.guest(power)
    bench.binned()

    assert bench.findings() == []
    used = dict(Quota.objects.filter(tenant=bench.house.tenant, used__gt=0).values_list("resource", "used"))
    assert used == {
        "guests": 4, "running_guests": 2, "vcpus": 4, "memory_mib": 4 * 256, "disk_gib": 5, "disk_gib:standard": 5,
        "volumes": 5, "networks": 1, "ports": 5, "addresses": 5,
    }  # fmt: skip


def test_a_counter_that_is_off_is_found(bench: Bench) -> None:
    bench.guest()
    Quota.objects.filter(tenant=bench.house.tenant, resource="running_guests").update(used=3)

    (finding,) = bench.findings()
    assert re.search(r"I3 tenant .*: running_guests counts 3, rows make 1", finding)


def test_a_machine_or_disk_that_is_larger_on_the_host_than_its_row_says_is_found(bench: Bench) -> None:
    guest = bench.guest()
    domain = bench.on_host.domains[str(guest.pk)]
    assert domain.spec is not None
    domain.spec = domain.live_spec = replace(domain.spec, vcpus=8)
    for pool in bench.on_host.pools.values():
        for name, (volume, checksum) in list(pool.volumes.items()):
            if not name.startswith("img-"):
                pool.volumes[name] = replace(volume, capacity=volume.capacity * 2), checksum

    findings = bench.findings()

    assert len([line for line in findings if "has 8 vCPUs" in line]) == 1
    assert len([line for line in findings if "charged for 1 GiB" in line]) == 1


def test_a_machine_that_an_operator_started_by_hand_has_its_own_size(bench: Bench) -> None:
    guest = bench.guest(Power.STOPPED)

    bench.on_host.happen(str(guest.pk), Power.RUNNING)
    with every_tenant(why="test"):
        sweep(bench.host)

    assert bench.findings() == []
