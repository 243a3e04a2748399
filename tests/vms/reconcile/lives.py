"""One recipe for each kind of operation: how a machine gets there, what is asked, and what must be so afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from operations import runner
from operations.models import Operation
from tests.vms.reconcile.bench import Bench
from vms.hypervisor.errors import Refused
from vms.models import Guest
from vms.states import Power


@dataclass(frozen=True, slots=True)
class Recipe:
    """``ask`` makes what is needed and submits the operation; ``power`` is what the machine does at the end, None: gone."""

    kind: str
    ask: Callable[[Bench], tuple[Guest, Operation]]
    power: Power | None


def _from(power: Power, action: str) -> Callable[[Bench], tuple[Guest, Operation]]:
    def ask(bench: Bench) -> tuple[Guest, Operation]:
        guest = bench.guest(power)
        return guest, bench.ask(guest, action)

    return ask


def _from_bin(action: str) -> Callable[[Bench], tuple[Guest, Operation]]:
    def ask(bench: Bench) -> tuple[Guest, Operation]:
        guest = bench.binned()
        return guest, bench.ask(guest, action)

    return ask


def _withdraw(bench: Bench) -> tuple[Guest, Operation]:
    """A restore that failed once the machine stood."""
    guest, restore = _from_bin("restore")(bench)
    bench.on_host.fail("domain", Refused("no"), at=2)
    assert runner.run(restore.pk) == "failed"
    return guest, Operation.objects.get(kind="guest.withdraw", subject_id=guest.pk)


def _from_rescue(bench: Bench) -> tuple[Guest, Operation]:
    guest = bench.rescued()
    return guest, bench.ask(guest, "unrescue")


def _eject(bench: Bench) -> tuple[Guest, Operation]:
    guest = bench.guest()
    bench.disc(guest)
    return guest, bench.ask(guest, "eject")


def _detach_port(bench: Bench) -> tuple[Guest, Operation]:
    """A machine on two networks gives up the second."""
    guest = bench.guest()
    assert runner.run(bench.ask(guest, "attach_port").pk) == "succeeded"
    return guest, bench.ask(guest, "detach_port")


def _tidy(bench: Bench) -> tuple[Guest, Operation]:
    """A rebuild that failed once the fresh disk was there."""
    guest = bench.guest()
    rebuild = bench.ask(guest, "rebuild")
    bench.on_host.fail("pull_plug", Refused("no"))
    assert runner.run(rebuild.pk) == "failed"
    return guest, Operation.objects.get(kind="guest.tidy", subject_id=guest.pk)


R, S, P, Z, A = Power.RUNNING, Power.STOPPED, Power.PAUSED, Power.SUSPENDED, Power.ABSENT
RECIPES = {
    recipe.kind: recipe
    for recipe in (
        Recipe("guest.create", Bench.ask_create, R),
        Recipe("guest.start", _from(S, "start"), R),
        Recipe("guest.shutdown", _from(R, "shutdown"), S),
        Recipe("guest.stop", _from(R, "stop"), S),
        Recipe("guest.reboot", _from(R, "reboot"), R),
        Recipe("guest.reset", _from(P, "reset"), R),
        Recipe("guest.pause", _from(R, "pause"), P),
        Recipe("guest.resume", _from(P, "resume"), R),
        Recipe("guest.suspend", _from(R, "suspend"), Z),
        Recipe("guest.wake", _from(Z, "wake"), R),
        Recipe("guest.resize", _from(R, "resize"), R),
        Recipe("guest.password", _from(R, "password"), R),
        Recipe("guest.keys", _from(R, "keys"), R),
        Recipe("guest.look", _from(R, "look"), R),
        Recipe("guest.rebuild", _from(R, "rebuild"), R),
        Recipe("guest.rescue", _from(R, "rescue"), R),
        Recipe("guest.unrescue", _from_rescue, R),
        Recipe("guest.insert", _from(R, "insert"), R),
        Recipe("guest.eject", _eject, R),
        Recipe("guest.attach_port", _from(R, "attach_port"), R),
        Recipe("guest.detach_port", _detach_port, R),
        Recipe("guest.readdress", _from(R, "readdress"), R),
        Recipe("guest.limit_port", _from(R, "limit_port"), R),
        Recipe("guest.guard", _from(R, "guard"), R),
        Recipe("guest.tidy", _tidy, R),
        Recipe("guest.delete", _from(R, "delete"), A),
        Recipe("guest.restore", _from_bin("restore"), S),
        Recipe("guest.withdraw", _withdraw, A),
        Recipe("guest.purge", _from(R, "purge"), None),
    )
}
"""Every kind of operation on a machine."""


class Killed(BaseException):
    """The worker's process ends here, as by SIGKILL: nothing catches it."""


@contextmanager
def at_points(act: Callable[[str], None]) -> Iterator[list[str]]:
    """Call ``act`` with every checkpoint as it is passed; gives the list of those passed."""
    passed: list[str] = []

    def checkpoint(point: str) -> None:
        passed.append(point)
        act(point)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "checkpoint", checkpoint)
        yield passed


def points_of(recipe: Recipe, bench: Bench) -> list[str]:
    """Every checkpoint that an undisturbed run of the recipe passes, each once."""
    _guest, operation = recipe.ask(bench)
    with at_points(lambda _point: None) as passed:
        assert runner.run(operation.pk) == "succeeded"
    return list(dict.fromkeys(passed))
