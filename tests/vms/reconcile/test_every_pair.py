"""U2: every kind of operation × every condition of a machine, through REST: as the table says, and all is well afterwards.

``--long`` kills the worker at every step of every pair that is accepted; the plain run at one step of a few, others each day.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from django.conf import settings

from operations.models import Operation
from operations.registry import kinds
from operations.runner import run
from portal.core.errors import Conflict
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import lapse
from tests.portal.api.rest import Answer as Said
from tests.portal.api.rest import Rest
from tests.vms.reconcile.backup_lives import Backups, forget_backups
from tests.vms.reconcile.bench import KEY, Bench
from tests.vms.reconcile.copy_lives import Copies
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.snapshot_lives import Shots
from tests.vms.reconcile.test_kill_points import clear
from tests.vms.reconcile.volume_lives import Disks
from vms.hypervisor.errors import Refused
from vms.models import Backup, BackupStore, Disc, Guest, Port, Snapshot, Volume
from vms.reconcile.sweep import sweep
from vms.services.backups import backup_create
from vms.services.guests import guests_mark_unknown
from vms.services.guests.allowed import OURS, TABLE, Answer, Condition, condition_of, refuse_unless_allowed
from vms.services.hosts import host_record_heartbeat
from vms.states import HostState, Power, SnapshotState

SAMPLE: Final = 4
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Wish:
    """How REST is asked for a kind; ``path`` is below the machine, or below the project where it begins with a noun's."""

    method: str
    path: str
    body: Callable[[Bench, Guest], Any] = lambda _bench, _guest: None

    def url(self, guest: Guest) -> str:
        if not self.path.startswith(("/volumes", "/snapshots", "/backups", "/ports/{card}")):
            return f"/guests/{guest.pk}{self.path.format(disc=_disc(guest), port=_port(guest))}"
        with every_tenant(why="test"):
            kept = Snapshot.objects.filter(guest=guest).first()
            saved = Backup.objects.filter(guest=guest).first()
            names = {"hung": _data(guest), "free": _data(None), "kept": kept, "saved": saved}
            names["card"] = Port.objects.filter(guest=guest).first()
        return self.path.format(**{name: row.pk if row is not None else "" for name, row in names.items()})


def _disc(guest: Guest) -> str:
    with every_tenant(why="test"):
        disc = Disc.objects.filter(guest=guest).first()
    return str(disc.pk) if disc is not None else ""


def _port(guest: Guest) -> str:
    with every_tenant(why="test"):
        port = Port.objects.filter(guest=guest).first()
    return str(port.pk) if port is not None else ""


def _another(bench: Bench) -> str:
    """A network that no machine is on."""
    return str(factories.network(bench.house).pk)


def _data(guest: Guest | None) -> Volume | None:
    return Volume.objects.filter(guest=guest).exclude(guest__isnull=False, position=0).first()


WISHES: Final = {
    **{
        f"guest.{verb}": Wish("POST", f"/{verb}")
        for verb in ("start", "shutdown", "stop", "reboot", "reset", "pause", "resume", "suspend", "wake", "restore")
    },
    "guest.clone": Wish("POST", "/clone", lambda _bench, _guest: {"name": f"twin-{next(_numbers)}"}),
    "guest.resize": Wish("POST", "/resize", lambda bench, _guest: {"flavor": bench.larger.name}),
    "guest.rebuild": Wish("POST", "/rebuild"),
    "guest.putback": Wish("POST", "/backups/{saved}/restore", lambda _bench, _guest: {"to": "in_place", "stop": True}),
    "guest.rescue": Wish("POST", "/rescue", lambda bench, _guest: {"image": str(bench.image.pk)}),
    "guest.unrescue": Wish("POST", "/unrescue"),
    "guest.insert": Wish("POST", "/discs", lambda bench, _guest: {"image": str(bench.cd.pk)}),
    "guest.eject": Wish("DELETE", "/discs/{disc}"),
    "guest.guard": Wish(
        "PUT", "/ports/{card}/security-groups", lambda _bench, _guest: {"security_groups": ["default"]}
    ),
    "guest.readdress": Wish("PATCH", "/ports/{card}", lambda _bench, _guest: {"ip": ""}),
    "guest.limit_port": Wish("PATCH", "/ports/{card}", lambda _bench, _guest: {"in_mbit": 5}),
    "guest.attach_port": Wish("POST", "/ports", lambda bench, _guest: {"network": _another(bench)}),
    "guest.detach_port": Wish("DELETE", "/ports/{port}"),
    "guest.password": Wish("POST", "/password", lambda _bench, _guest: {"password": "correct horse"}),
    "guest.keys": Wish("POST", "/keys", lambda _bench, _guest: {"ssh_keys": [KEY]}),
    "guest.look": Wish("POST", "/reported"),
    "guest.delete": Wish("DELETE", ""),
    "guest.purge": Wish("DELETE", "?purge=true"),
    "backup.create": Wish("POST", "/backups", lambda _bench, guest: {"guest": str(guest.pk)}),
    "volume.create": Wish(
        "POST", "/volumes", lambda _bench, guest: {"name": "v", "size_gib": 1, "guest": str(guest.pk)}
    ),
    "volume.attach": Wish("POST", "/volumes/{free}/attach", lambda _bench, guest: {"guest": str(guest.pk)}),
    "volume.detach": Wish("POST", "/volumes/{hung}/detach"),
    "volume.extend": Wish("POST", "/volumes/{hung}/extend", lambda _bench, _guest: {"size_gib": 2}),
    "volume.limit": Wish("POST", "/volumes/{hung}/limits", lambda _bench, _guest: {"iops": 100}),
    "snapshot.create": Wish("POST", "/snapshots", lambda _bench, guest: {"name": "s", "guest": str(guest.pk)}),
    "snapshot.revert": Wish("POST", "/snapshots/{kept}/revert"),
    "snapshot.delete": Wish("DELETE", "/snapshots/{kept}"),
}
"""Every kind of the table."""
NOT_ON_OFFER: Final = {
    (kind, Condition.BINNED) for kind in ("backup.create", "volume.create", "volume.attach", "snapshot.create")
}
"""REST knows no such machine: what is in the bin is offered nothing."""
STILL: Final = {
    (kind, Condition.GONE): "is not defined on"
    for kind in ("guest.eject", "volume.detach", "snapshot.delete", "guest.detach_port")
}
"""What the audit says afterwards as before: letting go of a disk or a snapshot does not bring the machine back."""


def _unbuilt(bench: Bench) -> Guest:
    """A creation failed, and so did the removal of what it left."""
    bench.on_host.fail("define", Refused("no"))
    guest, operation = bench.ask_create()
    assert run(operation.pk) == "failed"
    bench.on_host.fail("delete_volume", Refused("no"))
    bench.settle()
    return guest


def _silent(bench: Bench) -> Guest:
    guest = bench.guest()
    bench.on_host.silent = True
    type(bench.host).objects.filter(pk=bench.host.pk).update(state=HostState.DOWN)
    guests_mark_unknown(bench.host)
    return guest


def _gone(bench: Bench) -> Guest:
    guest = bench.guest()
    del bench.on_host.domains[str(guest.pk)]
    _look(bench)
    return guest


def _rescue_off(bench: Bench) -> Guest:
    guest = bench.rescued()
    assert run(bench.ask(guest, "stop").pk) == "succeeded"
    return guest


def _crashed(bench: Bench) -> Guest:
    guest = bench.guest()
    bench.on_host.domains[str(guest.pk)].power = Power.CRASHED
    _look(bench)
    return guest


def _look(bench: Bench) -> None:
    with every_tenant(why="test"):
        sweep(bench.host)


MAKE: Final[dict[Condition, Callable[[Bench], Guest]]] = {
    Condition.BINNED: Bench.binned,
    Condition.UNBUILT: _unbuilt,
    Condition.SILENT: _silent,
    Condition.GONE: _gone,
    Condition.RESCUE: Bench.rescued,
    Condition.RESCUE_OFF: _rescue_off,
    Condition.STOPPED: lambda bench: bench.guest(Power.STOPPED),
    Condition.RUNNING: lambda bench: bench.guest(Power.RUNNING),
    Condition.PAUSED: lambda bench: bench.guest(Power.PAUSED),
    Condition.SUSPENDED: lambda bench: bench.guest(Power.SUSPENDED),
    Condition.CRASHED: _crashed,
}


def speak(bench: Bench) -> None:
    """The host answers, whatever it did before."""
    bench.on_host.speak_again()
    host_record_heartbeat(bench.host)


def ask(bench: Bench, guest: Guest, kind: str) -> Said:
    wish = WISHES[kind]
    return Rest(bench.house.token).ask(wish.method, bench.house.url + wish.url(guest), wish.body(bench, guest))


def refused(bench: Bench, guest: Guest, kind: str) -> Said:
    """Of a wish that is not taken: what it needs is there by rows alone."""
    if kind != "guest.putback":
        return ask(bench, guest, kind)
    saved = factories.backup(bench.house, guest)
    said = ask(bench, guest, kind)
    with every_tenant(why="test"):
        saved.delete()
    return said


def save(bench: Bench, guest: Guest) -> None:
    """A backup of it, which is really there."""
    with tenant_scope(bench.house.tenant):
        operation = backup_create(bench.fresh(guest), actor=bench.house.actor)
    assert run(operation.pk) == "succeeded"


def furnish(bench: Bench, *, shots: bool = True) -> None:
    """From now on a machine has a CD and a data volume, and there is a volume that hangs on none; with ``shots`` a snapshot."""
    disks = Disks(bench)

    def furnished(guest: Guest) -> None:
        bench.disc(guest)
        disks.volume(guest)
        disks.volume()
        if shots:
            Shots(bench).snapshot(guest)

    bench.furnish = furnished


def a_place(bench: Bench) -> None:
    """Backups can be kept; made once."""
    if not BackupStore.objects.exists():
        Backups(bench, Path(settings.DATA_DIR) / "store")


def answered(kind: str, condition: Condition, bench: Bench) -> Answer:
    return TABLE[kind].answer(condition, bench.house.actor)


def test_every_kind_that_people_ask_of_a_machine_has_a_row_and_every_row_a_kind() -> None:
    about_guests = {name for name in kinds() if name.startswith(("guest.", "volume.", "snapshot."))} | {"backup.create"}

    assert set(TABLE) == about_guests - OURS
    assert set(TABLE) == set(WISHES)
    assert set(MAKE) == set(Condition)


def _hang_a_row(bench: Bench, guest: Guest) -> None:
    """Two volumes, one of them the machine's, a snapshot and a CD, for one that was never there."""
    _free, hung = factories.volume(bench.house), factories.volume(bench.house)
    with tenant_scope(bench.house.tenant):
        Volume.objects.filter(pk=hung.pk).update(guest=guest, position=1)
        Snapshot.objects.create(tenant=bench.house.tenant, name="kept", guest=guest, state=SnapshotState.READY)
        Disc.objects.create(tenant=bench.house.tenant, guest=guest, drive=1, image=bench.cd)


@pytest.mark.parametrize("condition", Condition)
def test_what_the_table_refuses_is_a_409_in_its_words_and_changes_nothing(condition: Condition, bench: Bench) -> None:
    furnish(bench)
    guest = MAKE[condition](bench)
    if condition == Condition.UNBUILT:
        _hang_a_row(bench, guest)
    with every_tenant(why="test"):
        before = Guest.objects.filter(pk=guest.pk).values().get()
    known = Operation.objects.count()

    for kind in TABLE:
        if answered(kind, condition, bench) != Answer.NO:
            continue
        said = refused(bench, guest, kind)
        if (kind, condition) in NOT_ON_OFFER:
            assert (said.status, said.json["errors"][0]["pointer"]) == (422, "/guest")
            continue
        why = TABLE[kind].refusal(condition)
        assert (said.status, said.json["code"], said.json["detail"]) == (409, why.code, str(why.message)), (kind, said)

    with every_tenant(why="test"):
        assert Guest.objects.filter(pk=guest.pk).values().get() == before
    assert Operation.objects.count() == known


@pytest.mark.parametrize("condition", Condition)
def test_what_the_table_takes_is_done_and_the_books_agree(
    condition: Condition, bench: Bench, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    """One that needs a backup in a store, which takes seconds, is tried in another condition each day."""
    today = random.Random(datetime.now(UTC).date().isoformat())
    slow = today.choice([each for each in Condition if answered("guest.putback", each, bench) == Answer.NOW])
    for kind in TABLE:
        said = answered(kind, condition, bench)
        if said == Answer.NO:
            continue
        if kind == "guest.putback" and condition != slow and not request.config.getoption("--long"):
            continue
        with subtests.test(kind):
            operation = accepted(bench, condition, kind)
            if said == Answer.LATER:
                assert run(operation.pk) == "queued"
            else:
                assert run(operation.pk) == "succeeded", (operation.refresh_from_db(), operation.error_detail)
            finished(bench, operation, still=STILL.get((kind, condition), ""))


def accepted(bench: Bench, condition: Condition, kind: str) -> Operation:
    speak(bench)
    if kind.startswith("backup.") or kind == "guest.putback":
        a_place(bench)
    if kind == "guest.putback":
        bench.furnish = lambda guest: save(bench, guest)
    elif kind == "guest.eject":
        bench.furnish = bench.disc
    elif kind.startswith("guest."):
        bench.furnish = lambda _guest: None
    else:
        furnish(bench, shots=kind.startswith("snapshot."))
    guest = MAKE[condition](bench)
    assert condition_of(bench.fresh(guest)) == condition
    said = ask(bench, guest, kind)
    assert said.status == 202, said
    operation = Operation.objects.get(pk=said.json["id"])
    if "snapshot" in operation.params:
        Copies(bench).passing(operation)
    return operation


def finished(bench: Bench, operation: Operation, *, still: str = "") -> None:
    """The host answers again; everything that waits is done, it has succeeded, and the audit finds nothing but ``still``."""
    speak(bench)
    bench.settle()
    operation.refresh_from_db()
    assert (operation.status, operation.error_code) == ("succeeded", ""), operation.error_detail
    _look(bench)
    found = bench.findings()
    assert [finding for finding in found if not still or still not in finding] == []
    assert bool(found) == bool(still)


def test_a_machine_that_is_being_worked_on_takes_no_second_wish(bench: Bench) -> None:
    furnish(bench)
    a_place(bench)
    guest = bench.guest()
    live = bench.ask(guest, "reboot")

    codes = {kind: refused(bench, guest, kind) for kind in TABLE}

    assert {said.status for said in codes.values()} == {409}
    for kind, said in codes.items():
        free = answered(kind, Condition.RUNNING, bench) == Answer.NO
        torn = kind in ("guest.rebuild", "guest.putback", "volume.detach") and said.json["code"] == "has_snapshots"
        assert free or torn or said.json["code"] == "operation_in_progress", (kind, said)
    assert run(live.pk) == "succeeded"
    assert bench.findings() == []


def test_only_an_operator_starts_what_is_gone_from_its_host(bench: Bench) -> None:
    guest = bench.fresh(_gone(bench))
    person, _token = factories.operator()

    with tenant_scope(bench.house.tenant), pytest.raises(Conflict):
        refuse_unless_allowed(guest, "guest.start", bench.house.actor)
    with tenant_scope(bench.house.tenant):
        refuse_unless_allowed(guest, "guest.start", factories.actor_in(bench.house.tenant, person))


def test_a_worker_killed_in_the_middle_of_a_pair_is_taken_over(
    bench: Bench, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    pairs = [
        (kind, condition) for kind in TABLE for condition in Condition if answered(kind, condition, bench) == Answer.NOW
    ]
    chosen = random.Random(datetime.now(UTC).date().isoformat())
    long = request.config.getoption("--long")
    for kind, condition in pairs if long else chosen.sample(pairs, SAMPLE):
        forget_backups(bench)
        clear(bench, disks=True)
        tried = accepted(bench, condition, kind)
        with at_points(lambda _point: None) as passed:
            run(tried.pk)
        points = list(dict.fromkeys(passed))
        for point in points if long else chosen.sample(points, min(1, len(points))):
            with subtests.test(f"{kind} while {condition}, killed at {point}"):
                forget_backups(bench)
                clear(bench, disks=True)
                operation = accepted(bench, condition, kind)

                def die(at: str, point: str = point) -> None:
                    if at == point:
                        raise Killed

                with at_points(die), pytest.raises(Killed):
                    run(operation.pk)
                lapse(operation)
                finished(bench, operation, still=STILL.get((kind, condition), ""))
