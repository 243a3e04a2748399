"""B1–B6, W4: Redis and workers come and go; the operations in the database decide, and every one of them ends well."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections.abc import Iterator

import pytest

from operations.models import Operation
from tests.live.stage import Stage

ANSWER_WITHIN_S = 3.0
"""The longest that anybody waits for the API, whatever becomes of Redis."""
QUEUE = "celery"


def created(stage: Stage, names: str, many: int) -> list[str]:
    """Ask for ``many`` machines; the ids of their operations."""
    answers = [stage.create(f"{names}-{number}") for number in range(many)]
    assert [answer.status for answer in answers] == [202] * many, answers
    return [answer.json["id"] for answer in answers]


def test_workers_and_everything_else_work(stage: Stage) -> None:
    ids = created(stage, "plain", 3)

    stage.assert_sound(ids)


def test_a_deploy_restart_fails_nothing(stage: Stage) -> None:
    """W4: workers are asked to end while twenty operations run and wait, and others take over."""
    ids = created(stage, "deploy", 20)
    for _ in range(2):
        stage.worker.end(signal.SIGTERM)
        stage.worker.start()

    stage.assert_sound(ids)


def test_redis_killed_and_empty_again_loses_nothing(stage: Stage) -> None:
    """B1, I7: doorbells are gone, rows are not."""
    before = created(stage, "before", 3)
    stage.redis_process.kill()
    stage.redis_process.wait()
    meanwhile = [stage.create(f"without-{number}") for number in range(2)]
    stage.start_redis()
    after = created(stage, "after", 1)

    assert {answer.status for answer in meanwhile} <= {202, 503}
    stage.assert_sound([*before, *(a.json["id"] for a in meanwhile if a.status == 202), *after])


def test_an_emptied_redis_loses_nothing(stage: Stage) -> None:
    """B1."""
    ids = []
    for number in range(3):
        ids += created(stage, f"emptied-{number}", 2)
        stage.redis().flushall()

    stage.assert_sound(ids)


@pytest.mark.parametrize("how", [pytest.param("gone", marks=pytest.mark.long), "frozen", "silent line"])
def test_without_redis_the_api_answers_and_loses_nothing(how: str, stage: Stage) -> None:
    """B2: an answer within three seconds, 202 or a clean 503; what was accepted is done once Redis is back."""
    number = len(Operation.objects.all())
    with without_redis(stage, how):
        answers = [stage.create(f"silent-{number}-{one}", timeout_s=ANSWER_WITHIN_S) for one in range(3)]
        looked = stage.ask("GET", "guests", timeout_s=ANSWER_WITHIN_S)

    assert {answer.status for answer in answers} <= {202, 503}, answers
    assert looked.status == 200
    stage.assert_sound([answer.json["id"] for answer in answers if answer.status == 202])


@contextlib.contextmanager
def without_redis(stage: Stage, how: str) -> Iterator[None]:
    """Redis is not there, does not answer, or does not hear those who are connected."""
    with contextlib.ExitStack() as whole:
        if how == "gone":
            stage.redis_process.kill()
            stage.redis_process.wait()
            whole.callback(stage.start_redis)
        elif how == "frozen":
            stage.redis_process.send_signal(signal.SIGSTOP)
            whole.callback(stage.redis_process.send_signal, signal.SIGCONT)
        else:
            stage.redis_line.hold()
        yield


def test_a_full_redis_is_said_aloud(stage: Stage) -> None:
    """B4: ``/readyz`` says what is wrong; what is accepted meanwhile is done once there is room."""
    redis = stage.redis()
    redis.config_set("maxmemory", 1)
    try:
        ready = stage.ask("GET", "/readyz")
        answers = [stage.create(f"full-{number}", timeout_s=ANSWER_WITHIN_S) for number in range(2)]
    finally:
        redis.config_set("maxmemory", 0)

    assert (ready.status, ready.json["parts"]["redis"]) == (503, "full")
    assert {answer.status for answer in answers} <= {202, 503}, answers
    stage.assert_sound([answer.json["id"] for answer in answers if answer.status == 202])


def test_doubled_shuffled_old_and_poisoned_messages_act_once(stage: Stage) -> None:
    """B5, B6, B9: each doorbell five times and in any order, those of deletions before those of creations, and nonsense."""
    redis = stage.redis()
    stage.worker.end(signal.SIGTERM)
    ids = created(stage, "doubled", 4)
    bells = redis.lrange(QUEUE, 0, -1)
    poison = [json.dumps({"body": "AAAA", "headers": {}, "properties": {}}).encode()]
    many = random.Random(len(bells)).sample([*bells * 5, *poison], len(bells) * 5 + len(poison))
    redis.delete(QUEUE)
    redis.lpush(QUEUE, *many)
    stage.worker.start()
    stage.assert_sound(ids)

    guests = Operation.objects.filter(pk__in=ids).values_list("subject_id", flat=True)
    gone = [stage.ask("DELETE", f"guests/{pk}?purge=true").json["id"] for pk in guests]
    redis.lpush(QUEUE, *bells)
    stage.assert_sound(gone)
    redis.lpush(QUEUE, *bells)
    stage.assert_sound(created(stage, "last", 1))
    assert len(stage.bench.on_host.domains) == 1


@pytest.mark.long
def test_what_is_no_message_at_all_costs_a_worker_and_nothing_else(stage: Stage) -> None:
    """B9: the worker's transport ends over it; the supervisor starts another, which does not meet it again."""
    stage.redis().lpush(QUEUE, b"not json")

    stage.assert_sound(created(stage, "poisoned", 3))
    assert b"not json" not in stage.redis().lrange(QUEUE, 0, -1)
