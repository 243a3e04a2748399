"""Tenants' networks: what is addressed where."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from tenants.scoping import TenantOwned
from vms.models.hosts import Host


class Network(TenantOwned):
    """A layer-2 network of one tenant; on the libvirt engine one bridge a host, with NAT outwards."""

    name = models.CharField(max_length=40)
    engine = models.CharField(max_length=12, default="libvirt")
    outward = models.CharField(max_length=12, default="nat")
    is_default = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("tenant", "name", name="network_name_once"),
            models.UniqueConstraint("tenant", condition=models.Q(is_default=True), name="network_one_default"),
        ]

    def __str__(self) -> str:
        return self.name


class Subnet(TenantOwned):
    """A range of addresses on a network; ranges of one installation never overlap (``cidr`` is handed out once)."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="subnets")
    family = models.PositiveSmallIntegerField(default=4)
    cidr = models.CharField(max_length=43, unique=True)
    gateway = models.GenericIPAddressField()


class NetworkOnHost(TenantOwned):
    """A network that has been made on a host."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="on_hosts")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint("network", "host", name="network_on_host_once")]


class Port(TenantOwned):
    """A guest's network card."""

    network = models.ForeignKey(Network, on_delete=models.PROTECT, related_name="ports")
    guest = models.ForeignKey("vms.Guest", on_delete=models.CASCADE, related_name="ports")
    position = models.PositiveSmallIntegerField(default=0)
    mac = models.CharField(max_length=17, unique=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint("guest", "position", name="port_position_once")]


class Address(TenantOwned):
    """An address held by a port, never by two; ``seen_at`` is when the guest was first heard to use it."""

    subnet = models.ForeignKey(Subnet, on_delete=models.PROTECT, related_name="addresses")
    port = models.ForeignKey(Port, on_delete=models.CASCADE, related_name="addresses")
    ip = models.GenericIPAddressField()
    kind = models.CharField(max_length=8, default="private")
    seen_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint("subnet", "ip", name="address_once_a_subnet")]
