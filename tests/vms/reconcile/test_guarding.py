"""Who is guarded by which groups: clones, cards from before there were groups, hosts that are silent, and what is too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.copy_lives import Copies
from tests.vms.reconcile.group_lives import OUT, SSH, card, change, fresh, in_force, machine, made, ours, second_host
from tests.vms.reconcile.lives import Killed, at_points
from vms.hypervisor import pool
from vms.hypervisor.driver import ProbeResult
from vms.hypervisor.errors import Refused
from vms.models import Guard, Guest, Host, Port, SecurityGroup
from vms.names import filter_name
from vms.reconcile.converge import Place, define
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.services.guarding import port_guard
from vms.services.guests import guest_create
from vms.services.hosts import host_test
from vms.services.image_tests import image_test
from vms.services.placing import NoRoom
from vms.services.security_groups import group_delete, group_rules_set
from vms.services.snapshots import snapshot_create
from vms.specs import GuestSpec
from vms.states import HostState, Power

pytestmark = pytest.mark.django_db


def guards_of(guest: Guest) -> list[list[str]]:
    with every_tenant(why="test"):
        ports = Port.objects.filter(guest=guest).order_by("position").prefetch_related("guards__group")
        return [sorted(guard.group.name for guard in port.guards.all()) for port in ports]


def from_before(bench: Bench, power: Power = Power.RUNNING) -> Guest:
    """A machine as it was made before there were groups: its cards stand on their network's filter, and on no group."""
    guest = bench.guest(Power.STOPPED)
    with every_tenant(why="test"):
        Guard.objects.filter(port__guest=guest).delete()
        row = Guest.objects.select_related("host__pool", "flavor", "tenant", "image").get(pk=guest.pk)
        define(Place(row, row.host, pool.get(bench.host.uri), installation_owner()))
    for name in ours(bench):
        del bench.on_host.filters[name]
    if power == Power.RUNNING:
        assert run(bench.ask(guest, "start").pk) == "succeeded"
    return bench.fresh(guest)


def filters_on(bench: Bench, guest: Guest) -> list[str]:
    spec = bench.on_host.domains[str(guest.pk)].spec
    assert spec is not None
    return [nic.filter.name for nic in spec.nics if nic.filter]


def test_a_clone_is_guarded_as_its_source_is_card_by_card(bench: Bench) -> None:
    copies = Copies(bench)
    web = made(bench, "web")
    guest = machine(bench, web)
    assert run(bench.ask(guest, "attach_port").pk) == "succeeded"

    copies.clone(guest)
    bench.settle()

    with every_tenant(why="test"):
        twin = Guest.objects.get(name__startswith="twin-")
    assert guards_of(twin) == guards_of(guest) == [["web"], ["default"]]
    assert bench.findings() == []


def test_a_machine_from_before_groups_stays_as_it_was_through_restarts(bench: Bench) -> None:
    """The upgrade: nobody is cut off, nothing is written, and the audit has nothing to say."""
    guest = from_before(bench)
    with every_tenant(why="test"):
        network = filter_name(installation_owner(), card(guest).network_id)

    for _ in range(2):
        assert filters_on(bench, guest) == [network]
        assert bench.findings() == []
        with every_tenant(why="test"):
            sweep(bench.host)
        bench.settle()
        assert run(bench.ask(guest, "stop").pk) == run(bench.ask(guest, "start").pk) == "succeeded"

    assert guards_of(guest) == [[]]
    assert ours(bench) == set()
    other = machine(bench)
    assert guards_of(other) == [["default"]]
    assert filters_on(bench, guest) == [network]
    assert bench.findings() == []


def test_memory_that_knows_the_old_card_stands_in_the_way_of_its_first_guard(bench: Bench) -> None:
    """Going back to it would put the card on its network's filter again, behind everybody's back."""
    guest, group = from_before(bench), made(bench)
    with tenant_scope(bench.house.tenant):
        row = Guest.objects.select_related("tenant", "host").get(pk=guest.pk)
        shot = snapshot_create(row, name="then", memory=True, actor=bench.house.actor)
    assert run(shot.pk) == "succeeded"
    assert run(bench.ask(guest, "stop").pk) == "succeeded"

    with tenant_scope(bench.house.tenant), pytest.raises(Conflict) as refused:
        port_guard(card(guest), [group], actor=bench.house.actor)

    assert refused.value.code == "has_snapshots"
    assert guards_of(guest) == [[]]


def test_what_comes_to_more_than_a_host_is_told_is_refused_from_either_side(bench: Bench) -> None:
    friends = made(bench, "friends", [OUT])
    for _ in range(3):
        machine(bench, friends)
    about = [{**SSH, "first_port": port, "last_port": port, "group": str(friends.pk)} for port in range(1, 101)]
    web = made(bench, "web", [])
    machine(bench, web)

    with pytest.raises(Conflict) as refused:
        change(bench, web, about)
    assert refused.value.code == "group_too_large"
    assert fresh(web).rules == []

    assert run(change(bench, web, about[:80]).pk) == "succeeded"
    guests = Quota.objects.get(tenant=bench.house.tenant, resource="guests").used
    late = GuestSpec(name="late", flavor=bench.flavor, image=bench.image, groups=(friends,))
    with tenant_scope(bench.house.tenant), pytest.raises(Conflict) as refused:
        guest_create(bench.house.tenant, late, actor=bench.house.actor)
    assert refused.value.code == "group_too_large"
    assert "web" in refused.value.sentence
    assert Quota.objects.get(tenant=bench.house.tenant, resource="guests").used == guests
    assert in_force(bench, fresh(web))
    assert bench.findings() == []


def test_who_comes_while_a_group_is_just_brought_up_to_date_is_not_forgotten(bench: Bench) -> None:
    """The work has looked for the last time; it is not over yet, so nobody else asked for more."""
    friends = made(bench, "friends", [OUT])
    web = made(bench, "web", [{**SSH, "group": str(friends.pk)}])
    machine(bench, web)
    machine(bench, friends)
    with tenant_scope(bench.house.tenant):
        operation = group_rules_set(fresh(web), [{**SSH, "group": str(friends.pk)}, OUT], actor=bench.house.actor)
        late = GuestSpec(name="late", flavor=bench.flavor, image=bench.image, groups=(friends,))
        guest_create(bench.house.tenant, late, actor=bench.house.actor)
    factories.operation_done(operation)

    (after,) = Operation.objects.filter(kind="group.follow", status="queued")

    assert after.subject_id == web.pk
    bench.settle()
    assert in_force(bench, fresh(web))
    assert len(fresh(web).placed[str(friends.pk)]) == 2


def test_a_group_that_is_gone_guards_nothing_new(bench: Bench) -> None:
    web = made(bench, "web")
    guest = machine(bench)
    with tenant_scope(bench.house.tenant):
        group_delete(web, actor=bench.house.actor)
        spec = GuestSpec(name="late", flavor=bench.flavor, image=bench.image, groups=(web,))
        for late in (
            lambda: guest_create(bench.house.tenant, spec, actor=bench.house.actor),
            lambda: port_guard(card(guest), [web], actor=bench.house.actor),
        ):
            with pytest.raises(Conflict) as refused:
                late()
            assert refused.value.code == "group_gone"


@pytest.mark.parametrize("verb", ["remove_filter", "define"])
def test_what_fails_when_the_host_has_the_new_filter_is_taken_back(bench: Bench, verb: str) -> None:
    """A machine that runs, whose former group could not go; and one from before groups, whose definition was refused."""
    web, other = made(bench), made(bench, "other")
    guest = machine(bench, web) if verb == "remove_filter" else from_before(bench, Power.STOPPED)
    had = guards_of(guest)
    with tenant_scope(bench.house.tenant):
        operation = port_guard(card(guest), [other], actor=bench.house.actor)
    bench.on_host.fail(verb, Refused("no"))

    assert run(operation.pk) == "failed"
    bench.settle()

    assert guards_of(guest) == had
    assert bench.findings() == []


def test_a_second_change_waits_for_the_first(bench: Bench) -> None:
    web = made(bench)
    machine(bench, web)
    first = change(bench, web, [OUT])

    with pytest.raises(Conflict) as refused:
        change(bench, web, [SSH])

    assert refused.value.code == "operation_in_progress"
    assert run(first.pk) == "succeeded"
    assert fresh(web).applied == [OUT]


def test_a_machine_that_starts_while_rules_change_waits_and_has_the_new_ones(bench: Bench) -> None:
    web = made(bench)
    guest = machine(bench, web)
    assert run(bench.ask(guest, "stop").pk) == "succeeded"
    changed = change(bench, web, [OUT])
    start = bench.ask(guest, "start")

    assert run(start.pk) == "queued"
    assert run(changed.pk) == "succeeded"
    bench.settle()

    start.refresh_from_db()
    assert start.status == "succeeded"
    assert in_force(bench, fresh(web))
    assert fresh(web).applied == [OUT]


def two_hosts(bench: Bench) -> tuple[SecurityGroup, Host, Any]:
    """A group with a machine on each of two hosts."""
    web = made(bench)
    machine(bench, web)
    host, on_host = second_host(bench)
    machine(bench, web)
    assert in_force(bench, fresh(web))
    assert in_force(bench, fresh(web), on_host)
    return web, host, on_host


def test_what_one_host_refuses_is_taken_back_from_all(bench: Bench) -> None:
    web, _host, on_host = two_hosts(bench)
    operation = change(bench, web, [OUT])
    on_host.fail("ensure_filter", Refused("no such module"))

    assert run(operation.pk) == "failed"

    assert fresh(web).rules == fresh(web).applied == [SSH, OUT]
    assert in_force(bench, fresh(web))
    assert in_force(bench, fresh(web), on_host)
    assert bench.findings() == []


def test_a_worker_that_dies_between_two_hosts_is_taken_over(bench: Bench) -> None:
    web, _host, on_host = two_hosts(bench)
    operation = change(bench, web, [OUT])
    seen: list[str] = []

    def die(passed: str) -> None:
        seen.append(passed)
        if seen.count("group.apply:group:before") == 2:
            raise Killed

    with at_points(die), pytest.raises(Killed):
        run(operation.pk)
    assert fresh(web).rules != fresh(web).applied, "pages say that it is being put in place"
    lapse(operation)
    bench.settle()

    assert fresh(web).applied == [OUT]
    assert in_force(bench, fresh(web))
    assert in_force(bench, fresh(web), on_host)


def test_a_silent_host_is_passed_by_and_follows_when_it_is_heard(bench: Bench) -> None:
    web, host, on_host = two_hosts(bench)
    Host.objects.filter(pk=host.pk).update(state=HostState.DOWN)
    on_host.silent = True

    assert run(change(bench, web, [OUT]).pk) == "succeeded"
    assert in_force(bench, fresh(web))
    assert not in_force(bench, fresh(web), on_host)

    on_host.speak_again()
    Host.objects.filter(pk=host.pk).update(state=HostState.UP)
    with every_tenant(why="test"):
        sweep(host)
    bench.settle()
    assert in_force(bench, fresh(web), on_host)
    assert bench.findings() == []


@pytest.mark.parametrize("kind", ["group.apply", "group.follow"])
def test_a_worker_killed_at_any_point_of_a_change_is_taken_over(
    kind: str, bench: Bench, subtests: pytest.Subtests
) -> None:
    friends = made(bench, "friends", [OUT])
    web = made(bench, "web", [{**SSH, "group": str(friends.pk)}])
    machine(bench, web)
    number = 0

    def ask() -> Operation:
        nonlocal number
        number += 1
        if kind == "group.apply":
            return change(bench, web, [{**SSH, "first_port": number, "last_port": 99}])
        with tenant_scope(bench.house.tenant):
            spec = GuestSpec(name=f"friend-{number}", flavor=bench.flavor, image=bench.image, groups=(friends,))
            bench.let_speak(guest_create(bench.house.tenant, spec, actor=bench.house.actor).subject_id)
        return Operation.objects.filter(kind="group.follow").latest("created_at")

    points = passed_by(ask)
    bench.settle()
    assert points
    for point in points:
        with subtests.test(point):

            def die(passed: str, point: str = point) -> None:
                if passed == point:
                    raise Killed

            operation = ask()
            with at_points(die), pytest.raises(Killed):
                run(operation.pk)
            lapse(operation)
            bench.settle()

            operation.refresh_from_db()
            assert operation.status == "succeeded"
            assert in_force(bench, fresh(web))
            assert bench.findings() == []


def passed_by(ask: Callable[[], Operation]) -> list[str]:
    with at_points(lambda _point: None) as passed:
        run(ask().pk)
    return list(dict.fromkeys(passed))


def test_a_host_where_groups_do_not_hold_takes_no_new_machines_until_they_do(bench: Bench) -> None:
    """P-H2. What is there goes on: it starts, and takes another size."""
    there, kept = bench.guest(Power.STOPPED), bench.binned()
    says(bench, "groups")

    with pytest.raises(NoRoom) as refused:
        bench.ask_create()
    assert refused.value.details["lacking"] == {bench.host.name: "unguarded"}
    with pytest.raises(NoRoom):
        bench.ask(kept, "restore")
    for action in ("resize", "start"):
        assert run(bench.ask(there, action).pk) == "succeeded"
    with every_tenant(why="test"):
        assert image_test(bench.image, actor=factories.desk()).kind == "image.try", "it has no card"

    says(bench)
    _guest, operation = bench.ask_create()
    assert run(operation.pk) == "succeeded"


def says(bench: Bench, *unenforced: str) -> None:
    """What the host's test finds."""
    bench.on_host.probe = ProbeResult(accelerated=True, unenforced=unenforced)
    with every_tenant(why="test"):
        assert run(host_test(bench.host, actor=factories.desk()).pk) == "succeeded"
