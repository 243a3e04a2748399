"""A customer's start does not wait for anybody's copies."""

from __future__ import annotations

from typing import Any

from operations.models import Operation
from operations.runner import run
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.copy_lives import Copies
from tests.vms.reconcile.lives import at_points
from vms.states import Power


def test_while_copies_are_under_way_others_wait_and_a_machine_starts(bench: Bench, settings: Any) -> None:
    settings.LONG_AT_ONCE = 2
    copies = Copies(bench)
    off = bench.guest(Power.STOPPED)
    asked = [copies.image(bench.guest()) for _ in range(4)]
    for copy in asked:
        copies.passing(copy)
    begun: list[Operation] = []
    started: list[str | None] = []

    def on_the_way(_point: str) -> None:
        if len(begun) < 2:
            begun.append(asked[len(begun)])
            if len(begun) < 2:
                assert run(asked[1].pk) == "succeeded"
            else:
                assert [run(copy.pk) for copy in asked[2:]] == [None, None]
                started.append(run(bench.ask(off, "start").pk))

    with at_points(on_the_way):
        assert run(asked[0].pk) == "succeeded"

    assert started == ["succeeded"]
    assert bench.fresh(off).seen_power == Power.RUNNING
    for copy in asked[2:]:
        copy.refresh_from_db()
        assert copy.step == "Waiting for other copies and backups to finish"
    bench.settle()
    assert {copy.status for copy in Operation.objects.filter(kind="image.capture")} == {"succeeded"}
