"""D1, D2, D4: PostgreSQL crashes, refuses, breaks off and turns read-only; nothing is lost, and nothing is half done."""

from __future__ import annotations

import psycopg
import pytest

from operations.models import Operation
from tests.lab.waiting import wait_until
from tests.live.stage import PATIENCE_S, Answer, Stage

CLEAN = {202, 503}


def accepted(answers: list[Answer]) -> list[str]:
    assert {answer.status for answer in answers} <= CLEAN, answers
    return [answer.json["id"] for answer in answers if answer.status == 202]


def command(stage: Stage, *statements: str) -> None:
    """Say something to the database as its administrator."""
    with psycopg.connect(host=str(stage.postgresql.directory), user="guesthouse", dbname="postgres") as line:
        line.autocommit = True
        for statement in statements:
            line.execute(statement)


MORE = ("upload_volume", "ensure_filter", "ensure_network", "start", "domain")
STEPS = ["create_overlay", "define", *(pytest.param(verb, marks=pytest.mark.long) for verb in MORE)]


@pytest.mark.parametrize("verb", STEPS)
def test_a_crash_of_the_database_in_the_middle_delays_and_loses_nothing(verb: str, stage: Stage) -> None:
    """D1: every session ends while a worker is inside a call to its host."""
    crash = stage.meanwhile(verb, lambda: restart(stage))
    first = stage.create(f"crash-{verb.replace('_', '-')}")
    crash()

    again = wait_until(lambda: answered(stage, "after-crash"), timeout_s=PATIENCE_S, what="an answer")
    stage.assert_sound([*accepted([first]), *accepted([again])])


def restart(stage: Stage) -> None:
    stage.postgresql.crash()
    stage.postgresql.start()


def answered(stage: Stage, name: str) -> Answer | None:
    answer = stage.create(name)
    assert answer.status in CLEAN, answer
    return answer if answer.status == 202 else None


def test_a_database_that_refuses_for_a_while_delays_and_loses_nothing(stage: Stage) -> None:
    """D2: requests are told so, workers come back."""
    before = stage.create("before-refusal")
    stage.database_line.refuses = True
    stage.database_line.hang_up()
    try:
        during = [stage.create(f"during-{number}") for number in range(2)]
    finally:
        stage.database_line.refuses = False

    assert {answer.status for answer in during} == {503}
    stage.assert_sound(accepted([before]))


def test_where_the_outcome_is_unknown_the_idempotency_key_decides(stage: Stage) -> None:
    """D2, U3: COMMIT was heard and its answer lost. The same key again gives the one operation there is."""
    stage.database_line.cut.clear()
    stage.database_line.cuts_after = (b"unknown-outcome", b"COMMIT")
    first = stage.create("unknown-outcome", key="unknown-1")
    assert stage.database_line.cut.wait(PATIENCE_S)
    second = stage.create("unknown-outcome", key="unknown-1")

    assert first.status == 503
    assert second.status == 202, second
    assert Operation.objects.filter(kind="guest.create", subject_name="unknown-outcome").count() == 1
    stage.assert_sound([second.json["id"]])


def test_a_read_only_database_does_nothing_by_halves(stage: Stage) -> None:
    """D4."""
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
    )
    before = stage.create("before-read-only")
    operations = Operation.objects.count()
    command(stage, "ALTER DATABASE postgres SET default_transaction_read_only = on", others)
    try:
        refused = [stage.create(f"read-only-{number}") for number in range(2)]
    finally:
        writable = "BEGIN READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only; COMMIT"
        command(stage, *writable.split("; "), others)

    assert {answer.status for answer in refused} == {503}, refused
    stage.look_again()
    assert Operation.objects.count() == operations
    stage.assert_sound(accepted([before]))
