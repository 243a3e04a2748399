"""P-G3, P-B10: another size is paid for first, taken whole, and returned where it is not taken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operations.models import Operation
from operations.runner import run
from operations.services import operations_expire
from portal.core.errors import Conflict, Invalid, OverQuota
from tenants.journal.models import UsageInterval
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import quota_set
from tests import factories
from tests.operations.kinds import lapse
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import Killed, at_points
from tests.vms.reconcile.volume_lives import Disks
from vms.hypervisor.errors import Refused, StorageFull
from vms.models import Flavor, Guest, HostClaim, Volume
from vms.services.guests import guest_resize
from vms.services.guests.resize import When, resize_fit
from vms.services.hosts import host_record_facts, host_record_heartbeat
from vms.states import Power

pytestmark = pytest.mark.django_db


def resize(bench: Bench, guest: Guest, flavor: Flavor, when: When = When.LIVE) -> Operation:
    with tenant_scope(bench.house.tenant):
        return guest_resize(bench.fresh(guest), flavor, actor=bench.house.actor, when=when)


def used(bench: Bench) -> dict[str, int]:
    rows = Quota.objects.filter(tenant=bench.house.tenant, resource__in=["vcpus", "memory_mib", "disk_gib"])
    return dict(rows.values_list("resource", "used"))


def has(bench: Bench, guest: Guest) -> tuple[int, int, int]:
    """vCPUs, memory and disk as the row says, which are those of the running machine and of its disk on the host."""
    row = bench.fresh(guest)
    assert bench.findings() == []
    return row.vcpus, row.memory_mib, row.disk_gib


def claimed(bench: Bench, guest: Guest) -> tuple[int, int, int]:
    with tenant_scope(bench.house.tenant):
        return HostClaim.objects.values_list("vcpus", "memory_mib", "disk_gib").get(guest=guest)


def limit(bench: Bench, **limits: int) -> None:
    with tenant_scope(bench.house.tenant):
        quota_set(bench.house.tenant, limits, actor=factories.desk())


SMALL, LARGE = (1, 256, 1), (2, 512, 2)


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("power", [Power.STOPPED, Power.RUNNING])
def test_a_machine_grows(power: Power, when: When, bench: Bench) -> None:
    guest = bench.guest(power)

    operation = resize(bench, guest, bench.larger, when)
    assert used(bench) == {"vcpus": 2, "memory_mib": 512, "disk_gib": 2}
    assert claimed(bench, guest) == LARGE
    assert run(operation.pk) == "succeeded"

    waits = power == Power.RUNNING and when == When.POWER_OFF
    assert has(bench, guest) == ((1, 256, 2) if waits else LARGE)
    row = bench.fresh(guest)
    assert (row.flavor_id, row.seen_power) == (bench.flavor.pk if waits else bench.larger.pk, power)
    assert used(bench) == {"vcpus": 2, "memory_mib": 512, "disk_gib": 2}
    restarts = bench.on_host.calls["press_power"]
    assert restarts == (1 if power == Power.RUNNING and when == When.RESTART else 0)


def test_a_disk_that_grows_counts_beside_the_machines_others(bench: Bench) -> None:
    guest = bench.guest()
    Disks(bench).volume(guest)
    limit(bench, guest_disk_gib=2)

    with pytest.raises(OverQuota) as refused:
        resize(bench, guest, bench.larger)
    assert (refused.value.details["limit"], refused.value.details["asked"]) == (2, 3)
    with tenant_scope(bench.house.tenant):
        foreseen = resize_fit(guest, bench.larger, actor=bench.house.actor)
    assert [code for code, _sentence in foreseen.reasons] == ["over_quota"]

    limit(bench, guest_disk_gib=3)
    assert run(resize(bench, guest, bench.larger).pk) == "succeeded"


@pytest.mark.parametrize("action", ["stop", "shutdown", "delete"])
def test_what_waits_is_taken_at_the_next_power_off(action: str, bench: Bench) -> None:
    guest = bench.guest()
    run(resize(bench, guest, bench.larger, When.POWER_OFF).pk)
    assert Rest(bench.house.token).get(f"{bench.house.url}/guests/{guest.pk}").json["next_flavor"]

    assert run(bench.ask(guest, action).pk) == "succeeded"
    if action == "delete":
        assert run(bench.ask(guest, "restore").pk) == "succeeded"
    assert run(bench.ask(guest, "start").pk) == "succeeded"
    bench.on_host.happen(str(guest.pk), Power.STOPPED, "shutdown")

    row = bench.fresh(guest)
    assert (row.vcpus, row.memory_mib, row.next_flavor_id) == (2, 512, None)
    live = bench.on_host.domains[str(guest.pk)].live_spec
    assert live is not None
    assert (live.vcpus, live.memory_mib) == (2, 512)


def test_a_machine_shrinks_with_a_restart_and_returns_what_it_had_but_its_disk(bench: Bench) -> None:
    guest = bench.guest()
    run(resize(bench, guest, bench.larger).pk)

    with pytest.raises(Conflict) as refused:
        resize(bench, guest, bench.flavor)
    assert refused.value.code == "needs_restart"
    operation = resize(bench, guest, bench.flavor, When.RESTART)
    assert used(bench) == {"vcpus": 2, "memory_mib": 512, "disk_gib": 2}
    assert run(operation.pk) == "succeeded"

    assert has(bench, guest) == (1, 256, 2)
    assert used(bench) == {"vcpus": 1, "memory_mib": 256, "disk_gib": 2}
    assert claimed(bench, guest) == (1, 256, 2)


def test_what_is_metered_follows_what_the_machine_has(bench: Bench) -> None:
    guest = bench.guest()

    run(resize(bench, guest, bench.larger).pk)

    with tenant_scope(bench.house.tenant):
        open_ones = UsageInterval.objects.filter(ended_at=None)
        counted = {(row.resource_type, row.meter): row.quantity for row in open_ones}
    assert counted == {("guest", "vcpus"): 2, ("guest", "memory_mib"): 512, ("volume", "disk_gib"): 2}


@pytest.mark.parametrize("verb", ["resize_volume", "add_vcpus", "add_memory"])
def test_what_the_host_refuses_is_returned_and_what_it_took_is_kept(verb: str, bench: Bench) -> None:
    guest = bench.guest()
    bench.on_host.fail(verb, StorageFull("no") if verb == "resize_volume" else Refused("no"))

    operation = resize(bench, guest, bench.larger)

    assert run(operation.pk) == "failed"
    size = has(bench, guest)
    assert size == {"resize_volume": SMALL, "add_vcpus": (1, 256, 2), "add_memory": (2, 256, 2)}[verb]
    assert tuple(used(bench)[name] for name in ("vcpus", "memory_mib", "disk_gib")) == size
    assert claimed(bench, guest) == size
    row = bench.fresh(guest)
    assert (row.flavor_id, row.next_flavor_id, row.want_power) == (bench.flavor.pk, None, Power.RUNNING)


def test_a_machine_that_does_not_listen_keeps_running_in_its_old_size(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = bench.guest()
    bench.on_host.deaf = True
    monkeypatch.setattr("vms.handlers.resize.GRACE_S", 0)

    operation = resize(bench, guest, bench.larger, When.RESTART)

    assert run(operation.pk) == "failed"
    operation.refresh_from_db()
    assert operation.error_code == "still_running"
    assert has(bench, guest) == (1, 256, 2)
    assert used(bench) == {"vcpus": 1, "memory_mib": 256, "disk_gib": 2}


def test_where_nobody_knows_what_the_host_did_nothing_is_returned_until_it_is_off(bench: Bench) -> None:
    guest = bench.guest()
    operation = resize(bench, guest, bench.larger)
    with at_points(_die_at("guest.resize:vcpus:after")), pytest.raises(Killed):
        run(operation.pk)
    bench.on_host.silent = True
    lapse(operation)
    list(operations_expire())
    Operation.objects.filter(pk=operation.pk).update(deadline_at=operation.created_at)
    assert run(operation.pk) == "failed"
    bench.on_host.speak_again()
    host_record_heartbeat(bench.host)

    assert used(bench) == {"vcpus": 2, "memory_mib": 512, "disk_gib": 2}
    bench.ask(guest, "stop")
    bench.settle()
    bench.on_host.happen(str(guest.pk), Power.STOPPED)
    bench.ask(guest, "start")
    bench.settle()
    assert has(bench, guest) == LARGE


def _die_at(point: str) -> Callable[[str], None]:
    def die(passed: str) -> None:
        if passed == point:
            raise Killed

    return die


def test_more_than_the_quota_is_refused_and_changes_nothing(bench: Bench) -> None:
    guest = bench.guest()
    limit(bench, vcpus=1)

    with pytest.raises(OverQuota):
        resize(bench, guest, bench.larger)

    assert has(bench, guest) == SMALL
    assert claimed(bench, guest) == SMALL


def test_more_than_the_host_has_is_refused_and_changes_nothing(bench: Bench) -> None:
    guest = bench.guest()
    host_record_facts(bench.host, facts={}, cpus=1, memory_mib=256 * 1024)

    with pytest.raises(Conflict) as refused:
        resize(bench, guest, bench.larger)

    assert refused.value.code == "no_room"
    assert used(bench) == {"vcpus": 1, "memory_mib": 256, "disk_gib": 1}


def test_the_same_size_and_one_too_small_for_the_image_are_refused(bench: Bench) -> None:
    guest = bench.guest()
    tiny = factories.flavor("tiny", memory_mib=64)
    with every_tenant(why="test"):
        type(bench.image).objects.filter(pk=bench.image.pk).update(min_memory_mib=128)

    with pytest.raises(Conflict) as same:
        resize(bench, guest, bench.flavor)
    with pytest.raises(Invalid):
        resize(bench, guest, tiny, When.RESTART)

    assert same.value.code == "same_size"


def test_a_wish_that_waits_is_replaced_and_can_be_taken_back(bench: Bench) -> None:
    guest = bench.guest()
    run(resize(bench, guest, bench.larger, When.POWER_OFF).pk)
    largest = factories.flavor("largest", vcpus=4, memory_mib=1024, disk_gib=2)

    run(resize(bench, guest, largest, When.POWER_OFF).pk)
    assert used(bench) == {"vcpus": 4, "memory_mib": 1024, "disk_gib": 2}
    run(resize(bench, guest, bench.flavor, When.POWER_OFF).pk)

    assert used(bench) == {"vcpus": 1, "memory_mib": 256, "disk_gib": 2}
    assert has(bench, guest) == (1, 256, 2)


def test_resizes_and_deletions_again_and_again_leave_nothing_on_the_books(bench: Bench) -> None:
    """P-B10."""
    for number in range(12):
        guest = bench.guest(Power.RUNNING if number % 2 else Power.STOPPED)
        operation = resize(bench, guest, bench.larger, [When.POWER_OFF, When.LIVE, When.RESTART][number % 3])
        if number % 4:
            run(operation.pk)
            assert run(bench.ask(guest, "purge").pk) == "succeeded"
        else:
            with pytest.raises(Conflict):
                bench.ask(guest, "purge")
            run(operation.pk)
            assert run(bench.ask(guest, "purge").pk) == "succeeded"
        assert bench.findings() == []

    assert used(bench) == {"vcpus": 0, "memory_mib": 0, "disk_gib": 0}
    with tenant_scope(bench.house.tenant):
        assert not Volume.objects.exists()


def test_a_dry_run_says_what_it_takes_and_changes_nothing(bench: Bench) -> None:
    guest = bench.guest()
    rest = Rest(bench.house.token)
    url = f"{bench.house.url}/guests/{guest.pk}/resize?dry_run=true"

    fits = rest.post(url, {"flavor": bench.larger.name})
    limit(bench, vcpus=1)
    short = rest.post(url, {"flavor": bench.larger.name})

    assert (fits.status, fits.json["fits"]) == (200, True)
    assert {"name": "vcpus", "before": 1, "after": 2, "limit": None} in fits.json["quota"]
    assert (short.json["fits"], short.json["reasons"][0]["code"]) == (False, "over_quota")
    assert has(bench, guest) == SMALL
