"""Prices begin at a moment and never change from then on; what they come to is exact."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from billing.meters import METERS
from billing.models import METER_LABELS, Price, PriceList
from billing.money import DIGITS
from billing.rating import MONTH_HOURS, Prices
from billing.selectors.prices import tariff_now
from billing.services.prices import price_list_write, price_set, price_withdraw
from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid
from portal.core.ports import Item
from tenants.scoping import tenant_scope
from tests import factories
from tests.portal.api.rest import Rest
from tests.support.crowd import meeting, together
from vms.models import BackupRepository, StorageClass

OPEN = pytest.mark.django_db


@pytest.fixture
def retail(db: None) -> PriceList:
    return price_list_write(None, name="retail", currency="EUR", is_default=True, actor=factories.desk())


def put(retail: PriceList, amount: str = "1", **words: Any) -> Price:
    return price_set(retail, amount=Decimal(amount), actor=factories.desk(), **{"meter": "disk_gib", **words})


def test_every_meter_has_a_label_and_every_currency_its_digits() -> None:
    assert set(METER_LABELS) == set(METERS)
    assert set(DIGITS.values()) == {0, 2, 3}
    assert all(len(code) == 3 and code.isupper() for code in DIGITS)


def test_a_word_of_its_own_comes_before_the_price_of_all_others() -> None:
    prices = Prices("EUR", {("disk_gib", ""): Decimal("0.1"), ("disk_gib", "fast"): Decimal("0.3")})

    assert prices.price([Item("disk_gib", 2, "fast"), Item("disk_gib", 1, "slow")]).hour == Decimal("0.7")
    assert prices.price([Item("backup_gib", 9)]).hour == 0, "what has no price costs nothing"


def test_memory_is_priced_by_the_gib() -> None:
    assert Prices("EUR", {("memory_mib", ""): Decimal("0.01")}).price([Item("memory_mib", 512)]).hour == Decimal(
        "0.005"
    )


@given(
    amount=st.decimals(0, 1000, places=10),
    quantities=st.lists(st.integers(0, 10**6), max_size=5),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_the_sum_is_rounded_and_never_its_parts(amount: Decimal, quantities: list[int], currency: str) -> None:
    money = Prices(currency, {("disk_gib", ""): amount}).price([Item("disk_gib", each) for each in quantities])

    exact = amount * sum(quantities)
    assert abs(money.hour - exact) * 2 <= Decimal(1).scaleb(-DIGITS[currency] - 4)
    assert abs(money.month - exact * MONTH_HOURS) * 2 <= Decimal(1).scaleb(-DIGITS[currency])
    assert money.month_text.partition(".")[2] == "" or len(money.month_text.partition(".")[2]) == DIGITS[currency]


@OPEN
def test_without_a_default_list_nothing_has_a_price() -> None:
    assert tariff_now() is None
    factories.announced_price("other")
    assert tariff_now() is None


@OPEN
def test_the_price_that_began_last_holds(retail: PriceList, time_machine: Any) -> None:
    put(retail, "1")
    put(retail, "5", valid_from=now() + timedelta(hours=1))
    one = [Item("disk_gib", 1)]

    today = tariff_now()
    time_machine.move_to(now() + timedelta(hours=1, seconds=1))
    later = tariff_now()

    assert [each.price(one).hour for each in (today, later) if each is not None] == [1, 5]


@OPEN
def test_a_price_that_has_begun_stays(retail: PriceList) -> None:
    begun, announced = put(retail), put(retail, "2", valid_from=now() + timedelta(days=1))

    with pytest.raises(Conflict):
        price_withdraw(begun, actor=factories.desk())
    price_withdraw(announced, actor=factories.desk())
    price_withdraw(announced, actor=factories.desk())

    assert list(Price.objects.all()) == [begun]


@OPEN
@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"meter": "sunshine"}, "/meter"),
        ({"amount": "-1"}, "/amount"),
        ({"amount": "NaN"}, "/amount"),
        ({"amount": "Infinity"}, "/amount"),
        ({"amount": "1e30"}, "/amount"),
        ({"meter": "image_gib", "word": "x"}, "/word"),
        ({"valid_from": now() - timedelta(days=1)}, "/valid_from"),
    ],
)
def test_what_is_no_price_is_refused_at_its_field(retail: PriceList, words: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        put(retail, **words)

    assert [wrong.pointer for wrong in refused.value.errors] == [field]


@OPEN
def test_two_prices_do_not_begin_at_one_moment(retail: PriceList) -> None:
    at = now() + timedelta(days=1)
    put(retail, valid_from=at)

    with pytest.raises(Invalid):
        put(retail, "2", valid_from=at)
    with pytest.raises(IntegrityError), transaction.atomic():
        Price.objects.create(price_list=retail, meter="disk_gib", amount=2, valid_from=at)


@OPEN
def test_a_list_keeps_name_and_currency_and_one_is_the_default(retail: PriceList) -> None:
    desk = factories.desk()
    with pytest.raises(Invalid) as refused:
        price_list_write(retail, name="other", currency="USD", is_default=False, actor=desk)
    assert [wrong.pointer for wrong in refused.value.errors] == ["/name", "/currency", "/is_default"]
    with pytest.raises(Invalid):
        price_list_write(None, name="odd", currency="XXX", actor=desk)

    price_list_write(None, name="dollars", currency="USD", is_default=True, actor=desk)

    assert list(PriceList.objects.filter(is_default=True).values_list("name", flat=True)) == ["dollars"]


@pytest.mark.django_db(transaction=True)
def test_of_two_lists_made_the_default_at_once_the_later_is(transactional_db: None, retail: PriceList) -> None:
    desk = factories.desk()
    dollars, francs = (price_list_write(None, name=code.lower(), currency=code, actor=desk) for code in ("USD", "CHF"))

    answer = meeting(
        lambda: price_list_write(dollars, is_default=True, actor=desk),
        lambda: price_list_write(francs, is_default=True, actor=desk),
        lambda: None,
    )

    assert isinstance(answer, PriceList), answer
    assert list(PriceList.objects.filter(is_default=True)) == [francs]


@OPEN
def test_customers_read_prices_and_set_none(retail: PriceList) -> None:
    house = factories.tenant_with_owner()
    rest = Rest(house.token)
    put(retail, "0.00010", word="fast")

    (shown,) = rest.get("/api/v1/billing/prices?price_list=retail").json["items"]

    assert (shown["amount"], shown["currency"], shown["unit"], shown["word"]) == ("0.0001", "EUR", "GiB", "fast")
    assert rest.post("/api/v1/billing/prices", {"price_list": "retail", "meter": "vcpus", "amount": "0"}).status == 403
    with pytest.raises(Forbidden):
        price_list_write(None, name="mine", currency="EUR", actor=house.actor)


@OPEN
def test_a_price_stands_before_the_click(retail: PriceList, client: Client) -> None:
    """2 machines of 1 vCPU, 192 MiB and 1 GiB, and 10 GiB of a class of its own price each: 2 × (0.01 + 0.004 + 0.001 + 0.02)."""
    house = factories.tenant_with_owner()
    rest, flavor, image = (
        Rest(house.token),
        factories.flavor("tiny", vcpus=1, memory_mib=256, disk_gib=1),
        factories.image(),
    )
    StorageClass.objects.create(name="fast", enabled=True)
    wish = {"name": "web", "flavor": flavor.name, "image": str(image.pk), "count": 2}
    wish["volumes"] = [{"name": "data", "size_gib": 10, "storage_class": "fast"}]
    assert rest.post(f"{house.url}/guests?dry_run=true", wish).json["price"] is None

    for meter, word, amount in (
        ("vcpus", "", "0.01"), ("memory_mib", "", "0.016"), ("disk_gib", "", "0.001"), ("disk_gib", "fast", "0.002"),
    ):  # fmt: skip
        put(retail, amount, meter=meter, word=word)

    assert rest.post(f"{house.url}/guests?dry_run=true", wish).json["price"] == {
        "hour": "0.070000",
        "month": "51.10",
        "currency": "EUR",
    }
    (fast,) = rest.get("/api/v1/storage-classes?name=fast").json["items"]
    assert fast["price"] == {"hour": "0.002000", "month": "1.46", "currency": "EUR"}
    client.force_login(house.owner)
    page = client.get(f"/t/{house.tenant.slug}/machines/create/")
    assert "EUR 10.95" in page.content.decode(), "of one, at 0.015 an hour"
    guest = factories.guest(house, flavor=flavor, image=image)
    larger = factories.flavor("larger", vcpus=2, memory_mib=256, disk_gib=1)
    resized = rest.post(f"{house.url}/guests/{guest.pk}/resize?dry_run=true", {"flavor": larger.name})
    assert resized.json["price"]["hour"] == "0.025000"


@OPEN
def test_disks_and_backups_have_their_price_too(retail: PriceList, client: Client) -> None:
    house = factories.tenant_with_owner()
    backup = factories.backup(house, factories.guest(house))
    with tenant_scope(house.tenant):
        BackupRepository.objects.filter(pk=backup.repository_id).update(charged_gib=20)
    put(retail, "0.001")
    put(retail, "0.0001", meter="backup_gib", word=backup.repository.store.name)

    wish = {"name": "data", "size_gib": 10}
    foreseen = Rest(house.token).post(f"{house.url}/volumes?dry_run=true", wish).json["price"]
    client.force_login(house.owner)
    recap = client.post(f"/t/{house.tenant.slug}/volumes/create/recap/", wish, headers={"HX-Request": "true"})
    backups = client.get(f"/t/{house.tenant.slug}/backups/")

    assert foreseen == {"hour": "0.010000", "month": "7.30", "currency": "EUR"}
    assert "EUR 7.30" in recap.content.decode()
    assert "EUR 1.46" in backups.content.decode(), "20 GiB"


def test_two_first_lists_at_once_take_turns(transactional_db: None) -> None:
    """There was no row yet for them to wait at, and one of the two was a fault of ours."""
    desk = factories.desk()

    def first(name: str) -> Any:
        return partial(price_list_write, None, name=name, currency="EUR", is_default=True, actor=desk)

    differently = together([first("retail"), first("trade")])
    alike = together([first("partners"), first("partners")])

    assert all(isinstance(answer, PriceList) for answer in differently), differently
    assert sorted(type(answer).__name__ for answer in alike) == ["Invalid", "PriceList"], alike
    assert PriceList.objects.filter(is_default=True).count() == 1
    assert PriceList.objects.count() == 3
