"""Which hosts share networks, and what each of them has to do about that."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet

from tenants.scoping import every_tenant
from vms.models import Fabric, Host, HostPool, NetworkOnHost
from vms.states import HostState


def spanned(host: Host) -> QuerySet[Host]:
    """The hosts that have the same networks as ``host``: all of its fabric, or itself alone."""
    fabric = host.pool.fabric_id
    return Host.objects.filter(pk=host.pk) if fabric is None else Host.objects.filter(pool__fabric=fabric)


def through(hosts: Iterable[Host]) -> list[Host]:
    """Of hosts that share a fabric one, if possible one that answers, since what is done there is done for all; and all others.

    The hosts' ``pool`` is read.
    """
    chosen: dict[UUID, Host] = {}
    for host in hosts:
        key = host.pool.fabric_id or host.pk
        if key not in chosen or (chosen[key].state == HostState.DOWN and host.state != HostState.DOWN):
            chosen[key] = host
    return list(chosen.values())


def speaks(host: Host) -> bool:
    """Is it for ``host`` to look after what all hosts of its fabric share? One that answers does, by its name the first."""
    if host.pool.fabric_id is None:
        return True
    first = spanned(host).exclude(state=HostState.DOWN).order_by("name").values_list("pk", flat=True).first()
    return first in (None, host.pk)


def own_addresses(host: Host) -> tuple[str, ...]:
    """The addresses of all hosts that its machines' networks are on, which machines may not reach."""
    if host.pool.fabric_id is None:
        return tuple(host.addresses)
    return tuple(
        sorted({each for addresses in spanned(host).values_list("addresses", flat=True) for each in addresses})
    )


def unenforced_with(pool: HostPool, found: Iterable[str]) -> set[str]:
    """Which limits do not hold on a host of the pool where its test has ``found`` that these do not.

    A fabric needs no packet filters of the host, and limits no card.
    """
    if pool.fabric_id is None:
        return set(found)
    return {*found, "bandwidth"} - {"groups", "nwfilter"}


def fabric_is_used(fabric: Fabric) -> bool:
    """Does any network stand on it?"""
    with every_tenant(why="a fabric carries networks of many tenants"):
        return NetworkOnHost.objects.filter(host__pool__fabric=fabric).exists()
