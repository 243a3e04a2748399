"""The product's main noun."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.core.sealed import SealedTextField
from tenants.scoping import TenantOwned
from vms.models.flavors import Flavor
from vms.models.hardware import Hardware
from vms.models.hosts import Host
from vms.models.images import Image
from vms.models.placement import PlacementGroup
from vms.states import LOST, AfterCrash, GuestStatus, Power

WANTED = [Power.RUNNING.value, Power.STOPPED.value, Power.PAUSED.value, Power.SUSPENDED.value, Power.ABSENT.value]


class Charge(models.TextChoices):
    """How much of a guest its tenant's quota counts: all of it, what the bin keeps (disks, addresses), or nothing."""

    FULL = "full"
    KEPT = "kept"
    NONE = "none"


class Tag(TenantOwned):
    """A word that a tenant puts on machines."""

    name = models.CharField(max_length=32)

    class Meta:
        constraints = [models.UniqueConstraint("tenant", "name", name="tag_once")]


class Guest(TenantOwned, Hardware):
    """A virtual machine: what people asked of it (``want_*``) and what was last observed (``seen_*``).

    ``want_generation`` rises with every change of intent or place; what carries an older one is late and changes nothing.
    Size is copied from the flavor when it is made, so that an edited flavor changes nobody's machine.
    """

    name = models.CharField(max_length=63)
    flavor = models.ForeignKey(Flavor, on_delete=models.PROTECT, related_name="+")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    host = models.ForeignKey(Host, null=True, on_delete=models.PROTECT, related_name="guests")
    placement_group = models.ForeignKey(PlacementGroup, null=True, on_delete=models.PROTECT, related_name="guests")
    keeps_apart = models.BooleanField(default=False, db_default=False)
    """Does its group keep it strictly apart? Copied from there, for the constraint."""
    tags: models.ManyToManyField[Tag, Any] = models.ManyToManyField(Tag, related_name="guests")
    vcpus = models.PositiveSmallIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk_gib = models.PositiveIntegerField()
    next_flavor = models.ForeignKey(Flavor, null=True, on_delete=models.PROTECT, related_name="+")
    """What it is to have, and cannot take yet; ``next_vcpus`` and ``next_memory_mib`` are copied from it."""
    next_vcpus = models.PositiveSmallIntegerField(null=True)
    next_memory_mib = models.PositiveIntegerField(null=True)
    in_rescue = models.BooleanField(default=False, db_default=False)
    """Does its definition start from the rescue disk?"""
    is_windows = models.BooleanField(default=False, db_default=False)
    drivers = models.ForeignKey(Image, null=True, on_delete=models.PROTECT, related_name="+")
    """The CD with drivers that it was made with."""
    protected = models.BooleanField(default=False)
    user_data = SealedTextField(blank=True, default="")
    password_hash = SealedTextField(blank=True, default="")
    new_password = SealedTextField(blank=True, default="", db_default="")
    """The hash of a password that its agent is just being asked to set."""
    ssh_keys: models.JSONField[Any, Any] = models.JSONField(default=list)

    want_power = models.CharField(max_length=10, default=Power.RUNNING)
    want_generation = models.PositiveIntegerField(default=1)
    yielded_at = models.DateTimeField(null=True)
    """When it was shut down without being asked to, if that is why it is wanted off: by its owner inside, or by its host."""
    seen_power = models.CharField(max_length=10, default=Power.ABSENT)
    seen_generation = models.PositiveIntegerField(default=0)
    seen_at = models.DateTimeField(null=True)
    seen_since = models.DateTimeField(null=True)
    seen_reason = models.CharField(max_length=40, blank=True)
    seen_display: models.JSONField[Any, Any] = models.JSONField(default=dict)
    display_password = SealedTextField(blank=True, default="")
    built_at = models.DateTimeField(null=True)
    problem_code = models.CharField(max_length=40, blank=True)
    problem_message = models.TextField(blank=True)

    charge = models.CharField(max_length=6, default=Charge.FULL)
    """What of it the quota counters hold now."""
    charged_running = models.BooleanField(default=False, db_default=False)
    """Does ``running_guests`` count it now? ``vms.services.guests.wanting`` is the only writer."""
    binned_at = models.DateTimeField(null=True)
    purge_after = models.DateTimeField(null=True, db_index=True)
    lease_ends_at = models.DateTimeField(null=True, db_index=True)
    """When it goes to the bin by itself."""
    start_order = models.PositiveSmallIntegerField(null=True)
    """After a restart of its host those with a smaller number are started before it; those without one come last."""
    start_delay_s = models.PositiveSmallIntegerField(default=0, db_default=0)
    """How long it runs then before those with a larger number follow."""
    after_crash = models.CharField(max_length=8, default=AfterCrash.RESTART, db_default=AfterCrash.RESTART.value)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now)

    _tag_names: list[str] | None = None

    class Meta:
        indexes = [
            models.Index(fields=["tenant", "name", "id"], name="guest_by_name"),
            models.Index(fields=["tenant", "-created_at", "-id"], name="guest_by_age"),
            models.Index(fields=["tenant", "seen_power"], name="guest_by_power"),
            models.Index(
                fields=["tenant"], condition=Q(binned_at__isnull=False) | Q(built_at__isnull=True), name="guest_aside"
            ),
            models.Index(
                fields=["tenant"],
                name="guest_lost",
                condition=Q(want_power=Power.RUNNING.value, seen_power=Power.STOPPED.value, seen_reason=LOST),
            ),
            models.Index(
                fields=["tenant"],
                name="guest_crashed",
                condition=Q(want_power=Power.RUNNING.value, seen_power=Power.CRASHED.value),
            ),
        ]
        constraints = [
            models.UniqueConstraint("tenant", "name", condition=Q(binned_at=None), name="guest_name_once"),
            models.UniqueConstraint(
                "host", "placement_group", condition=Q(keeps_apart=True), name="guest_alone_of_its_group_on_its_host"
            ),
            models.CheckConstraint(
                condition=Q(keeps_apart=False) | Q(placement_group__isnull=False), name="guest_kept_apart_in_a_group"
            ),
            models.CheckConstraint(condition=Q(want_power__in=WANTED), name="guest_want_power_known"),
            models.CheckConstraint(condition=Q(seen_power__in=[p.value for p in Power]), name="guest_seen_power_known"),
            models.CheckConstraint(condition=Q(after_crash__in=list(AfterCrash)), name="guest_after_crash_known"),
            models.CheckConstraint(
                condition=Q(seen_generation__lte=models.F("want_generation")), name="guest_seen_not_ahead"
            ),
            models.CheckConstraint(
                condition=Q(binned_at=None, purge_after=None) | Q(binned_at__isnull=False, purge_after__isnull=False),
                name="guest_bin_has_an_end",
            ),
            models.CheckConstraint(
                condition=Q(binned_at=None) | Q(lease_ends_at=None), name="guest_in_the_bin_has_no_lease"
            ),
            models.CheckConstraint(
                condition=Q(start_order=None) | Q(start_order__gte=1), name="guest_start_order_from_1"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def charged_vcpus(self) -> int:
        """What quota and host hold for it: what it has, or is to have, whichever is more."""
        return max(self.vcpus, self.next_vcpus or 0)

    @property
    def charged_memory_mib(self) -> int:
        """The same of memory."""
        return max(self.memory_mib, self.next_memory_mib or 0)

    def tag_names(self) -> list[str]:
        """Its tags, sorted; uses what was read with it (``tags_known``)."""
        if self._tag_names is None:
            return sorted(tag.name for tag in self.tags.all())
        return self._tag_names

    def tags_known(self, names: list[str]) -> None:
        """Its tags were read, sorted, with those of others: nobody needs to ask again."""
        self._tag_names = names

    def status(self, live_kind: str = "") -> GuestStatus:
        """The one word a customer sees; ``live_kind`` is the kind of the operation that runs on it, if any."""
        if live_kind in ("guest.create", "guest.clone", "guest.rebuild"):
            return GuestStatus.BUILDING
        if live_kind in ("guest.delete", "guest.purge"):
            return GuestStatus.DELETING
        if live_kind == "guest.migrate":
            return GuestStatus.MIGRATING
        if self.binned_at is not None:
            return GuestStatus.BINNED
        if self.built_at is None:
            return GuestStatus.ERROR
        return _SEEN_STATUS[Power(self.seen_power)]


_SEEN_STATUS = {
    Power.RUNNING: GuestStatus.RUNNING,
    Power.STOPPED: GuestStatus.STOPPED,
    Power.PAUSED: GuestStatus.PAUSED,
    Power.SUSPENDED: GuestStatus.SUSPENDED,
    Power.CRASHED: GuestStatus.ERROR,
    Power.ABSENT: GuestStatus.ERROR,
    Power.UNKNOWN: GuestStatus.UNKNOWN,
}
