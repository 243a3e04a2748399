"""A fabric that two hosts in memory share: what is done there is done once for both, and undone when nobody needs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vms.handlers  # noqa: F401  (registers the handlers)
from operations.models import Operation
from operations.runner import run
from portal.core.errors import Conflict
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import carried_out
from tests.support.ovn import Central
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.woven import Woven, isolated, leads_out, told
from vms.hypervisor import fake, pool
from vms.hypervisor.ovn import wire
from vms.hypervisor.ovn.marks import row_id
from vms.models import Drift, Host, HostPool, NetworkOnHost, Port
from vms.names import card_name, group_name, network_name
from vms.selectors.fabrics import speaks
from vms.selectors.installation import installation_owner
from vms.selectors.networks import carried_by, carried_mtu, lacks_of, networks_drawn
from vms.selectors.reachability import way_between
from vms.services.fabrics import fabric_test, fabric_write
from vms.services.host_pools import host_pool_write
from vms.services.hosts import host_enrol, host_record_facts, host_record_heartbeat, host_test
from vms.services.placing import NoRoom
from vms.states import Power

OUT = {"direction": "out"}
ICMP = {"direction": "in", "protocol": "icmp"}


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Central]:
    central = Central(tmp_path_factory.mktemp("ovn"))
    yield central
    wire.hang_up(central.northbound, "")
    central.close()


@pytest.fixture
def woven(db: None, central: Central, settings: Any, tmp_path: Path) -> Iterator[Woven]:
    pool.register("fake", fake.connect)
    settings.DATA_DIR = tmp_path
    bench = Bench(tmp_path)
    Host.objects.update(enabled=False)
    fabric, test = fabric_write(
        None, name="woven", northbound=central.northbound, southbound=central.southbound, actor=factories.desk()
    )
    assert run(test.pk) == "succeeded", Operation.objects.values().get(pk=test.pk)
    home = host_pool_write(None, name="woven", fabric=fabric, actor=factories.desk())
    hosts = []
    for name in ("a", "b"):
        central.sbctl("--may-exist", "chassis-add", name, "geneve", f"127.0.1.{ord(name)}")
        with every_tenant(why="test"):
            host, probe = host_enrol(
                uri=f"fake://woven-{bench.name}-{name}", name=name, data_dir=f"/data/{name}", run_dir=f"/run/{name}",
                addresses=[f"192.0.2.{len(hosts) + 1}"], pool=home, actor=factories.desk(),
            )  # fmt: skip
        assert run(probe.pk) == "succeeded"
        host_record_facts(host, facts={}, cpus=64, memory_mib=256 * 1024)
        host_record_heartbeat(host)
        hosts.append(host)
    bench.let_speak = lambda pk: None  # type: ignore[method-assign]
    made = Woven(
        bench, central, fabric, [Host.objects.select_related("pool__fabric").get(pk=host.pk) for host in hosts]
    )
    assert carried_out() == ["fabric.probe"]
    fabric.refresh_from_db()
    yield made
    pool.close_all()
    fake.forget_hosts()
    for table in ("Logical_Switch", "Logical_Router", "Port_Group", "Address_Set", "DHCP_Options", "DNS"):
        central.nbctl("--all", "destroy", table)


def test_a_test_says_what_it_is_and_who_is_in_it(woven: Woven) -> None:
    assert woven.fabric.problem == ""
    assert woven.fabric.facts["northd"].startswith("2")
    assert set(woven.fabric.joined) == {str(host.pk) for host in woven.hosts}
    assert any("isolated" in note for note in woven.fabric.notes)
    assert all("bandwidth" in host.unenforced for host in woven.hosts)

    woven.central.sbctl("chassis-del", "b")
    assert run(fabric_test(woven.fabric, actor=factories.desk()).pk) == "succeeded"
    woven.fabric.refresh_from_db()
    assert woven.fabric.joined == [str(woven.hosts[0].pk)]
    assert any(note.startswith("b is not in it") for note in woven.fabric.notes)


def test_a_machine_goes_only_where_the_fabric_is(woven: Woven) -> None:
    isolated(woven)
    woven.central.sbctl("chassis-del", "b")
    assert run(fabric_test(woven.fabric, actor=factories.desk()).pk) == "succeeded"
    assert {woven.bench.guest().host_id for _ in range(2)} == {woven.hosts[0].pk}

    fabric_write(woven.fabric, enabled=False, actor=factories.desk())
    with pytest.raises(Conflict):
        woven.bench.ask_create()


def test_what_does_not_answer_is_said_on_its_page(woven: Woven, tmp_path: Path) -> None:
    fabric, test = fabric_write(
        None, name="gone", northbound=f"unix:{tmp_path}/nb", southbound=f"unix:{tmp_path}/sb", actor=factories.desk()
    )
    assert run(test.pk) == "failed"

    fabric.refresh_from_db()
    test.refresh_from_db()
    assert (test.error_code, fabric.seen_at) == ("fabric_unreachable", None)
    assert str(tmp_path) in fabric.problem


def test_a_network_is_made_once_and_goes_with_the_last_machine_on_any_host(woven: Woven) -> None:
    isolated(woven)
    one, two = woven.pair()
    owner = installation_owner()
    with every_tenant(why="test"):
        network = networks_drawn().get()
        assert NetworkOnHost.objects.count() == 2
        assert set(NetworkOnHost.objects.values_list("drawing", flat=True)) == {network.drawing}
    assert woven.switches() == {network_name(owner, network.pk)}
    assert (carried_by(network), list(lacks_of(network))) == ("ovn", ["limits", "ipv6", "outside"])
    assert (network.mtu, carried_mtu(network)) == (1500, 1442)
    assert "mtu=1442" in woven.central.nbctl("--bare", "--columns=options", "list", "DHCP_Options")
    assert woven.rows("Port_Group") == 1
    barred = woven.central.nbctl("--bare", "--columns=match", "list", "ACL")
    assert "192.0.2.1/32, 192.0.2.2/32" in barred
    assert woven.bench.findings() == []
    assert woven.swept() == set()

    assert run(woven.bench.ask(one, "purge").pk) == "succeeded"
    assert woven.switches() == {network_name(owner, network.pk)}
    assert (woven.rows("Logical_Switch_Port"), woven.rows("Port_Group")) == (1, 1)
    assert woven.bench.findings() == []
    assert run(woven.bench.ask(two, "purge").pk) == "succeeded"
    assert (woven.switches(), woven.rows("Logical_Switch_Port"), woven.rows("Port_Group")) == (set(), 0, 0)
    with every_tenant(why="test"):
        assert NetworkOnHost.objects.count() == 0
    assert woven.bench.findings() == []


def test_a_rule_reaches_all_hosts_by_one_operation_also_while_one_of_them_is_silent(woven: Woven) -> None:
    isolated(woven)
    one, two = woven.pair()
    with tenant_scope(woven.bench.house.tenant):
        ip = two.ports.get().addresses.get().ip
        before = way_between(woven.bench.house.actor, one.name, two.name, "icmp", None)
    assert before.hops
    Host.objects.filter(pk=woven.hosts[0].pk).update(state="down")

    assert woven.rules(OUT, ICMP) == ["group.apply"]
    assert "icmp4" in woven.central.nbctl("--bare", "--columns=match", "list", "ACL")
    assert ip
    host_record_heartbeat(woven.hosts[0])
    assert woven.swept() == set()
    assert woven.bench.findings() == []


def test_machines_of_one_network_on_two_hosts_are_said_to_meet(woven: Woven) -> None:
    isolated(woven)
    one, two = woven.pair()
    woven.rules(OUT, ICMP)

    with tenant_scope(woven.bench.house.tenant):
        codes = [hop.code for hop in way_between(woven.bench.house.actor, one.name, two.name, "icmp", None).hops]
    assert "same_network" in codes
    assert "other_host" not in codes


def test_what_is_lost_on_the_fabric_is_shown_and_brought_back(woven: Woven) -> None:
    isolated(woven)
    one, _two = woven.pair()
    owner = installation_owner()
    with every_tenant(why="test"):
        port = Port.objects.get(guest=one)
        group = group_name(owner, port.guards.get().group_id)
        name = network_name(owner, port.network_id)
    held = told(woven)
    woven.central.nbctl("ls-del", name)
    woven.central.nbctl("pg-del", group.replace("-", "_"))
    woven.central.nbctl("ls-add", "somebody-elses")

    shown = woven.swept()
    assert {("other_network", "private"), ("missing_card", card_name(owner, port.pk))} <= shown
    done = carried_out()
    assert {"network.change", "guest.guard"} <= set(done)
    woven.swept()
    carried_out()

    assert woven.swept() == set()
    assert woven.switches() == {name, "somebody-elses"}
    woven.central.nbctl("ls-del", "somebody-elses")
    assert told(woven) == held
    assert woven.bench.findings() == []


def test_what_was_changed_on_the_fabric_is_shown_and_set_right(woven: Woven) -> None:
    isolated(woven)
    woven.pair()
    held = told(woven)
    switch = next(iter(woven.switches()))
    woven.central.nbctl("acl-del", switch, "from-lport")

    assert [finding for finding in woven.bench.findings() if "otherwise on its fabric" in finding]
    assert ("other_network", "private") in woven.swept()
    assert carried_out() == ["network.change"]
    assert woven.swept() == set()
    assert told(woven) == held


def test_a_network_of_ours_that_nobody_knows_is_shown_once_and_left(woven: Woven) -> None:
    isolated(woven)
    woven.pair()
    owner = installation_owner()
    marks = f"external_ids:guesthouse\\:installation={owner.installation}"
    epoch = f"external_ids:guesthouse\\:epoch={owner.epoch}"
    woven.central.nbctl("ls-add", "stray", "--", "set", "Logical_Switch", "stray", marks, epoch,
                        "external_ids:guesthouse\\:subject=x")  # fmt: skip

    assert woven.swept() == {("stray_network", "stray")}
    assert Drift.objects.count() == 1
    assert "stray" in woven.switches()
    assert [speaks(host) for host in woven.hosts] == [True, False]


def test_a_silent_fabric_is_no_evidence_and_machines_are_seen_all_the_same(woven: Woven) -> None:
    isolated(woven)
    one, _two = woven.pair()
    woven.central.nbctl("ls-add", "x")
    with every_tenant(why="test"):
        drift = Drift.objects.create(host=woven.hosts[0], kind="other_network", subject="private")
    woven.central.kill("nb")
    fake.host(woven.hosts[0].uri.partition("//")[2]).domains[str(one.pk)].power = Power.STOPPED

    woven.swept()

    woven.fabric.refresh_from_db()
    assert woven.fabric.problem != ""
    assert woven.bench.fresh(one).seen_power == Power.STOPPED
    assert Drift.objects.filter(pk=drift.pk).exists()
    with every_tenant(why="test"):
        assert NetworkOnHost.objects.count() == 2
    start = woven.bench.ask(one, "start")
    assert run(start.pk) == "queued"
    start.refresh_from_db()
    assert "fabric" in start.step

    woven.central.start("nb")
    woven.swept()
    woven.fabric.refresh_from_db()
    assert woven.fabric.problem == ""
    Operation.objects.filter(pk=start.pk).update(not_before=factories.now())
    assert run(start.pk) == "succeeded"
    woven.central.nbctl("ls-del", "x")


def test_cards_come_change_their_address_and_their_groups_and_go(woven: Woven) -> None:
    leads_out(woven)
    one, _two = woven.pair()
    with every_tenant(why="test"):
        port = Port.objects.get(guest=one)

    for deed in ("attach_port", "readdress", "guard", "detach_port", "readdress", "guard"):
        assert run(woven.bench.ask(one, deed).pk) == "succeeded", deed
        carried_out()
        assert woven.bench.findings() == [], deed
        assert woven.swept() == set(), deed

    with every_tenant(why="test"):
        ip = Port.objects.get(pk=port.pk).addresses.get().ip
        groups = set(Port.objects.get(pk=port.pk).guards.values_list("group", flat=True))
    row = str(row_id("port", card_name(installation_owner(), port.pk)))
    assert ip in woven.central.nbctl("lsp-get-addresses", row)
    assert ip in woven.central.nbctl("lsp-get-port-security", row)
    assert woven.rows("Port_Group") == len(groups) + 1
    cards = woven.central.nbctl("--bare", "--columns=_uuid", "find", "Logical_Switch_Port", 'type=""')
    assert len(cards.split()) == 2


def test_a_way_out_is_made_once_and_stays_as_it_is(woven: Woven) -> None:
    leads_out(woven)
    woven.pair()
    held = told(woven)

    assert woven.rows("Logical_Router") == 1
    assert woven.rows("NAT") == 1
    assert woven.bench.findings() == []
    assert woven.swept() == set()
    assert told(woven) == held
    (nat,) = woven.central.nbctl("--bare", "--columns=_uuid", "list", "NAT").split()
    woven.central.nbctl("set", "NAT", nat, "external_ip=198.51.100.9")
    assert woven.swept() == {("other_network", "private")}
    assert carried_out() == ["network.change"]
    assert woven.swept() == set()


def test_where_nothing_leads_out_a_network_that_does_is_refused_before_anything_is_made(woven: Woven) -> None:
    with pytest.raises(NoRoom, match="has a way out"):
        woven.bench.ask_create()

    assert carried_out() == []
    assert woven.switches() == set()


def test_a_pool_with_machines_keeps_its_fabric_and_a_fabric_with_networks_what_they_were_made_with(
    woven: Woven,
) -> None:
    isolated(woven)
    home = HostPool.objects.get(name="woven")
    host_pool_write(home, fabric=None, actor=factories.desk())
    host_pool_write(home, fabric=woven.fabric, actor=factories.desk())
    assert set(carried_out()) == {"host.probe", "fabric.probe"}
    woven.pair()

    with pytest.raises(Conflict) as refused:
        host_pool_write(home, fabric=None, actor=factories.desk())
    assert refused.value.code == "pool_in_use"
    with pytest.raises(Conflict) as kept:
        fabric_write(woven.fabric, mtu=1400, actor=factories.desk())
    assert kept.value.code == "fabric_in_use"
    fabric, _test = fabric_write(woven.fabric, name="renamed", actor=factories.desk())
    assert fabric.name == "renamed"
    assert host_test(woven.hosts[0], actor=factories.desk())
