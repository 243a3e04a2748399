"""Networks on hosts: what is brought there and when, and who has a name there."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict
from tenants.scoping import every_tenant, tenant_scope
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import Killed, at_points
from vms.hypervisor.errors import Refused
from vms.hypervisor.xml.network import DnsName, NetworkSpec
from vms.models import Address, Guest, Network, NetworkOnHost
from vms.names import network_name
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.selectors.networks import networks_drawn
from vms.services.guests import guest_edit
from vms.services.networks import network_edit
from vms.states import Power


def spec_on(bench: Bench, network: Network) -> NetworkSpec:
    spec = bench.on_host.networks[network_name(owner(), network.pk)]
    assert spec is not None
    return spec


def owner() -> Any:
    with every_tenant(why="test"):
        return installation_owner()


def net_of(guest: Guest) -> Network:
    with every_tenant(why="test"):
        return networks_drawn().get(ports__guest=guest)


def edit(bench: Bench, network: Network, **changes: Any) -> Operation | None:
    with tenant_scope(bench.house.tenant):
        return network_edit(Network.objects.get(pk=network.pk), actor=bench.house.actor, **changes)[1]


def test_names_follow_machines_through_their_lives(bench: Bench) -> None:
    guest = bench.guest()
    network = net_of(guest)
    with every_tenant(why="test"):
        ip = Address.objects.get(port__guest=guest).ip
    assert spec_on(bench, network).names == (DnsName(ip=ip, name=guest.name),)

    with tenant_scope(bench.house.tenant):
        guest_edit(guest, actor=bench.house.actor, name="renamed")
    with every_tenant(why="test"):
        sweep(bench.host)
    assert spec_on(bench, network).names == (DnsName(ip=ip, name="renamed"),)

    assert run(bench.ask(guest, "delete").pk) == "succeeded"
    assert spec_on(bench, network).names == ()
    assert run(bench.ask(guest, "restore").pk) == "succeeded"
    assert spec_on(bench, network).names == (DnsName(ip=ip, name="renamed"),)
    assert bench.findings() == []


def test_what_a_network_is_taken_down_for_waits_until_its_machines_are_off(bench: Bench) -> None:
    guest = bench.guest()
    network = net_of(guest)
    with pytest.raises(Conflict) as refusal:
        edit(bench, network, mtu=1400)
    assert (refusal.value.code, guest.name in refusal.value.sentence) == ("machines_on", True)
    assert edit(bench, network, description="Still on.") is None

    assert run(bench.ask(guest, "stop").pk) == "succeeded"
    operation = edit(bench, network, mtu=1400, dns=("9.9.9.9",), outward="isolated")
    assert operation is not None
    assert net_of(guest).waits  # type: ignore[attr-defined]
    assert run(operation.pk) == "succeeded"

    spec = spec_on(bench, network)
    assert (spec.mtu, spec.dns, spec.mode) == (1400, ("9.9.9.9",), "isolated")
    assert not net_of(guest).waits  # type: ignore[attr-defined]
    assert run(bench.ask(guest, "start").pk) == "succeeded"
    assert bench.findings() == []


def test_what_did_not_reach_a_host_comes_with_the_next_start_there(bench: Bench) -> None:
    guest = bench.guest(Power.STOPPED)
    network = net_of(guest)
    bench.on_host.fail("ensure_network", Refused("no"))
    operation = edit(bench, network, mtu=1400)
    assert operation is not None
    assert run(operation.pk) == "failed"
    assert net_of(guest).waits  # type: ignore[attr-defined]

    assert run(bench.ask(guest, "start").pk) == "succeeded"

    assert spec_on(bench, network).mtu == 1400
    assert not net_of(guest).waits  # type: ignore[attr-defined]


def test_a_worker_killed_while_it_changes_a_network_is_taken_over(bench: Bench) -> None:
    guest = bench.guest(Power.STOPPED)
    network = net_of(guest)
    passed: list[str] = []
    operation = edit(bench, network, mtu=1300)
    assert operation is not None
    with at_points(passed.append):
        assert run(operation.pk) == "succeeded"

    points = list(dict.fromkeys(passed))
    point = random.Random(datetime.now(UTC).date().isoformat()).choice(points)
    operation = edit(bench, network, mtu=1400)
    assert operation is not None

    def die(here: str) -> None:
        if here == point:
            raise Killed

    with at_points(die), pytest.raises(Killed):
        run(operation.pk)
    lapse(operation)
    bench.settle()

    with every_tenant(why="test"):
        uses = NetworkOnHost.objects.filter(network=network).values_list("drawing", "network__drawing")
        assert {here == drawn for here, drawn in uses} == {True}
    assert spec_on(bench, network).mtu == 1400
    assert bench.findings() == []
