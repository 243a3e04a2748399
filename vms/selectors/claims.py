"""What is taken of hosts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db.models import Sum

from vms.models import HostClaim, ImageTest

_SUMS = {"v": Sum("vcpus"), "m": Sum("memory_mib"), "d": Sum("disk_gib")}


def claims_by_host(hosts: Collection[UUID] | None = None) -> dict[UUID, dict[str, int]]:
    """By host (all, or these) its vCPUs (``v``), MiB of memory (``m``) and GiB of disk (``d``) that machines and test boots have;
    one query.

    Needs a scope of all tenants.
    """
    which = {} if hosts is None else {"host__in": hosts}
    guests = HostClaim.objects.filter(**which).order_by().values("host").annotate(**_SUMS)
    tests = ImageTest.objects.exclude(host=None).filter(**which).order_by().values("host").annotate(**_SUMS)
    rows: Any = guests.union(tests, all=True)
    claims: defaultdict[UUID, dict[str, int]] = defaultdict(lambda: {"v": 0, "m": 0, "d": 0})
    for row in rows:
        for name in _SUMS:
            claims[row["host"]][name] += row[name]
    return claims
