"""What machines and disks cost as long as they are there, by today's prices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from portal.core.ports import Item, Money, tariff
from tenants.models import Tenant
from vms.models import BackupRepository, Flavor, StorageClass


def machine_price(flavor: Flavor, disks: Iterable[tuple[int, str]], *, count: int = 1) -> Money | None:
    """So many running machines of this size, each with these disks; None where no prices are kept.

    A disk is GiB and its class's name, which is the default class's where it is empty.
    """
    today = tariff()
    return today.price(_items(flavor, disks, count)) if today is not None else None


def item_price(meter: str, quantity: int, word: str = "") -> Money | None:
    """So much of one meter; None where no prices are kept."""
    today = tariff()
    return today.price([Item(meter, quantity, word)]) if today is not None else None


def disks_price(disks: Iterable[tuple[int, str]]) -> Money | None:
    """So many disks, each GiB and its class's name; None where no prices are kept."""
    today = tariff()
    return today.price([Item("disk_gib", size_gib, name) for size_gib, name in disks]) if today is not None else None


def repository_price(tenant: Tenant) -> Money | None:
    """What a tenant's backups cost as they are; None where it has none, or no prices are kept."""
    repository = BackupRepository.objects.select_related("store").filter(tenant=tenant).first()
    return item_price("backup_gib", repository.charged_gib, repository.store.name) if repository is not None else None


def flavor_prices(flavors: Sequence[Flavor]) -> dict[UUID, Money]:
    """What a running machine of each size costs, with its first disk; by two queries, and empty where no prices are kept."""
    today = tariff()
    if today is None:
        return {}
    first = _default_class()
    return {flavor.pk: today.price(_items(flavor, [(flavor.disk_gib, first)], 1)) for flavor in flavors}


def _default_class() -> str:
    return StorageClass.objects.get(is_default=True).name


def _items(flavor: Flavor, disks: Iterable[tuple[int, str]], count: int) -> list[Item]:
    found = list(disks)
    other = "" if all(name for _size, name in found) else _default_class()
    return [
        Item("vcpus", count * flavor.vcpus, flavor.name),
        Item("memory_mib", count * flavor.memory_mib, flavor.name),
        *(Item("disk_gib", count * size_gib, name or other) for size_gib, name in found),
    ]
