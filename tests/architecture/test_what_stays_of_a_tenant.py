"""Whatever can belong to a tenant goes with its end, or stays for a reason that stands here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models

from billing.models import Statement
from billing.services.hours import hour_close
from operations.models import Operation
from portal.core.clock import now
from tenants.actors import Actor
from tenants.models import Member, QuotaHold, SignInJoin, Tenant, TenantState
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.ending import tenants_purge
from tenants.services.quota import quota_verify
from tenants.services.tenants import tenant_close
from tenants.services.visits import visit_begin
from tests import factories
from tests.architecture import world
from vms.flows import Look
from vms.models import BackupSchedule, BackupTurn, Guest, Image, ImageCopy, NetworkOnHost, SetAside, Spare
from vms.services.counting import traffic_record
from vms.services.guests import guest_edit
from vms.services.metrics import metric_points_write
from vms.states import Power

GOES, BOOKS, UNTIL = "goes with its end", "stays for good", "stays for its retention"

AFTERLIFE: dict[str, tuple[str, str]] = {
    "vms.Guest": (GOES, ""),
    "vms.Guest_tags": (GOES, ""),
    "vms.Tag": (GOES, ""),
    "vms.Volume": (GOES, ""),
    "vms.Backup": (GOES, ""),
    "vms.BackupDisk": (GOES, ""),
    "vms.BackupRepository": (GOES, ""),
    "vms.BackupSchedule": (GOES, ""),
    "vms.BackupSchedule_guests": (GOES, ""),
    "vms.BackupTurn": (GOES, ""),
    "vms.Snapshot": (GOES, ""),
    "vms.SnapshotDisk": (GOES, ""),
    "vms.HostClaim": (GOES, ""),
    "vms.Disc": (GOES, ""),
    "vms.DiskExport": (GOES, ""),
    "vms.Reading": (GOES, ""),
    "vms.PowerSchedule": (GOES, ""),
    "vms.Spare": (GOES, ""),
    "vms.MetricPoint": (GOES, ""),
    "vms.Port": (GOES, ""),
    "vms.CardCounter": (GOES, ""),
    "vms.Address": (GOES, ""),
    "vms.Network": (GOES, ""),
    "vms.Subnet": (GOES, ""),
    "vms.NetworkOnHost": (GOES, ""),
    "vms.Image": (GOES, ""),
    "vms.ImageCopy": (GOES, ""),
    "vms.ImageTest": (GOES, ""),
    "vms.ImageUpload": (GOES, ""),
    "vms.SecurityGroup": (GOES, ""),
    "vms.Guard": (GOES, ""),
    "vms.PlacementGroup": (GOES, ""),
    "vms.SshKey": (GOES, ""),
    "vms.SetAside": (GOES, ""),
    "tenants.Member": (GOES, ""),
    "tenants.Role": (GOES, ""),
    "tenants.Invitation": (GOES, ""),
    "tenants.ApiToken": (GOES, ""),
    "tenants.SignInDomain": (GOES, ""),
    "tenants.SignInJoin": (GOES, ""),
    "tenants.QuotaRequest": (GOES, ""),
    "tenants.QuotaHold": (GOES, ""),
    "tenants.RateUse": (GOES, ""),
    "operations.OperationLock": (GOES, "nothing is done for it any more"),
    "tenants.Tenant": (BOOKS, "what stays points at it; its short name is not given away again"),
    "tenants.Quota": (BOOKS, "at zero, so that the recount holds for it, too"),
    "tenants.Journal": (BOOKS, "the newest number and hash of its audit log"),
    "vms.AddressUse": (BOOKS, "who had which address when; an operator is asked for it later"),
    "tenants.AuditEntry": (BOOKS, "who did what; AUDIT_RETENTION lets old entries go"),
    "tenants.UsageInterval": (BOOKS, "what it is billed by"),
    "billing.UsageRecord": (BOOKS, "what it was billed by"),
    "billing.Statement": (BOOKS, "what it was told that it owes"),
    "billing.Account": (BOOKS, "the newest number of its usage records"),
    "tenants.UsageCount": (BOOKS, "what it is billed by, hour by hour"),
    "tenants.Visit": (BOOKS, "which operators looked, and why"),
    "tenants.Event": (UNTIL, "EVENT_RETENTION"),
    "tenants.Notice": (UNTIL, "NOTICE_RETENTION"),
    "operations.Operation": (UNTIL, "OPERATION_RETENTION"),
}


def owned() -> dict[type[models.Model], str]:
    """Every model whose rows belong to a tenant, by however many steps, and the lookup that leads there."""
    found: dict[type[models.Model], str] = {Tenant: "pk"}
    left = [model for model in apps.get_models(include_auto_created=True) if model is not Tenant]
    while True:
        further = {model: path for model in left if model not in found and (path := _path(model, found))}
        if not further:
            return found
        found |= further


def _path(model: type[models.Model], known: dict[type[models.Model], str]) -> str:
    """The lookup from ``model`` to the tenant over one of its own columns; empty where there is none."""
    steps = [field for field in model._meta.concrete_fields if field.related_model in known]
    for field in sorted(steps, key=lambda field: field.related_model is not Tenant):
        related: Any = field.related_model
        return field.name if related is Tenant else f"{field.name}__{known[related]}"
    return ""


def there_is(tenant: Tenant) -> dict[str, bool]:
    """By model: has the tenant any row of it?"""
    return {
        model._meta.label: model._base_manager.filter(**{path: tenant.pk if path == "pk" else tenant}).exists()
        for model, path in owned().items()
    }


def test_every_model_of_a_tenant_says_what_becomes_of_its_rows() -> None:
    assert {model._meta.label for model in owned()} == set(AFTERLIFE)
    for fate, why in AFTERLIFE.values():
        assert {GOES: True, BOOKS: why != "", UNTIL: hasattr(settings, why)}[fate], (fate, why)


@pytest.fixture
def full() -> Tenant:
    """A tenant with a row of everything that can be one's."""
    here = world.build("full")
    tenant = here.house.tenant
    person, _token = factories.operator()
    desk = Actor(person, None, frozenset(Permission), "browser", session="session:test")
    with tenant_scope(tenant):
        guest = Guest.objects.get(pk=here.ids["guest_id"])
        guest_edit(guest, tags=["web"], actor=here.house.actor)
        NetworkOnHost.objects.create(tenant=tenant, network=guest.ports.get().network, host=guest.host)
        own = Image.objects.get(pk=here.ids["own_image_id"])
        ImageCopy.objects.create(image=own, host=guest.host, name="img")
        Spare.objects.create(tenant=tenant, guest=guest, role="fresh", size_gib=1)
        schedule, at = BackupSchedule.objects.get(), factories.now()
        BackupTurn.objects.create(tenant=tenant, schedule=schedule, guest=guest, slot=at, due_at=at)
        metric_points_write([factories.metric_point(guest)])
        look = Look(run="full", in_bytes=1, out_bytes=1, at=at)
        assert traffic_record(guest.host, {(str(guest.pk), guest.ports.get().mac): look}) == 2
        member = Member.objects.get(user=here.house.owner)
        visit_begin(
            tenant, member, reason="Looking at a ticket.", lasts=timedelta(hours=1), may_change=False, actor=desk
        )
    SetAside.objects.create(host=guest.host, tenant=tenant)
    SignInJoin.objects.create(tenant=tenant, user=here.house.owner)
    QuotaHold.objects.create(tenant=tenant, resource="snapshots", amount=1, holder=guest.pk)
    with every_tenant(why="test"):
        hour_close(at=now() + timedelta(hours=2))
        Statement.objects.create(tenant=tenant, period="2026-03", content={}, issued_at=now())
    return tenant


def work_off(tenant: Tenant) -> None:
    """Workers do what is queued, well."""
    with tenant_scope(tenant):
        for operation in Operation.objects.filter(tenant=tenant, status="queued"):
            if operation.subject_type == "guest":
                seen = Power.ABSENT if operation.kind == "guest.purge" else Power.RUNNING
                factories.guest_seen(Guest.objects.get(pk=operation.subject_id), seen)
            factories.operation_done(operation)


@pytest.mark.django_db
def test_a_tenant_that_has_ended_has_left_what_the_table_says(full: Tenant) -> None:
    assert [label for label, there in there_is(full).items() if not there] == []
    work_off(full)

    tenant_close(full, confirm=full.slug, actor=factories.desk())
    Tenant.objects.filter(pk=full.pk).update(purge_after=now())
    for _round in range(4):
        tenants_purge()
        work_off(full)

    full.refresh_from_db()
    assert full.state == TenantState.CLOSED
    assert there_is(full) == {label: fate != GOES for label, (fate, _why) in AFTERLIFE.items()}
    with every_tenant(why="test"):
        assert quota_verify() == []
