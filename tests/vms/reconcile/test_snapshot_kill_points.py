"""P-B, W1, U2: whatever happens at whichever step, disks, rows and quota agree on snapshots and contents."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from operations.models import Operation
from operations.registry import kinds
from operations.runner import run
from operations.services import operations_expire
from portal.core.errors import Conflict
from tenants.models import Quota
from tenants.scoping import every_tenant
from tests import factories
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.snapshot_lives import SINCE, SNAPSHOT_RECIPES, THEN, Shots, SnapshotRecipe
from tests.vms.reconcile.test_kill_points import some  # noqa: F401  (a fixture)
from tests.vms.reconcile.volume_lives import Disks
from vms.hypervisor.errors import Refused, Unreachable
from vms.models import Guest, Snapshot, Volume
from vms.names import snapshot_name
from vms.states import Power

LATER = "later"
EACH = pytest.mark.parametrize("recipe", SNAPSHOT_RECIPES.values(), ids=SNAPSHOT_RECIPES)


@pytest.fixture
def shots(bench: Bench) -> Shots:
    return Shots(bench)


def test_every_kind_of_operation_is_tried() -> None:
    named = {name for name in kinds() if name.startswith("snapshot.")}

    assert named == {recipe.kind for recipe in SNAPSHOT_RECIPES.values()}


def points_of(recipe: SnapshotRecipe, shots: Shots) -> list[str]:
    """Every checkpoint that an undisturbed run of the recipe passes, each once."""
    of, snapshot, operation = recipe.ask(shots)
    with at_points(lambda _point: None) as passed:
        assert run(operation.pk) == "succeeded", (operation.refresh_from_db(), operation.error_detail)
    assert_as_wanted(shots, recipe, of, snapshot)
    return list(dict.fromkeys(passed))


def assert_as_wanted(shots: Shots, recipe: SnapshotRecipe, of: Guest | Volume, snapshot: Snapshot) -> None:
    assert shots.bench.findings() == []
    assert shots.read(of) == {recipe.reads}
    assert shots.held(snapshot) == recipe.held
    assert shots.is_gone(snapshot) == (recipe.held == 0)
    if isinstance(of, Guest):
        guest = shots.bench.fresh(of)
        assert (guest.seen_power, guest.want_power, guest.problem_code) == (recipe.power, recipe.power, "")
    if recipe.held:
        row = shots.fresh(snapshot.pk)
        assert (row.state, row.consistency, row.problem) == ("ready", recipe.consistency, "")


@EACH
def test_a_worker_killed_at_any_point_is_taken_over(
    recipe: SnapshotRecipe, shots: Shots, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    points = points_of(recipe, shots)
    chosen = random.Random(datetime.now(UTC).date().isoformat() + recipe.name)
    for point in points if request.config.getoption("--long") else chosen.sample(points, 1):
        with subtests.test(point):
            of, snapshot, operation = recipe.ask(shots)

            def die(passed: str, point: str = point) -> None:
                if passed == point:
                    raise Killed

            with at_points(die), pytest.raises(Killed):
                run(operation.pk)
            lapse(operation)
            shots.bench.settle()

            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("succeeded", "")
            assert_as_wanted(shots, recipe, of, snapshot)
            assert run(operation.pk) is None


def test_an_answer_lost_at_any_call_is_looked_up_and_tried_again(
    shots: Shots,
    some: Callable[[list[str]], list[str]],  # noqa: F811
    subtests: pytest.Subtests,
) -> None:
    cases = []
    for recipe in map(SNAPSHOT_RECIPES.__getitem__, some(list(SNAPSHOT_RECIPES))):
        operation = recipe.ask(shots)[2]
        shots.bench.on_host.calls.clear()
        assert run(operation.pk) == "succeeded"
        verbs = [verb for verb in shots.bench.on_host.calls if verb not in ("alive", "close")]
        cases += [f"{recipe.name}: {verb} {when}" for verb in verbs for when in ("before", "after")]

    for case in some(cases):
        with subtests.test(case):
            name, _colon, call = case.rpartition(": ")
            recipe, (verb, when) = SNAPSHOT_RECIPES[name], call.split()
            of, snapshot, operation = recipe.ask(shots)
            shots.bench.on_host.fail(verb, Unreachable("answer lost"), after=when == "after")

            run(operation.pk)
            shots.bench.settle()

            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("succeeded", "")
            assert_as_wanted(shots, recipe, of, snapshot)


@pytest.mark.parametrize("name", ["create, running", "revert with memory", "revert, a volume", "delete, off"])
def test_what_is_asked_meanwhile_is_refused_at_every_point(name: str, shots: Shots) -> None:
    recipe = SNAPSHOT_RECIPES[name]
    of, snapshot, operation = recipe.ask(shots)

    def meddle(_point: str) -> None:
        assert run(operation.pk) is None
        for verb in ("revert", "delete"):
            with pytest.raises(Conflict):
                shots.ask(snapshot, verb)
        with pytest.raises(Conflict):
            shots.ask_create(of)
        if isinstance(of, Guest):
            for action in ("start", "stop", "delete", "purge", "suspend", "rebuild"):
                with pytest.raises(Conflict):
                    shots.bench.ask(of, action)
        else:
            with pytest.raises(Conflict):
                Disks(shots.bench).ask(of, "extend", size_gib=9)

    with at_points(meddle):
        assert run(operation.pk) == "succeeded"
    assert_as_wanted(shots, recipe, of, snapshot)


@pytest.mark.parametrize("name", ["create, running", "create with memory", "revert, running", "revert with memory"])
def test_a_worker_that_freezes_at_any_point_changes_nothing_when_it_thaws(
    name: str, shots: Shots, subtests: pytest.Subtests
) -> None:
    recipe = SNAPSHOT_RECIPES[name]
    for point in points_of(recipe, shots):
        with subtests.test(point):
            of, snapshot, operation = recipe.ask(shots)
            late = False

            def freeze(passed: str, point: str = point, of: Guest | Volume = of, pk: object = operation.pk) -> None:
                nonlocal late
                if passed == point and not late:
                    late = True
                    lapse(Operation.objects.get(pk=pk))
                    shots.bench.settle()
                    shots.write(of, LATER)

            with at_points(freeze):
                run(operation.pk)

            assert_as_wanted(shots, replace(recipe, reads=LATER), of, snapshot)
            name = snapshot_name(snapshot.pk)
            assert {held[name].content for held in shots.bench.on_host.kept.values() if name in held} == {THEN}


def used(bench: Bench) -> int:
    return Quota.objects.get(tenant=bench.house.tenant, resource="snapshots").used


@pytest.mark.parametrize("memory", [False, True], ids=["disks", "with memory"])
def test_one_that_cannot_be_taken_is_cleared_away_and_costs_nothing(memory: bool, shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    shots.bench.on_host.fail("take_memory" if memory else "take_snapshot", Refused("no"), after=True)
    snapshot, operation = shots.ask_create(guest, memory=memory)
    assert used(shots.bench) == 1

    assert run(operation.pk) == "failed"
    assert shots.fresh(snapshot.pk).state == "deleting"
    assert used(shots.bench) == 1
    shots.bench.settle()

    assert shots.is_gone(snapshot)
    assert (shots.held(snapshot), used(shots.bench)) == (0, 0)
    assert shots.bench.fresh(guest).seen_power == Power.RUNNING
    assert shots.bench.findings() == []


def test_one_that_cannot_be_deleted_says_so_and_can_be_asked_again(shots: Shots) -> None:
    snapshot = shots.snapshot(shots.machine(Power.RUNNING))
    shots.bench.on_host.fail("drop_snapshot", Refused("no"))

    assert run(shots.ask(snapshot, "delete").pk) == "failed"
    row = shots.fresh(snapshot.pk)
    assert row.state == "error"
    assert row.problem
    with pytest.raises(Conflict):
        shots.ask(snapshot, "revert")
    assert run(shots.ask(snapshot, "delete").pk) == "succeeded"

    assert shots.is_gone(snapshot)
    assert shots.bench.findings() == []


def test_a_revert_that_fails_leaves_the_machine_off_and_the_snapshot_whole(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    snapshot = shots.snapshot(guest)
    shots.bench.on_host.fail("revert_snapshot", Refused("no"))

    operation = shots.ask(snapshot, "revert")
    assert run(operation.pk) == "failed"

    operation.refresh_from_db()
    row = shots.bench.fresh(guest)
    assert (row.seen_power, row.want_power) == (Power.STOPPED, Power.STOPPED)
    assert "revert again" in row.problem_message
    assert shots.fresh(snapshot.pk).state == "ready"
    assert shots.read(guest) == {SINCE}
    assert shots.bench.findings() == []
    assert run(shots.ask(snapshot, "revert").pk) == "succeeded"


def test_what_no_worker_began_in_time_is_as_if_never_asked(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    snapshot = shots.snapshot(guest)
    for ask in (
        lambda: shots.ask_create(guest)[1],
        lambda: shots.ask(snapshot, "revert"),
        lambda: shots.ask(snapshot, "delete"),
    ):
        operation = ask()
        type(operation).objects.filter(pk=operation.pk).update(deadline_at=factories.now())
        list(operations_expire())

        operation.refresh_from_db()
        assert operation.status == "failed"
        assert shots.fresh(snapshot.pk).state == "ready"
        assert used(shots.bench) == 1
        assert shots.bench.fresh(guest).want_power == Power.RUNNING
        assert shots.bench.findings() == []


def test_a_machine_that_is_gone_for_good_takes_its_snapshots_and_leaves_none_in_what_it_kept(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    with every_tenant(why="test"):
        kept = Volume.objects.get(guest=guest, position=1)
    of_guest, of_volume = shots.snapshot(guest), shots.snapshot(kept)
    assert used(shots.bench) == 2

    assert run(shots.bench.ask(guest, "purge").pk) == "succeeded"

    assert shots.is_gone(of_guest)
    assert not shots.is_gone(of_volume)
    assert (shots.held(of_guest), shots.held(of_volume), used(shots.bench)) == (0, 1, 1)
    assert shots.bench.findings() == []
    with pytest.raises(Conflict) as refused:
        Disks(shots.bench).ask(kept, "delete")
    assert refused.value.code == "has_snapshots"
    assert run(shots.ask(of_volume, "delete").pk) == "succeeded"
    assert run(Disks(shots.bench).ask(kept, "delete").pk) == "succeeded"
    assert shots.bench.findings() == []


def test_in_the_bin_a_machine_keeps_its_snapshots_and_comes_back_with_them(shots: Shots) -> None:
    guest = shots.machine(Power.RUNNING)
    first, second = shots.snapshot(guest), shots.snapshot(guest)

    assert run(shots.bench.ask(guest, "delete").pk) == "succeeded"
    assert run(shots.ask(second, "delete").pk) == "succeeded"
    assert used(shots.bench) == 1
    assert shots.bench.findings() == []
    assert run(shots.bench.ask(guest, "restore").pk) == "succeeded"
    assert run(shots.ask(first, "revert").pk) == "succeeded"

    assert shots.bench.findings() == []


def test_what_would_tear_a_snapshot_apart_is_refused_with_what_to_do(shots: Shots) -> None:
    guest = shots.machine(Power.STOPPED)
    snapshot = shots.snapshot(guest)
    with every_tenant(why="test"):
        data = Volume.objects.get(guest=guest, position=1)

    for deed in (lambda: Disks(shots.bench).ask(data, "detach"), lambda: shots.bench.ask(guest, "rebuild")):
        with pytest.raises(Conflict) as refused:
            deed()
        assert refused.value.code == "has_snapshots"
    assert run(shots.ask(snapshot, "delete").pk) == "succeeded"
    assert run(Disks(shots.bench).ask(data, "detach").pk) == "succeeded"
    assert run(shots.bench.ask(guest, "rebuild").pk) == "succeeded"
    assert shots.bench.findings() == []
