"""Every deed of the operators' site leaves exactly one entry in an audit log, and what is refused leaves none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from allauth.socialaccount.models import SocialApp
from django.contrib import admin
from django.db.models import Model
from django.test import Client

from billing.models import Price, PriceList
from operations.models import Operation
from portal.admin_deeds import Deed
from portal.core.clock import now
from tenants.models import (
    ApiToken,
    AuditEntry,
    InstallationEntry,
    Letter,
    QuotaRequest,
    SignInDomain,
    Tenant,
    TenantState,
    User,
)
from tenants.scoping import every_tenant
from tenants.services.sign_in import sign_in_domain_delete
from tenants.services.sign_in_providers import provider_switch
from tests import factories
from tests.portal.admin.doing import add, do
from tests.portal.admin.rows import one_of_each
from tests.support.openid import Provider, provider
from vms.models import BackupStore, Fabric, Flavor, Guest, Host, HostPool, Image, ImageCopy, StorageClass, StoragePool

Answers = Callable[[], dict[str, Any]]
WHY = {"reason": "Because."}
SIZE = {"vcpus": 4, "memory_mib": 8192, "disk_gib": 80, "cpu_percent": 0, "disk_iops": 0, "disk_mbps": 0, "net_mbit": 9}
LOOKS = {
    "Fabric.test": "only looks at the fabric; who asked stands in the list of operations",
    "Host.test": "only looks at the host; who asked stands in the list of operations",
    "SocialApp.look": "only asks the provider for its description",
}
"""Deeds that change nothing and leave no entry, and why."""


@dataclass(frozen=True)
class Case:
    """How a deed is made to succeed: what it is answered, and what its row must be like first, if not another row."""

    answers: dict[str, Any] = field(default_factory=dict)
    first: Callable[[Any], Any] = lambda row: None


def be(**fields: Any) -> Callable[[Any], None]:
    """Have the row stand so."""

    def make(row: Model) -> None:
        with every_tenant(why="test"):
            type(row).objects.filter(pk=row.pk).update(**fields)

    return make


def switched_off(app: SocialApp) -> None:
    provider_switch(app, on=False, actor=factories.desk())


def that_answers(app: SocialApp) -> None:
    app.settings |= HERE
    app.save()


def waiting(row: Operation) -> Operation:
    _guest, operation = factories.guest_building(factories.tenant_with_owner("building"))
    return operation


def standing_still(row: Tenant) -> None:
    """Each machine that has to be stopped with its tenant has an entry of its own."""
    with every_tenant(why="test"):
        Guest.objects.update(want_power="stopped", seen_power="stopped")


def without_domain(app: SocialApp) -> None:
    for row in SignInDomain.objects.filter(app=app):
        sign_in_domain_delete(row, actor=factories.desk())


STORE = {"name": "near", "kind": "s3", "location": "https://s3.example.test/bucket", "enabled": "on"}
CLASS = {"media": "ssd", "iops": 5, "mbps": 0, "scrub": "zero", "enabled": "on"}
POOL = {
    "cpu_overcommit": "4", "memory_overcommit": "1.5", "spare_hosts": 1, "packs": "packs", "suspect_after_s": 10,
    "down_after_s": 20,
}  # fmt: skip
FABRIC = {**factories.FABRIC, "mtu": 1442, "resolvers": "192.0.2.9", "enabled": "on"}
BUILT = {"kind": "disk", "firmware": "uefi", "disk_bus": "sata", "nic_model": "virtio", "init": "cloud-init"}
CASES: dict[tuple[type[Model], str], Case] = {
    (ApiToken, "revoke"): Case(),
    (BackupStore, "add"): Case({**STORE, "name": "far"}),
    (BackupStore, "edit"): Case({**STORE, "secret_key": "another"}),
    (Fabric, "add"): Case({**FABRIC, "name": "far"}),
    (Fabric, "edit"): Case({**FABRIC, "name": "far"}),
    (Fabric, "test"): Case(),
    (Flavor, "add"): Case({**SIZE, "name": "big", "enabled": "on", "sort": 100}),
    (Flavor, "edit"): Case({**SIZE, "name": "big", "enabled": "on", "sort": 100}),
    (Price, "withdraw"): Case(),
    (PriceList, "add"): Case({"name": "retail", "currency": "EUR", "tax_percent": "19"}),
    (PriceList, "make_default"): Case(),
    (PriceList, "set_price"): Case({"meter": "disk_gib", "word": "gold", "amount": "0.0001"}),
    (StorageClass, "add"): Case({**CLASS, "name": "gold"}),
    (StorageClass, "edit"): Case({**CLASS, "is_default": "on"}),
    (StoragePool, "add"): Case(
        {"host": "HOST", "word": "fast", "kind": "dir", "storage_class": "CLASS", "path": "/srv/fast"}
    ),
    (StoragePool, "prepare"): Case(),
    (StoragePool, "close"): Case(),
    (StoragePool, "open"): Case(first=be(enabled=False)),
    (StoragePool, "remove"): Case(
        first=lambda row: StoragePool.objects.create(
            host=row.host, name="empty", path="/srv/empty", storage_class=row.storage_class
        )
    ),
    (Guest, "start"): Case(first=be(want_power="stopped", seen_power="stopped")),
    (Guest, "shutdown"): Case({"grace_s": 30}, be(want_power="running", seen_power="running")),
    (Guest, "stop"): Case(first=be(want_power="running", seen_power="running")),
    (Host, "enrol"): Case({"uri": "qemu:///system", "data_dir": "/srv/gh", "run_dir": "/run/gh", "addresses": ""}),
    (Host, "test"): Case(),
    (Host, "maintain"): Case(first=be(maintenance=False)),
    (Host, "release"): Case(first=be(maintenance=True)),
    (Host, "dedicate"): Case({"labels": "gpu ssd", "set_aside_for": ""}),
    (HostPool, "add"): Case({**POOL, "name": "far"}),
    (HostPool, "edit"): Case({**POOL, "name": "near"}),
    (Image, "fetch"): Case(
        {
            "name": "D",
            "url": "https://example.test/d",
            "sha256": "a" * 64,
            "source_format": "raw",
            "os_family": "linux",
            **BUILT,
        }
    ),
    (Image, "test"): Case(),
    (Image, "deprecate"): Case(),
    (Image, "offer"): Case(first=be(state="deprecated")),
    (Image, "delete"): Case(first=lambda row: factories.image("Old")),
    (ImageCopy, "evict"): Case(
        first=lambda row: ImageCopy.objects.create(image=factories.image("Old"), host=row.host, name="old")
    ),
    (Letter, "send_again"): Case(first=be(given_up_at=now())),
    (Operation, "retry"): Case(first=waiting),
    (Operation, "cancel"): Case(first=waiting),
    (QuotaRequest, "approve"): Case({"guests": 99}),
    (QuotaRequest, "decline"): Case({"answer": "Not now."}),
    (SignInDomain, "create"): Case({"domain": "two.test", "tenant": "SLUG", "provider": "one-test", "role": "viewer"}),
    (SignInDomain, "edit"): Case({"role": "member"}),
    (SignInDomain, "remove"): Case(),
    (SocialApp, "create"): Case(
        {"slug": "x", "name": "X", "issuer": "ISSUER", "client_id": "x", "client_secret": "y", "private": "on"}
    ),
    (SocialApp, "edit"): Case({"name": "Renamed", "client_id": "x", "client_secret": "new"}),
    (SocialApp, "look"): Case(first=that_answers),
    (SocialApp, "switch_off"): Case(),
    (SocialApp, "switch_on"): Case(first=switched_off),
    (SocialApp, "remove"): Case(first=without_domain),
    (Tenant, "create"): Case({"slug": "fresh", "name": "Fresh"}),
    (Tenant, "welcome"): Case({"email": "new@example.test", "role": "viewer"}),
    (Tenant, "quota"): Case({"guests": 3}),
    (Tenant, "suspend"): Case({**WHY, "guests": "keep"}),
    (Tenant, "unsuspend"): Case(WHY, be(state=TenantState.SUSPENDED, held=True)),
    (Tenant, "close"): Case({**WHY, "confirm": "SLUG"}, standing_still),
    (Tenant, "reopen"): Case(WHY, be(state=TenantState.CLOSING, held=True, purge_after=now() + timedelta(days=1))),
    (User, "add"): Case({"email": "fresh@example.test"}),
    (User, "new_password"): Case(),
}
HERE: dict[str, Any] = {"private": True}


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with provider(tmp_path_factory.mktemp("provider"), {}, callback="http://testserver/") as running:
        HERE["server_url"] = running.issuer
        yield running


def deeds() -> list[tuple[type[Model], Deed]]:
    found = [(model, deed) for model, shown in admin.site._registry.items() for deed in type(shown).deeds.values()]
    return sorted(found, key=lambda pair: (pair[0].__name__, pair[1].name))


def entries() -> int:
    with every_tenant(why="test"):
        return AuditEntry.objects.count() + InstallationEntry.objects.count()


def test_every_deed_has_a_case() -> None:
    assert set(CASES) == {(model, deed.name) for model, deed in deeds()}


@pytest.mark.parametrize(("model", "deed"), deeds(), ids=[f"{model.__name__}.{deed.name}" for model, deed in deeds()])
def test_every_deed_leaves_exactly_one_entry(desk: Client, idp: Provider, model: type[Model], deed: Deed) -> None:
    rows, case = one_of_each(), CASES[model, deed.name]
    factories.user("new@example.test")
    row = case.first(rows[model]) or rows[model]
    fill = {"SLUG": rows[Tenant].slug, "ISSUER": idp.issuer, "HOST": rows[Host].pk, "CLASS": rows[StorageClass].pk}
    answers = {name: fill.get(value, value) for name, value in case.answers.items()}
    before = entries()

    page = add(desk, model, **answers) if deed.adds else do(desk, row, deed.name, **answers)

    wrong = page.context.get("form") and page.context["form"].errors
    assert not wrong
    assert entries() - before == (0 if f"{model.__name__}.{deed.name}" in LOOKS else 1)


@pytest.mark.parametrize("deed", ["close", "welcome", "suspend"])
def test_a_deed_that_is_refused_leaves_none(desk: Client, deed: str) -> None:
    tenant = one_of_each()[Tenant]
    before = entries()

    do(desk, tenant, deed, reason="", confirm="wrong", email="nobody@example.test", role="owner")

    assert entries() == before
