"""One host, completely: what we want of it against what it has. Finds drift and shows it; deletes nothing itself.

Whatever carries no mark of this installation is not ours to judge, only to count. What a finished deletion names and is
there again goes through an operation (``vms.services.leftovers``).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from operations.models import OperationLock
from portal.core.clock import now
from portal.core.units import GIB
from vms.berths import berth
from vms.design import drive_target
from vms.engines import engine_at
from vms.hypervisor import pool as connections
from vms.hypervisor.driver import Hypervisor, SeenDomain, SeenVolume
from vms.hypervisor.engines import NetworkEngine
from vms.hypervisor.errors import FabricSilent, Missing
from vms.models import Disc, Guest, Host, ImageTest, Network, NetworkOnHost, Spare, StoragePool, Volume
from vms.models.discs import DRIVES
from vms.names import Owner, image_test_subject, network_name, nvram_name, pool_name, seed_name, volume_name
from vms.reconcile.converge import Place, guest_id, record
from vms.reconcile.guards import guards_mend
from vms.reconcile.limits import limits_mend
from vms.reconcile.members import members_follow
from vms.reconcile.networks import networks_mend
from vms.reconcile.plan import Seen
from vms.selectors.fabrics import speaks
from vms.selectors.installation import installation_owner
from vms.selectors.volumes import volumes_home, volumes_in
from vms.services.discs import discs_follow
from vms.services.fabrics import fabric_record_heard, fabric_record_silent
from vms.services.guests.going_along import guests_went_along
from vms.services.guests.kept import stop_is_kept
from vms.services.hosts import drift_clear, drift_record, host_mark_swept, host_record_heartbeat, host_record_pool
from vms.services.image_copies import copies_adopt
from vms.services.leftovers import leftover_clear, leftover_withdraw
from vms.services.volumes import volume_follow, volume_mend
from vms.states import ON, Power

CARRIED: Final = ("stray_network", "missing_network", "other_network", "other_filter", "missing_card")
"""What is found of networks."""


def sweep(host: Host) -> dict[str, int]:
    """Look at everything first, then write: observations, drift, figures. Returns counts for the log.

    An empty answer is believed only as far as it goes: a guest missing once is drift, never a reason to delete.
    Raises ``HypervisorError`` and has then written nothing.
    """
    owner = installation_owner()
    began = now()
    hv = connections.get(host.uri)
    up_s = hv.up_s()
    domains = hv.domains()
    volumes = _volumes(hv, owner)
    net, networks = _carried(host, hv, owner)
    marked = [d for d in domains if d.owner is not None and d.owner.installation == owner.installation]
    ours = {str(pk): domain for domain in marked if (pk := guest_id(domain, owner)) is not None}
    out = _out(host, hv, ours)
    host_record_heartbeat(host)

    foreign = [d for d in domains if d.owner is None or d.owner.installation != owner.installation]
    for domain in marked:
        if domain.owner is not None and domain.owner.epoch != owner.epoch:
            drift_record(host, "other_epoch", domain.name, detail=f"epoch {domain.owner.epoch}, ours is {owner.epoch}")
    found = _guests(host, hv, owner, ours, out, at=began)
    _image_tests(host, marked)
    _storage(host, owner, volumes)
    if net is not None:
        _networks(host, owner, networks)
        guards_mend(host, net, owner)
        members_follow(host, net, owner)
        networks_mend(host, net, owner)
    limits_mend(host, hv, guests=_resting(ours))
    _figures(host, hv, owner)
    drift_clear(host, seen_before=began, but=() if net is not None else CARRIED)
    guests_went_along(host, up_s=up_s, at=began)
    host_mark_swept(host, up_s=up_s)
    return {"ours": len(ours), "foreign": len(foreign), "guests": found}


def _carried(host: Host, hv: Hypervisor, owner: Owner) -> tuple[NetworkEngine | None, set[str]]:
    """What carries the host's packets, and the names of our networks there; None where its fabric is silent: the rest is seen."""
    fabric = host.pool.fabric
    try:
        net = engine_at(host, hv, owner)
        seen = net.networks()
    except FabricSilent as error:
        if fabric is None:
            raise
        fabric_record_silent(fabric, error.detail)
        return None, set()
    if fabric is not None:
        fabric_record_heard(fabric, at=now())
    return net, {each.name for each in seen if each.owner is not None and each.owner.installation == owner.installation}


def _guests(
    host: Host, hv: Hypervisor, owner: Owner, ours: dict[str, SeenDomain], out: dict[str, list[int]], *, at: datetime
) -> int:
    rows = {str(g.pk): g for g in Guest.objects.filter(host=host).select_related("host", "flavor", "tenant")}
    busy = set(map(str, _busy()))
    for pk, domain in ours.items():
        if pk not in rows and pk not in busy:
            detail = f"{domain.power}, carries our mark, no such machine here"
            drift = drift_record(host, "stray_domain", domain.name, detail=detail)
            if domain.power == Power.STOPPED:
                leftover_clear(host, UUID(pk), generation=domain.generation, drift=drift)
    for pk, guest in rows.items():
        if pk in busy:
            continue
        there = ours.get(pk)
        seen = Seen(Power.ABSENT) if there is None else Seen(there.power, there.generation)
        record(Place(guest, host, hv, owner), there, seen, at=at)
        if pk in out:
            discs_follow(guest, out[pk], at=at)
        _guest_drift(host, guest, there)
    return len(rows)


def _resting(ours: dict[str, SeenDomain]) -> set[str]:
    """Those with which nothing is being done."""
    return set(ours) - set(map(str, _busy()))


def _busy() -> Iterable[UUID]:
    return OperationLock.objects.filter(resource_type="guest").values_list("resource_id", flat=True)


def _out(host: Host, hv: Hypervisor, ours: dict[str, SeenDomain]) -> dict[str, list[int]]:
    """Of each running machine that has CDs: in which drives none is to be seen, since its system opened the tray."""
    out: dict[str, list[int]] = {}
    for pk in map(str, Disc.objects.filter(guest__host=host).values_list("guest", flat=True).distinct().order_by()):
        if pk not in ours or ours[pk].power not in ON:
            continue
        try:
            live = hv.disks(pk).live
        except Missing:
            continue
        shut = {disk.target for disk in live or () if not disk.is_open}
        if live is not None:
            out[pk] = [drive for drive in range(1, DRIVES + 1) if drive_target(drive) not in shut]
    return out


def _image_tests(host: Host, marked: list[SeenDomain]) -> None:
    rows = {image_test_subject(pk) for pk in ImageTest.objects.filter(host=host).values_list("pk", flat=True)}
    for domain in marked:
        if domain.guest.startswith("image-test-") and domain.guest not in rows:
            drift_record(host, "stray_domain", domain.name, detail="a test boot that is over")


def _guest_drift(host: Host, guest: Guest, domain: SeenDomain | None) -> None:
    if domain is None:
        if guest.binned_at is None and guest.built_at is not None:
            drift_record(host, "missing_domain", guest.name, detail="should be defined here", guest_id=guest.pk)
        return
    if guest.binned_at is not None:
        drift = drift_record(host, "binned_but_defined", guest.name, detail=str(domain.power), guest_id=guest.pk)
        if domain.power == Power.STOPPED:
            leftover_withdraw(guest, generation=domain.generation, drift=drift)
    guest.refresh_from_db(fields=["want_power", "problem_code"])
    if stop_is_kept(guest):
        return
    if guest.want_power != Power.ABSENT and domain.power not in (Power(guest.want_power), Power.UNKNOWN):
        drift_record(
            host,
            "other_power",
            guest.name,
            detail=f"wanted {guest.want_power}, is {domain.power} ({domain.reason})",
            guest_id=guest.pk,
        )


def _volumes(hv: Hypervisor, owner: Owner) -> dict[str, SeenVolume] | None:
    """What lies in our pool, by name; None where the pool is not there (yet), which is not the same as empty."""
    if hv.pool(pool_name(owner)) is None:
        return None
    return {volume.name: volume for volume in hv.volumes(pool_name(owner))}


def _storage(host: Host, owner: Owner, present: dict[str, SeenVolume] | None) -> None:
    if present is None:
        return
    known: set[str] = set()
    for volume in volumes_home(host, owner).select_related("guest", "tenant"):
        name = volume_name(volume.pk)
        known.add(name)
        if volume.guest is not None:
            known |= {seed_name(volume.guest.pk), nvram_name(volume.guest.pk)}
        if volume.state == "ready" and name not in present:
            drift_record(
                host, "missing_volume", str(volume.pk), detail="its file is not in the pool", guest_id=volume.guest_id
            )
        elif name in present:
            _size(host, volume, present[name])
    known |= {volume_name(pk) for pk in Spare.objects.filter(guest__host=host).values_list("pk", flat=True)}
    for name in copies_adopt(host, {name: there.allocation for name, there in present.items()}):
        drift_record(host, "stray_image", name, detail="the copy of an image that is gone")
    for name in sorted(present.keys() - known):
        if name.startswith(("vol-", "seed-", "nvram-")) and not _being_made(name):
            drift_record(host, "stray_volume", name, detail="no such volume here")


def _size(host: Host, volume: Volume, seen: SeenVolume) -> None:
    """A disk that is larger than its row is counted; one that is smaller, and was so before, is grown."""
    size_gib = seen.capacity // GIB
    if seen.capacity > volume.size_gib * GIB:
        volume_follow(volume, size_gib=size_gib)
    elif seen.capacity < volume.size_gib * GIB and volume.state == "ready":
        detail = f"{size_gib} of {volume.size_gib} GiB"
        drift = drift_record(host, "small_volume", str(volume.pk), detail=detail, guest_id=volume.guest_id)
        if drift.sightings > 1:
            volume_mend(volume, size_gib=size_gib)


def _being_made(name: str) -> bool:
    """Does the file belong to a row on whatever host (just written, or moving)?"""
    stem = name.split("-", 1)[1].split(".")[0]
    try:
        pk = UUID(hex=stem)
    except ValueError:
        return False
    return any(
        rows.filter(pk=pk).exists() for rows in (Volume.objects, Spare.objects, Guest.objects, ImageTest.objects)
    )


def _networks(host: Host, owner: Owner, present: set[str]) -> None:
    known = {network_name(owner, pk) for pk in Network.objects.values_list("pk", flat=True)}
    for name in sorted(present - known) if speaks(host) else ():
        drift_record(host, "stray_network", name, detail="carries our mark, no such network here")
    for use in NetworkOnHost.objects.filter(host=host).select_related("network"):
        if network_name(owner, use.network_id) not in present and use.network.ports.filter(guest__host=host).exists():
            drift_record(host, "missing_network", use.network.name, detail=network_name(owner, use.network_id))


def _figures(host: Host, hv: Hypervisor, owner: Owner) -> None:
    for row in host.storage_pools.filter(ready_at__isnull=False):
        seen = hv.pool(row.name)
        if seen is None:
            continue
        files = {volume.name: volume for volume in hv.volumes(row.name)}
        taken = sum(file.allocation for file in files.values())
        host_record_pool(
            row, capacity=seen.capacity, allocation=seen.allocation, available=seen.available, written=taken
        )
        if row.name != pool_name(owner):
            _elsewhere(host, row, owner, files)


def _elsewhere(host: Host, pool: StoragePool, owner: Owner, present: dict[str, SeenVolume]) -> None:
    """What lies in another pool than the host's own directory, and what should."""
    known: set[str] = set()
    for volume in volumes_in(pool).select_related("pool", "tenant"):
        name = berth(volume, host, owner).name
        known.add(name)
        there = present.get(name)
        if there is None and volume.state == "ready":
            drift_record(
                host, "missing_volume", str(volume.pk), detail=f"it is not in {pool.name}", guest_id=volume.guest_id
            )
        elif there is not None:
            _size(host, volume, there)
    for name in sorted(present.keys() - known):
        if name.startswith("vol-") and not _being_made(name):
            drift_record(host, "stray_volume", name, detail=f"no such volume in {pool.name}")
