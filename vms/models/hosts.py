"""Machines that guests run on, what is claimed of them, and what was found on them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.core.ids import uuid7
from tenants.models import Tenant
from tenants.scoping import TenantOwned
from vms.models.fabrics import Fabric
from vms.states import HostState


class HostPool(models.Model):
    """Hosts that are alike: one fabric or none, one overcommit, one way to fill them."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=40, unique=True, validators=[RegexValidator(r"\A[a-z0-9][a-z0-9.-]{0,39}\Z")])
    fabric = models.ForeignKey(Fabric, null=True, blank=True, on_delete=models.PROTECT, related_name="pools")
    """What carries its machines' networks; none: each host's own bridges."""
    cpu_overcommit = models.DecimalField(max_digits=5, decimal_places=2, default=8, validators=[MinValueValidator(1)])
    memory_overcommit = models.DecimalField(
        max_digits=5, decimal_places=2, default=1, validators=[MinValueValidator(1)]
    )
    packs = models.BooleanField(default=False, db_default=False)
    """Are machines put where others are already, or spread over all hosts?"""
    spare_hosts = models.PositiveSmallIntegerField(default=0, db_default=0)
    """So many of its largest hosts may fail: their worth is not sold."""
    suspect_after_s = models.PositiveSmallIntegerField(default=10)
    down_after_s = models.PositiveSmallIntegerField(default=20)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(cpu_overcommit__gte=1, memory_overcommit__gte=1), name="host_pool_sells_what_it_has"
            ),
            models.CheckConstraint(
                condition=Q(down_after_s__gt=models.F("suspect_after_s")), name="host_pool_is_late_before_silent"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def engine(self) -> str:
        """What carries its machines' networks."""
        return "libvirt" if self.fabric_id is None else "ovn"


def host_lane(pk: UUID) -> str:
    """The lane of the host with this id."""
    return f"host.{pk.hex}"


def offers_of(labels: list[str], *, accelerated: bool) -> list[str]:
    """What a host has: its labels, with what its test found: ``kvm`` where machines are accelerated."""
    return [*labels, *(["kvm"] if accelerated else [])]


class Host(models.Model):
    """A compute host and what we last heard of it; ``watcher`` says which process listens, until when."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    pool = models.ForeignKey(HostPool, on_delete=models.PROTECT, related_name="hosts")
    name = models.CharField(max_length=64, unique=True)
    uri = models.CharField(max_length=255, unique=True)
    addresses: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """Addresses of the host itself, which its guests may not reach."""
    data_dir = models.CharField(max_length=200)
    run_dir = models.CharField(max_length=64)
    enabled = models.BooleanField(default=True)
    maintenance = models.BooleanField(default=False)
    labels: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    """Words for what it has; a flavor may ask for some."""

    state = models.CharField(max_length=8, default=HostState.DOWN)
    seen_at = models.DateTimeField(null=True, blank=True)
    swept_at = models.DateTimeField(null=True, blank=True)
    up_s = models.PositiveIntegerField(null=True, blank=True)
    """For how long it was up when it was last swept, in seconds."""
    facts: models.JSONField[Any, Any] = models.JSONField(default=dict, blank=True)
    accelerated = models.BooleanField(default=False)
    traits: models.JSONField[Any, Any] = models.JSONField(null=True, blank=True)
    """What machines can be built of there (``states.Trait``), by its test; None: it was not tested for that."""
    unenforced: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    notes: models.JSONField[Any, Any] = models.JSONField(default=list, blank=True)
    problem = models.TextField(blank=True)
    cpus = models.PositiveIntegerField(default=0)
    memory_mib = models.PositiveIntegerField(default=0)
    watcher = models.CharField(max_length=64, blank=True)
    watcher_until = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=[s.value for s in HostState]), name="host_state_known"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def offers(self) -> list[str]:
        """What a flavor may ask for."""
        return offers_of(self.labels, accelerated=self.accelerated)

    @property
    def set_aside_for(self) -> Tenant | None:
        """The only tenant whose machines it takes, if there is one; read it with ``set_aside__tenant``."""
        row: SetAside | None = getattr(self, "set_aside", None)
        return None if row is None else row.tenant

    @property
    def lane(self) -> str:
        """The name of its lane for operations."""
        return host_lane(self.pk)


class SetAside(models.Model):
    """A host that takes the machines of one tenant and of its children only; and they go nowhere else."""

    host = models.OneToOneField(Host, primary_key=True, on_delete=models.CASCADE, related_name="set_aside")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")


class HostClaim(TenantOwned):
    """A guest's share of a host, taken in the transaction that places it and returned by the one that removes it."""

    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="claims")
    guest = models.ForeignKey("vms.Guest", on_delete=models.CASCADE, related_name="claims")
    operation_id = models.UUIDField(null=True)
    generation = models.PositiveIntegerField()
    vcpus = models.PositiveSmallIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint("host", "guest", name="host_claim_once")]


class Drift(models.Model):
    """Something found on a host that does not agree with the database; shown, never mended behind anybody's back."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="drift")
    kind = models.CharField(max_length=32)
    subject = models.CharField(max_length=200)
    detail = models.TextField(blank=True)
    guest_id = models.UUIDField(null=True, blank=True)
    sightings = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-last_seen_at"]
        constraints = [models.UniqueConstraint("host", "kind", "subject", name="drift_once")]
