"""Networks over many hosts: where they are told of, and what was last heard of them."""

from __future__ import annotations

from typing import Any, Final

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.core.ids import uuid7

TUNNEL_MTU: Final = 1442
"""What is left of 1500 bytes in a Geneve tunnel over IPv4."""


class Fabric(models.Model):
    """An OVN installation that carries the networks of all hosts of its pools.

    ``northbound`` and ``southbound`` are addresses as OVN writes them (``ssl:ADDRESS:PORT``, several with commas); only a test
    reads the second. ``pki`` is a folder beside the portal with ``clientkey.pem``, ``clientcert.pem`` and ``cacert.pem``.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=40, unique=True, validators=[RegexValidator(r"\A[a-z0-9][a-z0-9.-]{0,39}\Z")])
    northbound = models.CharField(max_length=255)
    southbound = models.CharField(max_length=255)
    pki = models.CharField(max_length=200, blank=True)
    mtu = models.PositiveIntegerField(default=TUNNEL_MTU)
    resolvers: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """Name servers that machines are told of where their network names none: the fabric itself knows machines' names alone."""
    physnet = models.CharField(max_length=40, blank=True)
    """What its hosts call the operator's own network (``ovn-bridge-mappings``); empty: no way out."""
    outer_address = models.CharField(max_length=18, blank=True)
    outer_gateway = models.CharField(max_length=15, blank=True)
    carriers: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """The hosts that may carry the way out, by their names in OVN, the preferred first."""
    enabled = models.BooleanField(default=True)

    seen_at = models.DateTimeField(null=True, blank=True)
    problem = models.TextField(blank=True)
    facts: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    notes: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    joined: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """Ids of hosts whose switch was in it at its last test."""
    offload = models.BooleanField(default=True)
    """Do the kernels of its hosts switch? Where one does it in user space, machines compute checksums themselves."""
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(physnet="", outer_address="", outer_gateway="")
                | (~Q(physnet="") & ~Q(outer_address="") & ~Q(outer_gateway="")),
                name="fabric_outside_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.name
