"""The oracle: every invariant that can be checked from the database, the hosts and their storage, one line a finding.

I1 machines ↔ domains · I2 everything on a host has an owner row · I3 counters == sums · I6 operations end in time, with a reason
· I8 disks are sound · I9 no secret in a log · the journal's chains and intervals. Reads only; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from django.db.models import F

from operations.models import Operation, OperationLock
from operations.states import LIVE, Status
from portal.core.clock import now
from portal.core.units import GIB
from tenants.journal.chain import chain_verify
from tenants.journal.guard import guards_missing, ledger_guards_missing
from tenants.models import Tenant
from tenants.scoping import every_tenant
from tenants.services.quota import quota_verify
from vms.berths import berth
from vms.design import disks_of, drives_of
from vms.disks.errors import DiskError
from vms.disks.soundness import is_sound
from vms.engines import engine_at
from vms.hypervisor import errors
from vms.hypervisor import pool as connections
from vms.hypervisor.disks import SeenDisks
from vms.hypervisor.driver import Hypervisor, SeenVolume
from vms.hypervisor.engines import NetworkEngine
from vms.hypervisor.xml.parse import root_of, size_of
from vms.models import Disc, Guest, Host, HostClaim, ImageCopy, ImageTest, NetworkOnHost, Port, Spare, Volume
from vms.models.guests import Charge
from vms.models.spares import SpareRole
from vms.names import (
    Owner,
    image_test_subject,
    network_guard,
    network_name,
    nvram_name,
    pool_name,
    seed_name,
    serial_log,
    snapshot_name,
    volume_name,
)
from vms.reconcile.converge import guest_id
from vms.reconcile.counting import counts_differ
from vms.reconcile.guards import guards_differ
from vms.reconcile.ledger import ledger_differs
from vms.reconcile.members import cards_differ, members_differ
from vms.reconcile.networks import networks_differ
from vms.reconcile.spool import spool_differs
from vms.reconcile.stores import stores_differ
from vms.selectors.fabrics import spanned, speaks
from vms.selectors.installation import installation_owner
from vms.selectors.volumes import volumes_home, volumes_in
from vms.services.guests.wanting import guest_runs
from vms.states import ON, Power, SnapshotState, VolumeState

LATE = timedelta(seconds=60)
KEPT_ON_FAILED = {Status.FAILED, Status.CANCELLED}


def audit(*, logs: Path | None = None, secrets: tuple[str, ...] = ()) -> list[str]:
    """Every finding, as a line beginning with the invariant's number; empty when all is well.

    ``logs`` is a folder whose files must not hold any of ``secrets``. Call it when nothing is being done: what a live
    operation is changing is left out.
    """
    with every_tenant(why="the audit looks at everything"):
        findings = [*_counters(), *_operations(), *_guards(), *_journals(), *_rows(), *_spares(), *stores_differ()]
        findings += [*ledger_differs(), *counts_differ(), *spool_differs()]
        for host in Host.objects.all():
            findings += list(_host(host))
    if logs is not None:
        findings += list(_logs(logs, secrets))
    return findings


def _busy(kind: str = "guest") -> set[str]:
    return {str(pk) for pk in OperationLock.objects.filter(resource_type=kind).values_list("resource_id", flat=True)}


def _counters() -> Iterator[str]:
    """I3: each tenant's counters are the sums of its own and its children's rows."""
    for found in quota_verify():
        yield f"I3 tenant {found.tenant.slug}: {found.resource} counts {found.counted}, rows make {found.real}"
    for host in Host.objects.all():
        for claim in HostClaim.objects.filter(host=host).exclude(guest__host=F("host")).select_related("guest"):
            yield f"I3 host {host.name}: claimed by {claim.guest_id}, which is elsewhere"


def _operations() -> Iterator[str]:
    """I6: nothing runs past its deadline; what failed says why; nothing that is over holds anything."""
    for operation in Operation.objects.filter(status__in=LIVE, deadline_at__lt=now() - LATE):
        yield f"I6 operation {operation.pk} ({operation}) is {operation.status} past its deadline"
    for operation in Operation.objects.filter(status__in=KEPT_ON_FAILED, error_message=""):
        yield f"I6 operation {operation.pk} ({operation}) {operation.status} without a reason"
    for lock in OperationLock.objects.exclude(operation__status__in=LIVE):
        yield f"I6 operation {lock.operation_id} is over and holds {lock.resource_type} {lock.resource_id}"


def _guards() -> Iterator[str]:
    """The database itself refuses to change an audit log, and the usage ledger."""
    for name in guards_missing():
        yield f"I11 the database does not guard the audit log: trigger {name} is missing or off"
    for name in ledger_guards_missing():
        yield f"I5 the database does not guard the usage ledger: {name} is missing or off"


def _journals() -> Iterator[str]:
    """The audit logs' chains are whole."""
    for tenant in (None, *Tenant.objects.order_by("slug")):
        verdict = chain_verify(tenant)
        if not verdict.is_whole:
            yield f"I11 audit log of {tenant.slug if tenant else 'the installation'}: {verdict.sentence}"


def _rows() -> Iterator[str]:
    """What hangs together in the database: claims and charges with guests, ports with addresses."""
    for guest in Guest.objects.filter(binned_at=None, built_at__isnull=False).exclude(charge=Charge.FULL):
        if str(guest.pk) not in _busy():
            yield f"I3 machine {guest.pk} is in use and its quota counts it as {guest.charge}"
    for guest in Guest.objects.filter(binned_at=None, built_at__isnull=False).exclude(charge=Charge.NONE):
        if HostClaim.objects.filter(guest=guest).count() != 1:
            yield f"I2 machine {guest.pk} has {HostClaim.objects.filter(guest=guest).count()} places on hosts"
    for guest in Guest.objects.exclude(pk__in=_busy()):
        runs = guest_runs(guest)
        if runs is not None and runs != guest.charged_running:
            counts = "does not count" if runs else "counts"
            yield f"I3 machine {guest.pk}, {guest.seen_power} and wanted {guest.want_power}, {counts} as running"
    for port in Port.objects.filter(addresses=None):
        yield f"I2 port {port.pk} has no address"


def _spares() -> Iterator[str]:
    """I2: no disk of a rebuild or a rescue outlives it."""
    busy = _busy()
    for spare in Spare.objects.select_related("guest"):
        needed = spare.role == SpareRole.RESCUE and spare.guest.in_rescue
        if not needed and str(spare.guest_id) not in busy:
            yield f"I2 machine {spare.guest_id}: its {spare.role} disk {spare.pk} is left over"


def _host(host: Host) -> Iterator[str]:
    owner = installation_owner()
    try:
        hv = connections.get(host.uri)
        net = engine_at(host, hv, owner)
        yield from _domains(host, hv, net, owner)
        yield from _image_tests(host, hv, owner)
        yield from _networks(host, net, owner)
        yield from networks_differ(host, net, owner, busy=_busy("network"))
        yield from guards_differ(host, net, owner, guests=_busy(), groups=_busy("group"))
        yield from members_differ(host, net, owner, busy=_busy())
        yield from _storage(host, hv, owner)
        yield from _elsewhere(host, hv, owner)
    except errors.HypervisorError as error:
        yield f"I1 host {host.name} could not be asked: {error.code}"


def _domains(host: Host, hv: Hypervisor, net: NetworkEngine, owner: Owner) -> Iterator[str]:
    """I1: one defined domain for each machine that should be there, doing what was last seen; none without a row."""
    busy = _busy()
    there = {str(guest_id(domain, owner)): domain for domain in hv.domains() if guest_id(domain, owner) is not None}
    rows = {str(guest.pk): guest for guest in Guest.objects.filter(host=host).select_related("flavor")}
    for pk in sorted(set(there) - set(rows) - busy):
        yield f"I2 host {host.name}: domain {there[pk].name} has no machine"
    for pk, guest in rows.items():
        if pk in busy:
            continue
        domain = there.get(pk)
        wanted = guest.binned_at is None and guest.built_at is not None and guest.want_power != Power.ABSENT
        if wanted and domain is None:
            yield f"I1 machine {pk} is not defined on {host.name}"
        elif not wanted and domain is not None:
            yield f"I1 machine {pk} is defined on {host.name} and should not be"
        elif domain is not None and domain.power != guest.seen_power:
            yield f"I1 machine {pk} is {domain.power} on {host.name}, last seen {guest.seen_power}"
        if wanted and domain is not None and (domain.power in ON or domain.generation == guest.want_generation):
            seen = hv.disks(domain.uuid)
            yield from _disks(guest, host, seen)
            yield from _in_drives(guest, host, seen)
            yield from cards_differ(guest, host, hv.cards(domain.uuid), net, owner)
        if wanted and domain is not None and domain.power in ON:
            yield from _size(guest, hv.domain_xml(domain.uuid))


def _image_tests(host: Host, hv: Hypervisor, owner: Owner) -> Iterator[str]:
    """I2: no test boot of an image outlives its operation, neither its machine nor the room that it takes."""
    rows = {image_test_subject(test.pk): test for test in ImageTest.objects.filter(host=host)}
    for domain in hv.domains():
        if domain.owner == owner and domain.guest.startswith("image-test-") and domain.guest not in rows:
            yield f"I2 host {host.name}: domain {domain.name} belongs to no test boot"
    busy = _busy("image")
    for test in rows.values():
        if str(test.image_id) not in busy:
            yield f"I2 host {host.name}: the test boot {test.pk} is over and has its room"


def _size(guest: Guest, xml: str) -> Iterator[str]:
    """I3: a machine takes of its host what its row says and its tenant is charged; with I1 the hosts' sums are the counters.

    One that is off takes nothing, and its definition is written anew before it starts.
    """
    seen = size_of(root_of(xml))
    if (seen.vcpus, seen.memory_mib) != (guest.vcpus, guest.memory_mib):
        has, charged = (
            f"{seen.vcpus} vCPUs and {seen.memory_mib} MiB",
            f"{guest.vcpus} vCPUs and {guest.memory_mib} MiB",
        )
        yield f"I3 machine {guest.pk} has {has} on its host and is charged for {charged}"


def _disks(guest: Guest, host: Host, seen: SeenDisks) -> Iterator[str]:
    """I2, P-B12: a machine has exactly the disks that its rows say, each at its place, running and for its next start.

    One whose deletion is not over it may have, or not.
    """
    volumes = list(Volume.objects.filter(guest=guest).select_related("image", "pool", "storage_class"))
    rescue = Spare.objects.select_related("image").filter(guest=guest, role=SpareRole.RESCUE).first()
    owner = installation_owner()
    going = {berth(volume, host, owner).path for volume in volumes if volume.state == VolumeState.DELETING}
    all_of_it = disks_of(guest, host, volumes, rescue if guest.in_rescue else None, owner)
    wanted = {disk.path: disk.target for disk in all_of_it if disk.path not in going}
    for name, disks in (("has", seen.live), ("would start with", seen.kept)):
        ours = [disk for disk in disks or () if "/vol-" in disk.path and disk.path not in going]
        found = None if disks is None else {disk.path: disk.target for disk in ours}
        if found is not None and found != wanted:
            yield f"I2 machine {guest.pk} {name} the disks {sorted(found.items())}, its rows say {sorted(wanted.items())}"


def _in_drives(guest: Guest, host: Host, seen: SeenDisks) -> Iterator[str]:
    """I2: in a machine's CD drives lies what its rows say, also where its system has opened the tray."""
    drives = drives_of(guest, host, list(Disc.objects.filter(guest=guest).select_related("image")))
    wanted = {(drive.target, drive.path) for drive in drives if drive.path}
    for name, disks in (("has", seen.live), ("would start with", seen.kept)):
        found = {(disk.target, disk.path) for disk in disks or () if disk.target in {one.target for one in drives}}
        if disks is not None and found != wanted:
            yield f"I2 machine {guest.pk} {name} the CDs {sorted(found)}, its rows say {sorted(wanted)}"


def _networks(host: Host, net: NetworkEngine, owner: Owner) -> Iterator[str]:
    """I2: networks of ours have rows; those in use are there."""
    there = {n.name for n in net.networks() if n.owner is not None and n.owner.installation == owner.installation}
    if not speaks(host):
        return
    used = {network_name(owner, use.network_id) for use in NetworkOnHost.objects.filter(host__in=spanned(host))}
    for name in sorted(there - used):
        yield f"I2 host {host.name}: network {name} has no row"
    ours = f"gh-{owner.short}-f-"
    for name in sorted({name for name in net.guards() if name.startswith(ours)} - set(map(network_guard, used))):
        yield f"I2 host {host.name}: filter {name} has no network"


def _storage(host: Host, hv: Hypervisor, owner: Owner) -> Iterator[str]:
    """I2: each file in our pool belongs to a row, and each volume has its file."""
    pool = pool_name(owner)
    if hv.pool(pool) is None:
        return
    busy = _busy()
    files = {volume.name: volume for volume in hv.volumes(pool)}
    known = set(ImageCopy.objects.filter(host=host).values_list("name", flat=True))
    busy_volumes = _busy("volume")
    for volume in volumes_home(host, owner).select_related("guest"):
        name = volume_name(volume.pk)
        known |= {name, seed_name(volume.guest.pk)} if volume.guest else {name}
        if str(volume.guest_id) in busy or str(volume.pk) in busy_volumes:
            continue
        if volume.state == "ready" and name not in files:
            yield f"I1 volume {volume.pk} has no file on {host.name}"
        elif name in files:
            yield from _file(volume, files[name])
            yield from _kept(volume, {seen.name for seen in hv.snapshots(pool, name)})
    known |= {volume_name(pk) for pk in Spare.objects.filter(guest__host=host).values_list("pk", flat=True)}
    tests = ImageTest.objects.filter(host=host).values_list("pk", flat=True)
    known |= {name(pk) for pk in tests for name in (volume_name, seed_name, nvram_name)}
    guests = Guest.objects.filter(host=host)
    known |= {nvram_name(pk) for pk in guests.filter(firmware="uefi").values_list("pk", flat=True)}
    logs = tuple(serial_log(pk) for pk in (*guests.values_list("pk", flat=True), *tests))
    for name in sorted(set(files) - known):
        if not name.startswith(logs):
            yield f"I2 host {host.name}: file {name} has no row"


def _elsewhere(host: Host, hv: Hypervisor, owner: Owner) -> Iterator[str]:
    """I1, I2 in the host's other pools: a volume's row and its disk, each with the other."""
    busy, busy_volumes = _busy(), _busy("volume")
    for pool in host.storage_pools.exclude(name=pool_name(owner)).filter(ready_at__isnull=False):
        files = {volume.name: volume for volume in hv.volumes(pool.name)}
        for volume in volumes_in(pool).select_related("guest", "pool"):
            seen = files.pop(berth(volume, host, owner).name, None)
            if str(volume.guest_id) in busy or str(volume.pk) in busy_volumes:
                continue
            if seen is not None:
                yield from _file(volume, seen)
            elif volume.state == "ready":
                yield f"I1 volume {volume.pk} is not in {pool.name} on {host.name}"
        for name in sorted(files):
            if name.startswith("vol-"):
                yield f"I2 host {host.name}: {name} in {pool.name} has no row"


def _file(volume: Volume, seen: SeenVolume) -> Iterator[str]:
    """I3 and I8: a disk is as large as is charged for, and whole."""
    if seen.capacity != volume.size_gib * GIB:
        yield f"I3 volume {volume.pk} is {seen.capacity} bytes, charged for {volume.size_gib} GiB"
    if volume.guest is None or volume.guest.seen_power in (Power.STOPPED, Power.ABSENT):
        yield from _soundness(volume, Path(seen.path))


def _kept(volume: Volume, seen: set[str]) -> Iterator[str]:
    """I2: a disk holds exactly the snapshots that its rows say; of one that could not be taken or deleted, perhaps."""
    rows = {snapshot_name(kept.snapshot_id): kept.snapshot.state for kept in volume.kept_in.select_related("snapshot")}
    sure = {name for name, state in rows.items() if state == SnapshotState.READY}
    if not sure <= seen <= set(rows):
        yield f"I2 volume {volume.pk} holds the snapshots {sorted(seen)}, its rows say {sorted(rows)}"


def _soundness(volume: Volume, path: Path) -> Iterator[str]:
    """I8, where this machine can read the file; not a running machine's disk, since that is in motion."""
    if not path.exists():
        return
    try:
        sound = is_sound(path)
    except DiskError as error:
        yield f"I8 volume {volume.pk} could not be checked: {error}"
        return
    if not sound:
        yield f"I8 volume {volume.pk} is damaged"


def _logs(folder: Path, secrets: tuple[str, ...]) -> Iterator[str]:
    """I9: none of ``secrets`` stands in any file of the folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_text(errors="replace")
            for number, secret in enumerate(secrets):
                if secret and secret in text:
                    yield f"I9 {path.name} holds secret number {number}"
