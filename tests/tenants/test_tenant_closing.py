"""A tenant is closed, reopened within its grace, and ends: what goes, what stays, and who waits for whom."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from operations.models import Operation
from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid
from tenants.access import actor_for_token, tenant_by_slug
from tenants.journal.audit import audit_record
from tenants.journal.chain import chain_verify
from tenants.journal.models import AuditEntry, UsageInterval
from tenants.models import ApiToken, Member, Notice, Quota, Role, SignInDomain, Tenant, TenantState
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.ending import tenant_left, tenant_purge, tenants_purge
from tenants.services.tenants import (
    tenant_close,
    tenant_create,
    tenant_reopen,
    tenant_suspend,
    tenant_unsuspend,
)
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.support.crowd import meeting
from tests.tenants.living import DESK, P, child_of, close, fresh, queued
from vms.models import Guest, Host, Image, Network, SshKey
from vms.services import ending
from vms.services.guests import guest_edit
from vms.services.keys import key_create
from vms.states import HostState, Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("acme")


def lapse(house: House) -> None:
    """The grace is over."""
    Tenant.objects.filter(pk=house.tenant.pk).update(purge_after=now() - timedelta(seconds=1))


# -- closed, and reopened ----------------------------------------------------------------------------------------


def test_an_owner_closes_with_the_typed_name_and_may_think_again(house: House) -> None:
    guest = factories.guest(house)

    with pytest.raises(Invalid):
        tenant_close(house.tenant, confirm="acne", actor=house.actor)
    tenant = close(house, reason="Moving out.")

    assert (tenant.state, tenant.state_reason) == (TenantState.CLOSING, "Moving out.")
    assert tenant.purge_after is not None
    assert abs(tenant.purge_after - now() - timedelta(days=30)) < timedelta(minutes=1)
    assert queued(house) == {guest.pk: "guest.shutdown"}
    closing = fresh(house)
    assert closing.actor.may(P.TENANT_EXPORT)
    assert not closing.actor.may(P.GUEST_CREATE)
    with pytest.raises(Forbidden) as refusal:
        closing.actor.require(P.GUEST_CREATE)
    assert refusal.value.code == "tenant_closing"

    assert tenant_reopen(closing.tenant, actor=closing.actor).state == TenantState.ACTIVE
    assert fresh(house).actor.may(P.GUEST_CREATE)


def test_only_owners_close(house: House) -> None:
    person = factories.user()
    factories.join(house.tenant, person, role="admin")

    with pytest.raises(Forbidden):
        close(house, actor=factories.actor_in(house.tenant, person))


def test_closing_does_not_undo_a_suspension(house: House) -> None:
    tenant_suspend(house.tenant, reason="unpaid", actor=DESK())

    with pytest.raises(Forbidden):
        close(fresh(house))
    close(house, actor=DESK())
    closing = fresh(house)
    with pytest.raises(Conflict) as refusal:
        tenant_reopen(closing.tenant, actor=closing.actor)
    assert refusal.value.code == "held"
    with pytest.raises(Conflict):
        tenant_unsuspend(closing.tenant, actor=DESK())

    assert tenant_reopen(closing.tenant, actor=DESK()).state == TenantState.ACTIVE


def test_what_its_owner_closes_an_operator_may_hold(house: House) -> None:
    close(house, reason="Moving out.")

    held = tenant_close(house.tenant, confirm=house.tenant.slug, reason="Abuse.", actor=DESK())

    assert (held.state_reason, held.purge_after) == ("Abuse.", fresh(house).tenant.purge_after)
    with pytest.raises(Conflict) as refusal:
        tenant_reopen(held, actor=fresh(house).actor)
    assert refusal.value.code == "held"
    assert close(fresh(house), reason="Mine.").state_reason == "Abuse."


def test_a_parent_is_closed_after_its_children(house: House) -> None:
    child = child_of(house, "child")

    with pytest.raises(Conflict) as refusal:
        close(house)
    assert refusal.value.code == "has_children"
    close(child)
    close(fresh(house))

    with pytest.raises(Conflict) as refusal:
        tenant_reopen(fresh(child).tenant, actor=DESK())
    assert refusal.value.code == "parent_not_active"


def test_after_the_grace_nothing_is_reopened(house: House) -> None:
    close(house)
    lapse(house)

    with pytest.raises(Conflict) as refusal:
        tenant_reopen(house.tenant, actor=DESK())

    assert refusal.value.code == "purging"


# -- the end -----------------------------------------------------------------------------------------------------


@pytest.fixture
def full() -> House:
    """A tenant with something of everything, whose grace is over."""
    house = factories.tenant_with_owner("full")
    factories.guest(house)
    shielded = factories.guest(house, power=Power.STOPPED)
    factories.guest_binned(house)
    factories.network(house)
    factories.own_image(house)
    with tenant_scope(house.tenant):
        guest_edit(shielded, protected=True, tags=["web"], actor=house.actor)
        key_create(house.tenant, name="k", public_key=factories.public_key(), actor=house.actor)
        Role.objects.create(tenant=house.tenant, name="own", permissions=[])
        factories.token_create(house.owner, name="narrow", actor=house.actor, tenant=house.tenant)
    close(house)
    with tenant_scope(house.tenant):
        for operation in Operation.objects.filter(tenant=house.tenant, status="queued"):
            factories.operation_done(operation)
    lapse(house)
    return fresh(house)


def work_off(house: House) -> int:
    """Workers do what is queued, well; how much it was."""
    done = 0
    with tenant_scope(house.tenant):
        for operation in Operation.objects.filter(tenant=house.tenant, status="queued"):
            if operation.kind == "guest.purge":
                factories.guest_seen(Guest.objects.get(pk=operation.subject_id), Power.ABSENT)
            factories.operation_done(operation)
            done += 1
    return done


def test_everything_goes_and_the_books_stay(full: House, revoked: list[dict[str, Any]]) -> None:
    assert tenants_purge() == {"full": 7}
    assert work_off(full) == 5, "three machines, its image, and the network that none was on"
    assert tenants_purge() == {"full": 2}, "the network that they were on, and the group that guarded them"
    assert work_off(full) == 1
    assert tenants_purge() == {"full": 0}

    tenant = fresh(full).tenant
    assert (tenant.state, tenant.purge_after) == (TenantState.CLOSED, None)
    assert tenant_by_slug("full") is None
    with every_tenant(why="test, looking at what is left"):
        for model in (Guest, Image, Network, SshKey, Member, ApiToken, SignInDomain):
            assert not model._base_manager.filter(tenant=tenant).exists(), model
        assert not Role._base_manager.filter(tenant=tenant).exists()
        assert set(Quota.objects.filter(tenant=tenant).values_list("used", flat=True)) == {0}
        assert AuditEntry.objects.filter(tenant=tenant, action="tenant.closed").get().changes["members"]
        assert not UsageInterval.objects.filter(tenant=tenant, ended_at=None).exists()
        assert UsageInterval.objects.filter(tenant=tenant).exists()
        assert chain_verify(tenant).is_whole
    assert tenant in [said["tenant"] for said in revoked]
    assert Notice.objects.filter(user=full.owner, subject__contains="is closed").exists()
    with pytest.raises(Conflict):
        tenant_create(slug="full", name="Again", actor=DESK())


def test_a_round_that_dies_is_taken_up_where_it_stopped(full: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before each removal in turn: every round removes at least one thing more, nothing twice."""

    class Killed(BaseException):
        pass

    real = ending._refusal
    budget = 0

    def refusal(deed: Any) -> str:
        nonlocal budget
        if not budget:
            raise Killed
        budget -= 1
        return real(deed)

    monkeypatch.setattr(ending, "_refusal", refusal)
    rounds = 0
    while fresh(full).tenant.state != TenantState.CLOSED:
        budget = 1
        rounds += 1
        assert rounds < 30
        with suppress(Killed):
            tenants_purge()
        work_off(full)

    purged = Operation.objects.filter(tenant=full.tenant, kind__in=["guest.purge", "network.delete"])
    assert purged.count() == len(set(purged.values_list("subject_id", flat=True))) == 5


def test_a_silent_host_delays_the_end_and_is_named(full: House) -> None:
    Host.objects.update(state=HostState.DOWN)

    left = tenant_purge(full.tenant, at=now())

    assert "guest.purge" not in queued(full).values(), "nothing is asked of a host that does not answer"
    assert {one.why for one in left if one.kind == "guest"} == {f"The host {Host.objects.get().name} does not answer."}
    _person, token = factories.operator()
    shown = Rest(token).get(f"{full.url}/leavings").json["items"]
    assert [item["why"] for item in shown if item["kind"] == "guest"] == [
        one.why for one in left if one.kind == "guest"
    ]
    assert fresh(full).tenant.state == TenantState.CLOSING


def test_what_is_left_is_said_without_touching_it(full: House) -> None:
    before = Operation.objects.count()

    left = tenant_left(full.tenant)

    assert sorted({one.kind for one in left}) == ["group", "guest", "image", "key", "network"]
    assert Operation.objects.count() == before


def test_before_the_grace_is_over_nothing_is_touched(house: House) -> None:
    close(house)

    assert tenants_purge() == {}
    assert tenant_purge(house.tenant, at=now() - timedelta(days=1)) == []

    assert fresh(house).tenant.state == TenantState.CLOSING


@pytest.mark.django_db(transaction=True)
def test_who_writes_the_journal_and_the_last_step_do_not_wait_for_each_other() -> None:
    house = factories.tenant_with_owner("acme")
    close(house)
    lapse(house)

    def writes() -> None:
        with tenant_scope(house.tenant):
            audit_record(house.actor, "test.entry", house.tenant, tenant=house.tenant)

    left = meeting(writes, lambda: tenant_purge(house.tenant, at=now()), writes)

    assert left == []
    assert fresh(house).tenant.state == TenantState.CLOSED


def test_a_parent_ends_after_its_children(house: House) -> None:
    child = child_of(house, "child")
    close(child)
    close(fresh(house))
    lapse(house)
    assert tenants_purge() == {"acme": 1}

    lapse(child)
    tenants_purge()
    tenants_purge()

    assert {fresh(house).tenant.state, fresh(child).tenant.state} == {TenantState.CLOSED}


def test_a_closed_tenants_token_opens_nothing(full: House) -> None:
    """P-C9, P-C10: neither its own tokens nor a person's."""
    with tenant_scope(full.tenant):
        row = ApiToken.objects.filter(tenant=full.tenant).first()
    assert row is not None
    rest = Rest(full.token)
    assert rest.get(full.url).status == 200

    for _round in range(3):
        tenants_purge()
        work_off(full)

    assert rest.get(full.url).status == 404
    assert rest.get("/me").json["tenants"] == []
    assert not ApiToken.objects.filter(pk=row.pk).exists()
    assert actor_for_token("gh_x", None) is None


# -- REST --------------------------------------------------------------------------------------------------------


def test_a_life_over_rest(house: House) -> None:
    _person, token = factories.operator()
    operator, owner = Rest(token), Rest(house.token)

    made = operator.post("/tenants", {"slug": "below", "name": "Below", "parent": "acme"})
    assert (made.status, made.json["parent"]) == (201, "acme")
    assert operator.post("/tenants", {"slug": "x", "name": "X", "parent": "absent"}).status == 422
    suspended = operator.post(f"{house.url}/suspend", {"reason": "unpaid", "guests": "keep"}).json
    assert (suspended["state"], suspended["reason"]) == ("suspended", "unpaid")
    assert operator.get("/tenants/below").json["standing"] == "suspended"
    assert operator.post(f"{house.url}/unsuspend").json["state"] == "active"
    assert owner.post(f"{house.url}/close", {"confirm": "acme"}).json["code"] == "has_children"
    assert operator.post("/tenants/below/close", {"confirm": "below"}).json["state"] == "closing"
    assert owner.post(f"{house.url}/close", {"confirm": "wrong"}).status == 422
    closing = owner.post(f"{house.url}/close", {"confirm": "acme"}).json
    assert closing["state"] == "closing"
    assert closing["purge_after"]
    assert owner.post(f"{house.url}/suspend").status == 403
    assert owner.post(f"{house.url}/reopen").json["state"] == "active"
