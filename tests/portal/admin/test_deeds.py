"""What operators do on their site goes through services, is foreseen, and is written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from tenants.journal.audit import audit_record
from tenants.models import ApiToken, Member, Quota, Tenant, TenantState, User
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import quota_set
from tests import factories
from tests.factories import House
from tests.portal.admin.doing import add, address, audited, do, said
from vms.models import Guest, Host
from vms.states import Power


def choose(desk: Client, rows: Sequence[Model], deed: str, **more: Any) -> Any:
    """Choose rows in their list and a deed from its menu."""
    model = rows[0]._meta
    answers = {"action": deed, "_selected_action": [str(row.pk) for row in rows], **more}
    if "confirmed" not in more:
        answers["index"] = "0"
    return desk.post(reverse(f"admin:{model.app_label}_{model.model_name}_changelist"), answers, follow=True)


def test_a_tenant_is_created_with_its_quota(desk: Client) -> None:
    answer = add(desk, Tenant, slug="kiesel", name="Kiesel & Sohn")

    tenant = Tenant.objects.get(slug="kiesel")
    assert said(answer) == ["Kiesel & Sohn is created."]
    assert Quota.objects.filter(tenant=tenant).exists()
    assert audited("tenant.create").actor_label == "operator@example.test"


@pytest.mark.parametrize(
    ("slug", "words"),
    [("Not Good", "Use small letters"), ("operator", "taken by the portal"), ("harbour", "exists")],
    ids=["letters", "reserved", "taken"],
)
def test_a_refused_tenant_says_why_and_makes_nothing(desk: Client, house: House, slug: str, words: str) -> None:
    answer = add(desk, Tenant, slug=slug, name="Anything")

    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert Tenant.objects.count() == 1


def test_a_new_tenant_gets_its_first_owner(desk: Client) -> None:
    add(desk, Tenant, slug="kiesel", name="Kiesel")
    tenant = Tenant.objects.get(slug="kiesel")
    person = factories.user("erna@kiesel.test")

    stranger = do(desk, tenant, "welcome", email="nobody@kiesel.test", role="owner")
    assert "Add the person first" in stranger.content.decode()
    do(desk, tenant, "welcome", email="Erna@Kiesel.test", role="owner")
    again = do(desk, tenant, "welcome", email="erna@kiesel.test", role="owner")

    with every_tenant(why="test"):
        assert [(m.user, m.role.name) for m in Member.objects.filter(tenant=tenant)] == [(person, "owner")]
    assert "They are a member already." in again.content.decode()
    assert audited("member.add").tenant == tenant


def test_suspending_needs_a_reason_which_the_tenant_can_read(desk: Client, house: House) -> None:
    refused = do(desk, house.tenant, "suspend")
    assert "This field is required" in refused.content.decode()
    house.tenant.refresh_from_db()
    assert house.tenant.state == TenantState.ACTIVE

    do(desk, house.tenant, "suspend", reason="Unpaid for 60 days")

    house.tenant.refresh_from_db()
    assert house.tenant.state == TenantState.SUSPENDED
    assert audited("tenant.suspend").changes["reason"] == "Unpaid for 60 days"
    assert "Unpaid for 60 days" in desk.get(address(house.tenant)).content.decode()

    do(desk, house.tenant, "unsuspend", reason="Paid")
    house.tenant.refresh_from_db()
    assert house.tenant.state == TenantState.ACTIVE


def test_a_tenant_is_suspended_with_its_machines_running_if_so_wished(desk: Client, house: House) -> None:
    guest = factories.guest(house)

    do(desk, house.tenant, "suspend", reason="A warning", guests="keep")

    assert not Operation.objects.filter(subject_id=guest.pk, status="queued").exists()
    assert "go on running" in desk.get(address(house.tenant)).content.decode()


def test_a_tenant_is_closed_with_its_name_typed_and_reopened(desk: Client, house: House) -> None:
    factories.network(house, "blue")

    wrong = do(desk, house.tenant, "close", reason="Gone", confirm="harbor")
    assert "Type harbour to confirm" in wrong.content.decode()
    do(desk, house.tenant, "close", reason="Gone", confirm="harbour")

    house.tenant.refresh_from_db()
    assert house.tenant.state == TenantState.CLOSING
    page = desk.get(address(house.tenant)).content.decode()
    assert "Still to be removed: 1" in page
    assert "blue" in page
    assert desk.get(reverse("admin:tenants_tenant_changelist")).status_code == 200

    do(desk, house.tenant, "reopen", reason="Back")
    house.tenant.refresh_from_db()
    assert house.tenant.state == TenantState.ACTIVE


def test_quota_is_changed_by_the_service_and_shows_before_and_after(desk: Client, house: House) -> None:
    form = desk.get(address(house.tenant, "deed", "quota"))
    answers = {name: "" if value is None else value for name, value in form.context["form"].initial.items()}
    fields = {
        name: field.initial if field.initial is not None else "" for name, field in form.context["form"].fields.items()
    }

    answer = do(desk, house.tenant, "quota", **{**fields, **answers, "volumes": 77, "guests": 3})

    assert Quota.objects.get(tenant=house.tenant, resource="volumes").limit == 77
    assert "volumes 20 → 77" in said(answer)[0]
    assert "machines no limit → 3" in said(answer)[0]
    assert audited("quota.set").changes["volumes"] == [20, 77]


def test_a_quota_form_that_stood_open_sets_nothing_back(desk: Client, house: House) -> None:
    form = desk.get(address(house.tenant, "deed", "quota")).context["form"]
    shown = {name: "" if field.initial is None else field.initial for name, field in form.fields.items()}
    fields = shown | {f"initial-{name}": value for name, value in shown.items()}
    with tenant_scope(house.tenant):
        quota_set(house.tenant, {"vcpus": 99, "volumes": 50}, actor=factories.desk())

    answer = do(desk, house.tenant, "quota", **{**fields, "guests": 3, "volumes": ""})
    refused = do(desk, house.tenant, "quota", **{**fields, "soft:vcpus": 100})

    limits = dict(Quota.objects.filter(tenant=house.tenant).values_list("resource", "limit"))
    assert (limits["vcpus"], limits["guests"], limits["volumes"]) == (99, 3, None), "the operator emptied it"
    assert len(said(answer)) == 1
    assert "not above the limit" in str(refused.context["form"].errors["soft:vcpus"]), "held against the limit of now"


def test_soft_limits_are_set_beside_the_limits_and_say_when_they_bind(
    desk: Client, house: House, settings: Any
) -> None:
    settings.QUOTA_GRACE = timedelta(days=7)
    Quota.objects.filter(tenant=house.tenant, resource="networks").update(used=3)
    form = desk.get(address(house.tenant, "deed", "quota")).context["form"]
    fields = {name: "" if field.initial is None else field.initial for name, field in form.fields.items()}

    answer = do(desk, house.tenant, "quota", **{**fields, "soft:networks": 2})
    above = do(desk, house.tenant, "quota", **{**fields, "soft:networks": 9})

    row = Quota.objects.get(tenant=house.tenant, resource="networks")
    assert said(answer) == ["networks (soft) no limit → 2"]
    assert (row.limit, row.soft_limit) == (5, 2)
    assert "not above the limit" in str(above.context["form"].errors["soft:networks"])
    assert audited("quota.set").changes == {"networks (soft)": [None, 2]}
    assert "it binds like a limit from" in desk.get(address(house.tenant, "deed", "quota")).content.decode()
    assert "binds from" in desk.get(address(house.tenant)).content.decode()
    assert "soft:guest_vcpus" not in form.fields, "what has no counter has no soft limit"
    Quota.objects.filter(pk=row.pk).update(soft_since="2020-01-01T00:00:00Z")
    assert "it binds until less is." in desk.get(address(house.tenant, "deed", "quota")).content.decode()


def test_the_limit_of_a_storage_class_is_changed_too(desk: Client, house: House) -> None:
    with tenant_scope(house.tenant):
        quota_set(house.tenant, {"disk_gib:fast": 40}, actor=factories.desk())
    form = desk.get(address(house.tenant, "deed", "quota")).context["form"]
    fields = {name: "" if field.initial is None else field.initial for name, field in form.fields.items()}

    answer = do(desk, house.tenant, "quota", **{**fields, "disk_gib:fast": 10})

    assert said(answer) == ["disk (GiB) of class fast 40 → 10"]


def test_a_new_persons_password_is_shown_once_and_kept_nowhere(desk: Client) -> None:
    answer = add(desk, User, email="New@Example.test", name="New")

    password = answer.context["answer"].secret
    person = User.objects.get(email="new@example.test")
    assert person.check_password(password)
    assert not person.is_staff
    assert "no-store" in answer.headers["Cache-Control"]
    assert password not in str(LogEntry.objects.values_list("change_message", "object_repr"))
    assert password not in desk.get(address(person)).content.decode()


def test_a_token_is_revoked(desk: Client, house: House) -> None:
    token = ApiToken.objects.get(user=house.owner)

    do(desk, token, "revoke")

    token.refresh_from_db()
    assert token.revoked_at is not None
    assert Client().get("/api/v1/me", headers={"Authorization": f"Bearer {house.token}"}).status_code == 401


def test_many_are_shown_first_and_nothing_is_done_yet(desk: Client, house: House) -> None:
    running = [factories.guest(house, power=Power.RUNNING) for _ in range(2)]
    stopped = factories.guest(house, power=Power.STOPPED)

    page = choose(desk, [*running, stopped], "stop")

    assert page.context["doable"] == 2
    assert "Left alone: its state does not allow it" in page.content.decode()
    assert "Type 2, the number of rows this changes" in page.content.decode()
    assert not Operation.objects.filter(kind="guest.stop").exists()


@pytest.mark.parametrize("typed", ["", "3", "two", "02"])
def test_many_need_the_count_typed(desk: Client, house: House, typed: str) -> None:
    running = [factories.guest(house, power=Power.RUNNING) for _ in range(2)]

    page = choose(desk, running, "stop", confirmed="yes", count=typed)

    assert "Nothing was done" in page.content.decode()
    assert not Operation.objects.filter(kind="guest.stop").exists()


def test_many_are_done_row_by_row(desk: Client, house: House) -> None:
    running = [factories.guest(house, power=Power.RUNNING) for _ in range(2)]
    stopped = factories.guest(house, power=Power.STOPPED)

    page = choose(desk, [*running, stopped], "stop", confirmed="yes", count="2")

    assert said(page) == ["Stop: done for 2."]
    assert set(Operation.objects.filter(kind="guest.stop").values_list("subject_id", flat=True)) == {
        guest.pk for guest in running
    }


def test_more_than_the_cap_is_refused_as_a_whole(desk: Client, settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "batch": 2}
    hosts = [factories.host_up() for _ in range(3)]

    page = choose(desk, hosts, "maintain", confirmed="yes", count="3")

    assert "At most 2 at once" in said(page)[0]
    assert not Host.objects.filter(maintenance=True).exists()


def test_hostile_names_stay_text(desk: Client, house: House) -> None:
    bad = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    guest = factories.guest(house, power=Power.RUNNING)
    _other, operation = factories.guest_building(house)
    factories.operation_broken(operation)
    Tenant.objects.filter(pk=house.tenant.pk).update(name=bad)
    User.objects.filter(pk=house.owner.pk).update(name=bad)
    Operation.objects.update(subject_name=bad, error_message=bad, error_detail=bad, error_hint=bad, step=bad)
    Host.objects.update(name=bad[:64], problem=bad, notes=[bad], facts={"cpu_model": bad, "libvirt_version": bad})
    with every_tenant(why="test"):
        Guest.objects.filter(pk=guest.pk).update(name=bad[:63], problem_message=bad)
        guest.refresh_from_db()
        entry = audit_record(house.actor, "test.do", guest, x=bad)
    rows = [house.tenant, house.owner, guest, guest.host, operation, entry]
    lists = [reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist") for row in rows if row]
    ways = [address(guest, "deed", "stop"), address(house.tenant, "deed", "suspend")]

    for url in ["/operator/", *lists, *(address(row) for row in rows if row), *ways]:
        page = desk.get(url).content.decode()
        assert "<script>alert" not in page, url
        assert "<img src=x" not in page, url
    chosen = choose(desk, [guest], "stop").content.decode()
    assert "<img src=x" not in chosen
    assert "&lt;script&gt;alert(1)" in chosen
