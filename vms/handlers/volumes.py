"""Volumes on their host: made, plugged in, taken off, grown, limited, wiped; every step asks first whether it is already so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Run
from portal.core.errors import Conflict
from portal.core.units import GIB
from vms import design
from vms.berths import Berth, berth
from vms.handlers.copied import await_snapshot
from vms.handlers.guests import drop_volume, ensure_pool, ensure_volume
from vms.handlers.image_copies import ensure_copy
from vms.handlers.place import connect, host_words
from vms.hypervisor import errors
from vms.hypervisor.disks import SeenDisk, SeenDisks
from vms.hypervisor.driver import Hypervisor
from vms.models import Guest, Host, Volume
from vms.names import Owner
from vms.selectors.installation import installation_owner

LET_GO_S = 60
"""How long a running machine may take to let go of a disk."""
SLICE_S = 2.0


@dataclass(frozen=True, slots=True)
class Spot:
    """A volume on its host, with the machine it hangs on, if it does, and the connection."""

    volume: Volume
    guest: Guest | None
    host: Host
    hv: Hypervisor
    owner: Owner

    @property
    def berth(self) -> Berth:
        """Where the volume lies on its host."""
        return berth(self.volume, self.host, self.owner)

    @property
    def file(self) -> str:
        """How a machine's definition names it."""
        return self.berth.path


@contextmanager
def at(run: Run) -> Iterator[Spot | None]:
    """The operation's volume on its host, connected, with the host's troubles translated; None where there is none any more."""
    rows = Volume.objects.select_related(
        "storage_class", "image", "source", "snapshot_disk", "pool__host", "guest__flavor", "guest__host"
    )
    volume = rows.filter(pk=run.operation.subject_id).first()
    host = None if volume is None else _host_of(volume)
    if volume is None or host is None:
        yield None
        return
    with host_words(host):
        run.check()
        yield Spot(volume, volume.guest, host, connect(host), installation_owner())


def _host_of(volume: Volume) -> Host | None:
    if volume.pool is not None:
        return volume.pool.host
    return volume.guest.host if volume.guest is not None else None


@handles("volume.create")
def create(run: Run) -> None:
    """Its file, and then the plug, if it is for a machine."""
    with at(run) as spot:
        if spot is None:
            raise Conflict(_("The volume is gone."), code="gone", hint="")
        ensure_pool(run, spot)
        if spot.volume.image is not None:
            ensure_copy(run, spot.hv, spot.host, spot.owner, spot.volume.image)
        run.say(_("Making the disk"), 50)
        ensure_volume(run, spot, spot.volume, effect="disk")
        ensure_attached(run, spot)


@handles("volume.copy")
def copy(run: Run) -> None:
    """The same once the snapshot is there that it is made of."""
    await_snapshot(run)
    create(run)


@handles("volume.attach")
def attach(run: Run) -> None:
    """Plug it in: now, where the machine runs, and for its next start."""
    with at(run) as spot:
        if spot is None or spot.guest is None:
            raise Conflict(_("The volume is gone."), code="gone", hint="")
        ensure_attached(run, spot)


@handles("volume.detach")
def detach(run: Run) -> None:
    """Have the machine let go of it."""
    with at(run) as spot:
        if spot is not None:
            ensure_detached(run, spot)


@handles("volume.extend")
def extend(run: Run) -> None:
    """Grow it, through its machine where that runs."""
    with at(run) as spot:
        if spot is None:
            raise Conflict(_("The volume is gone."), code="gone", hint="")
        pool, name, capacity = spot.berth.pool, spot.berth.name, spot.volume.size_gib * GIB
        seen = spot.hv.volume(pool, name)
        if seen is None or seen.capacity < capacity:
            run.say(_("Making it larger"), 50)
            with run.effect("grow"):
                uuid = str(spot.guest.pk) if spot.guest is not None else ""
                spot.hv.resize_volume(pool, name, capacity=capacity, uuid=uuid)


@handles("volume.limit")
def limit(run: Run) -> None:
    """Set its limits on a machine that is defined; any other gets them with its definition."""
    with at(run) as spot:
        if spot is None or spot.guest is None or spot.hv.domain(str(spot.guest.pk)) is None:
            return
        tune = design.disk_tune(spot.volume, spot.guest, spot.host)
        run.say(_("Setting its limits"), 50)
        with run.effect("limit"):
            spot.hv.limit_disk(str(spot.guest.pk), spot.file, tune, owner=spot.owner)


@handles("volume.delete")
def delete(run: Run) -> None:
    """Off whatever it may hang on, its bytes as its class says, its file away."""
    with at(run) as spot:
        if spot is None:
            return
        if spot.guest is not None:
            ensure_detached(run, spot)
        drop_volume(run, spot, spot.volume)


def ensure_attached(run: Run, spot: Spot) -> None:
    """The machine has the disk, live and kept, if the volume is to hang on one."""
    if spot.guest is None:
        return
    disk = design.disk(spot.volume, spot.guest, spot.host, spot.owner)
    if _everywhere(spot, lambda disks: any(seen.path == disk.path for seen in disks)):
        return
    run.say(_("Plugging it in"), 70)
    with run.effect("attach"):
        try:
            roots = design.roots(spot.host)
            spot.hv.attach_disk(str(spot.guest.pk), disk, owner=spot.owner, roots=roots)
        except errors.NoSlot as error:
            raise Conflict(
                _("The machine has no free slot for another disk while it runs."),
                code="no_slot",
                hint=_("Stop it and start it again: then it has room for more."),
                detail=error.detail,
            ) from error


def ensure_detached(run: Run, spot: Spot) -> None:
    """The machine has the disk no more, live or kept; one that runs is asked until it lets go.

    Raises ``Conflict`` (``still_in_use``) where it does not; then it has the disk as before.
    """
    if spot.guest is None or _everywhere(spot, lambda disks: all(seen.path != spot.file for seen in disks)):
        return
    began = time.monotonic()
    while (spent := time.monotonic() - began) < LET_GO_S:
        run.say(_("Waiting for the machine to let go of it"), 20 + int(60 * spent / LET_GO_S))
        with run.effect("detach"):
            try:
                spot.hv.detach_disk(str(spot.guest.pk), spot.file, owner=spot.owner, timeout_s=SLICE_S)
                return
            except errors.Busy:
                continue
    raise Conflict(
        _("The machine did not let go of this volume within %(seconds)d seconds."),
        code="still_in_use",
        seconds=LET_GO_S,
        hint=_("Its system may still be starting, or use the disk: unmount it there, or stop the machine."),
    )


def _everywhere(spot: Spot, holds: Callable[[tuple[SeenDisk, ...]], bool]) -> bool:
    """Does it hold of each definition of the machine? Of one that is not defined it holds that it has no disk."""
    assert spot.guest is not None
    try:
        seen = spot.hv.disks(str(spot.guest.pk))
    except errors.Missing:
        seen = SeenDisks(kept=())
    return all(holds(disks) for disks in seen.everywhere())
