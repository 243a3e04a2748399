"""Another size: first the disk, then vCPUs and memory, while the machine runs or between two starts."""

from __future__ import annotations

from operations.registry import handles
from operations.runner import Run
from portal.core.units import GIB
from vms.handlers.cards import ensure_limits
from vms.handlers.guests import ensure_networks, reached
from vms.handlers.place import at
from vms.handlers.power import press_until_off
from vms.hypervisor import errors
from vms.models import Port, Volume
from vms.names import pool_name, volume_name
from vms.reconcile.converge import Place, converge, define, observe
from vms.reconcile.plan import Seen
from vms.services.guests.power import GRACE_S
from vms.services.guests.resize import NeedsRestart, When, guest_record_disk, guest_take_size
from vms.states import Power


@handles("guest.resize")
def resize(run: Run) -> None:
    """Whatever of it an earlier attempt has done is found done: the row says what is still to be taken."""
    with at(run) as place:
        when = When(run.params["when"])
        grow_root(run, place)
        seen = observe(place)
        if place.guest.next_flavor is not None and seen.power == Power.RUNNING:
            if when == When.POWER_OFF:
                return
            if when == When.LIVE:
                _grow_live(run, place)
                place.guest.refresh_from_db()
                ensure_limits(run, place, Port.objects.filter(guest=place.guest).order_by("position"))
                return
            press_until_off(run, place, grace_s=float(GRACE_S))
        reached(_between_starts(run, place), place.guest)


def grow_root(run: Run, place: Place) -> None:
    """The first disk on its pool is as large as the row says; where it is, one look."""
    root = Volume.objects.get(guest=place.guest, position=0)
    pool, name, capacity = pool_name(place.owner), volume_name(root.pk), root.size_gib * GIB
    seen = place.hv.volume(pool, name)
    if seen is None:
        raise errors.Missing(f"no volume {name}")
    if seen.capacity < capacity:
        with run.effect("disk"):
            place.hv.resize_volume(pool, name, capacity=capacity, uuid=str(place.guest.pk))
    guest_record_disk(place.guest)


def _grow_live(run: Run, place: Place) -> None:
    """Plug in what is missing; what the machine has afterwards is written down, also where the host refused half of it."""
    guest, uuid = place.guest, str(place.guest.pk)
    assert guest.next_vcpus is not None
    assert guest.next_memory_mib is not None
    if not place.hv.size(uuid).can_grow_to(guest.next_vcpus, guest.next_memory_mib):
        raise NeedsRestart
    try:
        with run.effect("vcpus"):
            place.hv.add_vcpus(uuid, guest.next_vcpus)
        with run.effect("memory"):
            place.hv.add_memory(uuid, guest.next_memory_mib)
    except errors.Unreachable:
        raise
    except errors.HypervisorError:
        _take_seen(place)
        raise
    _take_seen(place)


def _take_seen(place: Place) -> None:
    now = place.hv.size(str(place.guest.pk))
    guest_take_size(place.guest, vcpus=now.vcpus, memory_mib=now.memory_mib)


def _between_starts(run: Run, place: Place) -> Seen:
    """The machine is off: it has its new size from here on, and starts again if it is wanted on."""
    guest = place.guest
    if guest.next_flavor is not None and guest.next_vcpus is not None and guest.next_memory_mib is not None:
        guest_take_size(guest, vcpus=guest.next_vcpus, memory_mib=guest.next_memory_mib)
    guest.refresh_from_db()
    if guest.want_power == Power.RUNNING:
        ensure_networks(run, place)
        return converge(run, place)
    with run.effect("define"):
        define(place)
    return observe(place)
