"""Copies that cannot be had: what is said before the click, and what a click all the same changes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Forbidden, Invalid, OverQuota
from tenants.models import Quota
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.copy_lives import COPY_RECIPES, Copies, CopyRecipe
from tests.vms.reconcile.snapshot_lives import THEN
from tests.vms.reconcile.test_copies import assert_untouched, error_of, used
from vms.models import Snapshot, Volume
from vms.services.copies import (
    CloneSpec,
    guest_clone_fit,
    image_capture_fit,
    snapshot_to_volume,
    snapshot_volume_fit,
)
from vms.services.snapshots.tidy import snapshots_tidy
from vms.states import Power


@pytest.fixture
def copies(bench: Bench) -> Copies:
    return Copies(bench)


def test_what_cannot_be_paid_or_named_or_reached_is_refused_and_changes_nothing(copies: Copies) -> None:
    guest = copies.shots.machine(Power.RUNNING)
    snapshot, house = copies.shots.snapshot(guest), copies.bench.house
    before = Operation.objects.count()
    with tenant_scope(house.tenant):
        with pytest.raises(Invalid):
            snapshot_to_volume(snapshot, actor=house.actor, name="../x")
        with pytest.raises(Invalid):
            snapshot_to_volume(snapshot, actor=house.actor, name="fine", position=7)
        fit = snapshot_volume_fit(snapshot, actor=house.actor, name="fine")
        assert (fit.fits, [line.after - line.before for line in fit.quota if line.name == "volumes"]) == (True, [1])
        bad = snapshot_volume_fit(snapshot, actor=house.actor, name="../x")
        assert [code for code, _words in bad.reasons] == ["invalid_name"]
        Quota.objects.filter(tenant=house.tenant, resource="disk_gib").update(limit=used(copies, "disk_gib"))
        with pytest.raises(OverQuota):
            snapshot_to_volume(snapshot, actor=house.actor, name="fine")
        assert snapshot_volume_fit(snapshot, actor=house.actor, name="fine").fits is False
        narrow = replace(house.actor, tagged={Permission.GUEST_EDIT: (frozenset({"mine"}),)})
        for service in (snapshot_to_volume, snapshot_volume_fit):
            with pytest.raises(Forbidden):
                service(snapshot, actor=narrow, name="fine")
    assert Operation.objects.count() == before
    assert copies.bench.findings() == []


def test_a_passing_snapshot_that_has_to_wait_keeps_no_other_waiting(copies: Copies, settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "batch": 1}
    busy, free = (copies.shots.machine(Power.RUNNING) for _each in range(2))
    snapshots = [copies.shots.snapshot(guest) for guest in (busy, free)]
    with every_tenant(why="test"):
        Snapshot.objects.filter(pk__in=[snapshot.pk for snapshot in snapshots]).update(passing=True)
    copies.bench.ask(busy, "stop")

    assert snapshots_tidy() == 1
    copies.bench.settle()

    assert [copies.shots.is_gone(snapshot) for snapshot in snapshots] == [False, True]


@pytest.mark.parametrize("recipe", [COPY_RECIPES["a machine of a snapshot"], COPY_RECIPES["an image of a snapshot"]])
def test_a_copy_needs_room_for_what_is_fetched_and_what_is_made_of_it(
    recipe: CopyRecipe, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = recipe.ask(copies)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=len(THEN) * 3 // 2))

    assert run(copied.operation.pk) == "failed"
    copies.bench.settle()

    assert error_of(copied).startswith("no_room_to_copy")
    assert_untouched(copies, recipe, copied)
    assert copies.bench.findings() == []


def test_what_would_be_refused_is_not_foreseen_to_fit(copies: Copies) -> None:
    guest, actor = copies.shots.machine(Power.RUNNING), copies.bench.house.actor
    snapshot = copies.shots.snapshot(guest)
    with every_tenant(why="test"):
        Snapshot.objects.filter(pk=snapshot.pk).update(state="error")
        Volume.objects.filter(guest=guest, position=1).update(state="planned")

    with tenant_scope(copies.bench.house.tenant):
        machine = copies.bench.fresh(guest)
        spec = CloneSpec(name="twin", snapshot=copies.shots.fresh(snapshot.pk))
        fits = [
            guest_clone_fit(machine, spec, actor=actor),
            guest_clone_fit(machine, replace(spec, snapshot=None), actor=actor),
            image_capture_fit(machine, actor=actor, name="golden"),
        ]

    assert [[code for code, _words in fit.reasons] for fit in fits] == [
        ["snapshot_not_ready"],
        ["volume_not_ready"],
        ["volume_not_ready"],
    ]


def test_a_volume_for_a_machine_that_cannot_take_it_is_not_foreseen_to_fit(copies: Copies) -> None:
    guest, house = copies.shots.machine(Power.RUNNING), copies.bench.house
    snapshot, asleep, full = copies.shots.snapshot(guest), copies.bench.guest(Power.SUSPENDED), copies.bench.guest()
    with tenant_scope(house.tenant):
        Quota.objects.update_or_create(tenant=house.tenant, resource="guest_volumes", defaults={"limit": 1})
        taken = copies.shots.fresh(snapshot.pk)
        fits = [snapshot_volume_fit(taken, actor=house.actor, name="data", guest=of) for of in (asleep, full)]

    assert [[code for code, _words in fit.reasons] for fit in fits] == [["over_quota", "wrong_state"], ["over_quota"]]
