"""Hosts: enrolled, heard, lost, tested."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import F, Q
from django.utils.translation import gettext as _

from operations.models import Operation
from operations.services import Hold, lane_open, operation_submit
from portal.core.clock import now
from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.models import Tenant
from tenants.policy import Permission
from vms.models import Drift, Host, HostPool, Installation, SetAside, StorageClass, StoragePool
from vms.names import pool_name
from vms.selectors.fabrics import unenforced_with
from vms.services.fabrics import fabric_of_tested
from vms.states import HostState, Trait

LABEL: Final = re.compile(r"\A[a-z0-9][a-z0-9.-]{0,30}\Z")
LABELS_MAX: Final = 20
SCHEMES = frozenset({"qemu", "qemu+unix", "qemu+tls", "qemu+ssh", "qemu+tcp", "fake"})


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
        fabric_of_tested(Host.objects.select_related("pool__fabric").get(pk=operation.subject_id))
    else:
        Host.objects.filter(pk=operation.subject_id).update(problem=operation.error_detail or operation.error_message)


@transaction.atomic
def host_edit(host: Host, *, actor: Actor, **changes: Any) -> Host:
    """Change its ``labels`` (words), whom it is ``set_aside_for`` (a tenant, or None), or put it into ``maintenance``.

    All of that is about new machines: those that are on it stay. Raises ``Invalid``.
    """
    actor.require(Permission.OPERATE)
    rows = Host.objects.select_for_update(no_key=True, of=("self",)).select_related("set_aside__tenant")
    host = rows.get(pk=host.pk)
    if "labels" in changes:
        changes["labels"] = sorted(set(changes["labels"]))
        check_labels(changes["labels"])
    differs = {name: [getattr(host, name), to] for name, to in changes.items() if getattr(host, name) != to}
    if not differs:
        return host
    if "set_aside_for" in differs:
        _set_aside(host, differs["set_aside_for"][1])
        differs["set_aside_for"] = [each.slug if each else "" for each in differs["set_aside_for"]]
    host.labels, host.maintenance = changes.get("labels", host.labels), changes.get("maintenance", host.maintenance)
    host.version += 1
    host.save(update_fields=["labels", "maintenance", "version"])
    changed: dict[str, Any] = {**differs}
    audit_record(actor, "host.edit", host, **changed)
    return rows.get(pk=host.pk)


def _set_aside(host: Host, tenant: Tenant | None) -> None:
    SetAside.objects.filter(host=host).delete()
    if tenant is not None:
        SetAside.objects.create(host=host, tenant=tenant)


def check_labels(words: Sequence[str]) -> None:
    """Raise ``Invalid`` where these are no words for what a host has."""
    if len(words) > LABELS_MAX or not all(LABEL.match(word) for word in words):
        message = _("At most %(most)d words of small letters, digits, dots and hyphens.") % {"most": LABELS_MAX}
        raise Invalid(errors=[FieldError("/labels", "invalid_labels", message)])


def host_record_facts(host: Host, *, facts: dict[str, Any], cpus: int, memory_mib: int) -> None:
    """What the host says of itself."""
    Host.objects.filter(pk=host.pk).update(facts=facts, cpus=cpus, memory_mib=memory_mib)


def host_record_probe(
    host: Host, *, accelerated: bool, traits: Sequence[Trait], unenforced: Sequence[str], notes: Sequence[str]
) -> None:
    """What the test found."""
    limits = sorted(unenforced_with(host.pool, unenforced))
    Host.objects.filter(pk=host.pk).update(
        accelerated=accelerated, traits=list(traits), unenforced=limits, notes=list(notes)
    )


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


def drift_clear(host: Host, *, seen_before: datetime, but: Sequence[str] = ()) -> None:
    """What the sweep that began at ``seen_before`` no longer found is over, ``but`` for kinds that it could not look for."""
    Drift.objects.filter(host=host, last_seen_at__lt=seen_before).exclude(kind__in=but).delete()


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
