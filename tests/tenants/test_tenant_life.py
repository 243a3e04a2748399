"""A tenant is made, suspended and taken up again; whatever is open or waiting hears of it."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from redis import RedisError

from operations.models import Operation
from operations.services import operation_claim
from portal.celery import app
from portal.core.clock import now
from portal.core.errors import Conflict, Invalid
from tenants.journal.chain import chain_verify
from tenants.journal.models import AuditEntry
from tenants.models import Notice, Tenant, TenantState
from tenants.scoping import tenant_scope
from tenants.services.tenants import (
    tenant_rename,
    tenant_suspend,
    tenant_unsuspend,
    tenants_down,
)
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.support.crowd import together
from tests.tenants.living import DESK, P, child_of, close, fresh, queued
from tests.vms.consoles.conftest import make_grant
from vms.consoles import registry
from vms.models import Guest
from vms.services.consoles import console_redis
from vms.services.guests import guest_delete, guest_power
from vms.services.halting import guests_halt
from vms.services.keys import key_create
from vms.states import Power
from vms.tasks import empty_bins

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("acme")


# -- made --------------------------------------------------------------------------------------------------------


def test_a_child_is_made_below_an_active_parent_only(house: House) -> None:
    tenant_suspend(house.tenant, reason="", actor=DESK())

    with pytest.raises(Conflict) as refusal:
        child_of(house, "below")

    assert refusal.value.code == "parent_not_active"


def test_tenants_stand_five_deep_and_no_deeper(house: House) -> None:
    at = house
    for number in range(4):
        at = child_of(at, f"deep-{number}")

    with pytest.raises(Conflict) as refusal:
        child_of(at, "too-deep")

    assert refusal.value.code == "too_deep"


def test_renames_from_one_reading_are_each_counted(house: House) -> None:
    with tenant_scope(house.tenant):
        for name in ("Acme Ltd", "Acme Inc"):
            tenant_rename(house.tenant, name=name, actor=house.actor)

    renamed = Tenant.objects.get(pk=house.tenant.pk)
    assert (renamed.name, renamed.version) == ("Acme Inc", house.tenant.version + 2)
    with tenant_scope(house.tenant):
        changes = [entry.changes["name"] for entry in AuditEntry.objects.filter(action="tenant.rename").order_by("seq")]
    assert [after for _, after in changes] == ["Acme Ltd", "Acme Inc"]
    assert changes[1][0] == "Acme Ltd"


# -- suspended ---------------------------------------------------------------------------------------------------


def test_a_suspended_tenant_is_told_why(house: House) -> None:
    tenant_suspend(house.tenant, reason="Unpaid since March.", actor=DESK())

    answer = Rest(house.token).post(f"{house.url}/ssh-keys", {"name": "k", "public_key": factories.public_key()})

    assert (answer.status, answer.json["code"], answer.json["hint"]) == (403, "tenant_suspended", "Unpaid since March.")
    assert Rest(house.token).get(house.url).json["reason"] == "Unpaid since March."
    assert Notice.objects.filter(user=house.owner, subject__contains="suspended").count() == 1


def test_machines_may_be_kept_running(house: House) -> None:
    guest = factories.guest(house)

    tenant_suspend(house.tenant, reason="", guests="keep", actor=DESK())
    guests_halt()

    assert queued(house) == {}
    tenant_suspend(house.tenant, reason="", guests="stop", actor=DESK())
    assert queued(house) == {guest.pk: "guest.shutdown"}
    with pytest.raises(Invalid):
        tenant_suspend(house.tenant, reason="", guests="burn", actor=DESK())


def test_what_was_asked_and_not_begun_is_called_off(house: House, django_capture_on_commit_callbacks: Any) -> None:
    guest, building = factories.guest_building(house)
    stopped = factories.guest(house, power=Power.STOPPED)
    with tenant_scope(house.tenant):
        start = guest_power(stopped, "start", actor=house.actor)

    with django_capture_on_commit_callbacks(execute=True):
        tenant_suspend(house.tenant, reason="", actor=DESK())

    for operation in (building, start):
        operation.refresh_from_db()
        assert (operation.status, operation.error_code) == ("cancelled", "tenant_not_active")
    stopped.refresh_from_db()
    assert stopped.want_power == Power.STOPPED
    assert queued(house) == {guest.pk: "guest.purge"}, "what the failed building left is taken away by the portal"


def test_what_slips_in_beside_a_suspension_is_refused_at_its_claim(house: House) -> None:
    stopped = factories.guest(house, power=Power.STOPPED)
    asked_before = house.actor
    tenant_suspend(house.tenant, reason="", actor=DESK())
    with tenant_scope(house.tenant):
        start = guest_power(stopped, "start", actor=asked_before)

    assert operation_claim(start.pk, worker="w") is None

    start.refresh_from_db()
    assert (start.status, start.error_code) == ("cancelled", "tenant_not_active")


def test_what_has_begun_is_finished_and_the_portals_own_work_goes_on(house: House) -> None:
    running, purging = factories.guest(house), factories.guest_binned(house)
    with tenant_scope(house.tenant):
        begun = guest_power(running, "reboot", actor=house.actor)
        assert operation_claim(begun.pk, worker="w") is not None
        Operation.objects.filter(pk=begun.pk).update(status="queued")
        own = guest_delete(purging, purge=True, actor=factories.system_actor(house.tenant, why="bin"))
    tenant_suspend(house.tenant, reason="", actor=DESK())

    assert operation_claim(begun.pk, worker="w") is not None
    assert operation_claim(own.pk, worker="w") is not None


def test_a_machine_that_was_busy_or_deaf_is_stopped_later(house: House) -> None:
    guest = factories.guest(house)
    with tenant_scope(house.tenant):
        reboot = guest_power(guest, "reboot", actor=house.actor)
        assert operation_claim(reboot.pk, worker="w") is not None
    tenant_suspend(house.tenant, reason="", actor=DESK())
    assert queued(house) == {}

    factories.operation_broken(reboot)
    assert guests_halt() == 1
    assert queued(house) == {guest.pk: "guest.shutdown"}
    assert guests_halt() == 0, "asked already"

    factories.operation_broken(Operation.objects.get(kind="guest.shutdown"), "still_running")
    assert guests_halt() == 1
    assert queued(house) == {guest.pk: "guest.stop"}


def test_suspension_reaches_everybody_below(house: House, revoked: list[dict[str, Any]]) -> None:
    child = child_of(house, "child")
    grandchild = child_of(child, "grandchild")
    guest = factories.guest(grandchild)

    tenant_suspend(house.tenant, reason="The reseller's own affair.", actor=DESK())

    below = fresh(grandchild)
    assert below.tenant.state == TenantState.ACTIVE
    assert below.tenant.standing == TenantState.SUSPENDED
    assert not below.actor.may(P.GUEST_CREATE)
    assert below.actor.may(P.TENANT_EXPORT)
    assert {said["tenant"].slug for said in revoked} == {"acme", "child", "grandchild"}
    shown = Rest(below.token).get(below.url).json
    assert (shown["state"], shown["standing"], shown["reason"]) == ("active", "suspended", "")
    refused = Rest(below.token).post(f"{below.url}/ssh-keys", {"name": "k", "public_key": factories.public_key()})
    assert refused.json["code"] == "tenant_suspended"
    assert "affair" not in str(refused.json)
    told = Notice.objects.filter(user=below.owner).values_list("subject", "text")
    assert [subject for subject, _text in told] == ["grandchild is suspended"]
    assert "belongs to" in told[0][1]
    assert "affair" not in told[0][1]
    assert {tenant.slug for tenant in tenants_down()} == {"acme", "child", "grandchild"}
    guests_halt()
    assert queued(grandchild) == {guest.pk: "guest.shutdown"}

    tenant_unsuspend(house.tenant, actor=DESK())
    assert fresh(grandchild).actor.may(P.GUEST_CREATE)
    assert Notice.objects.filter(user=below.owner, subject="grandchild is active again").count() == 1


def test_the_machines_below_are_seen_to_at_once_not_with_beats_next_round(
    house: House, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(app, "send_task", lambda task, **_named: rung.append(task))

    with django_capture_on_commit_callbacks(execute=True):
        tenant_suspend(house.tenant, reason="", guests="keep", actor=DESK())
    assert "vms.tasks.halt_guests" not in rung
    with django_capture_on_commit_callbacks(execute=True):
        tenant_suspend(house.tenant, reason="", guests="stop", actor=DESK())

    assert "vms.tasks.halt_guests" in rung


def test_a_childs_own_suspension_outlasts_its_parents(house: House) -> None:
    child = child_of(house, "child")
    tenant_suspend(house.tenant, reason="", actor=DESK())
    tenant_suspend(child.tenant, reason="", actor=DESK())

    tenant_unsuspend(house.tenant, actor=DESK())

    assert fresh(child).tenant.standing == TenantState.SUSPENDED


def test_the_bin_waits_as_long_as_nobody_could_restore(house: House) -> None:
    guest = factories.guest_binned(house)
    tenant_suspend(house.tenant, reason="", actor=DESK())
    with tenant_scope(house.tenant):
        Guest.objects.update(purge_after=now() - timedelta(days=1))
    Tenant.objects.filter(pk=house.tenant.pk).update(state_since=now() - timedelta(days=8))

    empty_bins()
    assert queued(house) == {}
    tenant_unsuspend(house.tenant, actor=DESK())
    empty_bins()
    assert queued(house) == {}

    with tenant_scope(house.tenant):
        left = Guest.objects.get(pk=guest.pk).purge_after
    assert left is not None
    assert abs(left - now() - timedelta(days=7)) < timedelta(minutes=5)


@pytest.mark.django_db(transaction=True)
def test_changes_of_standing_at_once_leave_a_whole_log() -> None:
    house = factories.tenant_with_owner("crowd")
    factories.guest(house)

    def suspend() -> None:
        tenant_suspend(house.tenant, reason="", actor=DESK())

    def revive() -> None:
        tenant_unsuspend(house.tenant, actor=DESK())

    def work() -> None:
        with tenant_scope(house.tenant), transaction.atomic():
            key_create(house.tenant, name=str(now()), public_key=factories.public_key(), actor=house.actor)

    answers = together([suspend, revive, work] * 6)

    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    with tenant_scope(house.tenant):
        assert chain_verify(house.tenant).is_whole
        moves = list(AuditEntry.objects.filter(changes__has_key="state").order_by("seq"))
    assert all(before.changes["state"][1] == after.changes["state"][0] for before, after in itertools.pairwise(moves))


# -- what is open ------------------------------------------------------------------------------------------------


def test_consoles_of_it_and_of_everybody_below_are_revoked(
    house: House, django_capture_on_commit_callbacks: Any
) -> None:
    """P-C9: in the stream that proxies read, and a ticket from before is void."""
    child = child_of(house, "child")
    redis = console_redis()
    since = registry.mark(redis)

    with django_capture_on_commit_callbacks(execute=True):
        tenant_suspend(house.tenant, reason="", actor=DESK())

    for one in (house, child):
        open_there = make_grant(tenant=str(one.tenant.pk))
        assert registry.revoked_since(redis, open_there, since) == "tenant suspended"
    assert registry.revoked_since(redis, make_grant(), since) is None


def test_without_redis_tokens_and_pages_are_as_dead(
    house: House, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    """P-C10: who may do what is never kept anywhere but in the database."""
    rest, guest = Rest(house.token), factories.guest(house)
    assert rest.get(f"{house.url}/guests").status == 200

    def away() -> Any:
        raise RedisError

    monkeypatch.setattr("vms.services.reactions.console_redis", away)
    monkeypatch.setattr("vms.services.consoles.console_redis", away)
    with django_capture_on_commit_callbacks(execute=True):
        tenant_suspend(house.tenant, reason="", actor=DESK())

    assert rest.post(f"{house.url}/guests/{guest.pk}/stop").status == 403
    assert rest.post(f"{house.url}/guests/{guest.pk}/console", {"kind": "vnc"}).status in (403, 503)
    close(house, actor=DESK())
    Tenant.objects.filter(pk=house.tenant.pk).update(state="closed", purge_after=None)
    assert rest.get(f"{house.url}/guests").status == 404
