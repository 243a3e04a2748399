"""W1, U2, B5, L3: whatever happens at whichever step, one machine is as wanted afterwards, or nothing is left of it.

The steps are found by running each kind of operation once, so that a new step is tried without a new test.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from operations.models import Operation
from operations.registry import kinds
from operations.runner import run
from operations.services import operation_cancel, operations_expire
from portal.core.clock import now
from portal.core.errors import Conflict
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import RECIPES, Killed, Recipe, at_points, points_of
from tests.vms.reconcile.volume_lives import Disks
from vms.hypervisor.errors import HypervisorError, Refused, StorageFull, Unreachable
from vms.models import Guest
from vms.names import pool_name
from vms.selectors.installation import installation_owner
from vms.states import Power

SAMPLE = 3
UNTRIED = {
    "guest.batch": "has no work of its own",
    "guest.clone": "tests/vms/reconcile/test_copies.py",
    "guest.putback": "tests/vms/reconcile/test_putback.py",
}


def assert_as_wanted(bench: Bench, guest: Guest, power: Power | None) -> None:
    """I1, I2, I3, I6: the machine is as wanted, and the books agree with the host."""
    assert bench.findings() == []
    domain = bench.on_host.domains.get(str(guest.pk))
    if power is None:
        assert bench.is_gone(guest)
    else:
        assert bench.fresh(guest).seen_power == power
    assert (domain.power if domain else Power.ABSENT) == (power or Power.ABSENT)


def assert_nothing_left(bench: Bench) -> None:
    """Of the only machine of the bench nothing is there any more but the image's copy and the tenant's network rows."""
    volumes = bench.on_host.pools[pool_name(installation_owner())].volumes
    assert [name for name in volumes if not name.startswith("img-")] == []
    assert (bench.on_host.domains, bench.on_host.networks, bench.on_host.filters) == ({}, {}, {})
    used = dict(Quota.objects.filter(tenant=bench.house.tenant, used__gt=0).values_list("resource", "used"))
    assert set(used) <= {"networks"}


@pytest.fixture
def some(request: pytest.FixtureRequest) -> Callable[[list[str]], list[str]]:
    """A few of many, others each day; all of them with ``--long``."""
    chosen = random.Random(datetime.now(UTC).date().isoformat() + request.node.name)

    def some(many: list[str]) -> list[str]:
        if request.config.getoption("--long"):
            return many
        return chosen.sample(many, min(SAMPLE, len(many)))

    return some


def clear(bench: Bench, *, disks: bool = False) -> None:
    """The host as it was before its first machine; checks on the way that nothing of the former ones is left.

    With ``disks``, volumes that a machine lets go of go too.
    """
    bench.settle()
    with every_tenant(why="test"):
        guests = list(Guest.objects.all())
    for guest in guests:
        bench.ask(guest, "purge")
    bench.settle()
    if disks:
        Disks(bench).clear()
    assert_nothing_left(bench)
    bench.on_host.pools[pool_name(installation_owner())].volumes.clear()


def test_every_kind_of_operation_on_a_machine_is_tried() -> None:
    assert {name for name in kinds() if name.startswith("guest.")} == set(RECIPES) | set(UNTRIED)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_worker_killed_at_any_point_is_taken_over(recipe: Recipe, bench: Bench, subtests: pytest.Subtests) -> None:
    points = points_of(recipe, bench)
    assert points

    for point in points:
        with subtests.test(point):
            clear(bench)
            guest, operation = recipe.ask(bench)

            def die(passed: str, point: str = point) -> None:
                if passed == point:
                    raise Killed

            with at_points(die), pytest.raises(Killed):
                run(operation.pk)
            assert Operation.objects.get(pk=operation.pk).status == "running"
            lapse(operation)
            bench.settle()

            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("succeeded", "")
            assert_as_wanted(bench, guest, recipe.power)
            bench.on_host.calls.clear()
            assert run(operation.pk) is None


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_worker_that_freezes_at_any_point_changes_nothing_when_it_thaws(
    recipe: Recipe, bench: Bench, some: Callable[[list[str]], list[str]], subtests: pytest.Subtests
) -> None:
    """W3, P-J1: another worker has finished the operation meanwhile."""
    for point in some(points_of(recipe, bench)):
        with subtests.test(point):
            clear(bench)
            guest, operation = recipe.ask(bench)
            late = False
            calls = dict(bench.on_host.calls)

            def freeze(passed: str, point: str = point, operation: Operation = operation) -> None:
                nonlocal late, calls
                if passed == point and not late:
                    late = True
                    lapse(operation)
                    bench.settle()
                    calls = dict(bench.on_host.calls)

            with at_points(freeze):
                run(operation.pk)

            changed = {verb for verb, n in bench.on_host.calls.items() if n != calls.get(verb, 0)} & WRITES
            assert len(changed) <= (point.endswith(":before")), changed
            operation.refresh_from_db()
            assert operation.status == "succeeded"
            assert_as_wanted(bench, guest, recipe.power)


WRITES = {
    "define", "undefine", "start", "press_power", "pull_plug", "reset", "pause", "resume", "save", "discard_save",
    "delete_volume", "remove_network", "remove_filter", "ensure_network", "ensure_filter", "create_overlay",
    "upload_volume",
}  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_what_is_asked_meanwhile_is_refused_at_every_point(recipe: Recipe, bench: Bench) -> None:
    """U2, B5: a second wish is a 409, a second message acts no second time."""
    guest, operation = recipe.ask(bench)
    actions = ("start", "stop", "delete", "purge", "restore", "suspend")

    def meddle(_point: str) -> None:
        assert run(operation.pk) is None
        for action in actions:
            with pytest.raises(Conflict):
                bench.ask(guest, action)

    with at_points(meddle):
        assert run(operation.pk) == "succeeded"
    assert_as_wanted(bench, guest, recipe.power)


def test_a_creation_called_off_at_any_point_leaves_nothing(bench: Bench, subtests: pytest.Subtests) -> None:
    for point in points_of(RECIPES["guest.create"], bench)[:-1]:
        with subtests.test(point):
            clear(bench)
            guest, operation = bench.ask_create()

            def call_off(passed: str, point: str = point, operation: Operation = operation) -> None:
                if passed == point:
                    with tenant_scope(bench.house.tenant):
                        operation_cancel(operation, actor=bench.house.actor)

            with at_points(call_off):
                ended = run(operation.pk)
            bench.settle()

            if ended == "succeeded":
                assert point.startswith("guest.create:start:"), "nothing was left to be called off"
                assert_as_wanted(bench, guest, Power.RUNNING)
                continue
            assert ended == "cancelled"
            assert bench.is_gone(guest)
            assert_nothing_left(bench)
            assert bench.findings() == []


@pytest.mark.parametrize("what", ["create", "purge"])
def test_two_machines_of_one_network_come_and_go_at_once(what: str, bench: Bench, subtests: pytest.Subtests) -> None:
    """While the last machine of a network is removed, another one is made on it, or removed too."""
    for point in points_of(RECIPES["guest.purge"], bench):
        with subtests.test(point):
            clear(bench)
            first = bench.guest()
            second = bench.guest() if what == "purge" else None
            purge = bench.ask(first, "purge")
            begun = False

            def at_once(passed: str, point: str = point) -> None:
                nonlocal second, begun
                if passed != point or begun:
                    return
                begun = True
                if second is None:
                    second, operation = bench.ask_create()
                else:
                    operation = bench.ask(second, "purge")
                run(operation.pk)

            with at_points(at_once):
                run(purge.pk)
            at_once(point)
            bench.settle()

            ends = Operation.objects.exclude(status="succeeded").values_list(
                "kind", "status", "error_code", "error_detail"
            )
            assert list(ends) == []
            assert second is not None
            assert_as_wanted(bench, first, None)
            assert_as_wanted(bench, second, None if what == "purge" else Power.RUNNING)
            if what == "purge":
                assert_nothing_left(bench)
            else:
                assert len(bench.on_host.networks) == 1
                assert len(bench.on_host.filters) == 3, "of the network, of the group, of the card"


CREATING = ("upload_volume", "create_overlay", "ensure_filter", "ensure_network", "define", "start")


@pytest.mark.parametrize("error", [Refused, StorageFull], ids=lambda error: str(error.__name__))
@pytest.mark.parametrize("verb", CREATING)
def test_a_creation_the_host_refuses_leaves_nothing_and_says_why(
    verb: str, error: type[HypervisorError], bench: Bench
) -> None:
    bench.on_host.fail(verb, error("/secret/path: no"))
    guest, operation = bench.ask_create()

    assert run(operation.pk) == "failed"
    operation.refresh_from_db()
    assert operation.error_message
    assert "/secret" not in operation.error_message + operation.error_hint
    assert "/secret" in operation.error_detail
    assert Quota.objects.get(tenant=bench.house.tenant, resource="guests").used == 0
    bench.settle()

    assert bench.is_gone(guest)
    assert_nothing_left(bench)
    assert bench.findings() == []


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_an_answer_lost_at_any_call_is_looked_up_and_tried_again(
    recipe: Recipe, bench: Bench, after: bool, some: Callable[[list[str]], list[str]], subtests: pytest.Subtests
) -> None:
    """L3: reread before retry; the effect happens once."""
    for verb in some(_verbs_of(recipe, bench)):
        with subtests.test(verb):
            clear(bench)
            guest, operation = recipe.ask(bench)
            bench.on_host.fail(verb, Unreachable("answer lost"), after=after)

            run(operation.pk)
            bench.settle()

            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("succeeded", "")
            assert_as_wanted(bench, guest, recipe.power)


def _verbs_of(recipe: Recipe, bench: Bench) -> list[str]:
    _guest, operation = recipe.ask(bench)
    bench.on_host.calls.clear()
    assert run(operation.pk) == "succeeded"
    return [verb for verb in bench.on_host.calls if verb not in ("alive", "close")]


@pytest.mark.parametrize("silent", [False, True], ids=["host answers again", "host stays silent"])
def test_a_silent_host_delays_and_never_loses(silent: bool, bench: Bench) -> None:
    guest, operation = bench.ask_create()
    bench.on_host.silent = True
    assert run(operation.pk) == "queued"

    if not silent:
        bench.on_host.speak_again()
        bench.settle()
        assert_as_wanted(bench, guest, Power.RUNNING)
        return
    Operation.objects.filter(pk=operation.pk).update(deadline_at=now() - timedelta(seconds=1))
    Operation.objects.update(not_before=now())
    list(operations_expire())
    operation.refresh_from_db()
    assert operation.status == "failed"
    bench.on_host.speak_again()
    bench.settle()
    assert bench.is_gone(guest)
    assert_nothing_left(bench)
