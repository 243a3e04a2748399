"""Placement groups, and which hosts their machines are on."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, QuerySet

from vms.models import Guest, PlacementGroup
from vms.placement import NO_RULE, Rule


def placement_groups_listed() -> QuerySet[PlacementGroup, Any]:
    """All of the tenant with ``guests_count`` and ``hosts_count``; machines in the bin count, since their disks lie there."""
    return PlacementGroup.objects.annotate(
        guests_count=Count("guests", distinct=True), hosts_count=Count("guests__host", distinct=True)
    )


def placement_rule(group: PlacementGroup | None, *, but: Guest | None = None) -> Rule:
    """What the group asks of the next machine's host, as its machines are now, ``but`` one; nothing without a group."""
    if group is None:
        return NO_RULE
    guests = Guest.objects.filter(placement_group=group, host__isnull=False)
    if but is not None:
        guests = guests.exclude(pk=but.pk)
    hosts = frozenset(guests.values_list("host__pk", flat=True))
    return Rule("apart" if group.kind == PlacementGroup.Kind.APART else "together", group.strict, hosts)
