"""The audit log shows what was changed, by whom; it can be checked, taken along, and let go of, never rewritten."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from portal.core.clock import now
from tenants.journal.audit import audit_hash, audit_record
from tenants.journal.chain import Fault, Mark, chain_verify
from tenants.journal.models import AuditEntry, InstallationEntry, InstallationJournal, Journal
from tenants.journal.retention import audit_forget, audit_forget_old
from tenants.journal.search import audit_csv, audit_lines, tame
from tenants.models import Tenant
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.support.crowd import together
from vms.services.flavors import flavor_write

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


def entries(house: House) -> list[AuditEntry]:
    with tenant_scope(house.tenant):
        return list(AuditEntry.objects.order_by("seq"))


def verdict(house: House, **asked: Any) -> Any:
    with tenant_scope(house.tenant):
        return chain_verify(house.tenant, **asked)


@contextmanager
def unguarded(table: str = "tenants_auditentry") -> Iterator[None]:
    """Tamper as one who may change the schema could: without the trigger."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def rewrite_all(house: House, *, without: int) -> None:
    """The cleverest forger: drop an entry, then number and hash all later ones anew, journal included."""
    with tenant_scope(house.tenant), unguarded():
        AuditEntry.objects.filter(seq=without).delete()
        before = AuditEntry.objects.get(seq=without - 1)
        for entry in AuditEntry.objects.filter(seq__gt=without).order_by("seq"):
            entry.seq, entry.prev_hash = entry.seq - 1, before.hash
            entry.hash = audit_hash(entry)
            entry.save()
            before = entry
        Journal.objects.filter(tenant=house.tenant).update(audit_seq=before.seq, audit_hash=before.hash)


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


# -- files -------------------------------------------------------------------------------------------------------


def test_a_log_of_any_length_costs_the_same_memory_and_one_query(house: House) -> None:
    with tenant_scope(house.tenant):
        seed = AuditEntry.objects.latest("seq")
        journal = Journal.objects.get(tenant=house.tenant)
        rows, before = [], seed
        for number in range(20_000):
            entry = AuditEntry(
                tenant=house.tenant, seq=before.seq + 1, at=seed.at, actor_label="a", via="test", action="test.do",
                changes={"number": [number, number + 1]}, prev_hash=before.hash,
            )  # fmt: skip
            entry.hash = audit_hash(entry)
            rows.append(entry)
            before = entry
        AuditEntry.objects.bulk_create(rows, batch_size=1000)
        rows.clear()
        journal.audit_seq, journal.audit_hash = before.seq, before.hash
        journal.save()

        tracemalloc.start()
        with CaptureQueriesContext(connection) as queries:
            assert chain_verify(house.tenant).is_whole
            written = sum(len(line) for line in audit_lines(AuditEntry.objects.all()))
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert len(queries) <= 3
    assert written > 20_000 * 400
    assert peak < 20 * 1024 * 1024


@pytest.mark.parametrize("lively", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(house: House, lively: str) -> None:
    """P-D: a name that begins like a formula stays text in a spreadsheet."""
    with tenant_scope(house.tenant):
        house.tenant.name = lively
        audit_record(house.actor, "test.do", house.tenant)
        text = "".join(audit_csv(AuditEntry.objects.all()))

    cell = list(csv.DictReader(io.StringIO(text, newline="")))[-1]["subject_name"]
    assert cell == tame(lively) == f"'{lively}"


def test_lines_hold_all_that_the_hash_covers(busy: House) -> None:
    """Whoever has the file can check it without the portal."""
    with tenant_scope(busy.tenant):
        lines = [json.loads(line) for line in audit_lines(AuditEntry.objects.all())]

    import hashlib

    before = "0" * 64
    for line in lines:
        said = [
            str(busy.tenant.pk), line["seq"], line["at"], line["actor_id"], line["actor"], line["via"], line["address"],
            line["request_id"], line["action"], line["subject_type"], line["subject_id"], line["subject_name"],
            line["changes"],
        ]  # fmt: skip
        text = json.dumps([before, said], sort_keys=True, separators=(",", ":"))
        assert line["hash"] == hashlib.sha256(text.encode()).hexdigest()
        before = line["hash"]


# -- REST --------------------------------------------------------------------------------------------------------


def test_a_tenant_checks_its_own_log(busy: House) -> None:
    rest = Rest(busy.token)

    first = rest.get(f"{busy.url}/audit-events/verify").json
    factories.network(busy)
    second = rest.get(
        f"{busy.url}/audit-events/verify?after_seq={first['end']['seq']}&hash={first['end']['hash']}"
    ).json

    assert first["whole"]
    assert (first["fault"], first["place"], first["more"]) == (None, None, False)
    assert second["whole"]
    assert second["end"]["seq"] == first["end"]["seq"] + 1

    rewrite_all(busy, without=5)
    third = rest.get(f"{busy.url}/audit-events/verify?after_seq={first['end']['seq']}&hash={first['end']['hash']}").json
    assert (third["whole"], third["fault"], third["place"]) == (False, "anchor_differs", first["end"]["seq"])


@pytest.mark.parametrize("query", ["after_seq=3", "hash=" + "0" * 64, "after_seq=1&hash=abc", "after=1"])
def test_half_an_anchor_is_refused(house: House, query: str) -> None:
    assert Rest(house.token).get(f"{house.url}/audit-events/verify?{query}").status == 422


def test_the_log_as_a_file(busy: House) -> None:
    rest = Rest(busy.token)

    lines = rest.get(f"{busy.url}/audit-events/export?action=test.do")
    table = rest.get(f"{busy.url}/audit-events/export?format=csv&action=test.")

    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line)["changes"]["number"] for line in lines.body.splitlines()] == list(range(10))
    assert table.headers["Content-Disposition"] == 'attachment; filename="audit-acme.csv"'
    assert len(list(csv.DictReader(io.StringIO(table.body.decode())))) == 10
    head = rest.ask("HEAD", f"{busy.url}/audit-events/export")
    assert (head.status, head.body) == (200, b"")


def test_a_file_holds_nothing_of_another_tenant(busy: House) -> None:
    other = factories.tenant_with_owner("other")

    answer = Rest(other.token).get(f"{other.url}/audit-events/export")

    assert b"acme" not in answer.body
    assert Rest(other.token).get(f"{busy.url}/audit-events/export").status == 404


def test_entries_are_found_by_what_is_known_of_them(busy: House) -> None:
    rest = Rest(busy.token)
    factories.network(busy, "blue")
    last = entries(busy)[-1]

    def found(query: str) -> list[str]:
        return [item["action"] for item in rest.get(f"{busy.url}/audit-events?{query}").json["items"]]

    assert found("action=network.create") == found("action=network.") == found("q=blue") == ["network.create"]
    assert found(f"subject_id={last.subject_id}&subject_type=network") == ["network.create"]
    assert found(f"actor={busy.owner.email.upper()}&action=network.") == ["network.create"]
    assert found("since=2999-01-01T00:00:00Z") == []
    assert found("until=2000-01-01T00:00:00Z") == []


def test_operators_read_and_check_the_installations_log(busy: House) -> None:
    _person, token = factories.operator()
    flavor_write(None, name="huge", vcpus=1, memory_mib=64, disk_gib=1, actor=factories.desk())

    items = Rest(token).get("/audit-events?action=flavor.&limit=1").json["items"]

    assert [item["subject"]["name"] for item in items] == ["huge"]
    assert Rest(token).get("/audit-events/verify").json["whole"]
    assert Rest(busy.token).get("/audit-events").status == 403


def test_pages_of_the_log_are_lazy(busy: House) -> None:
    """A file begins before all of it is read."""
    with tenant_scope(busy.tenant):
        lines = audit_lines(AuditEntry.objects.all())
        assert len(list(islice(lines, 2))) == 2
        assert Tenant.objects.filter(slug="acme").exists()
