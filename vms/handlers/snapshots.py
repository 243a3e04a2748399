"""Snapshots on their host: taken, gone back to, dropped; every step may be repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from portal.core.units import GIB
from vms import design
from vms.berths import berth
from vms.handlers.guests import ensure_networks, ensure_seed, reached
from vms.handlers.place import connect, host_words
from vms.handlers.rebuild import ensure_off
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.snapshots import Awake
from vms.models import Guest, Host, Snapshot, Volume
from vms.models.snapshots import Consistency
from vms.names import Owner, pool_name, snapshot_name, volume_name
from vms.reconcile.converge import Place, observe
from vms.selectors.installation import installation_owner
from vms.services.guests.observe import guest_record_password
from vms.services.snapshots.record import snapshot_record_taken
from vms.states import ON, Power, SnapshotState


@dataclass(frozen=True, slots=True)
class Scene:
    """A snapshot's disks on their host, with the machine they hang on, if they do, and the connection."""

    snapshot: Snapshot
    volumes: list[Volume]
    guest: Guest | None
    host: Host
    hv: Hypervisor
    owner: Owner

    @property
    def name(self) -> str:
        """What the snapshot is called in the disks."""
        return snapshot_name(self.snapshot.pk)

    @property
    def paths(self) -> list[str]:
        """Where its disks lie, the machine's first one first."""
        return [berth(volume, self.host, self.owner).path for volume in self.volumes]

    @property
    def uuid(self) -> str:
        """The domain that may have the disks open; empty where none can."""
        return str(self.guest.pk) if self.guest is not None else ""

    @property
    def place(self) -> Place:
        """The machine on its host; only where there is one."""
        assert self.guest is not None
        return Place(self.guest, self.host, self.hv, self.owner)


@contextmanager
def at(run: Run) -> Iterator[Scene | None]:
    """The operation's snapshot on its host, connected, with the host's troubles translated; None where there is none any more."""
    snapshot = Snapshot.objects.select_related("tenant").filter(pk=run.operation.subject_id).first()
    rows = Volume.objects.select_related("storage_class", "image", "pool__host")
    rows = rows.select_related(
        "guest__host__pool", "guest__flavor", "guest__next_flavor", "guest__tenant", "guest__image"
    )
    volumes = list(rows.filter(kept_in__snapshot=snapshot).order_by("kept_in__position")) if snapshot else []
    guest = volumes[0].guest if volumes else None
    host = guest.host if guest is not None else volumes[0].pool.host if volumes and volumes[0].pool else None
    if snapshot is None or host is None:
        yield None
        return
    with host_words(host):
        run.check()
        yield Scene(snapshot, volumes, guest, host, connect(host), installation_owner())


@handles("snapshot.create")
def create(run: Run) -> None:
    """All disks at one moment; what an earlier attempt left under the name is replaced."""
    with at(run) as scene:
        if scene is None:
            raise _gone()
        if scene.snapshot.taken_at is not None:
            return
        power = observe(scene.place).power if scene.guest is not None else Power.STOPPED
        run.say(_("Keeping what is on the disks"), 30)
        if scene.snapshot.with_memory:
            take_memory(run, scene, power)
            return
        with run.effect("take"):
            if _is_over(scene.snapshot, SnapshotState.CREATING):
                return
            held_still = scene.hv.take_snapshot(
                scene.name, scene.paths, uuid=scene.uuid, owner=scene.owner, roots=design.roots(scene.host), freeze=True
            )
        consistency = Consistency.OFF
        if power in {*ON, Power.CRASHED}:
            consistency = Consistency.FROZEN if held_still else Consistency.POWER_CUT
        snapshot_record_taken(scene.snapshot, consistency)


def take_memory(run: Run, scene: Scene, power: Power) -> None:
    """The disks and what the machine runs; raises ``Conflict`` where it has gone off meanwhile."""
    if power not in ON:
        raise Conflict(
            _("The machine does not run, so it has no memory to keep."),
            code="no_memory",
            hint=_("Take it without memory, or start the machine first."),
        )
    with run.effect("take"):
        if _is_over(scene.snapshot, SnapshotState.CREATING):
            return
        definition = scene.hv.take_memory(scene.name, uuid=scene.uuid, owner=scene.owner)
    snapshot_record_taken(scene.snapshot, Consistency.MEMORY, definition=definition)
    observe(scene.place)


@handles("snapshot.revert")
def revert(run: Run) -> None:
    """Off, the disks back, each as large as it is charged for; or on where the memory left it."""
    with at(run) as scene:
        if scene is None:
            raise _gone()
        of_guest = scene.snapshot.guest_id is not None
        if of_guest and scene.place.guest.want_generation != run.operation.generation:
            raise Conflict(_("Something newer was asked of this machine."), code="overtaken", hint="")
        if run.params["memory"]:
            ensure_awake(run, scene)
            ensure_limits(run, scene)
        else:
            if of_guest:
                ensure_off(run, scene.place)
            run.say(_("Putting the disks back"), 70)
            with run.effect("revert"):
                if _is_over(scene.snapshot, SnapshotState.REVERTING):
                    return
                scene.hv.revert_snapshot(scene.name, scene.paths, owner=scene.owner, roots=design.roots(scene.host))
        ensure_sizes(run, scene)
        if of_guest:
            reached(observe(scene.place), scene.place.guest)


def ensure_awake(run: Run, scene: Scene) -> None:
    """The machine runs on where the snapshot left it; one that carries this wish and runs does so already."""
    place = scene.place
    seen = observe(place)
    if seen.power == Power.RUNNING and seen.generation == place.guest.want_generation:
        return
    ensure_off(run, place)
    ensure_seed(run, place)
    ensure_networks(run, place)
    password = design.display_password()
    guest_record_password(place.guest, password)
    tag = design.tag(scene.owner, scene.uuid, str(place.guest.tenant_id), place.guest.want_generation)
    awake = Awake(definition=scene.snapshot.definition, paths=scene.paths, tag=tag, password=password)
    run.say(_("Putting disks and memory back"), 80)
    with run.effect("wake"):
        if _is_over(scene.snapshot, SnapshotState.REVERTING):
            return
        scene.hv.wake_snapshot(scene.name, awake, uuid=scene.uuid, owner=scene.owner, roots=design.roots(scene.host))


def ensure_limits(run: Run, scene: Scene) -> None:
    """The definition that came back with the memory has the limits of then; the disks keep those that they have now."""
    for number, (volume, path) in enumerate(zip(scene.volumes, scene.paths, strict=True)):
        tune = design.disk_tune(volume, scene.place.guest, scene.host)
        with run.effect(f"limit{number}"):
            scene.hv.limit_disk(scene.uuid, path, tune, owner=scene.owner)


def ensure_sizes(run: Run, scene: Scene) -> None:
    """A snapshot brings a disk's old size back; one that has grown since grows again."""
    pool = pool_name(scene.owner)
    for number, volume in enumerate(scene.volumes):
        name, capacity = volume_name(volume.pk), volume.size_gib * GIB
        seen = scene.hv.volume(pool, name)
        if seen is None or seen.capacity < capacity:
            with run.effect(f"grow{number}"):
                scene.hv.resize_volume(pool, name, capacity=capacity, uuid=scene.uuid)


@handles("snapshot.delete")
def delete(run: Run) -> None:
    """Out of every disk that holds it."""
    with at(run) as scene:
        if scene is not None and scene.hv.pool(pool_name(scene.owner)) is not None:
            run.say(_("Giving back what only it needed"), 50)
            with run.effect("drop"):
                scene.hv.drop_snapshot(
                    scene.name, scene.paths, uuid=scene.uuid, owner=scene.owner, roots=design.roots(scene.host)
                )


def _is_over(snapshot: Snapshot, state: SnapshotState) -> bool:
    """Has a successor finished what this worker is at, as of now? One that froze would otherwise undo what came after."""
    row = Snapshot.objects.filter(pk=snapshot.pk, state=state)
    return not (row.filter(taken_at=None) if state == SnapshotState.CREATING else row).exists()


def _gone() -> Conflict:
    return Conflict(_("The snapshot is gone."), code="gone", hint="")
