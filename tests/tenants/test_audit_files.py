"""The audit log as files, pages and REST: of any length, and nothing in it is a formula or another tenant's."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from itertools import islice

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.journal.audit import audit_hash, audit_record
from tenants.journal.chain import chain_verify
from tenants.journal.models import AuditEntry, Journal
from tenants.journal.search import audit_csv, audit_lines, tame
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.tenants.auditing import entries, rewrite_all
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
