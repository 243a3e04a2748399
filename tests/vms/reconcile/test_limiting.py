"""How fast a card may be: rows and host agree, what a host cannot do is said, and what somebody changed there is set right."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Invalid
from tenants.journal.models import AuditEntry
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.test_security_groups import card
from vms.hypervisor import pool
from vms.hypervisor.errors import Refused, Unsupported
from vms.hypervisor.xml.devices import Bandwidth
from vms.models import Drift, Flavor, Guest, Host, Port
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.services.limiting import SpeedUnenforced, port_limit
from vms.states import Power

MBIT = 1_000_000 // 8 / 1024


def kib(mbit: int) -> int:
    """As libvirt counts."""
    return int(mbit * MBIT)


def limit(bench: Bench, guest: Guest, **mbit: int) -> Operation:
    with tenant_scope(bench.house.tenant):
        return port_limit(card(guest), actor=bench.house.actor, **mbit)


def limited(bench: Bench, guest: Guest) -> set[tuple[int, int]]:
    """What the host has of the machine's card, in each definition."""
    seen = pool.get(bench.host.uri).cards(str(guest.pk))
    return {each.limits for cards in seen.everywhere() for each in cards}


def rows(guest: Guest) -> tuple[int, int, bool]:
    with every_tenant(why="test"):
        port = Port.objects.get(guest=guest)
    return port.in_mbit, port.out_mbit, port.above_size


def sized(guest: Guest, mbit: int) -> None:
    Flavor.objects.filter(pk=guest.flavor_id).update(net_mbit=mbit)


def look(bench: Bench) -> None:
    with every_tenant(why="test"):
        sweep(bench.host)


@pytest.mark.parametrize("power", [Power.RUNNING, Power.STOPPED, Power.PAUSED, Power.SUSPENDED])
def test_a_limit_holds_at_once_and_at_the_next_start(bench: Bench, power: Power) -> None:
    guest = bench.guest(power)
    sized(guest, 0)

    assert run(limit(bench, guest, in_mbit=10, out_mbit=20).pk) == "succeeded"
    assert limited(bench, guest) == {(kib(10), kib(20))}
    assert run(limit(bench, guest, in_mbit=0).pk) == "succeeded"

    assert (rows(guest), limited(bench, guest)) == ((0, 20, False), {(0, kib(20))})
    assert bench.findings() == []


def test_a_machine_starts_with_the_tighter_of_its_size_and_its_card(bench: Bench) -> None:
    guest = bench.guest(Power.STOPPED)
    sized(guest, 100)
    assert run(limit(bench, guest, in_mbit=7).pk) == "succeeded"

    assert run(bench.ask(guest, "start").pk) == "succeeded"

    assert limited(bench, guest) == {(kib(7), kib(100))}
    assert bench.findings() == []


def test_only_an_operator_goes_above_the_size_and_the_customer_comes_back_to_it(bench: Bench) -> None:
    guest = bench.guest()
    sized(guest, 100)
    with pytest.raises(Invalid):
        limit(bench, guest, in_mbit=101)
    operator = Rest(factories.operator()[1])
    path = f"{bench.house.url}/ports/{card(guest).pk}"

    said = operator.patch(path, {"in_mbit": 1000})
    assert (said.status, run(said.json["id"])) == (202, "succeeded")
    assert (rows(guest), limited(bench, guest)) == ((1000, 0, True), {(kib(1000), kib(100))})
    assert run(limit(bench, guest, out_mbit=50).pk) == "succeeded"
    assert (rows(guest), limited(bench, guest)) == ((1000, 50, True), {(kib(1000), kib(50))})
    assert run(limit(bench, guest, in_mbit=100).pk) == "succeeded"

    assert (rows(guest), limited(bench, guest)) == ((100, 50, False), {(kib(100), kib(50))})
    with pytest.raises(Invalid):
        limit(bench, guest, in_mbit=1000)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_the_host_refuses_is_taken_back(bench: Bench, after: bool) -> None:
    guest = bench.guest()
    sized(guest, 100)
    assert run(limit(bench, guest, in_mbit=10).pk) == "succeeded"
    bench.on_host.fail("limit_card", Refused("no"), after=after)

    operation = limit(bench, guest, in_mbit=20, out_mbit=30)
    assert run(operation.pk) == "failed"
    bench.settle()

    assert (rows(guest), limited(bench, guest)) == ((10, 0, False), {(kib(10), kib(100))})
    assert bench.findings() == []


def test_a_host_that_cannot_limit_says_so_and_nothing_is_pretended(bench: Bench) -> None:
    guest = bench.guest()
    sized(guest, 0)
    bench.on_host.fail("limit_card", Unsupported("tc: no", feature="bandwidth"))

    operation = limit(bench, guest, in_mbit=10)
    assert run(operation.pk) == "failed"
    bench.settle()

    operation.refresh_from_db()
    assert operation.error_code == "speed_unenforced"
    assert Host.objects.get(pk=bench.host.pk).unenforced == ["bandwidth"]
    assert (rows(guest), limited(bench, guest), bench.findings()) == ((0, 0, False), {(0, 0)}, [])
    with pytest.raises(SpeedUnenforced):
        limit(bench, guest, in_mbit=10)
    assert run(limit(bench, guest, in_mbit=0).pk) == "succeeded"
    sized(guest, 100)
    port = Rest(bench.house.token).get(f"{bench.house.url}/ports/{card(guest).pk}").json
    assert port["speed"] == {"in_mbit": 100, "out_mbit": 100, "enforced": False}
    assert bench.findings() == []


def test_what_somebody_changed_on_the_host_is_shown_and_then_set_right(bench: Bench) -> None:
    guest = bench.guest()
    sized(guest, 0)
    assert run(limit(bench, guest, in_mbit=10).pk) == "succeeded"
    hv, owner = pool.get(bench.host.uri), installation_owner()
    hv.limit_card(str(guest.pk), card(guest).mac, Bandwidth(inbound_kbit=99_000), owner=owner)
    assert [line for line in bench.findings() if str(kib(99)) in line] != []

    look(bench)
    drift = Drift.objects.get(kind="other_speed")
    assert (drift.guest_id, limited(bench, guest)) == (guest.pk, {(kib(99), 0)})
    look(bench)
    bench.settle()
    look(bench)

    assert limited(bench, guest) == {(kib(10), 0)}
    assert (Drift.objects.count(), bench.findings()) == (0, [])


@pytest.mark.parametrize("power", [Power.RUNNING, Power.STOPPED])
def test_a_size_that_allows_less_by_now_is_brought_to_its_machines(bench: Bench, power: Power) -> None:
    guest = bench.guest(power)
    sized(guest, 33)

    for _twice in range(2):
        look(bench)
        bench.settle()

    assert limited(bench, guest) == {(kib(33), kib(33))}
    assert bench.findings() == []


def test_a_failed_mend_is_not_tried_with_every_look(bench: Bench) -> None:
    guest = bench.guest()
    sized(guest, 33)
    bench.on_host.fail("limit_card", Refused("no"))
    for _look in range(5):
        look(bench)
        bench.settle()

    with every_tenant(why="test"):
        tried = Operation.objects.filter(kind="guest.limit_port", subject_id=guest.pk)
        assert [operation.status for operation in tried] == ["failed"]


def test_a_machine_that_grows_while_it_runs_is_as_fast_as_its_new_size(bench: Bench) -> None:
    guest = bench.guest()
    sized(guest, 10)
    look(bench)
    look(bench)
    bench.settle()
    Flavor.objects.filter(pk=bench.larger.pk).update(net_mbit=44)

    assert run(bench.ask(guest, "resize").pk) == "succeeded"

    assert limited(bench, guest) == {(kib(44), kib(44))}
    assert bench.findings() == []


def test_one_that_wakes_is_as_fast_as_it_was_told_while_it_slept(bench: Bench) -> None:
    guest = bench.guest(Power.SUSPENDED)
    sized(guest, 0)
    assert run(limit(bench, guest, in_mbit=5).pk) == "succeeded"

    assert run(bench.ask(guest, "wake").pk) == "succeeded"

    assert limited(bench, guest) == {(kib(5), 0)}


def test_rest_takes_limits_or_an_address_and_minds_the_version(bench: Bench) -> None:
    guest = bench.guest()
    sized(guest, 100)
    rest, path = Rest(bench.house.token), f"{bench.house.url}/ports/{card(guest).pk}"
    tag = rest.get(path).headers["ETag"]

    said = rest.patch(path, {"in_mbit": 5}, **{"If-Match": tag})
    assert (said.status, said.json["kind"]) == (202, "guest.limit_port")
    assert run(said.json["id"]) == "succeeded"

    assert rest.patch(path, {"in_mbit": 6}, **{"If-Match": tag}).status == 412
    seen: dict[str, Any] = rest.get(path).json
    assert (seen["in_mbit"], seen["out_mbit"]) == (5, 0)
    assert seen["speed"] == {"in_mbit": 5, "out_mbit": 100, "enforced": True}
    for wrong in (
        {},
        {"ip": "", "in_mbit": 5},
        {"in_mbit": -1},
        {"in_mbit": 101},
        {"in_mbit": "5"},
        {"in_mbit": 10**9},
    ):
        assert rest.patch(path, wrong).status == 422, wrong
    assert Rest(factories.tenant_with_owner().token).patch(path, {"in_mbit": 5}).status == 404
    with every_tenant(why="test"):
        (entry,) = AuditEntry.objects.filter(action="guest.limit_port")
    assert (entry.changes["in_mbit"], entry.subject_id) == ([0, 5], str(guest.pk))


def test_who_may_not_edit_machines_limits_none(bench: Bench) -> None:
    guest = bench.guest()
    _reader, token = factories.member_with(bench.house.tenant, [Permission.GUEST_VIEW, Permission.NETWORK_VIEW])

    assert Rest(token).patch(f"{bench.house.url}/ports/{card(guest).pk}", {"in_mbit": 5}).status == 403


def test_the_page_says_how_fast_it_is_and_sets_it(bench: Bench, client: Client) -> None:
    guest = bench.guest()
    sized(guest, 100)
    client.force_login(bench.house.owner)
    tab = reverse("vms:guest_detail", args=[bench.house.tenant.slug, guest.pk]) + "?tab=network"
    dialog = reverse("vms:port_limit", args=[bench.house.tenant.slug, guest.pk, card(guest).pk])
    assert "100 Mbit/s each way" in client.get(tab).content.decode()
    assert "allows 100 Mbit/s" in client.get(dialog).content.decode()

    assert client.post(dialog, {"in_mbit": 101, "out_mbit": 0}).status_code == 422
    assert client.post(dialog, {"in_mbit": 5, "out_mbit": 0}).status_code == 302
    bench.settle()
    assert "In 5 Mbit/s, out 100 Mbit/s" in client.get(tab).content.decode()

    Host.objects.update(unenforced=["bandwidth"])
    assert "Not in force: its host cannot limit it" in client.get(tab).content.decode()
    assert "cannot limit network speed" in client.get(dialog).content.decode()
