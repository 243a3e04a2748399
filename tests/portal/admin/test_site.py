"""Who may enter the operators' site, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory
from django.urls import reverse

from portal.admin_base import ServiceAdmin
from portal.admin_site import NAVIGATION
from portal.core.sealed import SealedTextField
from tenants.scoping import tenant_scope
from tenants.services.quota import quota_request_make, quota_request_withdraw
from tests import factories
from tests.factories import House
from tests.portal.admin.rows import many, one_of_each

REGISTERED = sorted(admin.site._registry.items(), key=lambda pair: pair[0].__name__)
IDS = [model.__name__ for model, _admin in REGISTERED]
SECRET = {"password", "digest", "user_data", "password_hash", "display_password", "key", "body"}


def pages() -> Iterator[str]:
    """Every address of the site that needs no row."""
    for pattern in admin.site.urls[0]:
        if getattr(pattern, "name", None) and "<" not in str(pattern.pattern) and "(" not in str(pattern.pattern):
            yield reverse(f"admin:{pattern.name}")
    for model, _admin in REGISTERED:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        for page in ("change", "delete", "history"):
            yield reverse(f"{name}_{page}", args=["0193b4a0-0000-7000-8000-000000000000"])
        yield reverse(f"{name}_deed", args=["0193b4a0-0000-7000-8000-000000000000", "anything"])
    yield "/operator/vms/"
    yield "/operator/no/such/page/"


@pytest.mark.parametrize(("model", "shown"), REGISTERED, ids=IDS)
def test_every_model_admin_is_a_service_admin(model: type, shown: admin.ModelAdmin) -> None:
    assert isinstance(shown, ServiceAdmin)
    assert shown.plural, "it needs a name for the screen"
    assert shown.fieldsets, "what is shown is named, so that nothing is shown by accident"
    for method in ("save_model", "delete_model", "delete_queryset", "has_change_permission", "has_delete_permission"):
        assert getattr(type(shown), method) is getattr(ServiceAdmin, method), f"{method} is not to be overridden"
    assert not shown.inlines
    assert not shown.list_editable


@pytest.mark.parametrize(("model", "shown"), REGISTERED, ids=IDS)
def test_no_page_names_a_secret_column(model: type, shown: ServiceAdmin) -> None:
    named = {*flatten_fieldsets(shown.fieldsets), *shown.list_display, *shown.search_fields}
    named |= {str(getattr(getattr(shown, name, None), "admin_order_field", "")) for name in named}
    sealed = {field.name for field in model._meta.get_fields() if isinstance(field, SealedTextField)}

    assert not named & (sealed | SECRET)


@pytest.mark.parametrize(("model", "shown"), REGISTERED, ids=IDS)
def test_every_deed_explains_itself_and_danger_is_foreseen(model: type, shown: ServiceAdmin) -> None:
    for deed in shown.deeds.values():
        assert str(deed.explain).endswith(".")

        assert deed.adds or deed.foresee is not None, f"{deed.name} says nothing before it is done"
    assert sum(deed.adds for deed in shown.deeds.values()) <= 1


def test_the_navigation_leads_to_every_list() -> None:
    reached = {entry.page for _label, entries in NAVIGATION for entry in entries} - {"index", "catalogue", "revenue"}

    assert reached == {f"{m._meta.app_label}_{m._meta.model_name}_changelist" for m, _admin in REGISTERED}


@pytest.mark.django_db
def test_strangers_are_sent_to_the_portals_own_sign_in(client: Client) -> None:
    for url in pages():
        answer = client.get(url, follow=True)

        assert answer.redirect_chain, url
        assert answer.redirect_chain[-1][0].startswith(reverse("account_login")), url
        assert "/operator/" in answer.redirect_chain[-1][0]


@pytest.mark.django_db
def test_customers_find_nothing_there(house: House, client: Client) -> None:
    client.force_login(house.owner)

    for url in pages():
        assert client.get(url).status_code == 404, url
        assert client.post(url).status_code == 404, url


@pytest.mark.django_db
def test_an_operator_who_was_demoted_finds_nothing_either(client: Client) -> None:
    person, _token = factories.operator()
    client.force_login(person)
    assert client.get("/operator/").status_code == 200

    person.is_staff = False
    person.save()

    assert client.get("/operator/").status_code == 404


@pytest.mark.django_db
def test_a_bearer_token_is_no_key_to_the_site(client: Client) -> None:
    _person, token = factories.operator()

    answer = client.get("/operator/", headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 302


@pytest.mark.parametrize(("model", "shown"), REGISTERED, ids=IDS)
def test_every_list_and_every_row_opens(desk: Client, model: type, shown: ServiceAdmin) -> None:
    row = one_of_each()[model]
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"

    assert desk.get(reverse(f"{name}_changelist")).status_code == 200
    page = desk.get(reverse(f"{name}_change", args=[row.pk]))
    assert page.status_code == 200
    for deed in shown.deeds.values():
        url = reverse(f"{name}_add") if deed.adds else reverse(f"{name}_deed", args=[row.pk, deed.name])
        assert desk.get(url).status_code == 200, deed.name


@pytest.mark.parametrize(
    "asked", ["guest/?host__id__exact=nonsense", "guest/?power=nonsense", "guest/?bin=nonsense", "guest/?power=%00"]
)
def test_a_filter_that_is_nonsense_narrows_nothing(desk: Client, asked: str) -> None:
    guest = factories.guest(factories.tenant_with_owner())

    page = desk.get(f"/operator/vms/{asked}")

    assert page.status_code == 200
    assert guest.name in page.content.decode()


@pytest.mark.parametrize(("model", "shown"), REGISTERED, ids=IDS)
def test_nothing_is_written_in_place(desk: Client, model: type, shown: ServiceAdmin) -> None:
    row = one_of_each()[model]
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"

    assert desk.post(reverse(f"{name}_change", args=[row.pk]), {"name": "mine"}).status_code == 403
    assert desk.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    with pytest.raises(PermissionDenied):
        shown.save_model(RequestFactory().get("/"), row, None, True)
    with pytest.raises(PermissionDenied):
        shown.delete_model(RequestFactory().get("/"), row)


LISTS = [
    "vms/host", "vms/guest", "vms/addressuse", "vms/drift", "tenants/tenant", "tenants/user", "tenants/member",
    "tenants/apitoken", "tenants/auditentry", "operations/operation", "vms/storagepool", "vms/imagecopy", "vms/image",
    "vms/fabric", "vms/flavor", "vms/hostpool", "vms/storageclass", "admin/logentry", "tenants/signindomain",
    "socialaccount/socialapp", "billing/pricelist", "billing/price",
]  # fmt: skip


def test_lists_cost_the_same_for_fifty_rows_as_for_five(queries_of: Callable[[str], int]) -> None:
    places = ["", *(f"{name}/" for name in LISTS), "vms/guest/?q=guest", "vms/guest/?q=10.128.0.10"]
    many(5)
    few = {place: queries_of(f"/operator/{place}") for place in places}
    many(45)

    assert {place: queries_of(f"/operator/{place}") for place in places} == few


def test_a_quota_request_that_waits_is_counted_in_the_sidebar_and_told_on_the_dashboard(desk: Client) -> None:
    quiet = desk.get("/operator/").content.decode()
    house = factories.tenant_with_owner()
    with tenant_scope(house.tenant):
        first = quota_request_make(house.tenant, {"guests": 99}, reason="More.", actor=house.actor)

    page = desk.get("/operator/").content.decode()
    hosts = desk.get("/operator/vms/host/").content.decode()
    with tenant_scope(house.tenant):
        quota_request_withdraw(first, actor=house.actor)

    for text in (page, hosts):
        assert re.search(
            r'Quota requests<span class="n hot"><span class="visually-hidden">waiting:</span> 1</span>', text
        )
    assert "1 quota request waits for you." in page
    assert "waits for you" not in quiet
    assert 'class="n hot"' not in quiet
    assert 'class="n hot"' not in desk.get("/operator/").content.decode()
