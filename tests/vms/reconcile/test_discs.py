"""CDs: in the drive that the page says, started from when the page says, and never gone from under a machine."""

from __future__ import annotations

from typing import Any

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.clock import now
from portal.core.errors import Conflict, Invalid
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import at_points
from vms.hypervisor.errors import Refused, Unreachable
from vms.hypervisor.xml.domain import DomainSpec
from vms.models import Disc, Guest, Image, ImageCopy, Snapshot, Volume
from vms.reconcile.sweep import sweep
from vms.services.discs import disc_edit, disc_eject, disc_insert, discs_follow
from vms.services.guests import guest_create
from vms.services.guests.observe import guests_mark_unknown
from vms.services.image_copies import copy_evict
from vms.services.images import image_delete
from vms.services.snapshots import snapshot_create, snapshot_revert
from vms.services.snapshots.revert import revert_foresee
from vms.specs import GuestSpec
from vms.states import ImageKind, Power

pytestmark = pytest.mark.django_db


def spec_of(bench: Bench, guest: Guest) -> DomainSpec:
    spec = bench.on_host.domains[str(guest.pk)].spec
    assert spec is not None
    return spec


def held(bench: Bench, guest: Guest) -> dict[str, set[str]]:
    """In which of the machine's drives the CD lies, ``now`` and at its ``next`` start."""
    domain = bench.on_host.domains[str(guest.pk)]
    now = domain.live if domain.power in (Power.RUNNING, Power.PAUSED) else ()
    found = {"now": now, "next": spec_of(bench, guest).disks}
    return {where: {disk.target for disk in disks if bench.cd.pk.hex in disk.path} for where, disks in found.items()}


def orders(bench: Bench, guest: Guest) -> dict[str, int]:
    return {disk.target: disk.boot_order for disk in spec_of(bench, guest).disks if disk.boot_order}


def insert(bench: Bench, guest: Guest, boot: str = "after") -> Disc:
    with tenant_scope(bench.house.tenant):
        assert run(disc_insert(guest, bench.cd, actor=bench.house.actor, boot=boot).pk) == "succeeded"
    return latest(guest)


def latest(guest: Guest) -> Disc:
    with every_tenant(why="test"):
        return Disc.objects.select_related("guest", "image").filter(guest=guest).latest("drive")


def eject(bench: Bench, disc: Disc, **more: Any) -> str:
    with tenant_scope(bench.house.tenant):
        operation = disc_eject(disc, actor=bench.house.actor, **more)
    run(operation.pk)
    operation.refresh_from_db()
    return operation.error_code


def look(bench: Bench) -> None:
    with every_tenant(why="test"):
        sweep(bench.host)


@pytest.mark.parametrize("power", [Power.RUNNING, Power.PAUSED, Power.STOPPED])
def test_a_cd_goes_in_and_comes_out(bench: Bench, power: Power) -> None:
    guest = bench.guest(power)
    everywhere = {"now": {"sdc"} if power != Power.STOPPED else set(), "next": {"sdc"}}

    disc = insert(bench, guest)

    assert (disc.drive, held(bench, guest)) == (1, everywhere)
    assert bench.findings() == []
    assert eject(bench, disc) == ""
    assert held(bench, guest) == {"now": set(), "next": set()}
    assert bench.findings() == []


def test_two_drives_take_two_cds_and_no_third(bench: Bench) -> None:
    guest = bench.guest()
    first, second = insert(bench, guest), insert(bench, guest)
    assert (first.drive, second.drive, held(bench, guest)["now"]) == (1, 2, {"sdc", "sdd"})

    with tenant_scope(bench.house.tenant), pytest.raises(Conflict) as refused:
        disc_insert(guest, bench.cd, actor=bench.house.actor)
    assert refused.value.code == "no_drive"

    assert eject(bench, first) == ""
    insert(bench, guest)
    assert held(bench, guest)["now"] == {"sdc", "sdd"}


def test_only_a_cd_that_is_ready_goes_in(bench: Bench) -> None:
    guest = bench.guest()
    with every_tenant(why="test"):
        Image.objects.filter(pk=bench.cd.pk).update(state="deprecated")
        bench.cd.refresh_from_db()

    for image, boot, pointer in (
        (bench.image, "after", "/image"),
        (bench.cd, "after", "/image"),
        (bench.cd, "?", "/boot"),
    ):
        with tenant_scope(bench.house.tenant), pytest.raises(Invalid) as refused:
            disc_insert(guest, image, actor=bench.house.actor, boot=boot)
        assert refused.value.errors[0].pointer == pointer


def test_a_system_that_locks_its_tray_keeps_the_cd_unless_it_is_forced(bench: Bench) -> None:
    guest = bench.guest()
    disc = insert(bench, guest)
    bench.on_host.deaf = True

    assert eject(bench, disc) == "tray_locked"
    assert held(bench, guest)["now"] == {"sdc"}
    assert bench.findings() == []

    assert eject(bench, disc, force=True) == ""
    assert held(bench, guest) == {"now": set(), "next": set()}
    assert bench.findings() == []


def test_what_the_machines_system_ejects_is_seen_and_in_again_at_its_next_start(bench: Bench) -> None:
    guest = bench.guest()
    insert(bench, guest)

    bench.on_host.domains[str(guest.pk)].trays.add("sdc")
    look(bench)
    assert latest(guest).is_out
    assert bench.findings() == []

    for action in ("stop", "start"):
        assert run(bench.ask(guest, action).pk) == "succeeded"
    look(bench)
    assert not latest(guest).is_out
    assert held(bench, guest)["now"] == {"sdc"}


def test_a_look_from_before_a_cd_went_in_says_nothing_of_it(bench: Bench) -> None:
    guest = bench.guest()
    before = now()
    insert(bench, guest)

    assert not discs_follow(bench.fresh(guest), [1], at=before)
    assert not latest(guest).is_out
    assert discs_follow(bench.fresh(guest), [1], at=now())
    assert latest(guest).is_out


def test_the_order_of_starting_is_as_each_cd_says(bench: Bench) -> None:
    guest = bench.guest(Power.STOPPED)

    disc = insert(bench, guest)
    assert run(bench.ask(guest, "start").pk) == "succeeded"
    assert orders(bench, guest) == {"vda": 1, "sdc": 2}

    with tenant_scope(bench.house.tenant):
        disc_edit(disc, actor=bench.house.actor, boot="first")
    insert(bench, guest)
    for _twice in range(2):
        for action in ("stop", "start"):
            assert run(bench.ask(guest, action).pk) == "succeeded"
        assert orders(bench, guest) == {"sdc": 1, "vda": 2, "sdd": 3}
    assert bench.findings() == []


def test_first_at_the_next_start_only_is_over_with_that_start(bench: Bench) -> None:
    guest = bench.guest()
    insert(bench, guest, boot="once")

    seen = []
    for _twice in range(2):
        for action in ("stop", "start"):
            assert run(bench.ask(guest, action).pk) == "succeeded"
        seen.append(orders(bench, guest))

    assert seen == [{"sdc": 1, "vda": 2}, {"vda": 1, "sdc": 2}]
    assert latest(guest).boot == "after"


def test_first_at_the_next_start_only_is_over_though_the_host_fell_silent_as_it_started(bench: Bench) -> None:
    """Else an installer would come up a second time, over what it has just installed."""
    guest = bench.guest(Power.STOPPED)
    insert(bench, guest, boot="once")

    def silence(point: str) -> None:
        if point == "guest.start:start:after":
            guests_mark_unknown(bench.host)

    with at_points(silence):
        assert run(bench.ask(guest, "start").pk) == "succeeded"
    assert latest(guest).boot == "after"

    with tenant_scope(bench.house.tenant):
        disc_edit(latest(guest), actor=bench.house.actor, boot="once")
    guests_mark_unknown(bench.host)
    look(bench)
    assert (bench.fresh(guest).seen_power, latest(guest).boot) == (Power.RUNNING, "once"), "silence is no start"


def test_a_rescue_is_not_the_start_that_a_cd_waits_for(bench: Bench) -> None:
    guest = bench.guest()
    insert(bench, guest, boot="once")

    for action in ("rescue", "unrescue"):
        assert run(bench.ask(guest, action).pk) == "succeeded"

    assert orders(bench, guest) == {"sdc": 1, "vda": 2}
    assert latest(guest).boot == "after"


@pytest.mark.parametrize("deed", ["insert", "eject"])
def test_a_worker_that_thaws_leaves_the_drive_to_what_lies_there_now(bench: Bench, deed: str) -> None:
    guest, done = bench.guest(), []
    if deed == "eject":
        insert(bench, guest)
    operation = bench.ask(guest, deed)

    def freeze(point: str) -> None:
        if point == f"guest.{deed}:{deed}:before" and not done:
            done.append(point)
            lapse(Operation.objects.get(pk=operation.pk))
            bench.settle()
            if deed == "insert":
                assert eject(bench, latest(guest)) == ""
            else:
                insert(bench, guest)

    with at_points(freeze):
        run(operation.pk)

    drives = {"sdc"} if deed == "eject" else set()
    assert (done != [], held(bench, guest)) == (True, {"now": drives, "next": drives})
    assert bench.findings() == []


def test_a_rescue_starts_from_its_own_disk_whatever_lies_in_the_drives(bench: Bench) -> None:
    guest = bench.guest()
    insert(bench, guest, boot="first")

    assert run(bench.ask(guest, "rescue").pk) == "succeeded"

    assert orders(bench, guest) == {"vda": 1}
    assert held(bench, guest)["now"] == {"sdc"}
    assert eject(bench, latest(guest)) == ""
    assert bench.findings() == []


def test_an_image_in_a_drive_stays_with_its_copy_and_goes_once_it_is_out(bench: Bench) -> None:
    guest = bench.guest()
    disc = insert(bench, guest)
    desk = factories.desk()
    with every_tenant(why="test"):
        copy = ImageCopy.objects.get(image=bench.cd)
        with pytest.raises(Conflict, match="stand on this image"):
            image_delete(bench.cd, actor=desk)
        with pytest.raises(Conflict, match="stand on this copy"):
            copy_evict(copy, actor=desk)

    assert run(bench.ask(guest, "delete").pk) == "succeeded"
    assert run(bench.ask(guest, "restore").pk) == "succeeded"
    assert held(bench, guest)["next"] == {"sdc"}
    assert eject(bench, disc) == ""

    with every_tenant(why="test"):
        assert run(copy_evict(copy, actor=desk).pk) == "succeeded"
    assert bench.findings() == []


def test_memory_is_kept_and_woken_only_with_empty_drives(bench: Bench) -> None:
    guest = bench.guest()
    disc = insert(bench, guest)
    with tenant_scope(bench.house.tenant):
        with pytest.raises(Conflict) as refused:
            snapshot_create(guest, name="refused", memory=True, actor=bench.house.actor)
        assert refused.value.code == "disc_inserted"
        assert run(snapshot_create(guest, name="disks", actor=bench.house.actor).pk) == "succeeded"
    assert eject(bench, disc) == ""
    with tenant_scope(bench.house.tenant):
        kept = snapshot_create(guest, name="awake", memory=True, actor=bench.house.actor)
        assert run(kept.pk) == "succeeded"
    insert(bench, guest)

    with tenant_scope(bench.house.tenant):
        snapshot = Snapshot.objects.get(pk=kept.subject_id)
        assert "CD" in revert_foresee(snapshot).no_memory
        with pytest.raises(Conflict, match="CD lies"):
            snapshot_revert(snapshot, memory=True, actor=bench.house.actor)
        assert run(snapshot_revert(snapshot, actor=bench.house.actor).pk) == "succeeded"
    assert held(bench, guest)["next"] == {"sdc"}
    assert bench.findings() == []


def test_an_insertion_that_fails_is_taken_out_again(bench: Bench) -> None:
    guest = bench.guest()
    for after in (False, True):
        bench.on_host.fail("insert_disc", Refused("no"), after=after)
        with tenant_scope(bench.house.tenant):
            operation = disc_insert(guest, bench.cd, actor=bench.house.actor)
        assert run(operation.pk) == "failed"
        bench.settle()

        assert held(bench, guest) == {"now": set(), "next": set()}
        with every_tenant(why="test"):
            assert not Disc.objects.exists()
        assert bench.findings() == []


def test_answers_lost_are_looked_up_and_tried_again(bench: Bench) -> None:
    guest = bench.guest()
    for verb, deed in (("insert_disc", "insert"), ("eject_disc", "eject")):
        for after in (False, True):
            if deed == "eject":
                insert(bench, guest)
            bench.on_host.fail(verb, Unreachable("answer lost"), after=after)
            operation = bench.ask(guest, deed)
            run(operation.pk)
            bench.settle()

            operation.refresh_from_db()
            assert operation.status == "succeeded"
            assert bench.findings() == []
            if deed == "insert":
                assert eject(bench, latest(guest)) == ""


def test_a_machine_that_was_started_without_drives_says_so(bench: Bench) -> None:
    guest = bench.guest()
    domain = bench.on_host.domains[str(guest.pk)]
    domain.live = tuple(disk for disk in domain.live if disk.device != "cdrom")

    operation = bench.ask(guest, "insert")

    assert run(operation.pk) == "failed"
    bench.settle()
    operation.refresh_from_db()
    assert operation.error_code == "no_drive"
    assert bench.findings() == []


def test_a_machine_is_set_up_from_a_cd_on_an_empty_disk(bench: Bench) -> None:
    with tenant_scope(bench.house.tenant):
        spec = GuestSpec(name="fresh", flavor=bench.flavor, image=bench.cd)
        operation = guest_create(bench.house.tenant, spec, actor=bench.house.actor)
    assert run(operation.pk) == "succeeded"

    with every_tenant(why="test"):
        guest = Guest.objects.select_related("tenant", "host").get(name="fresh")
        root = Volume.objects.get(guest=guest)
    assert (root.image, root.size_gib) == (None, bench.flavor.disk_gib)
    assert orders(bench, guest) == {"vda": 1, "sdc": 2}
    assert held(bench, guest)["now"] == {"sdc"}
    assert bench.findings() == []

    assert eject(bench, latest(guest)) == ""
    assert run(bench.ask(guest, "purge").pk) == "succeeded"
    assert bench.findings() == []


def test_nothing_is_set_up_from_a_cd_with_drivers(bench: Bench) -> None:
    with every_tenant(why="test"):
        Image.objects.filter(pk=bench.cd.pk).update(kind=ImageKind.DRIVERS)
        bench.cd.refresh_from_db()

    with tenant_scope(bench.house.tenant), pytest.raises(Invalid):
        guest_create(
            bench.house.tenant,
            GuestSpec(name="fresh", flavor=bench.flavor, image=bench.cd),
            actor=bench.house.actor,
        )
    assert insert(bench, bench.guest()).drive == 1
