"""A machine goes back to a backup in its own place: all or nothing of it, and what was there is still somebody's (W1, W3, L3)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from operations.models import Operation
from operations.runner import run
from operations.services import operation_cancel
from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid, OverQuota
from tenants.models import Quota
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests.operations.kinds import lapse
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.putback_lives import PutBacks, error_of
from tests.vms.reconcile.snapshot_lives import Shots
from vms.hypervisor.errors import Refused, StorageFull, Unreachable
from vms.models import Backup, BackupDisk, Guest, Host, Volume
from vms.services.guests import Observation, guest_record_observation
from vms.services.guests.returning import guests_return
from vms.services.putback import Becomes
from vms.states import LOST, Power


@pytest.fixture
def back(bench: Bench, tmp_path: Path) -> PutBacks:
    return PutBacks(Backups(bench, tmp_path / "store"))


def test_a_machine_goes_back_and_what_was_there_is_kept_as_volumes(back: PutBacks) -> None:
    """And back to the later backup: by its system's serials the disks are the same all the while, and no two have one."""
    guest, first = back.machine()
    before, used = back.volumes(guest), back.used()
    outlook = back.foresee(first)
    assert outlook.fit.fits, outlook.fit.reasons
    assert [(fate.becomes, fate.position) for fate in outlook.fates] == [(Becomes.REPLACED, 0), (Becomes.REPLACED, 1)]
    assert outlook.stops

    operation = back.done(first)

    back.assert_put_back(guest, before, power=Power.RUNNING)
    stems = {f"{guest.name}-before", f"{before[1].name}-before"}
    for names in ([fate.former for fate in outlook.fates], [row.name for row in back.volumes(None).values()]):
        assert {"-".join(name.split("-")[:-3]) for name in names} == stems
    assert back.gained(used) == {"volumes": 2, "disk_gib": 2, "disk_gib:standard": 2}
    foreseen = {line.name: line.after - line.before for line in outlook.fit.quota if line.after != line.before}
    assert back.gained(used).items() <= foreseen.items()
    with every_tenant(why="test"):
        assert not operation.locks.exists()

    back.backups.write(guest, b"data later", position=1)
    second = back.backups.backup(guest)
    assert second.why_full == "disks"
    back.done(first, disks=[1])
    back.done(second, disks=[1])

    now = back.volumes(guest)
    assert (now[1].serial, back.words_on(now[1])) == (before[1].serial, "data later")
    every = [*now.values(), *back.volumes(None).values()]
    assert (len(every), len({row.serial for row in every})) == (6, 6)
    assert run(back.disks.ask(before[1], "attach", back.bench.fresh(guest)).pk) == "succeeded"
    assert len({serial for _path, serial, _order in back.has(guest).values()}) == 3
    assert back.bench.findings() == []


def test_of_a_suspended_machine_the_memory_goes_and_one_that_was_rebuilt_since_is_built_as_it_was(
    back: PutBacks,
) -> None:
    guest, backup = back.machine(Power.SUSPENDED)
    before, used = back.volumes(guest), back.used()
    with every_tenant(why="test"):
        BackupDisk.objects.update(known_as="")  # from before serials were kept

    back.done(backup, keep=False)

    back.assert_put_back(guest, before, power=Power.STOPPED, kept=False)
    assert back.used() == used

    undone = back.bench.on_host.calls["undefine"]

    def was(**built: str) -> None:
        with every_tenant(why="test"):
            Backup.objects.filter(pk=backup.pk).update(**built)
        assert back.foresee(backup).built_otherwise
        assert not back.foresee(backup, disks=[1]).built_otherwise
        back.done(backup, disks=[0])
        assert not back.foresee(backup).built_otherwise

    was(disk_bus="sata")
    assert set(back.has(guest)) == {"sda", "vdb"}
    assert back.bench.on_host.calls["undefine"] == undone, "what its firmware and its TPM remember is still its own"

    was(firmware="uefi")
    assert (back.bench.fresh(guest).firmware, back.bench.fresh(guest).disk_bus) == ("uefi", "sata")
    assert back.bench.on_host.calls["undefine"] == undone + 1
    assert back.bench.findings() == []


def test_one_disk_alone_goes_back_one_that_is_gone_comes_back_and_what_came_since_stays(back: PutBacks) -> None:
    guest, backup = back.machine(Power.STOPPED)
    before = back.volumes(guest)
    assert run(back.disks.ask(before[1], "extend", size_gib=3).pk) == "succeeded"
    snapshot = Shots(back.bench).snapshot(before[1])
    for wrong in ([], [7]):
        with pytest.raises(Invalid):
            back.ask(backup, disks=wrong)
    with pytest.raises(Conflict) as refused:
        back.ask(backup, disks=[1], keep=False)
    assert refused.value.code == "has_snapshots"
    outlook = back.foresee(backup, disks=[1])
    assert [(fate.becomes, fate.position) for fate in outlook.fates] == [(Becomes.STAYS, 0), (Becomes.REPLACED, 1)]

    back.done(backup, disks=[1])

    now = back.volumes(guest)
    assert (now[0].pk, now[1].pk == before[1].pk, now[1].size_gib) == (before[0].pk, False, 3)
    assert back.words_on(now[1]) == "data then"
    assert [row.pk for row in back.volumes(None).values()] == [before[1].pk]
    with every_tenant(why="test"):
        assert snapshot.disks.get().volume_id == before[1].pk, "it goes with its disk"

    assert run(back.disks.ask(now[1], "detach").pk) == "succeeded"
    newer = back.disks.volume(guest)
    outlook = back.foresee(backup)
    assert [fate.becomes for fate in outlook.fates] == [Becomes.REPLACED, Becomes.STAYS, Becomes.RETURNS]
    back.done(backup, disks=[1])
    beside = back.volumes(guest)[2]
    assert (back.volumes(guest)[1].pk, beside.name) == (newer.pk, now[1].name)
    assert beside.serial not in (before[1].serial, now[1].serial), "both of these are still there"
    assert back.bench.findings() == []

    with tenant_scope(back.bench.house.tenant):
        assert run(Shots(back.bench).ask(snapshot, "delete").pk) == "succeeded"
    assert run(back.disks.ask(beside, "detach").pk) == "succeeded"
    back.disks.clear()
    back.done(backup, disks=[1])
    assert back.volumes(guest)[2].serial == before[1].serial, "by that the machine looks for it"
    assert back.bench.findings() == []


def test_it_is_said_beforehand_which_disks_will_have_the_same_labels(back: PutBacks) -> None:
    guest, backup = back.machine(Power.STOPPED)
    root, data = back.volumes(guest).values()

    def twins(**more: object) -> dict[int, tuple[int, ...]]:
        return {fate.position: fate.twins for fate in back.foresee(backup, **more).fates}

    assert twins() == {0: (), 1: ()}
    back.done(backup)
    assert twins() == {0: (), 1: ()}, "the former ones hang on nothing"
    assert run(back.disks.ask(root, "attach", back.bench.fresh(guest)).pk) == "succeeded"
    assert run(back.disks.ask(data, "attach", back.bench.fresh(guest)).pk) == "succeeded"
    assert twins() == {0: (2,), 1: (3,), 2: (0,), 3: (1,)}
    assert twins(disks=[1]) == {0: (), 1: (3,), 2: (), 3: (1,)}, "of the others nothing changes"

    assert run(back.disks.ask(data, "detach").pk) == "succeeded"
    back.disks.clear()
    assert run(back.disks.ask(back.volumes(guest)[1], "detach").pk) == "succeeded"
    words = {"name": "copy", "position": 1, "guest": back.bench.fresh(guest)}
    assert run(back.backups.deed(backup, "restore_volume", **words).pk) == "succeeded"
    back.disks.clear()
    assert twins(disks=[1]) == {0: (), 1: (3,), 2: (), 3: (1,)}, "of a disk that is gone, by its serial"
    alike, create = back.disks.ask_create(back.bench.fresh(guest), image=True)
    assert run(create.pk) == "succeeded"
    assert twins(disks=[0])[back.disks.fresh(alike.pk).position] == (0,), "of the image that the machine was made of"


def test_what_stands_against_it_is_said_before_and_refused_then(back: PutBacks) -> None:
    guest, backup = back.machine()
    house = back.bench.house

    def refused(code: str, **more: object) -> None:
        before = back.state(guest)
        assert code in [reason for reason, _words in back.foresee(backup, **more).fit.reasons]
        with pytest.raises((Conflict, OverQuota)) as error:
            back.ask(backup, **more)
        assert (error.value.code, back.state(guest)) == (code, before)

    refused("not_off", stop=False)
    with every_tenant(why="test"):
        Guest.objects.filter(pk=guest.pk).update(protected=True)
    refused("protected", keep=False)
    assert back.foresee(backup).fit.fits, "nothing is lost"
    Quota.objects.filter(tenant=house.tenant, resource="volumes").update(limit=3)
    refused("over_quota")
    Quota.objects.filter(tenant=house.tenant, resource="volumes").update(limit=None)
    with every_tenant(why="test"):
        Backup.objects.filter(pk=backup.pk).update(firmware="uefi")
    Host.objects.filter(pk=back.bench.host.pk).update(traits=[])
    refused("host_lacks")
    assert back.foresee(backup, disks=[1]).fit.fits, "only the first disk knows what the machine was built of"
    Host.objects.filter(pk=back.bench.host.pk).update(traits=["uefi"])
    assert back.foresee(backup).fit.fits
    snapshot = Shots(back.bench).snapshot(guest)
    refused("has_snapshots")
    assert run(Shots(back.bench).ask(snapshot, "delete").pk) == "succeeded"
    narrow = replace(house.actor, tagged={Permission.GUEST_EDIT: (frozenset({"mine"}),)})
    for verb in (back.ask, back.foresee):
        with pytest.raises(Forbidden):
            verb(backup, actor=narrow)
    with every_tenant(why="test"):
        Backup.objects.filter(pk=backup.pk).update(state="error")
    refused("backup_not_ready")
    with every_tenant(why="test"):
        Backup.objects.filter(pk=backup.pk).update(state="ready")
        Guest.objects.filter(pk=guest.pk).update(protected=False)
    assert run(back.bench.ask(guest, "purge").pk) == "succeeded"
    with pytest.raises(Conflict) as gone:
        back.ask(backup)
    assert gone.value.code == "machine_gone"


def test_a_worker_that_is_killed_or_freezes_at_any_point_is_taken_over_once(
    back: PutBacks, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    """The plain run tries a point of each, another each day: each call of the store's tool takes half a second."""
    guest, backup = back.machine()
    today, long = random.Random(datetime.now(UTC).date().isoformat()), request.config.getoption("--long")
    disks = None if long else [1]
    with at_points(lambda _point: None) as passed:
        back.done(backup, disks=disks, keep=False)
    points = list(dict.fromkeys(passed))
    assert {point.split(":")[1] for point in points} >= {"disk1", "pull", "swap", "define", "start", "delete_vol"}

    for act in (_die, _freeze):
        for point in points if long else [today.choice(points)]:
            with subtests.test(f"{act.__name__} {point}"):
                before = back.volumes(guest)
                operation = back.ask(backup, disks=disks, keep=False)
                act(back, operation, point, guest)

                assert error_of(operation) == ""
                now = back.volumes(guest)
                assert {place: row.serial for place, row in now.items()} == {
                    place: row.serial for place, row in before.items()
                }
                assert (now[1].pk == before[1].pk, back.words_on(now[1])) == (False, "data then")
                assert back.has(guest)["vdb"][1] == before[1].serial
                assert back.bench.fresh(guest).seen_power == Power.RUNNING
                assert back.bench.findings() == []


def _die(back: PutBacks, operation: Operation, point: str, guest: Guest) -> None:
    def die(passed: str) -> None:
        if passed == point:
            raise Killed

    with at_points(die), pytest.raises(Killed):
        run(operation.pk)
    lapse(operation)
    back.bench.settle()
    assert back.volumes(None) == {}


def _freeze(back: PutBacks, operation: Operation, point: str, guest: Guest) -> None:
    """Another has finished meanwhile, and the customer has gone on: a volume hangs on the machine that did not."""
    late: list[dict[str, bytes]] = []

    def freeze(passed: str) -> None:
        if passed == point and not late:
            late.append({})
            lapse(Operation.objects.get(pk=operation.pk))
            back.bench.settle()
            back.disks.volume(guest)
            late.append(dict(back.bench.on_host.sent))

    with at_points(freeze):
        run(operation.pk)
    assert back.bench.on_host.sent.keys() == late[-1].keys()
    assert all(content is late[-1][path] for path, content in back.bench.on_host.sent.items()), "sent once"
    newer = back.volumes(guest)[2]
    assert run(back.disks.ask(newer, "detach").pk) == "succeeded"
    back.disks.clear()


def test_what_fails_before_the_swap_leaves_the_machine_as_it_was_and_after_it_says_so(back: PutBacks) -> None:
    """And an answer that was lost is looked up, and what it was about tried again."""
    guest, backup = back.machine()

    def failed(sabotage: Callable[[], object]) -> Operation:
        operation = back.ask(backup, disks=[1], keep=False)
        assert back.used()["volumes"] == 3, "paid for before anything is made"
        sabotage()
        assert run(operation.pk) == "failed"
        back.bench.settle()
        operation.refresh_from_db()
        assert operation.error_hint in back.bench.fresh(guest).problem_message
        assert "/" not in operation.error_message
        return operation

    def forget() -> None:
        with every_tenant(why="test"):
            Volume.objects.filter(source__backup=backup).update(source=None)

    fail = back.bench.on_host.fail
    for sabotage in (
        lambda: fail("upload_volume", StorageFull("/secret full")),
        lambda: fail("pull_plug", Refused("no")),
        forget,
    ):
        with back.nothing_changes(guest):
            assert "as before" in failed(sabotage).error_hint

    for verb in ("upload_volume", "define"):
        operation = back.ask(backup, disks=[1], keep=False)
        fail(verb, Unreachable("answer lost"), after=True)
        run(operation.pk)
        back.bench.settle()
        assert error_of(operation) == "", verb

    before = back.volumes(guest)
    assert "has the disks of the backup" in failed(lambda: fail("start", Refused("no"))).error_hint
    assert run(back.bench.ask(guest, "start").pk) == "succeeded"
    assert back.words_on(back.volumes(guest)[1]) == "data then"
    assert [row.pk for row in back.volumes(None).values()] == [before[1].pk], "nothing that may be needed is deleted"
    assert back.bench.findings() == []


def test_one_whose_host_restarts_before_its_disks_are_there_is_started_again_all_the_same(back: PutBacks) -> None:
    guest, backup = back.machine()
    operation = back.ask(backup, disks=[1])
    back.bench.on_host.restart()
    guest_record_observation(guest.pk, Observation(Power.STOPPED, LOST))
    back.bench.on_host.fail("upload_volume", StorageFull("full"))
    assert run(operation.pk) == "failed"
    back.bench.settle()

    assert guests_return(at=now()) == 1
    assert back.bench.fresh(guest).want_power == Power.RUNNING


def test_it_is_called_off_until_the_disks_take_their_places_and_nobody_else_is_at_them(back: PutBacks) -> None:
    guest, backup = back.machine()
    data = back.volumes(guest)[1]

    def call_off(operation: Operation) -> str:
        with tenant_scope(back.bench.house.tenant):
            try:
                operation_cancel(Operation.objects.get(pk=operation.pk), actor=back.bench.house.actor)
            except Conflict as refused:
                return refused.code
        return ""

    def doing(operation: Operation, at: str, deed: Callable[[], object]) -> str:
        with at_points(lambda point: deed() if point == at else None):
            run(operation.pk)
        back.bench.settle()
        operation.refresh_from_db()
        return operation.status

    with back.nothing_changes(guest):
        assert call_off(back.ask(backup)) == ""
        early = back.ask(backup, disks=[1])
        assert doing(early, "guest.putback:disk1:after", lambda: call_off(early)) == "cancelled"

    late = back.ask(backup, disks=[1])
    said: list[str] = []

    def meddle() -> None:
        fresh = next(iter(back.volumes(None).values()))
        for deed in (
            lambda: back.bench.ask(guest, "purge"),
            lambda: back.disks.ask(data, "detach"),
            lambda: back.disks.ask(fresh, "delete"),
            lambda: back.backups.deed(backup, "delete"),
            lambda: back.ask(backup),
        ):
            with pytest.raises(Conflict):
                deed()
        said.append("busy")

    acts = {
        "guest.putback:disk1:after": meddle,
        "guest.putback:swap:after": lambda: said.append(call_off(late)),
    }
    with at_points(lambda point: acts.get(point, lambda: None)()):
        assert run(late.pk) == "succeeded", error_of(late)
    assert said == ["busy", "not_cancellable"]
    assert back.words_on(back.volumes(guest)[1]) == "data then"
    assert back.bench.findings() == []
