"""X1: whatever people ask for, in any order, while any part of the portal fails: in the end the books agree with the host."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable

import pytest

from operations.models import Operation
from tenants.scoping import every_tenant
from tests.live.stage import Answer, Stage
from vms.hypervisor.errors import Unreachable
from vms.models import Guest

STEPS, LONG_STEPS, SETTLE_EVERY = 40, 2500, 20
MOST_GUESTS = 6
ACTIONS = ("start", "stop", "pause", "resume", "suspend", "wake", "reset", "reboot")
VERBS = ("define", "start", "pull_plug", "undefine", "create_overlay", "delete_volume", "domain", "networks", "save")
ANSWERS = {0, 202, 404, 409, 503}
"""0: the web process lost the line. Anything else is nobody's fault but ours."""


class Soak:
    """One run: the same seed asks for and breaks the same things in the same order."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage, self.chance, self.made = stage, random.Random(seed), 0
        self.faults: list[Callable[[], None]] = [
            self.kill_worker, self.restart_redis, self.forget_messages, self.cut_database, self.cut_redis, self.lose_answer,
        ]  # fmt: skip

    def step(self) -> None:
        if self.chance.random() < 0.25:
            self.chance.choice(self.faults)()
            return
        answer = self.ask()
        assert answer.status in ANSWERS, answer

    # --- what people do -----------------------------------------------------------------------------------------------
    def ask(self) -> Answer:
        self.stage.look_again()
        with every_tenant(why="test"):
            guests = [str(pk) for pk in Guest.objects.order_by("pk").values_list("pk", flat=True)]
        if not guests or (len(guests) < MOST_GUESTS and self.chance.random() < 0.4):
            self.made += 1
            return self.stage.create(f"soak-{self.made}", key=f"soak-{id(self)}-{self.made}")
        one = f"guests/{self.chance.choice(guests)}"
        what = self.chance.choice(["power"] * 5 + ["delete", "purge", "restore"])
        if what == "power":
            return self.stage.ask("POST", f"{one}/{self.chance.choice(ACTIONS)}")
        if what == "restore":
            return self.stage.ask("POST", f"{one}/restore")
        return self.stage.ask("DELETE", one + ("?purge=true" if what == "purge" else ""))

    # --- what fate does -----------------------------------------------------------------------------------------------
    def kill_worker(self) -> None:
        self.stage.worker.kill_all()
        self.stage.worker.start()

    def restart_redis(self) -> None:
        self.stage.redis_process.send_signal(signal.SIGKILL)
        self.stage.redis_process.wait()
        self.stage.start_redis()

    def forget_messages(self) -> None:
        self.stage.redis().flushall()

    def cut_database(self) -> None:
        self.stage.database_line.hang_up()

    def cut_redis(self) -> None:
        self.stage.redis_line.hang_up()

    def lose_answer(self) -> None:
        verb, after = self.chance.choice(VERBS), self.chance.random() < 0.5
        self.stage.bench.on_host.fail(verb, Unreachable("answer lost"), after=after)


def test_whatever_is_asked_and_whatever_breaks_the_books_agree(stage: Stage, request: pytest.FixtureRequest) -> None:
    long = request.config.getoption("--long")
    seed = random.SystemRandom().getrandbits(32) if long else 3
    soak = Soak(stage, seed)
    print(f"seed {seed}")  # shown when it fails

    for number in range(1, 1 + (LONG_STEPS if long else STEPS)):
        soak.step()
        if number % SETTLE_EVERY == 0:
            stage.await_all_over()
            stage.bench.on_host.heal()
            stage.assert_sound()
            broken = Operation.objects.filter(error_code="broken").values_list("kind", "error_detail")
            assert not broken, list(broken)
