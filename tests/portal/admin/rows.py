"""Rows for the pages of the operators' site."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry

from operations.models import Operation
from tenants.models import ApiToken, AuditEntry, InstallationEntry, Letter, Member, QuotaRequest, Tenant, User
from tenants.scoping import every_tenant
from tenants.services.letters import letter_write
from tenants.services.quota import quota_request_make
from tests import factories
from vms.models import Drift, Flavor, Guest, Host, HostPool, Image, StoragePool
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
        models = (
            ApiToken,
            AuditEntry,
            Drift,
            Flavor,
            Guest,
            Host,
            HostPool,
            Image,
            InstallationEntry,
            Letter,
            Member,
            Operation,
            QuotaRequest,
            StoragePool,
            Tenant,
        )
        return {
            **{model: model.objects.order_by("-pk").first() for model in models},
            User: house.owner,
            LogEntry: entry,
        }


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
            HostPool.objects.create(name=f"pool-{house.tenant.slug}")
            letter_write(to="a@example.test", subject=house.tenant.slug, body="x")
            drift_record(host, "stray_domain", f"gh-{house.tenant.slug}")
