"""Hosts: enrolled, heard, lost, tested, chosen for a guest."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.services import Hold, lane_open, operation_submit
from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from portal.core.units import GIB
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.policy import Permission
from tenants.scoping import every_tenant
from vms.models import Drift, Flavor, Guest, Host, HostClaim, HostPool, Installation, StorageClass, StoragePool
from vms.names import pool_name
from vms.placement import RESERVE_MIB, Room, choose
from vms.selectors.claims import claims_by_host
from vms.states import HostState

SCHEMES = frozenset({"qemu", "qemu+unix", "qemu+tls", "qemu+ssh", "qemu+tcp", "fake"})


class NoRoom(Conflict):
    """Placement found no host; the details say, for operators, what each lacked."""

    code = "no_room"
    message = gettext_lazy("No host has room for a machine this size right now.")
    hint = gettext_lazy("Try a smaller size, or again later.")


@transaction.atomic
def host_enrol(
    *,
    uri: str,
    actor: Actor,
    data_dir: str,
    run_dir: str,
    name: str = "",
    addresses: Sequence[str] = (),
    pool: HostPool | None = None,
) -> tuple[Host, Operation]:
    """Take a host in, or find it enrolled already, and have a worker test it; it takes guests once it has been heard.

    ``data_dir`` and ``run_dir`` are directories on the host, for disks and for the sockets of guests.
    """
    actor.require(Permission.OPERATE)
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or any(c.isspace() or ord(c) < 33 for c in uri) or len(uri) > 255:
        raise Invalid(errors=[FieldError("/uri", "invalid_uri", _("Use a libvirt URI such as qemu:///system."))])
    for pointer, path in (("/data_dir", data_dir), ("/run_dir", run_dir)):
        if not re.match(r"\A/[A-Za-z0-9._/-]+\Z", path) or ".." in path:
            raise Invalid(
                errors=[FieldError(pointer, "invalid_path", _("An absolute path of plain characters is needed."))]
            )
    known = Host.objects.filter(uri=uri).first()
    host = known or Host(
        uri=uri,
        pool=pool or HostPool.objects.order_by("pk")[0],
        name=name.strip() or _free_name(parts.hostname or "host"),
    )
    host.data_dir, host.run_dir, host.addresses = data_dir, run_dir, list(addresses)
    host.save()
    owner = Installation.objects.get().owner
    StoragePool.objects.get_or_create(
        host=host,
        name=pool_name(owner),
        defaults={
            "storage_class": StorageClass.objects.get(is_default=True),
            "path": f"{data_dir}/pool",
            "ready_at": now(),
        },
    )
    audit_record(actor, "host.enrol", host, uri=uri)
    return host, host_test(host, actor=actor)


def _free_name(wish: str) -> str:
    base = re.sub(r"[^a-z0-9-]+", "-", wish.lower()).strip("-")[:40] or "host"
    taken = set(Host.objects.values_list("name", flat=True))
    return next(name for name in [base, *(f"{base}-{n}" for n in range(2, 10_000))] if name not in taken)


@transaction.atomic
def host_test(host: Host, *, actor: Actor) -> Operation:
    """Have a worker connect, read capabilities, and find out what the host can and cannot do; one test at a time."""
    actor.require(Permission.OPERATE)
    running = Operation.objects.filter(kind="host.probe", subject_id=host.pk, status__in=["queued", "running"]).first()
    if running is not None:
        return running
    return operation_submit(host, kind="host.probe", actor=actor, holds=[Hold("host.probe", host.pk)])


def host_settle_probe(operation: Operation) -> None:
    """A test that failed leaves its reason on the host's page."""
    if operation.status == "succeeded":
        Host.objects.filter(pk=operation.subject_id).update(problem="")
    else:
        Host.objects.filter(pk=operation.subject_id).update(problem=operation.error_detail or operation.error_message)


@transaction.atomic
def host_set_maintenance(host: Host, *, on: bool, actor: Actor) -> Host:
    """In maintenance a host takes no new guests; those on it stay."""
    actor.require(Permission.OPERATE)
    before, host.maintenance = host.maintenance, on
    host.version += 1
    host.save(update_fields=["maintenance", "version"])
    audit_record(actor, "host.maintenance", host, maintenance=[before, on])
    return host


def host_record_facts(host: Host, *, facts: dict[str, Any], cpus: int, memory_mib: int) -> None:
    """What the host says of itself."""
    Host.objects.filter(pk=host.pk).update(facts=facts, cpus=cpus, memory_mib=memory_mib)


def host_record_probe(host: Host, *, accelerated: bool, unenforced: Sequence[str], notes: Sequence[str]) -> None:
    """What the test found."""
    Host.objects.filter(pk=host.pk).update(accelerated=accelerated, unenforced=sorted(unenforced), notes=list(notes))


def host_record_unenforced(host: Host, feature: str) -> None:
    """A limit turned out not to be enforceable here; its page says so from now on."""
    fresh = Host.objects.get(pk=host.pk)
    if feature not in fresh.unenforced:
        Host.objects.filter(pk=host.pk).update(unenforced=sorted({*fresh.unenforced, feature}))


def host_record_pool(
    pool: StoragePool, *, capacity: int, allocation: int, available: int, written: int | None = None
) -> None:
    """A storage pool's figures, in bytes; ``written`` where its files were looked at."""
    figures = {"capacity": capacity, "allocation": allocation, "available": available}
    StoragePool.objects.filter(pk=pool.pk).update(**figures | ({} if written is None else {"written": written}))


def host_record_heartbeat(host: Host, *, at: datetime | None = None) -> bool:
    """The host was heard; True where it had been silent. Its lane opens again."""
    at = at or now()
    Host.objects.filter(pk=host.pk).filter(Q(seen_at=None) | Q(seen_at__lt=at)).update(seen_at=at)
    back = bool(Host.objects.filter(pk=host.pk).exclude(state=HostState.UP).update(state=HostState.UP, problem=""))
    if back:
        lane_open(host.lane)
    return back


def hosts_check(*, at: datetime | None = None) -> list[Host]:
    """Who has not been heard for too long: SUSPECT, then DOWN. Returns those that went DOWN just now.

    The limits are the pool's. Time is the database writer's clock; leases that matter more use monotonic time.
    """
    at = at or now()
    lost: list[Host] = []
    for host in Host.objects.select_related("pool").exclude(state=HostState.DOWN):
        silent = at - host.seen_at if host.seen_at else timedelta.max
        if silent > timedelta(seconds=host.pool.down_after_s):
            if (
                Host.objects.filter(pk=host.pk, seen_at=host.seen_at)
                .exclude(state=HostState.DOWN)
                .update(state=HostState.DOWN)
            ):
                lost.append(host)
        elif silent > timedelta(seconds=host.pool.suspect_after_s):
            Host.objects.filter(pk=host.pk, seen_at=host.seen_at, state=HostState.UP).update(state=HostState.SUSPECT)
    return lost


def host_rooms(*, lock: bool = False) -> list[Room[Host]]:
    """Every host's capacity and claims, sorted by name; ``lock`` holds the hosts' rows until the transaction ends."""
    hosts = list(
        (Host.objects.select_for_update(of=("self",)) if lock else Host.objects)
        .select_related("pool")
        .prefetch_related("storage_pools")
        .order_by("pk")
    )
    with every_tenant(why="a host's room is shared by all tenants"):
        claims = claims_by_host()
    rooms = [_room(host, claims.get(host.pk, {})) for host in hosts]
    return sorted(rooms, key=lambda room: room.name)


def _room(host: Host, claims: dict[str, Any]) -> Room[Host]:
    measured = [pool for pool in host.storage_pools.all() if pool.capacity and pool.path == f"{host.data_dir}/pool"]
    return Room(
        host=host,
        name=host.name,
        state=HostState(host.state),
        enabled=host.enabled and not host.maintenance,
        cpus=host.cpus,
        memory_mib=max(0, host.memory_mib - RESERVE_MIB),
        cpu_overcommit=host.pool.cpu_overcommit,
        memory_overcommit=host.pool.memory_overcommit,
        claimed_vcpus=claims.get("v") or 0,
        claimed_memory_mib=claims.get("m") or 0,
        disk_free_gib=sum(pool.available for pool in measured) // GIB if measured else None,
    )


def host_choose(flavor: Flavor, *, more_gib: int = 0, classes: Collection[StorageClass] = ()) -> Host:
    """The host for a new guest of this size with so many GiB more beside its first disk; raises ``NoRoom``.

    It has a pool of each of ``classes``. Its row is locked: in the transaction that claims.
    """
    return host_with_room(
        vcpus=flavor.vcpus, memory_mib=flavor.memory_mib, disk_gib=flavor.disk_gib + more_gib, classes=classes
    )


def host_with_room(*, vcpus: int, memory_mib: int, disk_gib: int, classes: Collection[StorageClass] = ()) -> Host:
    """A host with that much room; its row is locked. Raises ``NoRoom``."""
    rooms = [room for room in host_rooms(lock=True) if room_serves(room, classes)]
    choice = choose(rooms, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib)
    if choice.host is None:
        raise NoRoom(lacking=choice.lacking)
    return choice.host


def room_serves(room: Room[Host], classes: Collection[StorageClass]) -> bool:
    """Has the host a pool in use of each of these classes?"""
    pools = room.host.storage_pools.all()
    served = {pool.storage_class_id for pool in pools if pool.enabled and pool.ready_at is not None}
    return {one.pk for one in classes} <= served


def host_claimable(guest: Guest) -> Host:
    """The guest's own host (its disks lie there) if it has room for it again; raises ``NoRoom``."""
    if HostClaim.objects.filter(guest=guest).exists() and guest.host is not None:
        return guest.host
    rooms = [room for room in host_rooms(lock=True) if room.host.pk == guest.host_id]
    choice = choose(rooms, vcpus=guest.charged_vcpus, memory_mib=guest.charged_memory_mib, disk_gib=0)
    if choice.host is None:
        raise NoRoom(
            _("The host that keeps this machine's disks has no room for it right now."), lacking=choice.lacking
        )
    return choice.host


def host_has_room_for(guest: Guest, *, disk_gib: int) -> None:
    """Raise ``NoRoom`` unless the guest's host has room for what is charged of it beyond what it has claimed there.

    The host's row is locked. What grows nowhere is never refused.
    """
    rooms = [room for room in host_rooms(lock=True) if room.host.pk == guest.host_id]
    claim = HostClaim.objects.get(guest=guest)
    vcpus, memory_mib, disk = guest.charged_vcpus, guest.charged_memory_mib, disk_gib - claim.disk_gib
    if vcpus <= claim.vcpus and memory_mib <= claim.memory_mib and disk <= 0:
        return
    without = [
        replace(
            room,
            claimed_vcpus=room.claimed_vcpus - claim.vcpus,
            claimed_memory_mib=room.claimed_memory_mib - claim.memory_mib,
        )
        for room in rooms
    ]
    choice = choose(without, vcpus=vcpus, memory_mib=memory_mib, disk_gib=max(0, disk))
    if choice.host is None:
        raise NoRoom(_("The host of this machine has no room for it in this size right now."), lacking=choice.lacking)


def drift_record(host: Host, kind: str, subject: str, *, detail: str = "", guest_id: Any = None) -> Drift:
    """Something does not agree: counted each time it is seen again; what is known of it so far."""
    drift, fresh = Drift.objects.get_or_create(
        host=host, kind=kind, subject=subject[:200], defaults={"detail": detail, "guest_id": guest_id}
    )
    if not fresh:
        Drift.objects.filter(pk=drift.pk).update(
            detail=detail, guest_id=guest_id, sightings=F("sightings") + 1, last_seen_at=now()
        )
        drift.refresh_from_db()
    return drift


def drift_clear(host: Host, *, seen_before: datetime) -> None:
    """What the sweep that began at ``seen_before`` no longer found is over."""
    Drift.objects.filter(host=host, last_seen_at__lt=seen_before).delete()


def host_mark_swept(host: Host, *, up_s: int) -> None:
    """A complete look has just been taken; the host is up for ``up_s`` seconds."""
    Host.objects.filter(pk=host.pk).update(swept_at=now(), up_s=up_s)


def host_listen(host: Host, *, watcher: str, seconds: float) -> bool:
    """Take or keep the lease to listen to a host; False while another watcher has it."""
    at = now()
    free = Q(watcher__in=["", watcher]) | Q(watcher_until=None) | Q(watcher_until__lt=at)
    return bool(
        Host.objects.filter(pk=host.pk)
        .filter(free)
        .update(watcher=watcher, watcher_until=at + timedelta(seconds=seconds))
    )
