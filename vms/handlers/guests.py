"""Making, removing and restoring guests; every step asks first whether it is already so."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import UUID

from django.utils.translation import gettext as _

from operations.registry import handles
from operations.runner import Retry, Run
from operations.selectors import operations_live_on
from portal.core.errors import Conflict
from portal.core.units import GIB
from vms import design
from vms.berths import Berth, berth
from vms.cloudinit import Card, Seed
from vms.disks.seed import seed_iso
from vms.guards import ports_wanted
from vms.handlers.copied import await_snapshot, fill_from_snapshot
from vms.handlers.image_copies import ensure_copy
from vms.handlers.networks import ensure_known, ensure_network, forget_names
from vms.handlers.place import There, at
from vms.handlers.restored import fill_from_backup
from vms.handlers.security_groups import drop_cards, ensure_guards
from vms.models import Disc, Guest, Image, Network, Port, Snapshot, Spare, Volume
from vms.models.volumes import Scrub
from vms.names import (
    base_name,
    network_name,
    nvram_name,
    pool_name,
    seed_name,
    serial_log,
    serial_socket,
    snapshot_name,
    vnc_socket,
    volume_name,
)
from vms.pool_kinds import is_home
from vms.reconcile.converge import Place, converge
from vms.reconcile.plan import Seen
from vms.services.guests.rescue import rescue_record
from vms.services.hosts import host_record_pool
from vms.services.networks import network_is_used, network_left_host
from vms.services.volumes import volume_record, volumes_going
from vms.states import Power, VolumeState


@handles("guest.create")
def create(run: Run) -> None:
    """Image, disk, seed, network, then whatever power is wanted."""
    with at(run) as place:
        ensure_pool(run, place)
        ensure_image(run, place)
        ensure_discs(run, place)
        ensure_disks(run, place)
        ensure_seed(run, place)
        ensure_networks(run, place)
        reached(converge(run, place), place.guest)


@handles("guest.clone")
def clone(run: Run) -> None:
    """The same of what another's disks held, once the snapshot is there that it is made of."""
    await_snapshot(run)
    create(run)


@handles("guest.restore")
def restore(run: Run) -> None:
    """Define a binned guest again over the disks that were kept."""
    with at(run) as place:
        ensure_discs(run, place)
        ensure_seed(run, place)
        ensure_networks(run, place)
        reached(converge(run, place), place.guest)


@handles("guest.delete")
@handles("guest.withdraw")
def delete(run: Run) -> None:
    """Off the host, but not its disks; a rescue is over."""
    with at(run) as place:
        reached(converge(run, place, progress=20), place.guest)
        rescue_record(place.guest, on=False)
        forget_names(run, place, place.guest)


@handles("guest.purge")
def purge(run: Run) -> None:
    """Off the host with everything that was its own."""
    with at(run) as place:
        reached(converge(run, place, progress=20), place.guest)
        drop_snapshots(run, place)
        drop_firmware(run, place)
        drop_volumes(run, place)
        drop_networks(run, place)


def reached(seen: Seen, guest: Guest) -> None:
    """Raise unless the guest does what was wanted; a machine that falls over at once is not a success.

    What has crashed is off: libvirt goes on calling it crashed until its next start.
    """
    off = guest.want_power == Power.STOPPED and seen.power == Power.CRASHED
    if seen.power != guest.want_power and not off:
        raise Conflict(
            _("The machine is %(seen)s, not %(wanted)s."),
            code="not_reached",
            hint=_("Look at its console, then try again."),
            seen=seen.power.value,
            wanted=guest.want_power,
        )


def ensure_pool(run: Run, place: There) -> None:
    """Our directory on the host, and its figures."""
    name, row = pool_name(place.owner), place.host.storage_pools.get(name=pool_name(place.owner))
    seen = place.hv.pool(name)
    if seen is None:
        with run.effect("pool"):
            seen = place.hv.ensure_pool(name, row.path)
    else:
        seen = place.hv.ensure_pool(name, row.path)
    host_record_pool(row, capacity=seen.capacity, allocation=seen.allocation, available=seen.available)


def ensure_image(run: Run, place: Place) -> None:
    """The image of its first disk on the host, if that is made of one."""
    image = Volume.objects.select_related("image").get(guest=place.guest, position=0).image
    if image is not None:
        ensure_copy(run, place.hv, place.host, place.owner, image)


def ensure_disks(run: Run, place: Place) -> None:
    """Every disk that the guest is made with."""
    run.say(_("Making the disk"), 50)
    for volume in Volume.objects.filter(guest=place.guest).select_related("image", "pool", "source", "snapshot_disk"):
        ensure_volume(run, place, volume, effect=f"disk{volume.position}")


def ensure_volume(run: Run, there: There, volume: Volume, *, effect: str) -> None:
    """The volume's disk is there, and its row says so.

    Of a whole copy only that tells whether it is whole: while the row does not, the copy is made anew. Raises ``Conflict``
    where that is gone which it was to be a copy of: an empty disk would pass for it.
    """
    if volume.source is not None and volume.state == VolumeState.PLANNED:
        fill_from_backup(run, there, volume, volume.source, effect=effect)
        return
    if volume.snapshot_disk is not None and volume.state == VolumeState.PLANNED:
        fill_from_snapshot(run, there, volume, volume.snapshot_disk, effect=effect)
        return
    if volume.state == VolumeState.PLANNED and str(volume.pk) in run.params.get("copied", ()):
        raise Conflict(_("What this disk was to be made of is gone."), code="source_gone", hint="")
    spot = berth(volume, there.host, there.owner)
    capacity = volume.size_gib * GIB
    if is_home(volume.pool, there.host):
        ensure_disk(run, there, volume.pk, volume.image, capacity=capacity, effect=effect)
    elif volume.state != VolumeState.READY and volume.image is not None and not spot.ability.thin:
        base = base_name(volume.image.pk, volume.image.sha256)
        with run.effect(effect):
            there.hv.copy_volume(
                spot.pool,
                spot.name,
                base_pool=pool_name(there.owner),
                base=base,
                capacity=capacity,
                disk_format=spot.ability.format,
            )
    elif there.hv.volume(spot.pool, spot.name) is None:
        with run.effect(effect):
            _make(there, spot, volume.image, capacity)
    volume_record(volume, VolumeState.READY)


def _make(there: There, spot: Berth, image: Image | None, capacity: int) -> None:
    if image is None:
        there.hv.create_empty(spot.pool, spot.name, capacity=capacity, disk_format=spot.ability.format)
        return
    base = base_name(image.pk, image.sha256)
    there.hv.create_overlay(spot.pool, spot.name, base=base, base_pool=pool_name(there.owner), capacity=capacity)


def ensure_disk(run: Run, there: There, pk: UUID, image: Image | None, *, capacity: int, effect: str) -> None:
    """One disk in the pool, by its row's id: a thin overlay of ``image``, whose copy is there, or an empty one."""
    pool, name = pool_name(there.owner), volume_name(pk)
    if there.hv.volume(pool, name) is not None:
        return
    with run.effect(effect):
        if image is not None:
            there.hv.create_overlay(pool, name, base=base_name(image.pk, image.sha256), capacity=capacity)
        else:
            there.hv.create_empty(pool, name, capacity=capacity)


def ensure_discs(run: Run, place: Place) -> None:
    """The CDs that it starts with: the one with its drivers, and what lies in its drives."""
    held = [disc.image for disc in Disc.objects.filter(guest=place.guest).select_related("image")]
    for image in held if place.guest.drivers is None else (place.guest.drivers, *held):
        ensure_copy(run, place.hv, place.host, place.owner, image)


def drop_firmware(run: Run, place: Place) -> bool:
    """Nothing is left of what its UEFI and its TPM remember, nor of its definition; it is off. False: it has neither.

    libvirt keeps a TPM's memory by the domain's uuid and takes it away only with a domain: so one is defined for it.
    """
    guest, hv = place.guest, place.hv
    if guest.firmware != "uefi" and not guest.tpm:
        return False
    with run.effect("firmware"):
        if hv.domain(str(guest.pk)) is None:
            bare = design.domain_spec(
                guest, place.host, place.owner, volumes=(), nics=(), password=design.display_password()
            )
            hv.define(bare, roots=design.roots(place.host))
        hv.undefine(str(guest.pk), owner=place.owner)
    return True


def ensure_seed(run: Run, place: Place) -> None:
    """The NoCloud disc with the guest's name, keys and user-data; sent whole or not at all, so one that is there is right."""
    if place.hv.volume(pool_name(place.owner), seed_name(place.guest.pk)) is None:
        write_seed(run, place)


def write_seed(run: Run, place: Place) -> None:
    """The seed as the guest's rows say now, in place of one that is there; of a machine that is off."""
    guest = place.guest
    pool, name = pool_name(place.owner), seed_name(guest.pk)
    seed = Seed(
        instance_id=str(guest.pk),
        hostname=guest.name,
        ssh_keys=tuple(guest.ssh_keys),
        user_data=guest.user_data,
        for_windows=True,  # looked at when it was asked for; the machine may have been rebuilt since
        password_hash=guest.password_hash,
        ssh_password=bool(guest.password_hash),
        cards=_cards(guest),
    )
    with tempfile.NamedTemporaryFile(prefix="seed-") as file, run.effect("seed"):
        file.write(seed_iso(seed))
        file.flush()
        place.hv.upload_volume(pool, name, Path(file.name), disk_format="raw")


def _cards(guest: Guest) -> tuple[Card, ...]:
    """Each asks DHCP, where there are several: unasked, cloud-init sets up the first alone. cloudbase-init sets up all."""
    macs = list(Port.objects.filter(guest=guest).order_by("position").values_list("mac", flat=True))
    return () if len(macs) < 2 or guest.is_windows else tuple(Card(mac=mac) for mac in macs)


def ensure_networks(run: Run, place: Place) -> None:
    """Its networks on this host, which know its cards and guard them; where all is so, some looks and not a word."""
    mine = list(Network.objects.filter(ports__guest=place.guest).distinct())
    if operations_live_on("network", [network.pk for network in mine]):
        raise Retry(_("Waiting for the network"), close_lane=False)  # it is just being taken off a host
    standing = place.net.standing({network_name(place.owner, network.pk) for network in mine})
    for network in mine:
        ensure_network(run, place, network, standing=standing)
    for port in ports_wanted(Port.objects.filter(guest=place.guest)):
        ensure_known(run, place, port)
    ensure_guards(run, place)


def drop_snapshots(run: Run, place: Place) -> None:
    """No disk that is kept holds a snapshot of the machine any more; in the others they go with the file."""
    kept = Volume.objects.filter(guest=place.guest).exclude(pk__in=volumes_going(place.guest).values("pk"))
    if place.hv.pool(pool_name(place.owner)) is None:
        return
    for snapshot in Snapshot.objects.filter(guest=place.guest):
        paths = [
            berth(volume, place.host, place.owner).path
            for volume in kept.select_related("pool").filter(kept_in__snapshot=snapshot)
        ]
        if paths:
            with run.effect("drop_snapshot"):
                place.hv.drop_snapshot(
                    snapshot_name(snapshot.pk), paths, uuid="", owner=place.owner, roots=design.roots(place.host)
                )


def drop_volumes(run: Run, place: Place) -> None:
    """The disks that go with it, seed and serial log; what is not there is gone already."""
    run.say(_("Deleting its disks"), 70)
    guest, pool = place.guest, pool_name(place.owner)
    if place.hv.pool(pool) is None:
        return
    logs = [serial_log(guest.pk) + suffix for suffix in ("", ".0", ".1", ".2", ".3")]
    present = {volume.name for volume in place.hv.volumes(pool)}
    for volume in volumes_going(guest):
        drop_volume(run, place, volume)
    for spare in Spare.objects.filter(guest=guest):
        if volume_name(spare.pk) in present:
            drop_file(run, place, pool, volume_name(spare.pk), scrub=root_scrub(guest))
    for name in (seed_name(guest.pk), nvram_name(guest.pk), *logs):
        if name in present:
            with run.effect("delete_" + name.split("-")[0]):
                place.hv.delete_volume(pool, name)
    drop_sockets(place)


def root_scrub(guest: Guest) -> str:
    """What is done to the guest's first disk before it is deleted; its spare disks hold the same bytes."""
    return Volume.objects.select_related("storage_class").get(guest=guest, position=0).storage_class.scrub


def drop_volume(run: Run, there: There, volume: Volume) -> None:
    """Wipe a volume if its class says so, and delete it."""
    spot = berth(volume, there.host, there.owner)
    drop_file(run, there, spot.pool, spot.name, scrub=volume.storage_class.scrub)


def drop_file(run: Run, there: There, pool: str, name: str, *, scrub: str) -> None:
    """Wipe a disk's bytes where ``scrub`` says so, and delete it; what is not there is gone already."""
    if there.hv.pool(pool) is None or there.hv.volume(pool, name) is None:
        return
    if scrub == Scrub.ZERO:
        run.say(_("Writing zeros over it"), 30)

        def wiped(done: int, size: int) -> None:
            run.tick(_("Writing zeros over it"), 30 + 60 * done // max(1, size))

        with run.effect("wipe"):
            there.hv.wipe_volume(pool, name, progress=wiped)
    with run.effect("delete_vol"):
        there.hv.delete_volume(pool, name)


def drop_sockets(place: Place) -> None:
    """What QEMU left of its sockets; libvirt removes none. On a remote host there is nothing to see from here."""
    for path in (vnc_socket(place.host.run_dir, place.guest.pk), serial_socket(place.host.run_dir, place.guest.pk)):
        Path(path).unlink(missing_ok=True)


def drop_networks(run: Run, place: Place) -> None:
    """Its networks, where no other guest of this host is on them."""
    run.say(_("Cleaning up its network"), 85)
    drop_cards(run, place)
    for network in Network.objects.filter(ports__guest=place.guest).distinct():
        drop_network(run, place, network)


def drop_network(run: Run, place: Place, network: Network) -> None:
    """The network off this host, unless another guest of the host is on it.

    The network is held from before the last look until the end: a guest that is made meanwhile either is seen here, or
    sees the hold and waits.
    """
    if network_is_used(place.host, network, but=place.guest):
        return
    run.hold("network", network.pk)
    if network_is_used(place.host, network, but=place.guest):
        return
    with run.effect("drop_network"):
        place.net.remove_network(network_name(place.owner, network.pk))
    with run.effect("drop_bar"):
        place.net.unbar(network_name(place.owner, network.pk))
    network_left_host(place.host, network)
