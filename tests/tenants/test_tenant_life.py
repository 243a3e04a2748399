"""A tenant is suspended, taken up again, closed, reopened, ended; whatever is open or waiting hears of it."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from redis import RedisError

from operations.models import Operation
from operations.services import operation_claim
from portal.celery import app
from portal.core.clock import now
from portal.core.errors import Conflict, Forbidden, Invalid
from tenants.access import actor_for_token, tenant_by_slug
from tenants.journal.audit import audit_record
from tenants.journal.chain import chain_verify
from tenants.journal.models import AuditEntry, UsageInterval
from tenants.models import ApiToken, Member, Notice, Quota, Role, SignInDomain, Tenant, TenantState
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.ending import tenant_left, tenant_purge, tenants_purge
from tenants.services.tenants import (
    tenant_close,
    tenant_create,
    tenant_rename,
    tenant_reopen,
    tenant_suspend,
    tenant_unsuspend,
    tenants_down,
)
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.support.crowd import meeting, together
from tests.vms.consoles.conftest import make_grant
from vms.consoles import registry
from vms.models import Guest, Host, Image, Network, SshKey
from vms.services import ending
from vms.services.consoles import console_redis
from vms.services.guests import guest_delete, guest_edit, guest_power
from vms.services.halting import guests_halt
from vms.services.keys import key_create
from vms.states import HostState, Power
from vms.tasks import empty_bins

pytestmark = pytest.mark.django_db
P = Permission
DESK = factories.desk


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("acme")


def child_of(parent: House, slug: str) -> House:
    tenant = tenant_create(slug=slug, name=slug, parent=parent.tenant, actor=DESK())
    person = factories.user()
    factories.join(tenant, person, role="owner")
    return House(tenant, person, factories.token_of(person))


def fresh(house: House) -> House:
    """The same with the tenant as the next request reads it."""
    return House(Tenant.objects.get(pk=house.tenant.pk), house.owner, house.token)


def queued(house: House) -> dict[Any, str]:
    rows = Operation.objects.filter(tenant=house.tenant, status="queued")
    return dict(rows.values_list("subject_id", "kind"))


def close(house: House, **asked: Any) -> Tenant:
    return tenant_close(house.tenant, confirm=house.tenant.slug, actor=asked.pop("actor", house.actor), **asked)


def lapse(house: House) -> None:
    """The grace is over."""
    Tenant.objects.filter(pk=house.tenant.pk).update(purge_after=now() - timedelta(seconds=1))


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
    assert tenants_purge() == {"full": 6}
    assert work_off(full) == 5, "three machines, its image, and the network that none was on"
    assert tenants_purge() == {"full": 1}, "the network that they were on"
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

    assert sorted({one.kind for one in left}) == ["guest", "image", "key", "network"]
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
