"""The operators' pages: nothing the browser complains about, no barrier, no sideways scroll."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.visitor import looks, visitor
from tests.journeys.customer import Customer
from tests.setup.test_up import Portal

LISTS = {
    "machines": "vms/guest/",
    "hosts": "vms/host/",
    "host-pools": "vms/hostpool/",
    "fabrics": "vms/fabric/",
    "flavors": "vms/flavor/",
    "drift": "vms/drift/",
    "images": "vms/image/",
    "catalogue": "catalogue/",
    "price-lists": "billing/pricelist/",
    "prices": "billing/price/",
    "revenue": "revenue/?list=retail",
    "tenants": "tenants/tenant/",
    "providers": "socialaccount/socialapp/",
    "provider-new": "socialaccount/socialapp/add/",
    "mail-domains": "tenants/signindomain/",
    "audit": "tenants/auditentry/",
    "operations": "operations/operation/",
    "operations-none": "operations/operation/?status=cancelled&kind=guest.delete",
}
ROWS = (
    "machines",
    "hosts",
    "host-pools",
    "fabrics",
    "flavors",
    "images",
    "price-lists",
    "tenants",
    "providers",
    "mail-domains",
    "operations",
)
"""Lists whose first row is looked at, with the first of its deeds."""


@pytest.fixture(scope="module")
def seen(customer: Customer, operator: Customer) -> Iterator[str]:
    """A machine that costs no boot and a way to sign in, so that lists and pages have something to show."""
    guest = customer.create("seen", start=False, tags=["prod"])
    app = {"id": "corp", "name": "Corp", "issuer": "https://id.corp.test", "client_id": "x", "client_secret": "y"}
    domain = {"domain": "corp.test", "tenant": "demo", "provider": "corp", "role": "viewer"}
    assert operator.http.post("/sign-in-providers", json=app).status_code == 201
    assert operator.http.post("/billing/price-lists", json={"name": "retail", "currency": "EUR"}).status_code == 201
    told = {"northbound": "ssl:192.0.2.1:6641", "southbound": "ssl:192.0.2.1:6642", "pki": "/srv/fabric"}
    assert operator.http.post("/fabrics", json={"name": "woven", **told}).status_code == 202
    for meter, amount in (("vcpus", "0.004"), ("disk_gib", "0.00005")):
        price = {"price_list": "retail", "meter": meter, "amount": amount}
        assert operator.http.post("/billing/prices", json=price).status_code == 201
    made = operator.http.post("/sign-in-domains", json=domain)
    assert made.status_code == 201, made.text
    yield str(guest["id"])
    operator.http.delete(f"/sign-in-domains/{made.json()['id']}")
    operator.http.delete("/sign-in-providers/corp")
    customer.done(customer.delete(f"/guests/{guest['id']}", purge="true"))


@looks
def test_pages_of_the_operators_site(
    chromium: Browser, portal: Portal, seen: str, size: tuple[int, int], theme: str, pictures: Path | None
) -> None:
    faults: list[str] = []
    first = portal.first_run
    with visitor(
        chromium, first["url"], size=size, theme=theme, pictures=pictures and pictures / "operator"
    ) as operator:
        page = operator.page

        def look(name: str, address: str) -> None:
            operator.go(address)
            faults.extend(operator.faults())
            operator.picture(name)

        operator.sign_in(first["operator"])
        look("door", "/t/demo/machines/")
        page.fill("input[name=reason]", "A look around, for the pictures")
        page.get_by_role("button", name="Begin the visit").click()
        page.wait_for_url("**/t/demo/machines/")
        look("visit", "/t/demo/machines/")
        page.get_by_role("button", name="End the visit").click()
        page.wait_for_url("**/operator/")
        look("dashboard", "/operator/")
        for name, path in {**LISTS, "enrol": "vms/host/add/"}.items():
            look(name, f"/operator/{path}")
        for name in ROWS:
            operator.go(f"/operator/{LISTS[name]}")
            look(f"{name}-row", str(page.locator("#result_list tbody a[href*='/change/']").first.get_attribute("href")))
            deeds = page.locator("a[href*='/do/']")
            if deeds.count():
                look(f"{name}-deed", str(deeds.first.get_attribute("href")))
            if name == "tenants":
                operator.page.go_back()
                look("tenant-quota", str(page.locator("a[href*='/do/quota/']").first.get_attribute("href")))

    assert faults == []


def test_many_rows_are_asked_about_before_anything_is_done(
    chromium: Browser, portal: Portal, seen: str, pictures: Path | None
) -> None:
    first = portal.first_run
    with visitor(chromium, first["url"], pictures=pictures and pictures / "operator") as operator:
        page = operator.page
        operator.sign_in(first["operator"])
        operator.go("/operator/vms/guest/")
        page.locator(".action-select").first.check()
        page.select_option("select[name=action]", label="Start")
        page.get_by_role("button", name="Look at it first").click()
        page.locator("text=seen").first.wait_for()
        operator.picture("many")

        assert operator.faults() == []
        assert "is asked for" in page.locator("main").inner_text()
