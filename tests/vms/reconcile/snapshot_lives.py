"""One recipe for each kind of operation on a snapshot: of machines in each power that matters, and of single volumes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from operations.models import Operation
from operations.runner import run
from tenants.scoping import every_tenant, tenant_scope
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.volume_lives import Disks
from vms.models import Guest, Snapshot, Volume
from vms.names import snapshot_name, volume_name
from vms.services import snapshots as services
from vms.states import Power

_numbers = itertools.count(1)
THEN, SINCE = "then", "since"
"""What is written on every disk before a snapshot is taken, and after it."""


@dataclass
class Shots:
    """What is asked of snapshots on a bench, and what is looked at afterwards."""

    bench: Bench

    def ask_create(self, of: Guest | Volume, *, memory: bool = False) -> tuple[Snapshot, Operation]:
        with tenant_scope(self.bench.house.tenant):
            operation = services.snapshot_create(
                of, name=f"s{next(_numbers)}", memory=memory, actor=self.bench.house.actor
            )
        return self.fresh(operation.subject_id), operation

    def snapshot(self, of: Guest | Volume, *, memory: bool = False) -> Snapshot:
        """One that is really there: ``THEN`` is on the disks in it, ``SINCE`` by now."""
        self.write(of, THEN)
        snapshot, operation = self.ask_create(of, memory=memory)
        assert run(operation.pk) == "succeeded", operation
        self.write(of, SINCE)
        return self.fresh(snapshot.pk)

    def ask(self, snapshot: Snapshot, verb: str, **more: object) -> Operation:
        """``revert`` or ``delete``, by the tenant's owner."""
        with tenant_scope(self.bench.house.tenant):
            service = getattr(services, f"snapshot_{verb}")
            asked: Operation = service(self.fresh(snapshot.pk), actor=self.bench.house.actor, **more)
            return asked

    def fresh(self, pk: object) -> Snapshot:
        with every_tenant(why="test"):
            return Snapshot.objects.select_related("guest", "tenant").get(pk=pk)

    def is_gone(self, snapshot: Snapshot) -> bool:
        with every_tenant(why="test"):
            return not Snapshot.objects.filter(pk=snapshot.pk).exists()

    def paths(self, of: Guest | Volume) -> list[str]:
        with every_tenant(why="test"):
            rows = list(Volume.objects.filter(guest=of)) if isinstance(of, Guest) else [of]
        return [f"{self.bench.host.data_dir}/pool/{volume_name(row.pk)}" for row in rows]

    def write(self, of: Guest | Volume, words: str) -> None:
        for path in self.paths(of):
            self.bench.on_host.contents[path] = words

    def read(self, of: Guest | Volume) -> set[str]:
        return {self.bench.on_host.contents.get(path, "") for path in self.paths(of)}

    def held(self, snapshot: Snapshot) -> int:
        """How many disks hold it."""
        return sum(snapshot_name(snapshot.pk) in kept for kept in self.bench.on_host.kept.values())

    def machine(self, power: Power) -> Guest:
        """With two disks, so that one alone can be left behind."""
        guest = self.bench.guest(Power.STOPPED if power == Power.STOPPED else Power.RUNNING)
        Disks(self.bench).volume(guest)
        for action in {Power.PAUSED: ["pause"], Power.SUSPENDED: ["suspend"]}.get(power, []):
            assert run(self.bench.ask(guest, action).pk) == "succeeded"
        return self.bench.fresh(guest)


@dataclass(frozen=True, slots=True)
class SnapshotRecipe:
    """``ask`` makes what is needed and submits; afterwards the disks read so, the machine does ``power``, so many hold it."""

    name: str
    kind: str
    ask: Callable[[Shots], tuple[Guest | Volume, Snapshot, Operation]]
    reads: str
    power: Power | None
    held: int
    consistency: str = ""


type Asked = Callable[[Shots], tuple[Guest | Volume, Snapshot, Operation]]


def _create(power: Power, *, memory: bool = False) -> Asked:
    def ask(shots: Shots) -> tuple[Guest | Volume, Snapshot, Operation]:
        guest = shots.machine(power)
        shots.write(guest, THEN)
        return guest, *shots.ask_create(guest, memory=memory)

    return ask


def _on(power: Power, verb: str, *, kept_memory: bool = False, **more: object) -> Asked:
    def ask(shots: Shots) -> tuple[Guest | Volume, Snapshot, Operation]:
        guest = shots.machine(Power.RUNNING if power == Power.SUSPENDED else power)
        snapshot = shots.snapshot(guest, memory=kept_memory)
        if power == Power.SUSPENDED:
            assert run(shots.bench.ask(guest, "suspend").pk) == "succeeded"
        return guest, snapshot, shots.ask(snapshot, verb, **more)

    return ask


def _grown(shots: Shots) -> tuple[Guest | Volume, Snapshot, Operation]:
    guest = shots.machine(Power.RUNNING)
    snapshot = shots.snapshot(guest)
    disks = Disks(shots.bench)
    with every_tenant(why="test"):
        data = Volume.objects.get(guest=guest, position=1)
    assert run(disks.ask(data, "extend", size_gib=4).pk) == "succeeded"
    return guest, snapshot, shots.ask(snapshot, "revert")


def _volume(verb: str, *, plugged: bool = False) -> Asked:
    def ask(shots: Shots) -> tuple[Guest | Volume, Snapshot, Operation]:
        disks = Disks(shots.bench)
        volume = disks.volume(shots.bench.guest(Power.RUNNING) if plugged else None)
        if verb == "create":
            shots.write(volume, THEN)
            return volume, *shots.ask_create(volume)
        snapshot = shots.snapshot(volume)
        return volume, snapshot, shots.ask(snapshot, verb)

    return ask


R, S, P, Z = Power.RUNNING, Power.STOPPED, Power.PAUSED, Power.SUSPENDED
_C, _V, _D = "snapshot.create", "snapshot.revert", "snapshot.delete"
SNAPSHOT_RECIPES = {
    recipe.name: recipe
    for recipe in (
        SnapshotRecipe("create, running", _C, _create(R), THEN, R, 2, "frozen"),
        SnapshotRecipe("create, paused", _C, _create(P), THEN, P, 2, "power_cut"),
        SnapshotRecipe("create, off", _C, _create(S), THEN, S, 2, "off"),
        SnapshotRecipe("create with memory", _C, _create(R, memory=True), THEN, R, 2, "memory"),
        SnapshotRecipe("create, a volume", _C, _volume("create"), THEN, None, 1, "off"),
        SnapshotRecipe(
            "create, a volume of a running machine", _C, _volume("create", plugged=True), THEN, None, 1, "frozen"
        ),
        SnapshotRecipe("revert, running", _V, _on(R, "revert"), THEN, S, 2, "frozen"),
        SnapshotRecipe("revert, off", _V, _on(S, "revert"), THEN, S, 2, "off"),
        SnapshotRecipe("revert, suspended", _V, _on(Z, "revert"), THEN, S, 2, "frozen"),
        SnapshotRecipe("revert, grown since", _V, _grown, THEN, S, 2, "frozen"),
        SnapshotRecipe("revert with memory", _V, _on(R, "revert", kept_memory=True, memory=True), THEN, R, 2, "memory"),
        SnapshotRecipe(
            "revert with memory, suspended", _V, _on(Z, "revert", kept_memory=True, memory=True), THEN, R, 2, "memory"
        ),
        SnapshotRecipe("revert without the memory", _V, _on(R, "revert", kept_memory=True), THEN, S, 2, "memory"),
        SnapshotRecipe("revert, a volume", _V, _volume("revert"), THEN, None, 1, "off"),
        SnapshotRecipe("delete, running", _D, _on(R, "delete"), SINCE, R, 0),
        SnapshotRecipe("delete, off", _D, _on(S, "delete"), SINCE, S, 0),
        SnapshotRecipe("delete, a volume", _D, _volume("delete"), SINCE, None, 0),
    )
}
"""Every kind of operation on a snapshot."""
