"""Rows for the pages of the operators' site."""

from __future__ import annotations

from typing import Any

from allauth.socialaccount.models import SocialApp
from django.contrib.admin.models import CHANGE, LogEntry

from billing.models import Price, PriceList
from operations.models import Operation
from tenants.models import (
    ApiToken,
    AuditEntry,
    InstallationEntry,
    Letter,
    Member,
    QuotaRequest,
    SignInDomain,
    Tenant,
    User,
)
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.letters import letter_write
from tenants.services.quota import quota_request_make
from tenants.services.roles import role_named
from tenants.services.sign_in import sign_in_domain_create
from tenants.services.sign_in_providers import provider_create
from tests import factories
from vms.models import (
    AddressUse,
    BackupStore,
    Drift,
    Fabric,
    Flavor,
    Guest,
    Host,
    HostPool,
    Image,
    ImageCopy,
    StorageClass,
    StoragePool,
)
from vms.services.hosts import drift_record


def one_of_each() -> dict[type, Any]:
    """A row of every model that has pages."""
    house = factories.tenant_with_owner()
    guest = factories.guest(house, tags=["web"])
    with every_tenant(why="test"):
        entry = LogEntry.objects.create(
            user=house.owner, object_repr="web-1", action_flag=CHANGE, change_message="Test: done."
        )
        letter_write(to="a@example.test", subject="Hello", body="https://portal.test/secret")
        quota_request_make(house.tenant, {"guests": 99}, reason="A sale.", actor=house.actor)
        drift_record(guest.host, "stray_domain", "gh-1", detail="running", guest_id=guest.pk)
        sign_in_domain(house, "one.test")
        factories.backup_store()
        factories.fabric()
        factories.announced_price("one")
        ImageCopy.objects.create(image=guest.image, host=guest.host, name="img")
        models = (
            AddressUse,
            ApiToken,
            AuditEntry,
            BackupStore,
            Drift,
            Fabric,
            Flavor,
            Guest,
            Host,
            HostPool,
            Image,
            ImageCopy,
            InstallationEntry,
            Letter,
            Member,
            Operation,
            Price,
            PriceList,
            QuotaRequest,
            SignInDomain,
            SocialApp,
            StorageClass,
            StoragePool,
            Tenant,
        )
        return {
            **{model: model.objects.order_by("-pk").first() for model in models},
            User: house.owner,
            LogEntry: entry,
        }


def sign_in_domain(house: factories.House, domain: str) -> SignInDomain:
    """A mail domain of the house's tenant, with a provider of its own."""
    app = provider_create(
        slug=domain.replace(".", "-"), name=domain, issuer=f"https://id.{domain}", client_id="guesthouse",
        client_secret="sealed", actor=factories.desk(),
    )  # fmt: skip
    with tenant_scope(house.tenant):
        role = role_named("viewer")
        return sign_in_domain_create(domain, tenant=house.tenant, app=app, role=role, actor=factories.desk())


def many(count: int) -> None:
    """``count`` more rows in every list."""
    houses = [factories.tenant_with_owner() for _ in range(count)]
    small = factories.flavor("small")
    picture = factories.image()
    for house in houses:
        host = factories.host_up()
        factories.flavor()
        factories.image()
        factories.guest(house, flavor=small, image=picture, tags=["a", "b"])
        with every_tenant(why="test"):
            factories.announced_price(house.tenant.slug)
            factories.fabric(f"fabric-{house.tenant.slug}"[:40])
            HostPool.objects.create(name=f"pool-{house.tenant.slug}", fabric=Fabric.objects.latest("pk"))
            StorageClass.objects.create(name=f"class-{house.tenant.slug}")
            letter_write(to="a@example.test", subject=house.tenant.slug, body="x")
            sign_in_domain(house, f"{house.tenant.slug}.test")
            drift_record(host, "stray_domain", f"gh-{house.tenant.slug}")
            BackupStore.objects.create(name=f"s{house.tenant.slug}"[:40], kind="folder", location="/nonexistent")
