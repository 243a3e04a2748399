"""What machines used, minute by minute and in longer stretches."""

from __future__ import annotations

from typing import Final

from django.db import models

from tenants.scoping import TenantOwned
from vms.models.guests import Guest

MINUTE, QUARTER, HOUR = 1, 15, 60
"""The stretches that are kept, in minutes."""

AMOUNTS: Final = (
    "seen_ms", "cpu_ms", "vcpu_ms", "memory_mib_s", "memory_s", "disk_read_bytes", "disk_written_bytes", "disk_reads",
    "disk_writes", "net_received_bytes", "net_sent_bytes", "net_received_packets", "net_sent_packets",
)  # fmt: skip


class MetricPoint(TenantOwned):
    """What one machine used in one stretch of time, as amounts: a longer stretch is the sum of shorter ones, exactly.

    ``minute`` is where it begins, in whole minutes since 1970 (UTC), and ``minutes`` how long it is. ``seen_ms`` is how much
    of it was looked at: a rate is an amount over that. ``vcpu_ms`` is what its vCPUs could have done meanwhile. Of memory the
    sum over the ``memory_s`` seconds in which the guest told; a mean is one over the other. What was not seen has no row.

    No constraint in the database holds the keys: a check would lock the row of every machine each minute, and wait for
    whoever works on one. Machines take their points with them when they go.
    """

    id = None  # type: ignore[assignment]
    pk = models.CompositePrimaryKey("guest", "minutes", "minute")
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    guest = models.ForeignKey(Guest, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    minutes = models.PositiveSmallIntegerField()
    minute = models.IntegerField()

    seen_ms = models.IntegerField()
    cpu_ms = models.BigIntegerField()
    vcpu_ms = models.BigIntegerField()
    memory_mib_s = models.BigIntegerField(default=0)
    memory_s = models.IntegerField(default=0)
    disk_read_bytes = models.BigIntegerField(default=0)
    disk_written_bytes = models.BigIntegerField(default=0)
    disk_reads = models.BigIntegerField(default=0)
    disk_writes = models.BigIntegerField(default=0)
    net_received_bytes = models.BigIntegerField(default=0)
    net_sent_bytes = models.BigIntegerField(default=0)
    net_received_packets = models.BigIntegerField(default=0)
    net_sent_packets = models.BigIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["minutes", "minute"], name="metric_by_time")]
