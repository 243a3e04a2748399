"""What a real host loses is started again: a QEMU that is killed, all of them with its power; what somebody stopped stays off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.clock import now
from tenants.scoping import every_tenant
from tests.lab.hosts import Host as LabHost
from tests.lab.hosts import Lab
from tests.live.livebench import LiveBench, wipe
from vms.hypervisor import pool
from vms.reconcile.sweep import sweep
from vms.services.guests import guests_mark_unknown
from vms.services.guests.recovering import guests_recover
from vms.services.guests.returning import guests_return
from vms.services.hosts import host_record_heartbeat
from vms.states import Power

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def second(lab: Lab) -> Iterator[LabHost]:
    """A host that no other test's machines are on."""
    host = lab.up(2)[1]
    yield host
    pool.close_all()
    host.power_on()
    wipe(host)


def test_a_killed_qemu_and_a_power_cut_take_nothing_for_long_that_was_on(
    second: LabHost, tiny_image: Path, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    bench = LiveBench(second, tiny_image)
    on, stopped = bench.guest(), bench.guest()
    guests_mark_unknown(bench.host)
    second.virsh("destroy", str(stopped.pk))
    returns(bench)
    assert (bench.fresh(on).seen_power, bench.fresh(stopped).want_power) == (Power.RUNNING, Power.STOPPED)

    second.exec("sh", "-c", f"kill -9 $(cat /run/libvirt/qemu/{second.virsh('domname', str(on.pk))}.pid)")
    assert any(second.virsh("domstate", str(on.pk)) != "running" for _look in range(200)), "its host heard of it"
    assert recovers(bench) == ["succeeded"]
    assert bench.fresh(on).seen_power == Power.RUNNING

    guests_mark_unknown(bench.host)
    second.power_off()
    pool.close_all()
    second.power_on()

    assert returns(bench) == ["succeeded"]
    assert [bench.fresh(one).seen_power for one in (on, stopped)] == [Power.RUNNING, Power.STOPPED]
    assert second.virsh("list", "--uuid").split() == [str(on.pk)]
    assert bench.findings() == []
    for one in (on, stopped):
        assert run(bench.ask(one, "purge").pk) == "succeeded"
    assert bench.findings() == []


def recovers(bench: LiveBench) -> list[str]:
    """The same of what crashed."""
    with every_tenant(why="test"):
        sweep(bench.host)
    assert guests_recover(at=now()) == 1
    started = Operation.objects.filter(kind="guest.start", status="queued").values_list("pk", flat=True)
    return [str(run(pk)) for pk in list(started)]


def returns(bench: LiveBench) -> list[str]:
    """What beat and workers do once the host answers; how each start ended."""
    host_record_heartbeat(bench.host)
    with every_tenant(why="test"):
        sweep(bench.host)
    guests_return(at=now())
    started = Operation.objects.filter(kind="guest.start", status="queued").values_list("pk", flat=True)
    return [str(run(pk)) for pk in list(started)]
