"""P-B, W1, U2: what is made of a snapshot holds what that held, whoever dies on the way; the source goes on and is whole."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from operations.models import Operation
from operations.registry import kinds
from operations.runner import run
from operations.services import operation_cancel
from portal.core.errors import Conflict, Invalid
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.copy_lives import COPIES, COPY_RECIPES, Copied, Copies, CopyRecipe, assert_file, words_in
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.snapshot_lives import SINCE, THEN
from vms.hypervisor.errors import Missing, Refused, Unreachable
from vms.models import Guest, Image, Port, Snapshot, SnapshotDisk, Volume
from vms.services.copies import (
    CloneSpec,
    guest_clone,
    guest_clone_fit,
    image_capture_fit,
    snapshot_volume_fit,
)
from vms.services.disk_exports import disk_export_fit
from vms.services.images import image_path
from vms.services.snapshots.tidy import snapshots_tidy
from vms.states import Power

EACH = pytest.mark.parametrize("recipe", COPY_RECIPES.values(), ids=COPY_RECIPES)


@pytest.fixture
def copies(bench: Bench) -> Copies:
    return Copies(bench)


def test_every_kind_of_copy_is_tried() -> None:
    assert {recipe.kind for recipe in COPY_RECIPES.values()} == COPIES
    assert set(kinds()) >= COPIES


def used(copies: Copies, resource: str) -> int:
    return Quota.objects.get(tenant=copies.bench.house.tenant, resource=resource).used


def volume_of(copied: Copied) -> Volume:
    with every_tenant(why="test"):
        return Volume.objects.select_related("guest").get(pk=copied.operation.subject_id)


def assert_as_wanted(copies: Copies, recipe: CopyRecipe, copied: Copied) -> None:
    """The copy holds what the snapshot does, stands by itself, and the source has not noticed."""
    assert copies.bench.findings() == []
    {
        "volume.copy": assert_volume,
        "guest.clone": assert_twin,
        "image.capture": assert_image,
        "volume.export": assert_file,
    }[recipe.kind](copies, recipe, copied)
    assert_untouched(copies, recipe, copied)


def assert_volume(copies: Copies, recipe: CopyRecipe, copied: Copied) -> None:
    volume = volume_of(copied)
    assert (volume.state, volume.guest is not None) == ("ready", recipe.plugged)
    assert copies.words_on(volume) == THEN


def assert_twin(copies: Copies, recipe: CopyRecipe, copied: Copied) -> None:
    """Another machine that runs, with an identity of its own."""
    with every_tenant(why="test"):
        twin = Guest.objects.get(pk=copied.operation.subject_id)
        disks = list(Volume.objects.filter(guest=twin).order_by("position"))
        macs = set(Port.objects.filter(guest__in=[twin.pk, copied.of.pk]).values_list("mac", flat=True))
    assert isinstance(copied.of, Guest)
    assert [disk.state for disk in disks] == ["ready", "ready"]
    assert [copies.words_on(disk) for disk in disks] == [THEN, THEN]
    assert (twin.seen_power, twin.status()) == (Power.RUNNING, "running")
    assert len(macs) == 2
    assert (twin.flavor_id, twin.firmware, twin.image_id) == (copied.of.flavor_id, "bios", copied.of.image_id)


def assert_image(copies: Copies, recipe: CopyRecipe, copied: Copied) -> None:
    """One of the tenant's own, paid for by what it takes."""
    with every_tenant(why="test"):
        image = Image.objects.get(pk=copied.operation.subject_id)
        charged = list(Image.objects.filter(tenant=copies.bench.house.tenant).values_list("charged_gib", flat=True))
    assert (image.state, image.tenant_id, image.charged_gib) == ("ready", copies.bench.house.tenant.pk, 1)
    assert words_in(image_path(image).read_bytes(), image.virtual_size) == THEN
    assert image.virtual_size == 1 << 30
    assert (used(copies, "images"), used(copies, "images_gib")) == (len(charged), sum(charged))


def assert_untouched(copies: Copies, recipe: CopyRecipe, copied: Copied) -> None:
    row = copies.shots.fresh(copied.snapshot.pk)
    assert row.state == "ready"
    with every_tenant(why="test"):
        assert copies.shots.held(row) == row.disks.count()
    assert copies.shots.read(copied.of) == {SINCE}
    if isinstance(copied.of, Guest):
        guest = copies.bench.fresh(copied.of)
        assert (guest.seen_power, guest.problem_code) == (recipe.power, "")


def points_of(recipe: CopyRecipe, copies: Copies) -> list[str]:
    copied = recipe.ask(copies)
    with at_points(lambda _point: None) as passed:
        assert run(copied.operation.pk) == "succeeded", error_of(copied)
    assert_as_wanted(copies, recipe, copied)
    return list(dict.fromkeys(passed))


def error_of(copied: Copied) -> str:
    copied.operation.refresh_from_db()
    return f"{copied.operation.error_code} {copied.operation.error_message} {copied.operation.error_detail}"


@EACH
def test_a_worker_killed_at_any_point_is_taken_over(
    recipe: CopyRecipe, copies: Copies, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    points = points_of(recipe, copies)
    chosen = random.Random(datetime.now(UTC).date().isoformat() + recipe.name)
    for point in points if request.config.getoption("--long") else chosen.sample(points, 1):
        with subtests.test(point):
            copied = recipe.ask(copies)

            def die(passed: str, point: str = point) -> None:
                if passed == point:
                    raise Killed

            with at_points(die), pytest.raises(Killed):
                run(copied.operation.pk)
            lapse(copied.operation)
            copies.bench.settle()

            assert error_of(copied).strip() == ""
            assert_as_wanted(copies, recipe, copied)


@pytest.mark.parametrize(
    "name", ["a volume of a volume, plugged in", "a machine as it is, running", "an image of a snapshot"]
)
def test_a_worker_that_freezes_at_any_point_writes_into_nobodys_disk_when_it_thaws(
    name: str, copies: Copies, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    recipe = COPY_RECIPES[name]
    points = points_of(recipe, copies)
    chosen = random.Random(datetime.now(UTC).date().isoformat() + recipe.name)
    for point in points if request.config.getoption("--long") else chosen.sample(points, 1):
        with subtests.test(point):
            copied = recipe.ask(copies)
            late: list[dict[str, bytes]] = []

            def freeze(
                passed: str, point: str = point, copied: Copied = copied, late: list[dict[str, bytes]] = late
            ) -> None:
                if passed == point and not late:
                    late.append({})
                    lapse(Operation.objects.get(pk=copied.operation.pk))
                    copies.bench.settle()
                    late.append(disks_sent(copies))

            with at_points(freeze):
                run(copied.operation.pk)

            assert all(content is late[-1][path] for path, content in disks_sent(copies).items()), "sent once"
            assert_as_wanted(copies, recipe, copied)


def disks_sent(copies: Copies) -> dict[str, bytes]:
    """What was sent to the place of a disk; the very objects."""
    return {path: content for path, content in copies.bench.on_host.sent.items() if "/vol-" in path}


@pytest.mark.parametrize("verb", ["fetch_snapshot", "upload_volume"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_lost_is_looked_up_and_tried_again(verb: str, when: str, copies: Copies) -> None:
    recipe = COPY_RECIPES["a volume of a running machine"]
    copied = recipe.ask(copies)
    copies.bench.on_host.fail(verb, Unreachable("answer lost"), after=when == "after")

    run(copied.operation.pk)
    copies.bench.settle()

    assert error_of(copied).strip() == ""
    assert_as_wanted(copies, recipe, copied)


@pytest.mark.parametrize("verb", ["fetch_snapshot", "upload_volume"])
def test_what_fails_costs_nothing_and_leaves_nothing(verb: str, copies: Copies) -> None:
    recipe = COPY_RECIPES["a volume of a running machine"]
    copied = recipe.ask(copies)
    before = used(copies, "volumes")
    copies.bench.on_host.fail(verb, Missing("gone") if verb == "fetch_snapshot" else Refused("no"))

    assert run(copied.operation.pk) == "failed"
    copies.bench.settle()

    assert used(copies, "volumes") == before - 1
    assert_untouched(copies, recipe, copied)
    assert copies.bench.findings() == []


def test_one_that_is_called_off_leaves_nothing_and_lets_the_snapshot_go(copies: Copies) -> None:
    recipe = COPY_RECIPES["a volume of a running machine"]
    copied = recipe.ask(copies)

    def call_off(point: str) -> None:
        if point == "volume.copy:fetch:after":
            with tenant_scope(copies.bench.house.tenant):
                operation_cancel(Operation.objects.get(pk=copied.operation.pk), actor=copies.bench.house.actor)

    with at_points(call_off):
        assert run(copied.operation.pk) == "cancelled"
    copies.bench.settle()

    assert_untouched(copies, recipe, copied)
    assert copies.bench.findings() == []
    assert run(copies.shots.ask(copied.snapshot, "delete").pk) == "succeeded"


def test_while_it_is_copied_a_snapshot_stays_and_the_machine_is_free(copies: Copies) -> None:
    recipe = COPY_RECIPES["a volume of a running machine"]
    copied = recipe.ask(copies)
    assert isinstance(copied.of, Guest)
    guest, tried = copied.of, []

    def meddle(point: str) -> None:
        if point != "volume.copy:fetch:after" or tried:
            return
        tried.append(point)
        for deed in (
            lambda: copies.shots.ask(copied.snapshot, "delete"),
            lambda: copies.shots.ask(copied.snapshot, "revert"),
            lambda: copies.bench.ask(guest, "purge"),
        ):
            with pytest.raises(Conflict) as refused:
                deed()
            assert refused.value.code == "operation_in_progress"
        for action in ("pause", "resume"):
            assert run(copies.bench.ask(guest, action).pk) == "succeeded"
        other = copies.volume(copied.snapshot, position=0)
        assert run(other.pk) == "succeeded"
        assert run(copies.shots.ask_create(guest)[1].pk) == "succeeded"

    with at_points(meddle):
        assert run(copied.operation.pk) == "succeeded", error_of(copied)

    assert tried
    assert_as_wanted(copies, recipe, copied)
    assert run(copies.bench.ask(guest, "purge").pk) == "succeeded"
    assert copies.bench.findings() == []


def test_what_was_taken_to_copy_from_goes_once_nobody_copies(copies: Copies) -> None:
    guest = copies.shots.machine(Power.RUNNING)
    cloned, pictured = copies.clone(guest), None
    assert run(cloned.pk) == "queued", "the snapshot comes first"
    snapshot = copies.passing(cloned)
    assert (used(copies, "snapshots"), snapshot.passing) == (1, True)
    assert snapshots_tidy() == 0, "it is copied from"
    pictured = copies.image(snapshot)
    copies.bench.settle()
    assert run(pictured.pk) is None
    with tenant_scope(copies.bench.house.tenant):
        assert Operation.objects.get(pk=cloned.pk).status == "succeeded"

    assert snapshots_tidy() == 1
    assert snapshots_tidy() == 0
    copies.bench.settle()

    assert copies.shots.is_gone(snapshot)
    assert (copies.shots.held(snapshot), used(copies, "snapshots")) == (0, 0)
    kept = copies.shots.snapshot(guest)
    assert snapshots_tidy() == 0, "one that somebody took stays"
    assert not copies.shots.is_gone(kept)
    assert copies.bench.findings() == []


def test_a_snapshot_that_could_not_be_taken_fails_what_was_to_be_made_of_it(copies: Copies) -> None:
    guest = copies.shots.machine(Power.RUNNING)
    before = used(copies, "guests")
    operation = copies.clone(guest)
    copies.bench.on_host.fail("take_snapshot", Refused("no"))

    copies.bench.settle()

    assert error_of(Copied(guest, Snapshot(), operation)).startswith("snapshot_gone")
    assert (used(copies, "guests"), used(copies, "snapshots")) == (before, 0)
    with every_tenant(why="test"):
        assert not Guest.objects.filter(pk=operation.subject_id).exists()
    assert copies.bench.fresh(guest).seen_power == Power.RUNNING
    assert copies.bench.findings() == []


def test_a_disk_too_large_for_one_file_is_refused_before_anything_is_read_of_it(copies: Copies) -> None:
    house = copies.bench.house
    guest = copies.shots.machine(Power.STOPPED)
    snapshot = copies.shots.snapshot(guest)
    with every_tenant(why="test"):
        for model, where in ((SnapshotDisk, {"snapshot": snapshot}), (Volume, {"guest": guest})):
            model.objects.filter(position=1, **where).update(size_gib=2049)
    before = Operation.objects.count()

    for deed in (
        lambda: copies.volume(snapshot, position=1),
        lambda: copies.clone(guest),
        lambda: copies.clone(guest, snapshot=snapshot),
        lambda: copies.export(snapshot, position=1),
        lambda: copies.export(guest, position=1),
    ):
        with pytest.raises(Conflict) as refused:
            deed()
        assert refused.value.code == "too_large_to_copy"
    with tenant_scope(house.tenant):
        row = copies.shots.fresh(snapshot.pk)
        for fit in (
            snapshot_volume_fit(row, name="c", position=1, actor=house.actor),
            disk_export_fit(row, position=1, actor=house.actor),
            image_capture_fit(row, name="c", position=1, actor=house.actor),
        ):
            assert "too_large_to_copy" in [code for code, _words in fit.reasons]
    assert Operation.objects.count() == before

    assert run(copies.volume(snapshot, position=0).pk) == "succeeded", "the other one can be"


def test_a_clone_has_its_own_secrets_and_only_the_disks_that_were_chosen(copies: Copies) -> None:
    guest = copies.shots.machine(Power.RUNNING)
    with every_tenant(why="test"):
        Guest.objects.filter(pk=guest.pk).update(user_data="#cloud-config\n", password_hash="$6$x")
    fit = None
    with tenant_scope(copies.bench.house.tenant):
        spec = CloneSpec(name="twin", volumes=frozenset())
        fit = guest_clone_fit(copies.bench.fresh(guest), spec, actor=copies.bench.house.actor)
        with pytest.raises(Invalid):
            guest_clone(
                copies.bench.fresh(guest),
                CloneSpec(name="twin", volumes=frozenset({9})),
                actor=copies.bench.house.actor,
            )
    more = {line.name: line.after - line.before for line in fit.quota}
    assert fit.fits
    assert (more["guests"], more["volumes"], more["snapshots"]) == (1, 1, 1)

    operation = copies.clone(guest, volumes=frozenset())
    copies.bench.settle()

    with every_tenant(why="test"):
        twin = Guest.objects.get(pk=operation.subject_id)
        assert [disk.position for disk in Volume.objects.filter(guest=twin)] == [0]
        theirs = Guest.objects.get(pk=guest.pk)
    assert (twin.user_data, twin.password_hash, twin.ssh_keys) == ("", "", [])
    assert twin.display_password != theirs.display_password
    assert run(copies.bench.ask(twin, "purge").pk) == "succeeded"
    assert copies.bench.findings() == []
