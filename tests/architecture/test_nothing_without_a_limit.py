"""P-G4: whatever a tenant can make more of is counted by a quota, capped, or bounded by something that is."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings

from portal.core.errors import Conflict, Invalid, OverQuota
from tenants.scoping import tenant_scope
from tenants.services.invitations import invitation_send
from tenants.services.quota import RESOURCES, quota_request_make
from tenants.services.roles import Grants, role_create, role_named
from tenants.services.tokens import token_create
from tests import factories
from tests.support.crowd import together
from vms.models import Guest, Snapshot
from vms.services.disk_exports import disk_export_create
from vms.services.guests import guest_edit
from vms.services.keys import key_create
from vms.services.placement_groups import placement_group_create
from vms.services.power_schedules import schedule_create
from vms.services.security_groups import group_create

QUOTA, CAP, WITH, RATE, OPERATOR = "quota", "cap", "bounded by", "request rate and retention", "operators only"

LIMITS: dict[str, tuple[str, str]] = {
    "vms.Guest": (QUOTA, "guests"),
    "vms.Volume": (QUOTA, "volumes"),
    "vms.Backup": (QUOTA, "backups_gib"),
    "vms.BackupDisk": (WITH, "vms.Backup"),
    "vms.BackupRepository": (WITH, "tenants.Tenant"),
    "vms.BackupSchedule": (CAP, "backup_schedules"),
    "vms.BackupStore": (OPERATOR, ""),
    "vms.BackupTurn": (WITH, "vms.BackupSchedule"),
    "vms.Snapshot": (QUOTA, "snapshots"),
    "vms.SnapshotDisk": (WITH, "vms.Snapshot"),
    "vms.Image": (QUOTA, "images"),
    "vms.ImageCopy": (WITH, "vms.Image"),
    "vms.ImageTest": (WITH, "vms.Image"),
    "vms.ImageUpload": (WITH, "vms.Image"),
    "vms.Network": (QUOTA, "networks"),
    "vms.Address": (QUOTA, "addresses"),
    "vms.Port": (QUOTA, "ports"),
    "vms.CardCounter": (WITH, "vms.Port"),
    "vms.SecurityGroup": (CAP, "security_groups"),
    "vms.Guard": (WITH, "vms.Port"),
    "vms.PlacementGroup": (CAP, "placement_groups"),
    "vms.AddressUse": (RATE, "API_TENANT_RATE_PER_MINUTE"),
    "vms.Subnet": (WITH, "vms.Network"),
    "vms.NetworkOnHost": (WITH, "vms.Network"),
    "vms.HostClaim": (WITH, "vms.Guest"),
    "vms.Disc": (WITH, "vms.Guest"),
    "vms.DiskExport": (CAP, "disk_exports_at_once"),
    "vms.Reading": (WITH, "vms.Guest"),
    "vms.Spare": (WITH, "vms.Guest"),
    "vms.MetricPoint": (WITH, "vms.Guest"),
    "vms.Tag": (CAP, "tags"),
    "vms.PowerSchedule": (CAP, "power_schedules"),
    "vms.SshKey": (CAP, "ssh_keys"),
    "tenants.Member": (CAP, "members"),
    "tenants.ApiToken": (CAP, "tokens"),
    "operations.Operation": (RATE, "OPERATION_RETENTION"),
    "operations.OperationLock": (WITH, "operations.Operation"),
    "tenants.Event": (RATE, "EVENT_RETENTION"),
    "tenants.IdempotentAnswer": (RATE, "IDEMPOTENCY_RETENTION"),
    "tenants.AuditEntry": (RATE, "API_TENANT_RATE_PER_MINUTE"),
    "tenants.UsageInterval": (RATE, "API_TENANT_RATE_PER_MINUTE"),
    "tenants.UsageCount": (WITH, "vms.Port"),
    "tenants.Journal": (WITH, "tenants.Tenant"),
    "tenants.Quota": (WITH, "tenants.Tenant"),
    "tenants.QuotaHold": (WITH, "operations.Operation"),
    "tenants.QuotaRequest": (CAP, "quota_requests"),
    "tenants.RateUse": (RATE, "API_TENANT_RATE_PER_MINUTE"),
    "tenants.Invitation": (CAP, "invitations"),
    "tenants.Notice": (RATE, "NOTICE_RETENTION"),
    "tenants.NoticeChoice": (WITH, "tenants.User"),
    "tenants.Letter": (RATE, "LETTER_RETENTION"),
    "tenants.Visit": (OPERATOR, ""),
    "tenants.InstallationEntry": (RATE, "AUDIT_RETENTION"),
    "tenants.FailedSignIn": (RATE, "ACCOUNT_RATE_LIMITS"),
    "tenants.InstallationJournal": (OPERATOR, ""),
    "tenants.SignInDomain": (OPERATOR, ""),
    "tenants.SignInJoin": (WITH, "tenants.User"),
    "operations.Lane": (WITH, "vms.Host"),
    "vms.Drift": (WITH, "vms.Host"),
    "tenants.Tenant": (OPERATOR, ""),
    "tenants.User": (OPERATOR, ""),
    "tenants.Role": (CAP, "roles"),
    "vms.Fabric": (OPERATOR, ""),
    "vms.Flavor": (OPERATOR, ""),
    "vms.Host": (OPERATOR, ""),
    "vms.HostPool": (OPERATOR, ""),
    "vms.SetAside": (WITH, "vms.Host"),
    "vms.Installation": (OPERATOR, ""),
    "vms.StorageClass": (OPERATOR, ""),
    "vms.StoragePool": (OPERATOR, ""),
    "billing.PriceList": (OPERATOR, ""),
    "billing.Price": (OPERATOR, ""),
    "billing.Account": (WITH, "tenants.Tenant"),
    "billing.UsageRecord": (WITH, "tenants.UsageInterval"),
    "billing.ClosedHour": (OPERATOR, ""),
    "billing.Closing": (OPERATOR, ""),
    "billing.ListTurn": (OPERATOR, ""),
    "billing.Statement": (WITH, "tenants.Tenant"),
}


def models() -> set[str]:
    return {
        model._meta.label
        for room in ("tenants", "operations", "vms", "billing")
        for model in apps.get_app_config(room).get_models(include_auto_created=False)
    }


def test_every_model_says_what_limits_it() -> None:
    assert models() == set(LIMITS)
    for kind, what in LIMITS.values():
        assert {
            QUOTA: what in RESOURCES,
            CAP: what in settings.CAPS,
            WITH: what in LIMITS,
            RATE: hasattr(settings, what),
            OPERATOR: what == "",
        }[kind], (kind, what)


@pytest.mark.django_db
@pytest.mark.parametrize("resource", sorted({what for kind, what in LIMITS.values() if kind == QUOTA}))
def test_a_quota_of_none_lets_none_be_made(resource: str) -> None:
    factories.host_up()
    house = factories.tenant_with_owner(limits={resource: 0})

    makers = {
        "images": factories.own_image,
        "snapshots": factories.snapshot,
        "backups_gib": factories.backup_asked,
    }
    make_one = makers.get(resource, factories.guest)

    with pytest.raises(OverQuota) as refusal:
        make_one(house)

    assert f"/quota/{resource}" in {error.pointer for error in refusal.value.errors}


def make(cap: str, house: factories.House, number: int) -> None:
    """One thing more of those that ``cap`` bounds."""
    tenant, actor = house.tenant, factories.desk()
    with tenant_scope(tenant):
        match cap:
            case "members":
                factories.join(tenant, factories.user(f"m{number}@example.test"), role="viewer")
            case "invitations":
                invitation_send(tenant, email=f"i{number}@example.test", role=role_named("viewer"), actor=actor)
            case "roles":
                role_create(tenant, name=f"r{number}", grants=Grants(()), actor=actor)
            case "tokens":
                token_create(house.owner, name=f"t{number}", actor=house.actor, tenant=tenant)
            case "service tokens":
                token_create(None, name=f"t{number}", actor=house.actor, tenant=tenant, role=role_named("viewer"))
            case "ssh_keys":
                key_create(tenant, name=f"k{number}", public_key=factories.public_key(), actor=house.actor)
            case "security_groups":
                group_create(tenant, name=f"g{number}", actor=actor)
            case "quota_requests":
                quota_request_make(tenant, {"guests": 99}, reason="More.", actor=house.actor)
            case "disk_exports_at_once":
                disk_export_create(Snapshot.objects.select_related("tenant").get(), actor=house.actor)
            case _:
                make_on_machine(cap, house, number)


def make_on_machine(cap: str, house: factories.House, number: int) -> None:
    """The same for what machines have; in the tenant's scope."""
    match cap:
        case "power_schedules":
            at = f"{number * 5 % 60} {number} * * *"
            schedule_create(Guest.objects.get(), action="start", cron=at, actor=house.actor)
        case "backup_schedules":
            factories.backup_schedule(house, Guest.objects.get(), f"s{number}")
        case "placement_groups":
            placement_group_create(house.tenant, name=f"g{number}", kind="apart", strict=True, actor=house.actor)
        case "tags":
            guest_edit(Guest.objects.all()[number], tags=[f"t{number}"], actor=house.actor)


CAPPED = {what for kind, what in LIMITS.values() if kind == CAP}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("cap", sorted({*CAPPED, "service tokens"}))
def test_a_cap_is_exact_however_many_ask_at_once(cap: str, settings: Any) -> None:
    house = factories.tenant_with_owner()
    there = 1 if cap == "members" else 0
    settings.CAPS = {**settings.CAPS, cap.removeprefix("service "): there + 3}
    if cap in ("tags", "power_schedules", "backup_schedules"):
        for _ in range(9 if cap == "tags" else 1):
            factories.guest(house)

    if cap == "disk_exports_at_once":
        factories.host_up()
        factories.snapshot(house)

    answers = together([partial(make, cap, house, number) for number in range(9)])

    assert answers.count(None) == 3
    assert {type(answer) for answer in answers if answer is not None} == {Conflict}


@pytest.mark.django_db
def test_keys_have_a_cap(settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "ssh_keys": 2}
    house = factories.tenant_with_owner()

    with tenant_scope(house.tenant):
        for name in ("a", "b"):
            key_create(house.tenant, name=name, public_key=factories.public_key(), actor=house.actor)
        with pytest.raises(Conflict):
            key_create(house.tenant, name="c", public_key=factories.public_key(), actor=house.actor)


@pytest.mark.django_db
def test_tags_have_a_cap_and_unused_ones_make_room(settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "tags": 3}
    house = factories.tenant_with_owner()
    guest = factories.guest(house, tags=["a", "b"])

    with tenant_scope(house.tenant):
        with pytest.raises(Conflict):
            guest_edit(guest, actor=house.actor, tags=["c", "d", "e", "f"])
        guest_edit(guest, actor=house.actor, tags=["c"])
        guest_edit(guest, actor=house.actor, tags=["d", "e"])
        assert guest.tag_names() == ["d", "e"]
        with pytest.raises(Invalid):
            guest_edit(guest, actor=house.actor, tags=[f"t{n}" for n in range(21)])
