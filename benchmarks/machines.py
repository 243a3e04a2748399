"""Machines as they would stand, by bulk insert: the services would take hours for fifty thousand."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, Final

SUBNETS: Final = tuple(f"10.{second}.0.0/15" for second in range(200, 220, 2))
BATCH: Final = 2000


def fill(tenant: Any, amount: int, *, hosts: list[Any], subnet: str = SUBNETS[0], running: bool = True) -> None:
    """Give ``tenant`` so many machines on ``hosts`` in turn, each with a card, an address and a disk; not to be repeated.

    ``subnet`` is one that no other tenant has. Needs Django set up, and the scope of the tenant is opened here.
    """
    from django.utils import timezone

    from tenants.scoping import tenant_scope
    from tests import factories
    from vms.models import Address, Flavor, Guest, Image, Network, Port, StorageClass, Subnet, Volume
    from vms.services.addresses import mac_of

    with tenant_scope(tenant):
        flavor = Flavor.objects.first() or factories.flavor()
        image = Image.objects.first() or factories.image()
        network, _new = Network.objects.get_or_create(tenant=tenant, name="bench")
        room = ip_network(subnet)
        within = Subnet.objects.create(tenant=tenant, network=network, cidr=subnet, gateway=str(room[1]))
        storage = StorageClass.objects.get(is_default=True)
        power = (
            {"want_power": "running", "seen_power": "running"}
            if running
            else {"want_power": "stopped", "seen_power": "stopped"}
        )
        guests = [
            Guest(
                tenant=tenant, name=f"machine-{number:06}", flavor=flavor, image=image, host=hosts[number % len(hosts)],
                vcpus=1, memory_mib=192, disk_gib=1, built_at=timezone.now(), **power,
            )
            for number in range(amount)
        ]  # fmt: skip
        Guest.objects.bulk_create(guests, batch_size=BATCH)
        ips = [str(room[10 + number]) for number in range(amount)]
        ports = [
            Port(tenant=tenant, network=network, guest=guest, mac=mac_of(ip))
            for guest, ip in zip(guests, ips, strict=True)
        ]
        Port.objects.bulk_create(ports, batch_size=BATCH)
        addresses = [
            Address(tenant=tenant, subnet=within, port=port, ip=ip) for port, ip in zip(ports, ips, strict=True)
        ]
        Address.objects.bulk_create(addresses, batch_size=BATCH)
        volumes = [
            Volume(tenant=tenant, name="root", guest=guest, image=image, storage_class=storage, size_gib=1)
            for guest in guests
        ]
        Volume.objects.bulk_create(volumes, batch_size=BATCH)
