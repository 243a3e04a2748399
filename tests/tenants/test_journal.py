"""The audit chain shows tampering; events count without a gap in commit order; usage joins to the second."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.core.ids import uuid7
from tenants.journal.audit import audit_hash, audit_record
from tenants.journal.events import event_append
from tenants.journal.models import AuditEntry, Event, UsageInterval
from tenants.journal.usage import usage_switch
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests import factories
from tests.support.crowd import together
from vms.reconcile.audit import audit

BEGIN = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


def chain_findings() -> list[str]:
    return [line for line in audit() if line.startswith("I11")]


@pytest.mark.django_db
def test_each_entry_carries_the_hash_of_the_one_before() -> None:
    house = factories.tenant_with_owner()
    factories.network(house)
    factories.network(house)

    with tenant_scope(house.tenant):
        entries = list(AuditEntry.objects.order_by("seq"))
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.prev_hash for entry in entries] == ["0" * 64, *(entry.hash for entry in entries[:-1])]
    assert all(entry.hash == audit_hash(entry) for entry in entries)
    assert chain_findings() == []


def rewrite(entries: list[AuditEntry]) -> None:
    AuditEntry.objects.filter(pk=entries[1].pk).update(actor_label="somebody else")


def rewrite_changes(entries: list[AuditEntry]) -> None:
    AuditEntry.objects.filter(pk=entries[-1].pk).update(changes={"cidr": "0.0.0.0/0"})


def remove_one(entries: list[AuditEntry]) -> None:
    AuditEntry.objects.filter(pk=entries[1].pk).delete()


def remove_last(entries: list[AuditEntry]) -> None:
    AuditEntry.objects.filter(pk=entries[-1].pk).delete()


def rewrite_with_a_fresh_hash(entries: list[AuditEntry]) -> None:
    entry = entries[1]
    entry.action = "nothing.happened"
    entry.hash = audit_hash(entry)
    entry.save()


@pytest.mark.django_db
@pytest.mark.parametrize("tamper", [rewrite, rewrite_changes, remove_one, remove_last, rewrite_with_a_fresh_hash])
def test_tampering_is_found(tamper: Callable[[list[AuditEntry]], None]) -> None:
    house = factories.tenant_with_owner()
    for _ in range(3):
        factories.network(house)

    with tenant_scope(house.tenant):
        entries = list(AuditEntry.objects.order_by("seq"))
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            tamper(entries)
        assert chain_findings() == []
        with unguarded():
            tamper(entries)

    assert len(chain_findings()) == 1


@contextmanager
def unguarded() -> Iterator[None]:
    """Tamper as one who may change the schema could: without the trigger."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE tenants_auditentry DISABLE TRIGGER USER")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE tenants_auditentry ENABLE TRIGGER USER")


@pytest.mark.django_db(transaction=True)
def test_numbers_rise_without_a_gap_in_commit_order() -> None:
    house = factories.tenant_with_owner()
    tenant = house.tenant
    newest = 0

    def write(*, fail: bool) -> None:
        with tenant_scope(tenant), transaction.atomic():
            event_append(tenant, "guest.changed", "guest", uuid7())
            audit_record(house.actor, "test", tenant)
            if fail:
                raise RuntimeError("undone")

    def read() -> list[list[int]]:
        with tenant_scope(tenant):
            return [list(Event.objects.order_by("seq").values_list("seq", flat=True)) for _ in range(40)]

    for _ in range(3):
        answers = together([lambda n=n: write(fail=n % 5 == 4) for n in range(20)] + [read])
        sights = answers[-1]
        assert isinstance(sights, list)
        for sight in sights:
            assert sight == list(range(1, len(sight) + 1)), "a later number was visible before an earlier one"
        assert len([answer for answer in answers if isinstance(answer, RuntimeError)]) == 4
        newest += 16

    with tenant_scope(tenant):
        assert list(Event.objects.order_by("seq").values_list("seq", flat=True))[-16:] == list(
            range(Event.objects.count() - 15, Event.objects.count() + 1)
        )
    assert chain_findings() == []


@pytest.mark.django_db
def test_what_is_undone_was_never_announced(django_capture_on_commit_callbacks: Callable) -> None:  # type: ignore[type-arg]
    house = factories.tenant_with_owner()

    def append_and(*, fail: bool) -> None:
        with transaction.atomic():
            event_append(house.tenant, "guest.changed", "guest", uuid7())
            if fail:
                raise RuntimeError

    with django_capture_on_commit_callbacks() as callbacks, tenant_scope(house.tenant):
        with pytest.raises(RuntimeError):
            append_and(fail=True)
        assert callbacks == []
        append_and(fail=False)
    assert len(callbacks) == 1


def metered_tenant() -> Tenant:
    return Tenant.objects.get_or_create(slug="metered", defaults={"name": "Metered"})[0]


moments = st.lists(
    st.tuples(
        st.integers(min_value=-300, max_value=4000).map(lambda s: BEGIN + timedelta(seconds=s, milliseconds=s % 1000)),
        st.integers(min_value=0, max_value=3),
        st.sampled_from(["small", "large"]),
    ),
    max_size=12,
)


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(switches=moments)
def test_intervals_never_overlap_and_leave_no_gap_while_something_is_used(
    switches: list[tuple[datetime, int, str]],
) -> None:
    """P-G6: whatever order the moments come in, even backwards (a clock was set, an observation was late)."""
    tenant, resource, last = metered_tenant(), uuid7(), 0
    with tenant_scope(tenant):
        for at, quantity, flavor in switches:
            usage_switch(
                tenant,
                resource_type="guest",
                resource_id=resource,
                meter="vcpus",
                quantity=quantity,
                at=at,
                flavor=flavor,
            )
            last = quantity
        rows = list(UsageInterval.objects.filter(resource_id=resource).order_by("pk"))

    for before, after in itertools.pairwise(rows):
        assert before.ended_at is not None
        assert before.started_at <= before.ended_at <= after.started_at
    assert [row.ended_at is None for row in rows] == [False] * (len(rows) - 1) + [bool(last)] if rows else not last
    assert all(moment.microsecond == 0 for row in rows for moment in (row.started_at, row.ended_at) if moment)
    _joined(switches, rows)


def _joined(switches: list[tuple[datetime, int, str]], rows: list[UsageInterval]) -> None:
    """Between two intervals there is a gap only where something was switched off."""
    offs = sum(1 for _at, quantity, _flavor in switches if quantity == 0)
    gaps = sum(1 for before, after in itertools.pairwise(rows) if before.ended_at != after.started_at)
    assert gaps <= offs


@pytest.mark.django_db
def test_saying_the_same_again_changes_nothing() -> None:
    house, resource = factories.tenant_with_owner(), uuid7()

    with tenant_scope(house.tenant):
        for second in (0, 5, 9):
            usage_switch(
                house.tenant, resource_type="guest", resource_id=resource, meter="vcpus", quantity=2,
                at=BEGIN + timedelta(seconds=second),
            )  # fmt: skip
        row = UsageInterval.objects.get(resource_id=resource)
    assert (row.started_at, row.ended_at) == (BEGIN, None)


@pytest.mark.django_db(transaction=True)
def test_of_many_opening_at_once_one_interval_is_open() -> None:
    house, resource = factories.tenant_with_owner(), uuid7()

    def switch(quantity: int) -> None:
        with tenant_scope(house.tenant), transaction.atomic():
            usage_switch(
                house.tenant, resource_type="guest", resource_id=resource, meter="vcpus", quantity=quantity, at=BEGIN
            )

    together([lambda n=n: switch(n % 3) for n in range(12)])

    with tenant_scope(house.tenant):
        assert UsageInterval.objects.filter(resource_id=resource, ended_at=None).count() <= 1
