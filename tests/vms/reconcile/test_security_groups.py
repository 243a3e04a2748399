"""Security groups with a host in memory: what is asked for is what the host's filters say, or nothing was changed."""

from __future__ import annotations

from typing import Any

import pytest

from operations.runner import run
from portal.core.errors import Conflict, Invalid
from tenants.scoping import every_tenant, tenant_scope
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.group_lives import OUT, SSH, card, change, fresh, in_force, machine, made, ours
from tests.vms.reconcile.lives import Killed, at_points
from vms.guards import card_wanted
from vms.hypervisor.bridges import card_guard
from vms.hypervisor.errors import Refused
from vms.models import Guard, Port, SecurityGroup
from vms.names import card_name, group_name
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.services.guarding import port_guard
from vms.services.security_groups import group_create, group_delete
from vms.states import Power

pytestmark = pytest.mark.django_db


def test_a_machine_is_guarded_by_the_default_group_which_lets_nobody_in(bench: Bench) -> None:
    guest = bench.guest()

    with every_tenant(why="test"):
        port = Port.objects.prefetch_related("guards__group", "network__subnets").get(guest=guest)
        (guard,) = port.guards.all()
        wanted = card_guard(card_wanted(port, installation_owner()))
    assert guard.group.is_default
    assert [rule["direction"] for rule in guard.group.rules] == ["out"]
    assert in_force(bench, guard.group)
    assert bench.on_host.filters[wanted.name].meaning() == wanted.meaning()
    domain = bench.on_host.domains[str(guest.pk)]
    assert domain.spec is not None
    assert [nic.filter.name for nic in domain.spec.nics if nic.filter] == [wanted.name]
    assert bench.findings() == []


def test_the_filters_go_with_the_last_machine(bench: Bench) -> None:
    first, second = bench.guest(), bench.guest()
    run(bench.ask(first, "purge").pk)
    assert len(ours(bench)) == 2

    run(bench.ask(second, "purge").pk)

    assert ours(bench) == set()
    assert bench.findings() == []


def test_other_rules_are_in_force_at_once(bench: Bench) -> None:
    group = made(bench)
    machine(bench, group)
    operation = change(bench, group, [OUT])
    assert fresh(group).rules != fresh(group).applied

    assert run(operation.pk) == "succeeded"

    assert fresh(group).rules == fresh(group).applied == [OUT]
    assert in_force(bench, fresh(group))
    assert bench.findings() == []


def test_a_rule_that_a_host_refuses_changes_nothing_and_says_so(bench: Bench) -> None:
    """P-H2: a rule that is not applied fails the whole change, loudly."""
    group = made(bench)
    machine(bench, group)
    operation = change(bench, group, [OUT])
    bench.on_host.fail("ensure_filter", Refused("no such module"))

    assert run(operation.pk) == "failed"

    operation.refresh_from_db()
    assert operation.error_code == "host_refused"
    assert fresh(group).rules == fresh(group).applied == [SSH, OUT]
    assert in_force(bench, fresh(group))
    assert bench.findings() == []


def test_what_somebody_changed_on_the_host_is_shown_and_mended(bench: Bench) -> None:
    group = made(bench)
    machine(bench, group)
    name = group_name(installation_owner(), group.pk)
    bench.on_host.filters[name] = bench.on_host.filters[name].__class__(name=name, rules=())
    assert any("otherwise than its row says" in found for found in bench.findings())

    with every_tenant(why="test"):
        sweep(bench.host)
    bench.settle()

    assert in_force(bench, fresh(group))
    assert bench.findings() == []


def test_rules_about_a_groups_machines_follow_who_comes_and_goes(bench: Bench) -> None:
    friends = made(bench, "friends", [OUT])
    group = made(bench, "web", [{**SSH, "group": str(friends.pk)}, OUT])
    machine(bench, group)
    name = group_name(installation_owner(), group.pk)
    before = len(bench.on_host.filters[name].rules)

    friend = machine(bench, friends)

    assert len(bench.on_host.filters[name].rules) == before + 1
    assert in_force(bench, fresh(group))
    run(bench.ask(friend, "purge").pk)
    bench.settle()
    assert len(bench.on_host.filters[name].rules) == before
    assert bench.findings() == []


def test_a_card_gets_other_groups_and_those_it_had_leave_the_host(bench: Bench) -> None:
    first, second = made(bench, "first"), made(bench, "second", [OUT])
    guest = machine(bench, first)
    with tenant_scope(bench.house.tenant):
        operation = port_guard(card(guest), [second], actor=bench.house.actor)

    assert run(operation.pk) == "succeeded"

    owner = installation_owner()
    assert ours(bench) == {group_name(owner, second.pk), card_name(owner, card(guest).pk)}
    assert bench.findings() == []


def test_a_card_whose_new_groups_are_refused_keeps_its_own(bench: Bench) -> None:
    first, second = made(bench, "first"), made(bench, "second", [OUT])
    guest = machine(bench, first)
    with tenant_scope(bench.house.tenant):
        operation = port_guard(card(guest), [second], actor=bench.house.actor)
    bench.on_host.fail("ensure_filter", Refused("no"))

    assert run(operation.pk) == "failed"

    with every_tenant(why="test"):
        assert [guard.group_id for guard in Guard.objects.filter(port__guest=guest)] == [first.pk]


def test_a_card_from_before_groups_is_guarded_while_its_machine_is_off(bench: Bench) -> None:
    group, guest = made(bench), bench.guest()
    with every_tenant(why="test"):
        Guard.objects.all().delete()
    with tenant_scope(bench.house.tenant), pytest.raises(Conflict) as refused:
        port_guard(card(guest), [group], actor=bench.house.actor)
    assert refused.value.code == "guest_running"

    run(bench.ask(guest, "stop").pk)
    with tenant_scope(bench.house.tenant):
        operation = port_guard(card(guest), [group], actor=bench.house.actor)
    assert run(operation.pk) == "succeeded"
    run(bench.ask(guest, "start").pk)

    domain = bench.on_host.domains[str(guest.pk)]
    assert domain.spec is not None
    assert domain.power == Power.RUNNING
    assert domain.spec.nics[0].filter is not None
    assert domain.spec.nics[0].filter.name == card_name(installation_owner(), card(guest).pk)


@pytest.mark.parametrize("effect", ["group:before", "group:after"])
def test_a_worker_that_dies_while_rules_change_leaves_them_whole(bench: Bench, effect: str) -> None:
    group = made(bench)
    machine(bench, group)
    operation = change(bench, group, [OUT])

    def die(passed: str) -> None:
        if passed == f"group.apply:{effect}":
            raise Killed

    with at_points(die), pytest.raises(Killed):
        run(operation.pk)
    lapse(operation)
    bench.settle()

    operation.refresh_from_db()
    assert operation.status == "succeeded"
    assert fresh(group).applied == [OUT]
    assert in_force(bench, fresh(group))


def test_a_group_that_something_stands_on_is_not_deleted(bench: Bench) -> None:
    friends = made(bench, "friends", [OUT])
    group = made(bench, "web", [{**SSH, "group": str(friends.pk)}])
    guest = machine(bench, group)
    with tenant_scope(bench.house.tenant):
        for used in (friends, group):
            with pytest.raises(Conflict) as refused:
                group_delete(used, actor=bench.house.actor)
            assert refused.value.code == "group_in_use"
    run(bench.ask(guest, "purge").pk)

    with tenant_scope(bench.house.tenant):
        group_delete(group, actor=bench.house.actor)
        group_delete(friends, actor=bench.house.actor)
        assert not SecurityGroup.objects.filter(is_default=False).exists()


@pytest.mark.parametrize(
    ("wrong", "pointer", "code"),
    [
        ({"direction": "up"}, "/rules/0/direction", "invalid_choice"),
        ({"direction": "in", "protocol": "gre"}, "/rules/0/protocol", "invalid_choice"),
        ({"direction": "in", "protocol": "tcp", "first_port": 0}, "/rules/0/first_port", "invalid_ports"),
        (
            {"direction": "in", "protocol": "tcp", "first_port": 0, "last_port": 80},
            "/rules/0/first_port",
            "invalid_ports",
        ),
        ({"direction": "in", "protocol": "tcp", "last_port": 70000}, "/rules/0/last_port", "invalid_ports"),
        (
            {"direction": "in", "protocol": "tcp", "first_port": 9, "last_port": 8},
            "/rules/0/first_port",
            "invalid_ports",
        ),
        ({"direction": "in", "protocol": "icmp", "first_port": 8}, "/rules/0/first_port", "no_ports"),
        ({"direction": "in", "cidr": "10.0.0.1/24"}, "/rules/0/cidr", "host_bits"),
        ({"direction": "in", "cidr": "010.0.0.0/8"}, "/rules/0/cidr", "invalid_cidr"),
        ({"direction": "in", "cidr": "2001:db8::/32"}, "/rules/0/cidr", "no_ipv6"),
        ({"direction": "in", "cidr": "$(id)"}, "/rules/0/cidr", "invalid_cidr"),
        ({"direction": "in", "cidr": "10.0.0.0/8", "group": "self"}, "/rules/0/group", "one_peer"),
        ({"direction": "in", "group": "../../etc"}, "/rules/0/group", "unknown_group"),
        ({"direction": "in", "note": "a\nb"}, "/rules/0/note", "invalid_note"),
    ],
)
def test_a_wrong_rule_is_named_by_its_field(bench: Bench, wrong: dict[str, Any], pointer: str, code: str) -> None:
    with tenant_scope(bench.house.tenant), pytest.raises(Invalid) as refused:
        group_create(bench.house.tenant, name="wrong", rules=[wrong], actor=bench.house.actor)

    assert [(fault.pointer, fault.code) for fault in refused.value.errors] == [(pointer, code)]
