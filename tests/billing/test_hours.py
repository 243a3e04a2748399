"""Hours are closed once, whoever dies and however often; what turns out later is a new record, and nothing is rewritten."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction

from billing.anchor import Anchor, anchor_path, anchor_read, anchor_write
from billing.metering import LAG, line_of
from billing.models import ClosedHour, Closing, UsageRecord
from billing.selectors.records import final_until
from billing.services.hours import GRACE, DatabaseIsOlder, hours_close, restored_accept
from billing.tasks import bill_hour
from operations import runner
from portal.core.errors import Forbidden
from tests import factories
from tests.architecture.sources import ROOT
from tests.billing.ledgers import HOUR, Ledger, everything
from tests.support.crowd import together

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def ledger(db: None) -> Ledger:
    return Ledger()


def lines() -> bytes:
    """All records, as their digest reads them, and where hours stand."""
    with everything():
        rows = list(UsageRecord.objects.order_by("id"))
    said = [line_of(row.standing.window, revision=row.revision, correction=row.correction) for row in rows]
    said += [f"{row.tenant_id} {row.seq} {row.recorded_at}".encode() for row in rows]
    hours = ClosedHour.objects.order_by("start").values_list("start", "digest")
    return b"\n".join([*said, *(f"{start} {digest}".encode() for start, digest in hours)])


def test_an_hour_is_cut_where_something_changed_and_at_its_ends(ledger: Ledger) -> None:
    machine = ledger.switch(1800, 2)
    ledger.switch(1810, 4, of=machine)
    ledger.switch(2 * 3600 + 1, 0, of=machine)

    assert ledger.close(3) == 3

    assert ledger.said() == [
        ("0:30", "0:30:10", 20, 1),
        ("0:30:10", "1:00", 4 * 1790, 1),
        ("1:00", "2:00", 14400, 1),
        ("2:00", "2:00:01", 4, 1),
    ]
    assert [row.seq for row in ledger.records()] == [1, 2, 3, 4]


def test_an_hour_that_is_not_over_long_enough_is_left(ledger: Ledger) -> None:
    ledger.switch(0, 1)

    assert hours_close(at=ledger.at(3600 + 299)) == 0
    assert hours_close(at=ledger.at(3600 + 300)) == 1


def test_without_a_ledger_nothing_is_closed(db: None) -> None:
    assert hours_close(at=Ledger().at(10**6)) == 0
    assert anchor_read() is None


def test_what_was_missed_is_caught_up_exactly(ledger: Ledger) -> None:
    machine = ledger.switch(0, 1)
    ledger.switch(50 * 3600 + 7, 0, of=machine)

    assert hours_close(at=ledger.at(60 * 3600), most=20) == 20
    assert ledger.close(60) == 40

    assert sum(row.quantity for row in ledger.records()) == 50 * 3600 + 7


def test_beats_that_meet_close_each_hour_once(transactional_db: None) -> None:
    ledger = Ledger()
    ledger.switch(0, 1)

    done = together([lambda: ledger.close(5) for _ in range(4)])

    assert sum(hours for hours in done if isinstance(hours, int)) == 5, done
    assert len(ledger.records()) == 5
    with time_machine.travel(ledger.begin + 6 * HOUR + GRACE, tick=False):
        bill_hour()
    assert len(ledger.records()) == 6


class Killed(BaseException):
    """The worker is gone."""


def points() -> list[str]:
    return [f"usage.close:{name}" for name in (
        "hour:after", "final:after", "corrections:after", "hour:before_commit", "anchor:before", "anchor:after",
    )]  # fmt: skip


@pytest.mark.parametrize("point", points())
@pytest.mark.parametrize("nth", [1, 9])
def test_killed_anywhere_and_run_again_the_bytes_are_the_same(
    point: str, nth: int, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _story(ledger)
    with transaction.atomic():
        ledger.close(12)
        undisturbed = lines()
        transaction.set_rollback(True)
    anchor_path().unlink()
    left = [nth]

    def die(here: str) -> None:
        left[0] -= here == point
        if here == point and left[0] == 0:
            raise Killed

    monkeypatch.setattr(runner, "checkpoint", die)
    with pytest.raises(Killed):
        ledger.close(12)
    monkeypatch.setattr(runner, "checkpoint", lambda _here: None)
    ledger.close(12)

    assert lines() == undisturbed
    assert ledger.close(12) == 0


def _story(ledger: Ledger) -> None:
    """Starts, stops, another size, something late and something later."""
    first = ledger.switch(10, 1)
    second = ledger.switch(1900, 512, meter="memory_mib")
    ledger.switch(4000, 3, of=first)
    ledger.switch(9000, 0, of=second, meter="memory_mib", late=7200)
    ledger.switch(30000, 0, of=first)


def test_all_points_are_walked(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(runner, "checkpoint", seen.append)
    ledger.switch(0, 1)
    ledger.close(1)

    assert seen == points()


def test_what_turns_out_before_an_hour_is_final_is_its_next_revision(ledger: Ledger) -> None:
    machine = ledger.switch(0, 1)
    ledger.close(2)
    ledger.switch(1800, 2, of=machine, late=2 * 3600 + 400)

    ledger.close(LAG + 2)

    assert final_until() == ledger.begin + 2 * HOUR
    revised = [row for row in ledger.said() if row[3] == 2 or row[0] == "0:30"]
    assert revised == [("0:00", "0:30", 1800, 2), ("0:30", "1:00", 3600, 1), ("1:00", "2:00", 7200, 2)]
    assert not any(row.correction for row in ledger.records())
    superseded = {row.supersedes for row in ledger.records()} - {None}
    assert superseded == {row.public_id for row in ledger.records()[:2]}


def test_what_turns_out_later_is_a_correction_and_what_was_final_stays(ledger: Ledger) -> None:
    machine = ledger.switch(0, 1)
    ledger.close(12)
    before = ledger.said()
    ledger.switch(1800, 0, of=machine, late=12 * 3600)

    ledger.close(13)

    assert ledger.said()[:12] == before
    corrections = [row for row in ledger.records() if row.correction]
    assert [(row.quantity, row.revision) for row in corrections] == [(1800, 2), *[(0, 2)] * (LAG - 1)]
    assert {row.window_start == row.window_end for row in corrections[1:]} == {True}
    assert all(row.recorded_at == ledger.begin + 13 * HOUR for row in corrections)


def test_what_was_there_before_the_first_hour_that_was_closed_is_a_correction(ledger: Ledger) -> None:
    ledger.switch(10 * 3600, 1)
    ledger.close(20)
    ledger.switch(9 * 3600, 1, late=12 * 3600)

    ledger.close(22)

    assert next(row.window_start for row in ledger.records() if row.correction) == ledger.at(9 * 3600)


@pytest.mark.parametrize("table", ["billing_usagerecord", "billing_closedhour"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0}"],
    ids=["an update", "a deletion", "emptying"],
)
def test_the_database_refuses_to_change_what_was_recorded(statement: str, table: str, ledger: Ledger) -> None:
    ledger.switch(0, 1)
    ledger.close(1)
    column = "quantity" if table.endswith("record") else "digest"
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

        with pytest.raises(IntegrityError, match="written once"), transaction.atomic():
            cursor.execute(statement.format(table, column))


# -- a database of yesterday ---------------------------------------------------------------------------------------


@pytest.fixture
def restored(ledger: Ledger) -> None:
    """Two hours were closed, and the database that is there knows of one."""
    ledger.switch(0, 1)
    with transaction.atomic():
        ledger.close(2)
        transaction.set_rollback(True)
    kept = anchor_read()
    assert kept is not None
    anchor_path().unlink()
    ledger.close(1)
    anchor_write(kept)


@pytest.mark.usefixtures("restored")
def test_in_a_database_of_yesterday_nothing_is_closed(ledger: Ledger) -> None:
    with pytest.raises(DatabaseIsOlder):
        ledger.close(5)
    bill_hour()

    assert len(ledger.records()) == 1


@pytest.mark.usefixtures("restored")
def test_an_operator_who_knows_lets_it_go_on(ledger: Ledger) -> None:
    with pytest.raises(Forbidden):
        restored_accept(actor=ledger.house.actor)
    anchor = restored_accept(actor=factories.desk())
    assert anchor is not None
    anchor_write(anchor)

    assert ledger.close(5) == 4


def test_another_history_of_the_same_length_is_noticed(ledger: Ledger) -> None:
    ledger.switch(0, 1)
    ledger.close(2)
    kept = anchor_read()
    assert kept is not None
    anchor_write(Anchor(kept.until, "f" * 64))

    with pytest.raises(DatabaseIsOlder):
        ledger.close(3)


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"until": 1, "digest": ""}', '{"until": "yesterday", "digest": ""}']
)
def test_a_file_that_says_nothing_stops_nothing(content: str, ledger: Ledger) -> None:
    ledger.switch(0, 1)
    anchor_path().write_text(content)

    assert ledger.close(1) == 1
    assert Closing.objects.get().until == ledger.begin + timedelta(hours=1)
    assert anchor_read() is not None


PROBE = """
import django
django.setup()
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
call_command("migrate", verbosity=0)
from billing.selectors.proof import prove, prove_closings
from tests.billing.ledgers import HOUR, Ledger, everything
from tests.billing.test_hours import _story, lines
ledger = Ledger()
_story(ledger)
with transaction.atomic():
    ledger.close(12)
    undisturbed = lines()
    transaction.set_rollback(True)
from billing.anchor import anchor_path
anchor_path().unlink()
assert ledger.close(12) == 12
assert lines() == undisturbed
with everything():
    proof = prove(ledger.begin, ledger.begin + 12 * HOUR)
    assert (proof.findings, proof.records > 0) == ([], True), proof
    assert prove_closings(ledger.begin, ledger.begin + 12 * HOUR) == []
for table in ("billing_usagerecord", "billing_closedhour"):
    for statement in ("UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "INSERT OR REPLACE INTO {0} SELECT * FROM {0}"):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement.format(table, "quantity" if "record" in table else "digest"))
            print("done", table, statement)
        except IntegrityError as error:
            assert "written once" in str(error), error
print("whole")
"""


def test_on_sqlite_hours_are_closed_and_kept_alike(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.settings.test",
        "DATABASE_URL": f"sqlite:///{tmp_path}/probe.sqlite3",
        "GUESTHOUSE_DATA_DIR": str(tmp_path / "data"),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert (done.stdout.strip(), done.returncode) == ("whole", 0), done.stderr
