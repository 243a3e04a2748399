"""The metrics tab and the sparklines of the list."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from portal.core.clock import now
from tenants.scoping import every_tenant
from tests import factories
from tests.factories import House
from vms.models import Guest
from vms.services.metrics import metric_points_write

pytestmark = pytest.mark.django_db
PARTIAL = {"HX-Request": "true"}


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner()


@pytest.fixture
def guest(house: House) -> Guest:
    return factories.guest(house, "web-1")


@pytest.fixture
def browser(house: House) -> Client:
    client = Client()
    client.force_login(house.owner)
    return client


def write(guest: Guest, percent: int, minutes: int = 10) -> None:
    present = int(now().timestamp()) // 60
    amounts = {
        "cpu_ms": 600 * guest.vcpus * percent,
        "memory_mib_s": 100 * 60,
        "memory_s": 60,
        "net_sent_bytes": 60 * 10**6,
    }
    with every_tenant(why="test"):
        metric_points_write(
            [factories.metric_point(guest, minute=present - ago, **amounts) for ago in range(1, minutes)]
        )


def tab(browser: Client, house: House, guest: Guest, query: str = "", **headers: str) -> str:
    address = reverse("vms:guest_detail", args=[house.tenant.slug, guest.pk])
    answer = browser.get(f"{address}?tab=metrics{query}", headers=headers)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_tab_draws_what_was_seen_and_asks_again_each_minute(browser: Client, house: House, guest: Guest) -> None:
    write(guest, 37)

    text = tab(browser, house, guest)

    assert 'aria-label="CPU, lately 37 %"' in text
    assert 'aria-label="Memory, lately 100 MiB"' in text
    assert 'aria-label="Network, lately In 0 bit/s, Out 8 Mbit/s"' in text
    assert "every 60s" in text
    assert text.count("data-chart") == 6
    assert "<html" not in tab(browser, house, guest, **PARTIAL)


@pytest.mark.parametrize("chosen", ["hour", "day", "month", "year", "never", '"><script>'])
def test_every_range_can_be_drawn_and_tabled_of_a_machine_that_was_never_seen(
    browser: Client, house: House, guest: Guest, chosen: str
) -> None:
    assert tab(browser, house, guest, f"&range={chosen}").count("data-chart") == 6
    assert "Nothing seen in this time" in tab(browser, house, guest, f"&range={chosen}&as=table")


def test_the_table_has_the_exact_figures(browser: Client, house: House, guest: Guest) -> None:
    write(guest, 37, minutes=4)

    text = tab(browser, house, guest, "&as=table")

    assert text.count('data-l="CPU">37 %<') == 3
    assert text.count('data-l="Network out">8 Mbit/s<') == 3
    assert "data-chart" not in text


def test_the_list_shows_the_last_hour_beside_each_machine_also_where_a_row_was_kept(
    browser: Client, house: House, guest: Guest
) -> None:
    address = reverse("vms:guest_list", args=[house.tenant.slug])
    assert "gh-spark" not in browser.get(address).content.decode()

    write(guest, 37)

    assert "lately 37 percent" in browser.get(address).content.decode()
    row = browser.get(reverse("vms:guest_row", args=[house.tenant.slug, guest.pk]), headers=PARTIAL)
    assert "lately 37 percent" in row.content.decode()


def test_a_name_cannot_pretend_to_be_a_sparkline(browser: Client, house: House) -> None:
    guest = factories.guest(house, tags=["spark"])
    write(guest, 12)

    text = browser.get(reverse("vms:guest_list", args=[house.tenant.slug])).content.decode()

    assert "<!-- spark -->" not in text
    assert text.count("lately 12 percent") == 1
