"""Price lists, and the prices on them."""

from __future__ import annotations

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.meters import METERS
from billing.money import DIGITS
from portal.core.ids import uuid7

METER_LABELS = {
    "vcpus": _("vCPUs of running machines"),
    "memory_mib": _("Memory of running machines"),
    "disk_gib": _("Disks"),
    "snapshot_gib": _("Snapshots"),
    "image_gib": _("Images"),
    "backup_gib": _("Backups"),
}
"""For every meter of ``billing.meters``."""


class PriceList(models.Model):
    """Prices in one currency, without the tax that is added to them; both stay what it was made with.

    One list is the default, whose prices customers see.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=40, unique=True, validators=[RegexValidator(r"\A[a-z0-9][a-z0-9.-]{0,39}\Z")])
    currency = models.CharField(max_length=3)
    tax_percent = models.DecimalField(
        max_digits=5, decimal_places=2, default=Decimal(0), db_default=Decimal(0),
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )  # fmt: skip
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint("is_default", condition=models.Q(is_default=True), name="price_list_one_default"),
            models.CheckConstraint(condition=models.Q(currency__in=sorted(DIGITS)), name="price_list_currency_known"),
            models.CheckConstraint(
                condition=models.Q(tax_percent__gte=0, tax_percent__lte=100), name="price_list_tax_in_percent"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Price(models.Model):
    """What one unit of a meter costs an hour from ``valid_from`` on, until the next price of the same meter and word.

    ``word`` is the value of the meter's attribute (a flavor's, class's or store's name) that it is for; empty is for all
    that have no price of their own. Written once: a price that has begun never changes.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    price_list = models.ForeignKey(PriceList, on_delete=models.PROTECT, related_name="prices")
    meter = models.CharField(max_length=20, choices=list(METER_LABELS.items()))
    word = models.CharField(max_length=64, blank=True)
    amount = models.DecimalField(max_digits=20, decimal_places=10, validators=[MinValueValidator(0)])
    valid_from = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["meter", "word", "-valid_from"]
        constraints = [
            models.UniqueConstraint("price_list", "meter", "word", "valid_from", name="price_once_a_moment"),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="price_not_negative"),
            models.CheckConstraint(condition=models.Q(meter__in=sorted(METERS)), name="price_meter_known"),
        ]

    def __str__(self) -> str:
        return f"{self.get_meter_display()} {self.word}".strip()
