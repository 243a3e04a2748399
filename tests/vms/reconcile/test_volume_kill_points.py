"""P-B12, W1, U2, L3: whatever happens at whichever step, rows, running machine and its next start agree on who has a disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from operations.models import Operation
from operations.registry import kinds
from operations.runner import run
from operations.services import operation_cancel, operations_expire
from portal.core.clock import now
from portal.core.errors import Conflict, Missing
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.copy_lives import COPIES
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.test_kill_points import some  # noqa: F401  (a fixture)
from tests.vms.reconcile.volume_lives import VOLUME_RECIPES, Disks, VolumeRecipe
from vms.hypervisor.errors import Refused, StorageFull, Unreachable
from vms.models import Guest, Volume
from vms.reconcile.sweep import sweep
from vms.services.guests import guest_create
from vms.services.volumes import volume_attach, volume_delete, volume_follow
from vms.specs import GuestSpec, VolumeSpec
from vms.states import Power

EACH = pytest.mark.parametrize("recipe", VOLUME_RECIPES.values(), ids=VOLUME_RECIPES)


@pytest.fixture
def disks(bench: Bench) -> Disks:
    return Disks(bench)


def test_every_kind_of_operation_is_tried() -> None:
    named = {name for name in kinds() if name.startswith("volume.") and name not in COPIES}

    assert named == {recipe.kind for recipe in VOLUME_RECIPES.values()}


def points_of(recipe: VolumeRecipe, disks: Disks) -> list[str]:
    _guest, _volume, operation = recipe.ask(disks)
    with at_points(lambda _point: None) as passed:
        assert run(operation.pk) == "succeeded"
    return list(dict.fromkeys(passed))


def assert_as_wanted(disks: Disks, recipe: VolumeRecipe, guest: Guest | None, volume: Volume) -> None:
    assert disks.bench.findings() == []
    assert disks.is_gone(volume) == recipe.gone
    assert disks.has_file(volume) != recipe.gone
    if recipe.gone:
        return
    row = disks.fresh(volume.pk)
    assert (row.state, row.guest_id is not None, row.size_gib) == ("ready", recipe.attached, recipe.size_gib)
    if guest is not None:
        running = disks.bench.fresh(guest).seen_power == Power.RUNNING
        wanted = ({"live", "kept"} if running else {"kept"}) if recipe.attached else set()
        assert disks.plugged(guest, volume) == wanted


@EACH
def test_a_worker_killed_at_any_point_is_taken_over(
    recipe: VolumeRecipe, disks: Disks, subtests: pytest.Subtests
) -> None:
    points = points_of(recipe, disks)
    assert points

    for point in points:
        with subtests.test(point):
            guest, volume, operation = recipe.ask(disks)

            def die(passed: str, point: str = point) -> None:
                if passed == point:
                    raise Killed

            with at_points(die), pytest.raises(Killed):
                run(operation.pk)
            lapse(operation)
            disks.bench.settle()

            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("succeeded", "")
            assert_as_wanted(disks, recipe, guest, volume)
            assert run(operation.pk) is None


@EACH
def test_what_is_asked_meanwhile_is_refused_at_every_point(recipe: VolumeRecipe, disks: Disks) -> None:
    guest, volume, operation = recipe.ask(disks)
    other = disks.bench.guest(Power.STOPPED)

    def meddle(_point: str) -> None:
        assert run(operation.pk) is None
        for verb, arguments, more in (
            ("attach", (other,), {}),
            ("detach", (), {}),
            ("extend", (), {"size_gib": 9}),
            ("limit", (), {"iops": 7, "mbps": 7}),
            ("delete", (), {}),
        ):
            with pytest.raises(Conflict):
                disks.ask(volume, verb, *arguments, **more)
        if guest is not None:
            for action in ("start", "stop", "delete", "purge", "suspend"):
                with pytest.raises(Conflict):
                    disks.bench.ask(guest, action)

    with at_points(meddle):
        assert run(operation.pk) == "succeeded"
    assert_as_wanted(disks, recipe, guest, volume)


@EACH
def test_an_answer_lost_at_any_call_is_looked_up_and_tried_again(
    recipe: VolumeRecipe,
    disks: Disks,
    some: Callable[[list[str]], list[str]],  # noqa: F811
    subtests: pytest.Subtests,
) -> None:
    _guest, _volume, operation = recipe.ask(disks)
    disks.bench.on_host.calls.clear()
    assert run(operation.pk) == "succeeded"
    verbs = [verb for verb in disks.bench.on_host.calls if verb not in ("alive", "close")]

    for case in some([f"{verb} {when} its effect" for verb in verbs for when in ("before", "after")]):
        with subtests.test(case):
            verb, when = case.split()[:2]
            guest, volume, operation = recipe.ask(disks)
            disks.bench.on_host.fail(verb, Unreachable("answer lost"), after=when == "after")

            run(operation.pk)
            disks.bench.settle()

            operation.refresh_from_db()
            assert (operation.status, operation.error_code) == ("succeeded", "")
            assert_as_wanted(disks, recipe, guest, volume)


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("create", "create_empty"),
        ("create of an image", "create_overlay"),
        ("create on a running machine", "create_empty"),
        ("create on a running machine", "attach_disk"),
        ("attach to a running machine", "attach_disk"),
        ("attach to a stopped machine", "attach_disk"),
        ("detach from a running machine", "detach_disk"),
        ("extend on a running machine", "resize_volume"),
        ("limit on a running machine", "limit_disk"),
        ("delete", "delete_volume"),
        ("delete with zeros", "wipe_volume"),
    ],
)
def test_what_the_host_refuses_leaves_books_and_host_in_agreement(
    name: str, verb: str, after: bool, disks: Disks
) -> None:
    """Returned is what was reserved, off is what was half plugged in; a file that is larger all the same is counted."""
    recipe = VOLUME_RECIPES[name]
    guest, volume, operation = recipe.ask(disks)
    disks.bench.on_host.fail(verb, StorageFull("/secret/path: no") if "create" in verb else Refused("no"), after=after)

    assert run(operation.pk) == "failed"
    disks.bench.settle()
    if recipe.kind == "volume.extend":
        with every_tenant(why="test"):
            sweep(disks.bench.host)
    if recipe.kind == "volume.delete":
        assert disks.fresh(volume.pk).state == "deleting"
        assert run(disks.ask(volume, "delete").pk) == "succeeded"

    operation.refresh_from_db()
    assert operation.error_message
    assert disks.bench.findings() == [] or recipe.kind in ("volume.detach", "volume.limit")
    if recipe.kind == "volume.create":
        assert disks.is_gone(volume)
        assert not disks.has_file(volume)
    if recipe.kind == "volume.attach":
        assert guest is not None
        assert disks.fresh(volume.pk).guest is None
        assert disks.plugged(guest, volume) == set()
    if recipe.kind == "volume.extend":
        assert disks.fresh(volume.pk).size_gib == (3 if after else 1)
    if recipe.kind == "volume.detach":
        assert disks.fresh(volume.pk).guest == guest
        assert run(disks.ask(volume, "detach").pk) == "succeeded"
        assert disks.bench.findings() == []
    disks.clear()
    assert disks.bench.findings() == []


def test_a_machine_that_does_not_let_go_keeps_its_disk(disks: Disks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vms.handlers.volumes.LET_GO_S", 0.05)
    guest = disks.bench.guest()
    volume = disks.volume(guest)
    disks.bench.on_host.deaf = True
    operation = disks.ask(volume, "detach")

    assert run(operation.pk) == "failed"

    operation.refresh_from_db()
    assert operation.error_code == "still_in_use"
    assert disks.fresh(volume.pk).guest == guest
    assert disks.plugged(guest, volume) == {"live", "kept"}
    assert disks.bench.findings() == []


def test_a_silent_host_delays_and_never_loses(disks: Disks) -> None:
    guest, volume, operation = VOLUME_RECIPES["attach to a running machine"].ask(disks)
    assert guest is not None
    disks.bench.on_host.silent = True
    assert run(operation.pk) == "queued"
    Operation.objects.filter(pk=operation.pk).update(deadline_at=now() - timedelta(seconds=1), not_before=now())
    list(operations_expire())
    assert disks.fresh(volume.pk).guest == guest, "nobody knows whether it is plugged in"

    disks.bench.on_host.speak_again()
    disks.bench.settle()

    assert disks.fresh(volume.pk).guest is None
    assert disks.plugged(guest, volume) == set()
    assert disks.bench.findings() == []


def test_called_off_before_a_worker_took_it_nothing_was_done(disks: Disks) -> None:
    held = dict(Quota.objects.filter(tenant=disks.bench.house.tenant).values_list("resource", "used"))
    for name in ("create", "attach to a running machine", "extend", "delete"):
        recipe = VOLUME_RECIPES[name]
        _guest, volume, operation = recipe.ask(disks)
        with tenant_scope(disks.bench.house.tenant):
            operation_cancel(operation, actor=disks.bench.house.actor)

        assert disks.bench.findings() == []
        if name == "create":
            assert disks.is_gone(volume)
            used = dict(Quota.objects.filter(tenant=disks.bench.house.tenant).values_list("resource", "used"))
            assert {name: n for name, n in used.items() if n} == {name: n for name, n in held.items() if n}
        else:
            row = disks.fresh(volume.pk)
            assert (row.state, row.guest, row.size_gib) == ("ready", None, 1)


@pytest.mark.parametrize("deleted", [False, True], ids=["kept", "deleted with it"])
def test_a_disk_lives_through_the_bin_and_outlives_its_machine_unless_it_was_to_go(disks: Disks, deleted: bool) -> None:
    guest = disks.bench.guest()
    volume = disks.volume(guest)
    if deleted:
        disks.ask(volume, "edit", delete_with_guest=True)

    for action in ("delete", "restore", "start"):
        assert run(disks.bench.ask(guest, action).pk) == "succeeded"
        assert disks.fresh(volume.pk).guest == guest
        assert disks.bench.findings() == []
    assert disks.plugged(guest, volume) == {"live", "kept"}
    assert run(disks.bench.ask(guest, "purge").pk) == "succeeded"

    assert disks.bench.is_gone(guest)
    assert disks.is_gone(volume) == deleted
    assert disks.has_file(volume) != deleted
    if not deleted:
        assert disks.fresh(volume.pk).guest is None
    assert disks.bench.findings() == []
    disks.clear()
    assert disks.bench.findings() == []


@pytest.mark.parametrize("fails", [False, True], ids=["built", "not built"])
def test_a_machine_is_made_with_further_disks(fails: bool, disks: Disks) -> None:
    bench = disks.bench
    further = (VolumeSpec(name="data", size_gib=2), VolumeSpec(name="logs", size_gib=1))
    with tenant_scope(bench.house.tenant):
        spec = GuestSpec(name="web", flavor=bench.flavor, image=bench.image, volumes=further)
        operation = guest_create(bench.house.tenant, spec, actor=bench.house.actor)
        guest = Guest.objects.get(pk=operation.subject_id)
        volumes = list(guest.volumes.filter(position__gt=0).order_by("position"))
    if fails:
        bench.on_host.fail("start", Refused("no"))

    assert run(operation.pk) == ("failed" if fails else "succeeded")
    bench.settle()

    assert bench.findings() == []
    for volume in volumes:
        assert disks.has_file(volume) != fails
        assert disks.is_gone(volume) == fails
        assert fails or disks.plugged(guest, volume) == {"live", "kept"}


def test_a_deletion_that_failed_is_not_undone_by_calling_the_next_off(disks: Disks) -> None:
    """Its bytes may be gone already, so it is never ready again."""
    _guest, volume, operation = VOLUME_RECIPES["delete with zeros"].ask(disks)
    disks.bench.on_host.fail("delete_volume", Refused("no"))
    assert run(operation.pk) == "failed"
    again = disks.ask(volume, "delete")
    with tenant_scope(disks.bench.house.tenant):
        operation_cancel(again, actor=disks.bench.house.actor)

    assert disks.fresh(volume.pk).state == "deleting"
    disks.clear()
    assert disks.bench.findings() == []


def test_what_a_failed_creation_left_is_never_a_volume_that_is_ready(disks: Disks) -> None:
    _guest, volume, operation = VOLUME_RECIPES["create"].ask(disks)
    disks.bench.on_host.fail("create_empty", StorageFull("no"))
    assert run(operation.pk) == "failed"
    with tenant_scope(disks.bench.house.tenant):
        clearing = Operation.objects.get(subject_id=volume.pk, status="queued")
        operation_cancel(clearing, actor=disks.bench.house.actor)

    assert disks.fresh(volume.pk).state == "deleting"
    disks.clear()
    assert disks.bench.findings() == []


def test_a_machine_starts_without_a_disk_whose_deletion_is_not_over(disks: Disks) -> None:
    """Its file may be missing, or wiped."""
    guest = disks.bench.guest(Power.STOPPED)
    volume, operation = disks.ask_create(guest)
    disks.bench.on_host.fail("create_empty", StorageFull("no"))
    assert run(operation.pk) == "failed"
    with tenant_scope(disks.bench.house.tenant):
        clearing = Operation.objects.get(subject_id=volume.pk, status="queued")
        operation_cancel(clearing, actor=disks.bench.house.actor)

    assert run(disks.bench.ask(guest, "start").pk) == "succeeded"

    assert disks.plugged(guest, volume) == set()
    assert disks.bench.findings() == []
    assert run(disks.ask(volume, "delete").pk) == "succeeded"
    assert disks.is_gone(volume)
    assert disks.bench.findings() == []


def test_what_becomes_of_a_disk_with_its_machine_is_not_changed_while_that_goes(disks: Disks) -> None:
    guest = disks.bench.guest()
    volume = disks.volume(guest)
    operation = disks.bench.ask(guest, "purge")

    for wish in ({"delete_with_guest": True}, {"boot_order": 1}):
        with pytest.raises(Conflict):
            disks.ask(volume, "edit", **wish)

    assert run(operation.pk) == "succeeded"
    assert disks.has_file(volume)
    disks.clear()
    assert disks.bench.findings() == []


def test_a_first_disk_found_larger_is_its_machines_figure_too(disks: Disks) -> None:
    guest = disks.bench.guest(Power.STOPPED)
    with every_tenant(why="test"):
        volume = Volume.objects.get(guest=guest)
    operation = disks.ask(volume, "extend", size_gib=volume.size_gib + 2)
    disks.bench.on_host.fail("resize_volume", Refused("no"), after=True)
    assert run(operation.pk) == "failed"
    with every_tenant(why="test"):
        sweep(disks.bench.host)

    assert disks.fresh(volume.pk).size_gib == volume.size_gib + 2
    assert disks.bench.fresh(guest).disk_gib == volume.size_gib + 2


def test_the_sweep_counts_no_disk_that_is_gone_or_about_to_go_since_it_looked(disks: Disks) -> None:
    guest = disks.bench.guest(Power.STOPPED)
    with every_tenant(why="test"):
        volume = Volume.objects.select_related("tenant").get(guest=guest)
    operation = disks.bench.ask(guest, "purge")

    assert not volume_follow(volume, size_gib=volume.size_gib + 2)
    assert run(operation.pk) == "succeeded"
    assert not volume_follow(volume, size_gib=volume.size_gib + 2)
    assert disks.bench.findings() == []


def test_what_went_between_the_look_and_the_lock_is_not_there(disks: Disks) -> None:
    """Two delete it, or one attaches it to a machine that is just going for good."""
    guest, volume, spare = disks.bench.guest(Power.STOPPED), disks.volume(), disks.volume()
    assert run(disks.ask(volume, "delete").pk) == "succeeded"
    assert run(disks.bench.ask(guest, "purge").pk) == "succeeded"

    actor = disks.bench.house.actor
    with tenant_scope(disks.bench.house.tenant):
        with pytest.raises(Missing):
            volume_delete(volume, actor=actor)
        with pytest.raises(Missing):
            volume_attach(spare, guest, actor=actor)
    assert disks.bench.findings() == []
