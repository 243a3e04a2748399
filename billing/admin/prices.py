"""Price lists, and what stands on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.meters import METERS
from billing.models import METER_LABELS, Price, PriceList
from billing.selectors.prices import prices_at
from billing.services.prices import price_list_write, price_set, price_withdraw
from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Panel, column, moment, yes_no
from portal.core.clock import now
from portal.templatetags.portal_ui import when
from tenants.actors import Actor


class ListForm(DeedForm):
    """A list."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=40)
    currency = forms.CharField(
        label=gettext_lazy("Currency"), min_length=3, max_length=3, help_text=gettext_lazy("Such as EUR. It keeps it.")
    )
    tax_percent = forms.DecimalField(
        label=gettext_lazy("Tax in percent"), min_value=0, max_value=100, max_digits=5, decimal_places=2, initial=0,
        help_text=gettext_lazy("Added on statements; prices are without it. It keeps it: for another rate make another list."),
    )  # fmt: skip
    is_default = forms.BooleanField(
        label=gettext_lazy("The default"), required=False,
        help_text=gettext_lazy("Its prices stand on customers' pages. The former default is it no longer."),
    )  # fmt: skip


class PriceForm(DeedForm):
    """A price."""

    meter = forms.ChoiceField(label=gettext_lazy("What"), choices=list(METER_LABELS.items()))
    word = forms.CharField(
        label=gettext_lazy("Of which"), max_length=64, required=False,
        help_text=gettext_lazy("A flavor, storage class or backup store by name. Empty: all that have no price of their own."),
    )  # fmt: skip
    amount = forms.DecimalField(
        label=gettext_lazy("For one unit and hour"), min_value=0, max_digits=20, decimal_places=10,
        help_text=gettext_lazy("A vCPU, or a GiB. A price for a month is divided by 730."),
    )  # fmt: skip
    valid_from = forms.DateTimeField(
        label=gettext_lazy("From (UTC)"), required=False, help_text=gettext_lazy("Empty: from now on.")
    )


def _each(price: Price) -> str:
    return f"{price.price_list.currency} {price.amount.normalize():f} / {METERS[price.meter].unit}"


@admin.register(PriceList)
class PriceListAdmin(ServiceAdmin):
    """Lists of prices."""

    plural = gettext_lazy("Price lists")
    lede = gettext_lazy("What things cost. A price that has begun never changes; another one begins later.")
    list_display = ("name", "currency", "tax_percent", "default_shown", "holding")
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = ((None, {"fields": ("name", "currency", "tax_percent", "default_shown", "holding")}),)

    default_shown = column("is_default", gettext_lazy("Default"), yes_no)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PriceList]:
        rows: QuerySet[PriceList] = super().get_queryset(request)
        return rows.prefetch_related("prices")

    @admin.display(description=gettext_lazy("Prices"))
    def holding(self, row: PriceList) -> str:
        return str(len(row.prices.all()))

    def panels(self, row: PriceList) -> Iterable[Panel]:
        heads = [_("What"), _("Of which"), _("For one unit and hour"), _("Since")]
        rows = [
            (
                str(price.get_meter_display()),
                price.word or _("all others"),
                _each(price),
                when(price.valid_from),
            )
            for price in prices_at(now()).filter(price_list=row).select_related("price_list").order_by("meter", "word")
        ]
        yield Panel(_("Today"), heads, rows, _("Nothing has a price yet."))

    @deed(
        gettext_lazy("Add a price list"),
        explain=gettext_lazy("A list without prices."), icon="plus", form=ListForm, adds=True,
    )  # fmt: skip
    def add(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s has no prices yet.") % price_list_write(None, actor=actor, **answers)

    @deed(
        gettext_lazy("Make it the default"),
        explain=gettext_lazy("Customers' pages show its prices from now on. What was used is not touched."),
        icon="check",
        foresee=lambda self, row, actor: Forecast(not row.is_default, _("becomes the default")),
    )  # fmt: skip
    def make_default(self, row: PriceList, actor: Actor, answers: dict[str, Any]) -> str:
        price_list_write(row, actor=actor, is_default=True)
        return _("It is the default now.")

    @deed(
        gettext_lazy("Set a price"),
        explain=gettext_lazy("From a moment on; the price before it holds until then."),
        icon="plus", form=PriceForm,
        foresee=lambda self, row, actor: Forecast(True, _("gets a price")),
    )  # fmt: skip
    def set_price(self, row: PriceList, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s has its price.") % price_set(row, actor=actor, **answers)


@admin.register(Price)
class PriceAdmin(ServiceAdmin):
    """Prices that were, that hold and that are announced."""

    plural = gettext_lazy("Prices")
    lede = gettext_lazy("Each holds from its moment until the next of the same. Set one on its list's page.")
    list_display = ("meter", "of_which", "for_one", "price_list", "from_shown")
    list_filter = ("price_list", "meter")
    list_select_related = ("price_list",)
    search_fields = ("word",)
    ordering = ("-valid_from",)
    fieldsets = ((None, {"fields": ("meter", "of_which", "for_one", "price_list", "from_shown")}),)

    @admin.display(description=gettext_lazy("Of which"), ordering="word")
    def of_which(self, row: Price) -> str:
        return row.word or _("all others")

    @admin.display(description=gettext_lazy("For one unit and hour"), ordering="amount")
    def for_one(self, row: Price) -> str:
        return _each(row)

    from_shown = moment("valid_from", gettext_lazy("From"))

    @deed(
        gettext_lazy("Withdraw"),
        explain=gettext_lazy("A price that has not begun is announced no longer."),
        icon="trash", danger=True, many=True,
        foresee=lambda self, row, actor: Forecast(row.valid_from > now(), _("is withdrawn")),
    )  # fmt: skip
    def withdraw(self, row: Price, actor: Actor, answers: dict[str, Any]) -> str:
        price_withdraw(row, actor=actor)
        return _("It is withdrawn.")
