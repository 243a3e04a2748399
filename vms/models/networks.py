"""Tenants' networks: what is addressed where."""

from __future__ import annotations

from typing import Any, Final

from django.db import models
from django.utils import timezone

from tenants.scoping import TenantOwned
from vms.models.hosts import Host

MTU: Final = 1500


class Network(TenantOwned):
    """A layer-2 network of one tenant: on a fabric one for all of its hosts, elsewhere one bridge a host.

    ``domain`` is what its machines' names end in, and what they look for short names in; empty has none. ``drawing`` counts up
    with each change for which it is made anew on hosts.
    """

    name = models.CharField(max_length=40)
    description = models.CharField(max_length=200, default="")
    outward = models.CharField(max_length=12, default="nat")
    domain = models.CharField(max_length=120, default="")
    mtu = models.PositiveIntegerField(default=MTU)
    is_default = models.BooleanField(default=False)
    drawing = models.PositiveIntegerField(default=1)
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
    """A range of addresses on a network; ranges of one installation never overlap.

    ``first``–``last`` is the pool that addresses are handed out of; None leaves both to the portal. ``dns`` are the servers that
    machines are told of, none of them is the network's own. ``routes`` are ``{"to": range, "via": address}``.
    """

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="subnets")
    family = models.PositiveSmallIntegerField(default=4)
    cidr = models.CharField(max_length=43, unique=True)
    gateway = models.GenericIPAddressField()
    first = models.GenericIPAddressField(null=True)
    last = models.GenericIPAddressField(null=True)
    dns: models.JSONField[Any, Any] = models.JSONField(default=list)
    routes: models.JSONField[Any, Any] = models.JSONField(default=list)


class NetworkOnHost(TenantOwned):
    """A network that has been made on a host, as it was drawn at that time; ``drawing`` 0 is just being made."""

    network = models.ForeignKey(Network, on_delete=models.CASCADE, related_name="on_hosts")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")
    drawing = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint("network", "host", name="network_on_host_once")]


class Port(TenantOwned):
    """A guest's network card.

    ``in_mbit`` and ``out_mbit`` are its own limits in Mbit a second, to the guest and from it; 0 is none of its own. With
    ``above_size``, which an operator grants, they hold also where the machine's size allows less.
    """

    network = models.ForeignKey(Network, on_delete=models.PROTECT, related_name="ports")
    guest = models.ForeignKey("vms.Guest", on_delete=models.CASCADE, related_name="ports")
    position = models.PositiveSmallIntegerField(default=0)
    mac = models.CharField(max_length=17, unique=True)
    in_mbit = models.PositiveIntegerField(default=0)
    out_mbit = models.PositiveIntegerField(default=0)
    above_size = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint("guest", "position", name="port_position_once")]


class CardCounter(TenantOwned):
    """What a card has carried since ``since``, in bytes, and the last look at its counters on the host, from which it goes on.

    ``run``, ``cpu_ns``, ``in_raw``, ``out_raw`` and ``read_at`` are that look (``vms.flows.Look``); ``is_closed`` says that it
    was the last one before that start of the machine ended. ``unread_ends`` counts starts that ended without one: what was
    carried after the look before is not known.
    """

    port = models.OneToOneField(Port, on_delete=models.CASCADE, related_name="counter")
    in_bytes = models.PositiveBigIntegerField(default=0)
    out_bytes = models.PositiveBigIntegerField(default=0)
    since = models.DateTimeField(default=timezone.now)
    run = models.CharField(max_length=80, default="")
    cpu_ns = models.BigIntegerField(null=True)
    in_raw = models.PositiveBigIntegerField(default=0)
    out_raw = models.PositiveBigIntegerField(default=0)
    read_at = models.DateTimeField(null=True)
    is_closed = models.BooleanField(default=False)
    unread_ends = models.PositiveIntegerField(default=0)


class Address(TenantOwned):
    """An address held by a port, never by two; ``seen_at`` is when the guest was first heard to use it."""

    subnet = models.ForeignKey(Subnet, on_delete=models.PROTECT, related_name="addresses")
    port = models.ForeignKey(Port, on_delete=models.CASCADE, related_name="addresses")
    ip = models.GenericIPAddressField()
    kind = models.CharField(max_length=8, default="private")
    seen_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint("subnet", "ip", name="address_once_a_subnet")]


class AddressUse(TenantOwned):
    """From when to when a card had an address; an open one has no end. Kept when card, machine and network are gone.

    A card whose address is being changed has two open ones: the former until its host lets it through no more.
    """

    ip = models.GenericIPAddressField()
    mac = models.CharField(max_length=17)
    port_id = models.UUIDField()
    guest_id = models.UUIDField(db_index=True)
    guest_name = models.CharField(max_length=63)
    network_id = models.UUIDField()
    network_name = models.CharField(max_length=40)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-since", "-id"]
        indexes = [
            models.Index("ip", "since", name="address_use_by_ip"),
            models.Index("network_id", condition=models.Q(until=None), name="address_use_open_on"),
        ]
        constraints = [
            models.UniqueConstraint("ip", condition=models.Q(until=None), name="address_one_open_use"),
            models.CheckConstraint(
                condition=models.Q(until=None) | models.Q(until__gte=models.F("since")),
                name="address_use_ends_after_start",
            ),
        ]
