"""P-J1, P-J4: what comes back after its deletion is taken away again; what no deletion names is never touched."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection

from operations.models import Operation
from operations.runner import run
from operations.services import operations_expire
from portal.core.clock import now
from tenants.scoping import every_tenant, tenant_scope
from tests.lab.waiting import wait_until
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import at_points
from vms.hypervisor.errors import Refused, Unreachable
from vms.models import Drift, Guest, Installation, NetworkOnHost
from vms.reconcile.sweep import sweep
from vms.services.leftovers import SURE_AFTER
from vms.services.networks import network_create, network_delete, network_use_host
from vms.specs import NetworkWish
from vms.states import Power


def look(bench: Bench) -> set[str]:
    """One sweep; the kinds of drift it shows."""
    with every_tenant(why="test"):
        sweep(bench.host)
    return set(Drift.objects.values_list("kind", flat=True))


def later() -> None:
    """As if the first sighting had been long enough ago."""
    Drift.objects.update(first_seen_at=now() - SURE_AFTER)


def removals() -> list[Operation]:
    return list(Operation.objects.filter(kind__in=["host.clear", "guest.withdraw"]).order_by("created_at"))


@contextmanager
def frozen_in_define(bench: Bench, operation: Operation) -> Iterator[None]:
    """A worker that has passed its last look at its lease and is frozen inside the call; it thaws at the end."""

    def work() -> None:
        try:
            run(operation.pk)
        finally:
            connection.close()

    thaw = bench.on_host.hang("define")
    before = bench.on_host.calls["define"]
    worker = threading.Thread(target=work)
    worker.start()
    wait_until(lambda: bench.on_host.calls["define"] > before, timeout_s=30, what="the worker in its call")
    yield
    thaw.set()
    worker.join(30)
    assert not worker.is_alive()


def takes_over(bench: Bench, operation: Operation) -> None:
    lapse(operation)
    list(operations_expire())
    bench.settle()
    operation.refresh_from_db()
    assert operation.status == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_thaws_inside_a_call_brings_no_purged_machine_back(bench: Bench) -> None:
    """W3: the stray it makes is found, and removed once it has been seen for a while."""
    guest, create = bench.ask_create()
    with frozen_in_define(bench, create):
        takes_over(bench, create)
        assert run(bench.ask(guest, "purge").pk) == "succeeded"
        assert bench.on_host.domains == {}
    assert list(bench.on_host.domains) == [str(guest.pk)], "the call took effect after all"

    assert look(bench) == {"stray_domain"}
    look(bench)
    assert removals() == [], "not on few sightings"
    later()
    look(bench)
    bench.settle()

    assert bench.on_host.domains == {}
    assert [(one.kind, one.status) for one in removals()] == [("host.clear", "succeeded")]
    assert look(bench) == set()
    assert bench.findings() == []


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_thaws_inside_a_call_leaves_a_binned_machine_in_the_bin(bench: Bench) -> None:
    guest = bench.guest(Power.STOPPED)
    start = bench.ask(guest, "start")
    with frozen_in_define(bench, start):
        takes_over(bench, start)
        assert run(bench.ask(guest, "delete").pk) == "succeeded"
    assert str(guest.pk) in bench.on_host.domains

    assert look(bench) == {"binned_but_defined"}
    later()
    look(bench)
    bench.settle()

    assert bench.on_host.domains == {}
    assert look(bench) == set()
    assert bench.findings() == []
    assert run(bench.ask(guest, "restore").pk) == "succeeded"
    assert bench.fresh(guest).seen_power == Power.STOPPED


def stray(bench: Bench) -> Guest:
    """A machine that was purged and stands on the host again, seen for long enough."""
    guest = bench.guest(Power.STOPPED)
    kept = bench.on_host.domains[str(guest.pk)]
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    bench.on_host.domains[str(guest.pk)] = kept
    look(bench)
    later()
    return guest


def test_what_no_finished_deletion_names_is_only_shown(bench: Bench) -> None:
    guest = stray(bench)
    Operation.objects.filter(kind="guest.purge").update(status="failed", error_message="no")

    assert look(bench) == {"stray_domain"}
    bench.settle()

    assert removals() == []
    assert str(guest.pk) in bench.on_host.domains


def test_a_definition_newer_than_the_deletion_is_only_shown(bench: Bench) -> None:
    stray(bench)
    Operation.objects.filter(kind="guest.purge").update(generation=0)

    assert look(bench) == {"stray_domain"}
    assert removals() == []


def test_what_runs_is_only_shown(bench: Bench) -> None:
    guest = stray(bench)
    bench.on_host.happen(str(guest.pk), Power.RUNNING)

    assert look(bench) == {"stray_domain"}
    assert removals() == []


def test_another_portals_machine_is_not_removed_for_our_deletion(bench: Bench) -> None:
    guest = stray(bench)
    Installation.objects.update(epoch=2)

    look(bench)
    bench.settle()

    assert removals() == []
    assert str(guest.pk) in bench.on_host.domains


def test_what_the_host_refuses_to_remove_is_left_to_the_operator(bench: Bench) -> None:
    stray(bench)
    look(bench)
    bench.on_host.fail("undefine", Refused("no"))
    bench.settle()

    for _ in range(2):
        later()
        assert look(bench) == {"stray_domain"}
        bench.settle()

    assert [one.status for one in removals()] == ["failed"]


def test_a_restore_that_fails_once_the_machine_stood_takes_it_off_again(bench: Bench) -> None:
    """It was left defined in the bin. The host may fail during the taking off, too."""
    guest = bench.binned()
    bench.on_host.fail("domain", Refused("no"), at=2)
    assert run(bench.ask(guest, "restore").pk) == "failed"
    assert str(guest.pk) in bench.on_host.domains
    bench.on_host.fail("undefine", Unreachable("answer lost"), after=True)

    bench.settle()

    assert bench.on_host.domains == {}
    assert (bench.fresh(guest).binned_at, bench.fresh(guest).want_power) == (guest.binned_at, Power.ABSENT)
    assert bench.fresh(guest).problem_code == "host_refused"
    assert look(bench) == set()
    assert bench.findings() == []
    assert run(bench.ask(guest, "restore").pk) == "succeeded"


def test_a_restore_that_never_began_takes_nothing_off(bench: Bench) -> None:
    guest = bench.binned()
    restore = bench.ask(guest, "restore")
    Operation.objects.filter(pk=restore.pk).update(deadline_at=now() - timedelta(seconds=1))

    list(operations_expire())

    assert removals() == []
    assert bench.findings() == []


def test_a_machine_whose_name_is_taken_while_it_returns_stays_in_the_bin(bench: Bench) -> None:
    """The database refused its end, and a worker tried again and again until the deadline."""
    guest = bench.binned()
    restore = bench.ask(guest, "restore")
    _other, create = bench.ask_create(guest.name)

    assert run(restore.pk) == "failed"

    restore.refresh_from_db()
    assert restore.error_code == "name_taken"
    assert run(create.pk) == "succeeded"
    bench.settle()
    assert bench.fresh(guest).binned_at == guest.binned_at
    assert str(guest.pk) not in bench.on_host.domains
    assert bench.findings() == []


def test_a_network_on_which_a_machine_is_made_while_it_goes_stays(bench: Bench) -> None:
    with tenant_scope(bench.house.tenant):
        network = network_create(bench.house.tenant, NetworkWish(name="lan"), actor=bench.house.actor, is_default=True)
        network_use_host(bench.host, network)
        delete = network_delete(network, actor=bench.house.actor)
    made: list[tuple[Guest, Operation]] = []

    def make(point: str) -> None:
        if point == "network.delete:drop_bar:after":
            made.append(bench.ask_create())

    with at_points(make):
        assert run(delete.pk) == "failed"

    delete.refresh_from_db()
    assert delete.error_code == "network_in_use"
    ((_guest, create),) = made
    assert run(create.pk) == "succeeded"
    assert len(bench.on_host.networks) == 1
    assert len(bench.on_host.filters) == 3, "the network's, its group's and its card's"
    assert bench.findings() == []


def test_a_network_the_host_keeps_is_still_known_there(bench: Bench) -> None:
    guest = bench.binned()
    bench.on_host.fail("remove_network", Refused("busy"))

    assert run(bench.ask(guest, "purge").pk) == "failed"

    with every_tenant(why="test"):
        (use,) = NetworkOnHost.objects.all()
    assert [name.endswith(use.network_id.hex) for name in bench.on_host.networks] == [True]
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    with every_tenant(why="test"):
        assert not NetworkOnHost.objects.exists()
    assert not bench.on_host.networks
    assert bench.findings() == []
