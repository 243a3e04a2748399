"""Usage records over REST: whose they are, in which order, and that what is final is answered in the same bytes for ever."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.anchor import anchor_path
from billing.metering import LAG
from tests import factories
from tests.billing.ledgers import HOUR, Ledger
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db
RECORDS = "/api/v1/billing/usage-records"


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def ledger(db: None) -> Ledger:
    ledger = Ledger()
    ledger.switch(1800, 2)
    ledger.close(12)
    return ledger


def get(ledger: Ledger, path: str = RECORDS, **words: str) -> Any:
    return Rest(ledger.house.token).get(_with(path, tenant=ledger.house.tenant.slug, **words))


def _with(path: str, **words: str) -> str:
    return f"{path}?" + "&".join(f"{name.rstrip('_')}={value}" for name, value in words.items())


def moment(ledger: Ledger, hours: float) -> str:
    return (ledger.begin + hours * HOUR).isoformat().replace("+00:00", "Z")


def test_a_record_says_what_the_contract_says(ledger: Ledger) -> None:
    first = get(ledger).json["items"][0]

    assert first | {"id": "", "resource_id": ""} == {
        "id": "",
        "seq": 1,
        "tenant": ledger.house.tenant.slug,
        "resource_id": "",
        "resource_type": "guest",
        "meter": "vcpus",
        "window_start": moment(ledger, 0.5),
        "window_end": moment(ledger, 1),
        "quantity": "3600",
        "unit": "vCPU-second",
        "attributes": {"flavor": "small"},
        "state": "final",
        "revision": 1,
        "supersedes": None,
        "correction": False,
        "recorded_at": moment(ledger, 1),
    }


def test_an_hour_is_final_once_the_stated_lag_is_over(ledger: Ledger) -> None:
    states = [item["state"] for item in get(ledger).json["items"]]

    assert states == ["final"] * (12 - LAG) + ["provisional"] * LAG
    assert len(get(ledger, state="final").json["items"]) == 12 - LAG
    assert len(get(ledger, state="provisional").json["items"]) == LAG


def test_the_feed_is_read_to_its_end_and_goes_on_from_there(ledger: Ledger) -> None:
    seen, cursor = [], ""
    while True:
        page = get(ledger, limit="5", cursor=cursor).json
        seen += [item["seq"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]

    assert seen == list(range(1, 13))


def test_a_final_period_is_the_same_bytes_for_ever(ledger: Ledger) -> None:
    period = {"from_": moment(ledger, 0), "to": moment(ledger, 12 - LAG)}
    before = get(ledger, **period).body, get(ledger, f"{RECORDS}.csv", **period).body
    machine = ledger.records()[0].resource_id

    ledger.switch(3600, 5, of=machine, late=13 * 3600)
    ledger.close(40)

    assert any(row.correction for row in ledger.records())
    assert (get(ledger, **period).body, get(ledger, f"{RECORDS}.csv", **period).body) == before
    assert [item["correction"] for item in get(ledger, limit="500").json["items"]].count(True) >= 5


def test_a_period_neither_overlaps_nor_holds_what_was_superseded(ledger: Ledger) -> None:
    machine = ledger.records()[0].resource_id
    ledger.switch(11 * 3600 + 600, 7, of=machine, late=4000)
    ledger.close(30)

    items = get(ledger, from_=moment(ledger, 0), to=moment(ledger, 30), limit="500").json["items"]

    assert items[0]["window_start"] == moment(ledger, 0.5)
    assert all(a["window_end"] == b["window_start"] for a, b in pairwise(items))
    assert sum(int(item["quantity"]) for item in items) == 2 * (10 * 3600 + 2400) + 7 * (18 * 3600 + 3000)


def test_periods_beside_each_other_hold_every_record_once(ledger: Ledger) -> None:
    whole = get(ledger, from_=moment(ledger, 0), to=moment(ledger, 12)).json["items"]
    parts = [get(ledger, from_=moment(ledger, at), to=moment(ledger, at + 3)).json["items"] for at in (0, 3, 6, 9)]

    assert [item for part in parts for item in part] == whole


def test_csv_is_the_same_page_and_names_the_next(ledger: Ledger) -> None:
    answer = get(ledger, f"{RECORDS}.csv", limit="5")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))

    assert [row["id"] for row in rows] == [item["id"] for item in get(ledger, limit="5").json["items"]]
    assert rows[0]["attributes"] == "flavor=small"
    assert 'rel="next"' in answer.headers["Link"]


@pytest.mark.parametrize(
    ("words", "pointer"),
    [
        ({"from_": "2999-01-01T00:00:00Z"}, "/from"),
        ({"from_": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "/to"),
        ({"from_": "yesterday"}, "/from"),
        ({"from_": "2026-01-01"}, "/from"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "501"}, "/limit"),
        ({"state": "maybe"}, "/state"),
        ({"cursor": "x"}, "/cursor"),
        ({"since": "2026-01-01T00:00:00Z"}, "/since"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_name(words: dict[str, str], pointer: str, ledger: Ledger) -> None:
    answer = get(ledger, **words)

    assert (answer.status, [error["pointer"] for error in answer.json["errors"]]) == (422, [pointer])


def test_another_tenants_usage_is_not_there(ledger: Ledger) -> None:
    other = factories.tenant_with_owner()
    rest = Rest(other.token)
    answers = [rest.get(_with(path, tenant=slug)) for path in (RECORDS, f"{RECORDS}.csv", "/api/v1/billing/verify")
               for slug in (ledger.house.tenant.slug, "nobody")]  # fmt: skip

    assert {answer.status for answer in answers} == {404}
    assert rest.get(RECORDS).status == 403
    assert rest.get(_with(RECORDS, tenant=other.tenant.slug)).json["items"] == []


def test_operators_read_every_tenants_in_the_order_of_recording(ledger: Ledger) -> None:
    other = Ledger()
    other.switch(12 * 3600, 1)
    ledger.close(14)
    _person, token = factories.operator()

    items = Rest(token).get(_with(RECORDS, limit="500")).json["items"]
    later = Rest(token).get(_with(RECORDS, from_=moment(ledger, 12), to=moment(ledger, 13))).json["items"]

    assert {item["tenant"] for item in items} == {ledger.house.tenant.slug, other.house.tenant.slug}
    assert len(items) == 12 + 2 * 2
    assert {item["tenant"] for item in later} == {ledger.house.tenant.slug, other.house.tenant.slug}
    assert {item["window_start"] for item in later} == {moment(ledger, 12)}


def test_a_page_costs_the_same_however_many_records_there_are(ledger: Ledger) -> None:
    def cost(limit: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            get(ledger, limit=limit)
        return len(queries)

    cost("1")
    assert cost("1") == cost("12")


# -- the proof -------------------------------------------------------------------------------------------------------


def test_the_proof_counts_every_second(ledger: Ledger) -> None:
    with time_machine.travel(ledger.begin + 13 * HOUR, tick=False):
        proof = get(ledger, "/api/v1/billing/verify", from_=moment(ledger, 0), to=moment(ledger, 12)).json

    assert (proof["ok"], proof["findings"], proof["pending"]) == (True, [], 0)
    assert (proof["records"], proof["resources"], proof["seconds"]) == (12, 1, 11 * 3600 + 1800)
    assert (proof["from"], proof["to"]) == (moment(ledger, 0), moment(ledger, 12))


def test_more_than_a_month_at_once_is_refused(ledger: Ledger) -> None:
    answer = get(ledger, "/api/v1/billing/verify", from_=moment(ledger, -2000), to=moment(ledger, 2))

    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/from")


FORGERIES = {
    "another quantity": ("UPDATE billing_usagerecord SET quantity = quantity + 1 WHERE seq = 2", "the ledger says"),
    "another end": (
        "UPDATE billing_usagerecord SET window_end = window_end - interval '1 second' WHERE seq = 2",
        "the ledger says",
    ),
    "another word": ("""UPDATE billing_usagerecord SET attributes = '{"flavor": "x"}' WHERE seq = 2""", "ledger says"),
    "one that is gone": ("DELETE FROM billing_usagerecord WHERE seq = 2", "not numbered"),
    "an hour that is gone": (
        "DELETE FROM billing_closedhour WHERE start = (SELECT min(start) + interval '1 hour' FROM billing_closedhour)",
        "hours are missing|what the closing of",
    ),
    "the last hour that is gone": (
        "DELETE FROM billing_closedhour WHERE start = (SELECT max(start) FROM billing_closedhour)",
        "the database was restored from a copy",
    ),
    "another digest": ("UPDATE billing_closedhour SET digest = repeat('f', 64)", "what the closing of"),
    "a ledger that was changed": (
        "UPDATE tenants_usageinterval SET quantity = 3",
        "the ledger says",
    ),
}


@pytest.mark.parametrize(("statement", "said"), FORGERIES.values(), ids=FORGERIES)
def test_what_was_forged_is_found(statement: str, said: str, ledger: Ledger) -> None:
    call_command("verify_usage")
    tables = ("billing_usagerecord", "billing_closedhour", "tenants_usageinterval")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement)
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    with pytest.raises(CommandError, match=said):
        call_command("verify_usage")


def test_a_guard_that_is_off_is_found(ledger: Ledger) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_usagerecord DISABLE TRIGGER billing_usagerecord_written_once")

    with pytest.raises(CommandError, match="billing_usagerecord_written_once is missing or off"):
        call_command("verify_usage")


def test_a_restore_of_yesterdays_database_is_found_and_an_operator_can_go_on(ledger: Ledger) -> None:
    ahead = f'{{"until": "{moment(ledger, 36)}", "digest": "{"a" * 64}"}}'
    anchor_path().write_text(ahead)

    with pytest.raises(CommandError, match="restored from a copy"):
        call_command("verify_usage")
    call_command("verify_usage", accept_restored=True)

    assert ledger.close(13) == 1


def test_one_tenant_or_a_period_is_proved_alone(ledger: Ledger) -> None:
    call_command("verify_usage", ledger.house.tenant.slug, since="2026-03-29", until="2026-03-29T02:00Z")
    with pytest.raises(CommandError, match="no tenant"):
        call_command("verify_usage", "nobody")
    with pytest.raises(CommandError, match="is no moment"):
        call_command("verify_usage", since="soon")


def test_what_is_late_is_pending_until_it_is_recorded(ledger: Ledger) -> None:
    machine = ledger.records()[0].resource_id
    ledger.switch(3600, 5, of=machine, late=timedelta(days=300).total_seconds())

    proof = get(ledger, "/api/v1/billing/verify", from_=moment(ledger, 0), to=moment(ledger, 12)).json

    assert (proof["ok"], proof["pending"]) == (True, 1), proof
