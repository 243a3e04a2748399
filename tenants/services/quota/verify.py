"""Do the counters say what is so? Recounted from the rows that the rooms above keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from tenants.models import Quota, Tenant
from tenants.scoping import every_tenant
from tenants.services.quota.reckon import Amounts
from tenants.services.quota.reserve import GATE
from tenants.services.quota.resources import Kind, is_resource, kind_of

type Source = Callable[[Sequence[Tenant]], Mapping[UUID, Amounts]]
_sources: list[Source] = []


@dataclass(frozen=True, slots=True)
class Miscount:
    """A counter that does not say what is so."""

    tenant: Tenant
    resource: str
    counted: int
    real: int


def usage_source(function: Source) -> Source:
    """Register who knows what tenants hold: called with tenants, answers by tenant what each holds itself, children apart.

    Whatever a source counts must be written under the gates (``quota_lock``) of its tenant.
    """
    if function not in _sources:
        _sources.append(function)
    return function


def quota_verify() -> list[Miscount]:
    """Every counter of every tenant that differs from the rows; empty when all is well.

    May be called at any time: each tree of tenants is looked at under its root's gate, so nothing moves meanwhile.
    """
    with every_tenant(why="counters of all tenants are recounted"):
        roots = list(Tenant.objects.filter(parent=None).order_by("slug"))
        return [found for root in roots for found in _verify_tree(root)]


@transaction.atomic
def _verify_tree(root: Tenant) -> list[Miscount]:
    list(Quota.objects.select_for_update(no_key=True).filter(tenant=root, resource=GATE).values_list("pk"))
    tree = _tree(root)
    totals: dict[UUID, Counter[str]] = {tenant.pk: Counter() for tenant in tree}
    for source in _sources:
        for pk, amounts in source(tree).items():
            totals[pk].update(amounts)
    for tenant in reversed(tree):  # children before their parents
        if tenant.parent_id in totals:
            totals[tenant.parent_id].update(totals[tenant.pk])
    counted = {
        (row.tenant_id, row.resource): row.used
        for row in Quota.objects.filter(tenant__in=tree)
        if is_resource(row.resource) and kind_of(row.resource) == Kind.HELD
    }
    real = {(pk, name): n for pk, sums in totals.items() for name, n in sums.items()}
    by_pk = {tenant.pk: tenant for tenant in tree}
    return [
        Miscount(by_pk[pk], name, counted.get((pk, name), 0), real.get((pk, name), 0))
        for pk, name in sorted(counted.keys() | real.keys(), key=str)
        if counted.get((pk, name), 0) != real.get((pk, name), 0)
    ]


def _tree(root: Tenant) -> list[Tenant]:
    """The tenant and all below it, parents before children; one query a generation."""
    tree, generation = [root], [root]
    while generation:
        generation = list(Tenant.objects.filter(parent__in=generation).exclude(pk__in=[t.pk for t in tree]))
        tree += generation
    return tree
