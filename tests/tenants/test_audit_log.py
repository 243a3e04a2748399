"""The audit log shows what was changed, by whom; it can be checked, taken along, and let go of, never rewritten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from portal.core.clock import now
from tenants.journal.audit import audit_hash, audit_record
from tenants.journal.chain import Fault, Mark, chain_verify
from tenants.journal.models import AuditEntry, InstallationEntry, InstallationJournal, Journal
from tenants.journal.retention import audit_forget, audit_forget_old
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.support.crowd import together
from tests.tenants.auditing import entries, rewrite_all, unguarded

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("acme")


@pytest.fixture
def busy(house: House) -> House:
    """A tenant with ten entries more."""
    with tenant_scope(house.tenant):
        for number in range(10):
            audit_record(house.actor, "test.do", house.tenant, number=number)
    return house


def verdict(house: House, **asked: Any) -> Any:
    with tenant_scope(house.tenant):
        return chain_verify(house.tenant, **asked)


def test_a_whole_log_says_where_it_ends(busy: House) -> None:
    last = entries(busy)[-1]

    found = verdict(busy)

    assert found.is_whole
    assert (found.start.seq, found.end) == (0, Mark(last.seq, last.hash))


def change(log: list[AuditEntry]) -> None:
    AuditEntry.objects.filter(pk=log[4].pk).update(address="198.51.100.7")


def take_out(log: list[AuditEntry]) -> None:
    AuditEntry.objects.filter(pk=log[4].pk).delete()


def cut_off(log: list[AuditEntry]) -> None:
    AuditEntry.objects.filter(seq__gte=log[4].seq).delete()


def shift(log: list[AuditEntry], by: int) -> None:
    """Number these entries anew, as far as the database lets one."""
    for entry in sorted(log, key=lambda entry: -by * entry.seq):
        AuditEntry.objects.filter(pk=entry.pk).update(seq=entry.seq + by)


def put_in_between(log: list[AuditEntry]) -> None:
    shift(log[4:], 1)
    forged = AuditEntry(tenant=log[4].tenant, seq=5, at=log[3].at, action="guest.delete", prev_hash=log[3].hash)
    forged.hash = audit_hash(forged)
    forged.save()


def close_the_gap(log: list[AuditEntry]) -> None:
    take_out(log)
    shift(log[5:], -1)


def reorder(log: list[AuditEntry]) -> None:
    shift([log[4]], 1000)
    shift([log[5]], -1)
    AuditEntry.objects.filter(pk=log[4].pk).update(seq=6)


def exchange(log: list[AuditEntry]) -> None:
    """What two entries say, without their numbers and hashes."""
    for entry, other in ((log[4], log[5]), (log[5], log[4])):
        AuditEntry.objects.filter(pk=entry.pk).update(changes=other.changes, at=other.at)


def add(log: list[AuditEntry]) -> None:
    last = log[-1]
    forged = AuditEntry(tenant=last.tenant, seq=last.seq + 1, at=now(), action="guest.delete", prev_hash=last.hash)
    forged.hash = audit_hash(forged)
    forged.save()


@pytest.mark.parametrize(
    ("tamper", "fault", "place"),
    [
        (change, Fault.CHANGED, 5),
        (take_out, Fault.MISSING, 5),
        (close_the_gap, Fault.CHANGED, 5),
        (cut_off, Fault.MISSING, 5),
        (put_in_between, Fault.CHANGED, 6),
        (reorder, Fault.CHANGED, 5),
        (exchange, Fault.CHANGED, 5),
        (add, Fault.ADDED, None),
    ],
    ids=["changed", "taken out", "gap closed", "cut off", "put in between", "reordered", "exchanged", "added"],
)
def test_the_place_of_a_forgery_is_named(
    busy: House, tamper: Callable[[list[AuditEntry]], None], fault: Fault, place: int | None
) -> None:
    log = entries(busy)
    with tenant_scope(busy.tenant), unguarded():
        tamper(log)

    found = verdict(busy)

    assert (found.fault, found.place) == (fault, place or len(log) + 1)
    assert str(found.place) in found.sentence
    with pytest.raises(CommandError, match=f"BROKEN at {found.place}"):
        call_command("verify_audit_log", "acme")


def test_a_kept_hash_betrays_even_a_log_that_was_rewritten_whole(busy: House) -> None:
    kept = verdict(busy).end

    rewrite_all(busy, without=5)

    assert verdict(busy).is_whole, "the chain alone cannot tell"
    assert verdict(busy, after=kept).fault == Fault.ANCHOR_DIFFERS


def test_a_kept_hash_betrays_a_cut_that_the_journal_was_made_to_fit(busy: House) -> None:
    kept, log = verdict(busy).end, entries(busy)
    with tenant_scope(busy.tenant), unguarded():
        cut_off(log)
        Journal.objects.filter(tenant=busy.tenant).update(audit_seq=log[3].seq, audit_hash=log[3].hash)

    assert verdict(busy).is_whole, "the chain alone cannot tell"
    assert verdict(busy, after=kept).fault == Fault.ANCHOR_DIFFERS


@pytest.mark.django_db(transaction=True)
def test_fifty_who_write_at_once_leave_one_whole_chain() -> None:
    house = factories.tenant_with_owner("crowd")
    before = len(entries(house))

    def write(number: int) -> None:
        with tenant_scope(house.tenant), transaction.atomic():
            audit_record(house.actor, "test.do", house.tenant, number=number)
            if number % 10 == 9:
                transaction.set_rollback(True)

    assert together([partial(write, number) for number in range(50)]) == [None] * 50

    log = entries(house)[before:]
    assert [entry.seq for entry in log] == list(range(before + 1, before + 46))
    assert {entry.changes["number"] for entry in log} == {number for number in range(50) if number % 10 != 9}
    assert verdict(house).is_whole


def test_from_a_kept_hash_only_what_came_later_is_read(busy: House) -> None:
    kept = verdict(busy).end
    factories.network(busy)

    found = verdict(busy, after=kept)

    assert found.is_whole
    assert (found.start, found.end.seq) == (kept, kept.seq + 1)
    assert verdict(busy, after=Mark(kept.seq, "0" * 64)).fault == Fault.ANCHOR_DIFFERS
    assert verdict(busy, after=Mark(kept.seq + 99, kept.hash)).fault == Fault.ANCHOR_DIFFERS


def test_a_long_log_is_checked_in_pieces(busy: House) -> None:
    pieces, at = [], None
    while True:
        found = verdict(busy, after=at, limit=4)
        pieces.append(found.end.seq - found.start.seq)
        if not found.more:
            break
        at = found.end

    assert found.is_whole
    assert pieces[:-1] == [4] * (len(pieces) - 1)
    assert sum(pieces) == len(entries(busy))


def test_operators_have_a_chain_of_their_own() -> None:
    before = InstallationEntry.objects.count()

    factories.flavor("huge", vcpus=64)
    factories.user()

    new = list(InstallationEntry.objects.order_by("seq"))[before:]
    assert [entry.action for entry in new] == ["flavor.create", "person.create"]
    assert chain_verify(None).is_whole
    last = InstallationEntry.objects.latest("seq")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        InstallationEntry.objects.filter(pk=last.pk).update(actor_label="nobody")
    with unguarded("tenants_installationentry"):
        InstallationEntry.objects.filter(pk=last.pk).update(actor_label="nobody")
    assert chain_verify(None).place == last.seq
    with pytest.raises(CommandError, match=r"\(installation\): BROKEN"):
        call_command("verify_audit_log")


def test_the_command_checks_every_log(busy: House, capsys: pytest.CaptureFixture[str]) -> None:
    factories.tenant_with_owner("other")

    call_command("verify_audit_log")

    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["(installation)", "acme", "other"]
    assert all(": whole, entries 1 to " in line for line in lines)
    with pytest.raises(CommandError, match="no tenant"):
        call_command("verify_audit_log", "absent")


def test_what_is_undone_leaves_no_entry_and_no_gap(busy: House) -> None:
    count = len(entries(busy))

    with tenant_scope(busy.tenant):
        with transaction.atomic():
            audit_record(busy.actor, "test.undone", busy.tenant)
            transaction.set_rollback(True)
        audit_record(busy.actor, "test.done", busy.tenant)

    assert [entry.seq for entry in entries(busy)] == list(range(1, count + 2))
    assert verdict(busy).is_whole


def test_fractions_and_strange_text_come_back_as_they_were_hashed(house: House) -> None:
    with tenant_scope(house.tenant):
        audit_record(house.actor, "test.do", house.tenant, rate=1e100, tiny=-0.0, text="Ünïcode \u2028 \ud7ff", n=2**53)

    assert verdict(house).is_whole


# -- retention ---------------------------------------------------------------------------------------------------


def test_nothing_above_the_floor_can_be_deleted(busy: House) -> None:
    log = entries(busy)

    with tenant_scope(busy.tenant), pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.filter(pk=log[0].pk).delete()

    assert verdict(busy).is_whole


def test_retention_lets_the_oldest_go_and_the_rest_stays_whole(busy: House, settings: Any) -> None:
    log = entries(busy)
    kept = Mark(log[2].seq, log[2].hash)
    settings.AUDIT_RETENTION = now() - log[5].at

    with every_tenant(why="test, a beat's task"):
        audit_forget_old()
    with tenant_scope(busy.tenant):
        left = list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True))

    floor = left[0] - 1
    assert floor
    found = verdict(busy)
    assert found.is_whole
    assert found.start == Mark(floor, log[floor - 1].hash)
    assert verdict(busy, after=found.start).is_whole
    assert verdict(busy, after=kept).fault in (None, Fault.ANCHOR_FORGOTTEN)


def test_a_log_may_lose_all_its_entries_to_retention_and_go_on(busy: House) -> None:
    with tenant_scope(busy.tenant):
        gone = audit_forget(busy.tenant, before=now() + timedelta(seconds=1))
        assert gone == AuditEntry.objects.count() + gone
        assert verdict(busy).is_whole
        audit_record(busy.actor, "test.do", busy.tenant)

    (only,) = entries(busy)
    assert only.seq == gone + 1
    assert verdict(busy).is_whole


def test_the_installations_log_has_the_same_retention() -> None:
    factories.flavor("huge")

    assert InstallationEntry.objects.exists()
    assert audit_forget(None, before=now() + timedelta(seconds=1))

    assert InstallationJournal.objects.get().audit_floor
    assert not InstallationEntry.objects.exists()
    assert chain_verify(None).is_whole
