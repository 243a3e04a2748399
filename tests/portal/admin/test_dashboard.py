"""What the operators' dashboard says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client

from operations.models import Operation
from portal.core.clock import now
from portal.core.ids import uuid7
from tenants.models import Quota
from tenants.scoping import every_tenant
from tests import factories
from tests.factories import House
from vms.consoles import registry
from vms.models import Guest, Host
from vms.selectors.fleet import Share, first_id_at, fleet_overview
from vms.services.consoles import console_redis
from vms.services.hosts import drift_record, host_mark_swept, host_record_pool
from vms.states import Power


@pytest.mark.parametrize(
    ("share", "sold", "used", "free"),
    [
        (Share(100, 40, 10), 40, 10, 60),
        (Share(100, 140, 200), 100, 100, 0),
        (Share(0, 0, 0), 0, 0, 0),
        (Share(3, 1, 1), 33, 33, 67),
    ],
    ids=["plain", "oversold", "not-measured", "rounded"],
)
def test_shares_are_percents_of_what_there_is(share: Share, sold: int, used: int, free: int) -> None:
    assert (share.sold_percent, share.used_percent, share.free_percent) == (sold, used, free)


def test_ids_begin_where_their_moment_does() -> None:
    before, fresh, after = first_id_at(now()), uuid7(), first_id_at(now() + timedelta(seconds=1))

    assert before <= fresh < after


@pytest.mark.django_db
def test_an_empty_installation_invites_to_enrol_a_host(desk: Client) -> None:
    page = desk.get("/operator/").content.decode()

    assert "No host yet" in page
    assert "Hosts and database agree." in page


def test_capacity_is_sold_used_and_free(house: House) -> None:
    host = factories.host_up(cpus=4, memory_mib=8 * 1024 + 512)
    size = factories.flavor("two", vcpus=2, memory_mib=2048, disk_gib=10)
    factories.guest(house, flavor=size, power=Power.RUNNING)
    factories.guest(house, flavor=size, power=Power.STOPPED)
    host_record_pool(host.storage_pools.get(), capacity=100 * 2**30, allocation=5 * 2**30, available=95 * 2**30)

    fleet = fleet_overview(at=now())

    load = fleet.hosts[0]
    assert load.vcpus == Share(32, 4, 2)
    assert load.memory_mib == Share(8192, 4096, 2048)
    assert load.disk_gib == Share(100, 20, 5)
    assert (load.guests, load.running) == (2, 1)
    assert fleet.pools[0].vcpus == load.vcpus


def test_a_pool_sells_nothing_of_a_host_in_maintenance(house: House) -> None:
    factories.host_up(cpus=4)
    Host.objects.update(maintenance=True)

    fleet = fleet_overview(at=now())

    assert fleet.pools[0].vcpus.total == 0
    assert fleet.hosts_by_state == {"maintenance": 1}


def test_trouble_stands_on_the_first_page(desk: Client, house: House) -> None:
    host = factories.host_up("fra1-b02")
    factories.guest(house, "web-1")
    _building, failed = factories.guest_building(house, "ci-3")
    factories.operation_broken(failed)
    _building, stuck = factories.guest_building(house, "ci-4")
    Operation.objects.filter(pk=stuck.pk).update(attempts=5, step="Copying the image")
    Host.objects.filter(pk=host.pk).update(state="down", facts={"libvirt_version": "9.0.0", "qemu_version": "7.2.9"})
    Quota.objects.filter(tenant=house.tenant, resource="volumes").update(limit=10, used=9)
    with every_tenant(why="test"):
        Guest.objects.update(seen_power="unknown")
        drift_record(host, "stray_volume", "vol-1.qcow2")
    host_mark_swept(host, up_s=60)

    page = " ".join(desk.get("/operator/").content.decode().split())

    assert "fra1-b02 is silent." in page
    assert "show as “unknown”" in page
    assert "Create ci-3 · Harbour" in page
    assert "It did not work." in page
    assert "Waits at “Copying the image”, tried 5 times" in page
    assert "volumes 9 of 10" in page
    assert "A disk nobody owns" in page
    assert "libvirt 9.0.0, QEMU 7.2.9" in page


def test_work_of_ten_minutes_is_stuck_and_fresh_work_is_not(house: House) -> None:
    _guest, operation = factories.guest_building(house)

    assert fleet_overview(at=now()).stuck == []
    assert fleet_overview(at=now() + timedelta(minutes=11)).stuck == [operation]


def test_yesterdays_failures_are_not_todays(house: House) -> None:
    _guest, operation = factories.guest_building(house)
    factories.operation_broken(operation)

    assert fleet_overview(at=now()).failing == [operation]
    assert fleet_overview(at=now() + timedelta(hours=25)).failing == []


@pytest.mark.django_db
def test_open_consoles_are_counted() -> None:
    watcher = registry.Watcher(
        id="w1", user="u", tenant="t", guest="g", generation=1, kind="vnc", session="s", writable=True, since=0.0,
        address="127.0.0.1",
    )  # fmt: skip
    assert registry.enter(console_redis(), watcher, per_guest=5, per_user=5) is None

    try:
        assert fleet_overview(at=now()).consoles == 1
    finally:
        registry.leave(console_redis(), watcher)

    assert fleet_overview(at=now()).consoles == 0


@pytest.mark.django_db
def test_the_page_lives_without_redis(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REDIS_URL", "unix:///nowhere/redis.sock")

    page = desk.get("/operator/").content.decode()

    assert "consoles unknown" in page
