"""A tenant's machines and what they are made of, as its export shows them: no password, no user-data, no host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from operations.models import Operation
from tenants.actors import Actor
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.services.export import CHUNK, exports
from vms.models import Backup, Guest, Image, MetricPoint, Network, PlacementGroup, Port, SecurityGroup, SshKey, Volume
from vms.models.hardware import HARDWARE
from vms.models.metrics import AMOUNTS, HOUR
from vms.selectors.backup_schedules import backup_schedules_visible
from vms.selectors.disk_exports import disk_exports_visible
from vms.selectors.snapshots import snapshots_visible
from vms.services.backups.retention import keep_of

Facts = dict[str, Any]
GUEST: Final = (
    "id", "name", "vcpus", "memory_mib", "disk_gib", *HARDWARE, "protected", "want_power", "seen_power", "created_at",
    "built_at", "binned_at", "purge_after", "start_order", "start_delay_s", "after_crash",
)  # fmt: skip

NETWORK: Final = ("id", "name", "description", "outward", "domain", "mtu", "created_at")
SUBNET: Final = ("cidr", "gateway", "first", "last", "dns", "routes")


@exports("guests", Permission.GUEST_VIEW)
def _guests(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    rows = actor.visible(
        Guest.objects.select_related("flavor", "image", "placement_group").order_by("created_at", "pk")
    )
    for guest in rows.prefetch_related("tags", "ports__network", "ports__addresses").iterator(chunk_size=CHUNK):
        yield {
            **{name: getattr(guest, name) for name in GUEST},
            "flavor": guest.flavor.name,
            "image": guest.image.name,
            "placement_group": guest.placement_group.name if guest.placement_group is not None else "",
            "tags": sorted(tag.name for tag in guest.tags.all()),
            "ssh_keys": guest.ssh_keys,
            "ports": [_port(port) for port in guest.ports.all()],
        }


def _port(port: Port) -> Facts:
    addresses = [address.ip for address in port.addresses.all()]
    return {"mac": port.mac, "network": port.network.name, "addresses": addresses}


@exports("metrics", Permission.GUEST_VIEW)
def _metrics(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    """By the hour, as far back as they are kept: amounts, and of how many milliseconds they are."""
    rows = MetricPoint.objects.filter(minutes=HOUR)
    if actor.narrowed:
        rows = rows.filter(guest__in=actor.visible(Guest.objects.all()))
    rows = rows.order_by("guest", "minute")
    for guest, minute, *amounts in rows.values_list("guest", "minute", *AMOUNTS).iterator(chunk_size=CHUNK):
        begins = datetime.fromtimestamp(minute * 60, UTC)
        yield {"guest": guest, "begins": begins, **dict(zip(AMOUNTS, amounts, strict=True))}


@exports("volumes", Permission.VOLUME_VIEW)
def _volumes(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = Volume.objects.order_by("created_at", "pk")
    if actor.narrowed:
        rows = rows.filter(guest__in=actor.visible(Guest.objects.all()))
    columns = ("id", "name", "guest_id", "guest__name", "position", "size_gib", "storage_class__name", "state")
    yield from rows.values(*columns, "created_at").iterator(chunk_size=CHUNK)


@exports("backups", Permission.BACKUP_VIEW)
def _backups(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = Backup.objects.order_by("created_at", "pk")
    if actor.narrowed:
        rows = rows.filter(guest__in=actor.visible(Guest.objects.all()))
    columns = ("id", "name", "guest_id", "guest_name", "state", "read_bytes", "added_bytes", "verified_at", "verified")
    yield from rows.values(*columns, "created_at").iterator(chunk_size=CHUNK)


@exports("backup_schedules", Permission.BACKUP_VIEW)
def _backup_schedules(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    columns = ("id", "name", "cron", "timezone", "window_minutes", "full_every", "tags", "enabled", "created_at")
    for row in backup_schedules_visible(actor).prefetch_related("guests").order_by("created_at", "pk"):
        facts = {name: getattr(row, name) for name in columns}
        yield {**facts, "keep": asdict(keep_of(row)), "guests": [guest.pk for guest in row.guests.all()]}


@exports("snapshots", Permission.SNAPSHOT_VIEW)
def _snapshots(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    rows = snapshots_visible(actor).order_by("created_at", "pk").prefetch_related("disks")
    columns = ("id", "name", "description", "guest_id", "state", "consistency", "with_memory", "taken_at", "created_at")
    for snapshot in rows.iterator(chunk_size=CHUNK):
        disks = [{"volume": disk.volume_id, "size_gib": disk.size_gib} for disk in snapshot.disks.all()]
        yield {**{name: getattr(snapshot, name) for name in columns}, "disks": disks}


@exports("security_groups", Permission.NETWORK_VIEW)
def _security_groups(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    for group in SecurityGroup.objects.order_by("name").iterator(chunk_size=CHUNK):
        yield {
            "id": group.pk,
            "name": group.name,
            "note": group.note,
            "rules": group.rules,
            "created_at": group.created_at,
        }


@exports("disk_exports", Permission.SNAPSHOT_VIEW)
def _disk_exports(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = disk_exports_visible(actor).order_by("created_at", "pk")
    columns = ("id", "name", "guest_id", "guest_name", "volume_id", "size_gib", "state", "size", "sha256", "made_by")
    yield from rows.values(*columns, "expires_at", "created_at").iterator(chunk_size=CHUNK)


@exports("networks", Permission.NETWORK_VIEW)
def _networks(tenant: Tenant, actor: Actor) -> Iterator[Facts]:
    for network in Network.objects.prefetch_related("subnets").order_by("name").iterator(chunk_size=CHUNK):
        ranges = [{name: getattr(subnet, name) for name in SUBNET} for subnet in network.subnets.all()]
        yield {**{name: getattr(network, name) for name in NETWORK}, "subnets": ranges}


@exports("images", Permission.IMAGE_VIEW)
def _images(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = Image.objects.filter(tenant=tenant).order_by("created_at", "pk")
    columns = (
        "id",
        "name",
        "state",
        "os_family",
        "os_version",
        "kind",
        *HARDWARE,
        "init",
        "size",
        "virtual_size",
        "sha256",
    )
    yield from rows.values(*columns, "created_at")


@exports("placement_groups", Permission.PLACEMENT_VIEW)
def _placement_groups(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    yield from PlacementGroup.objects.order_by("name").values("id", "name", "kind", "strict", "created_at")


@exports("ssh_keys", Permission.KEY_VIEW)
def _keys(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    yield from SshKey.objects.order_by("name").values("id", "name", "public_key", "fingerprint", "created_at")


@exports("operations", Permission.OPERATION_VIEW)
def _operations(tenant: Tenant, actor: Actor) -> Iterator[Any]:
    rows = Operation.objects.filter(tenant=tenant).order_by("created_at", "pk")
    if actor.narrowed:
        rows = rows.filter(subject_id__in=actor.visible(Guest.objects.all()).values("pk"))
    columns = ("id", "kind", "subject_type", "subject_id", "subject_name", "status", "error_code", "error_message")
    yield from rows.values(*columns, "requested_label", "created_at", "finished_at").iterator(chunk_size=CHUNK)
