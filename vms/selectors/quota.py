"""What tenants hold, counted from the rows: the other side of every quota counter."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db.models import Count, Sum, Value
from django.db.models.functions import Coalesce, Greatest

from tenants.models import Tenant
from tenants.services.quota import class_disk, usage_source
from vms.models import Address, Backup, BackupRepository, Guest, Image, Network, Port, Snapshot, Volume
from vms.models.guests import Charge


def _larger(column: str) -> Greatest:
    """``Guest.charged_vcpus`` and its sibling as SQL."""
    return Greatest(column, Coalesce(f"next_{column}", Value(0)))


@usage_source
def held_amounts(tenants: Sequence[Tenant]) -> Mapping[UUID, Counter[str]]:
    """By tenant: what its machines, disks, networks and images make; a fixed number of queries. Needs every tenant's scope."""
    held: defaultdict[UUID, Counter[str]] = defaultdict(Counter)
    guests = Guest.objects.filter(tenant__in=tenants).order_by()
    charged = guests.filter(charge=Charge.FULL).values("tenant")
    for row in charged.annotate(n=Count("pk"), v=Sum(_larger("vcpus")), m=Sum(_larger("memory_mib"))):
        held[row["tenant"]].update(guests=row["n"], vcpus=row["v"], memory_mib=row["m"])
    volumes = Volume.objects.filter(tenant__in=tenants).exclude(guest__charge=Charge.NONE).order_by()
    sums = volumes.values_list("tenant", "storage_class__name").annotate(n=Count("pk"), size=Sum("size_gib"))
    for pk, storage_class, n, size in sums:
        held[pk].update({"volumes": n, "disk_gib": size, class_disk(storage_class): size})
    images = Image.objects.filter(tenant__in=tenants).order_by().values_list("tenant")
    for pk, n, size in images.annotate(n=Count("pk"), size=Sum("charged_gib")):
        held[pk].update(images=n, images_gib=size)
    repositories = BackupRepository.objects.filter(tenant__in=tenants).order_by().values_list("tenant")
    for pk, size in repositories.annotate(size=Sum("charged_gib")):
        held[pk]["backups_gib"] += size
    being_made = Backup.objects.filter(tenant__in=tenants, reserved_gib__gt=0).order_by().values_list("tenant")
    for pk, size in being_made.annotate(size=Sum("reserved_gib")):
        held[pk]["backups_gib"] += size
    for name, rows in (
        ("running_guests", guests.filter(charged_running=True)),
        ("ports", Port.objects.exclude(guest__charge=Charge.NONE)),
        ("addresses", Address.objects.exclude(port__guest__charge=Charge.NONE)),
        ("networks", Network.objects.all()),
        ("snapshots", Snapshot.objects.all()),
    ):
        for pk, n in rows.filter(tenant__in=tenants).order_by().values_list("tenant").annotate(n=Count("pk")):
            held[pk][name] += n
    return held
