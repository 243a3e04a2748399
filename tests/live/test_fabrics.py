"""A fabric over two real hosts, as operators write it down and tenants use it, with real machines of two tenants on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import vms.handlers  # noqa: F401  (registers the handlers)
from operations.models import Operation
from operations.runner import run
from tenants.scoping import every_tenant
from tenants.services.quota import RESOURCES
from tests import factories
from tests.lab.fabric import Fabric
from tests.lab.guests import Serial
from tests.lab.waiting import wait_until
from tests.live.livebench import take_image, wipe
from tests.operations.kinds import carried_out
from tests.portal.api.rest import Rest
from vms.hypervisor import pool
from vms.hypervisor.ovn.marks import row_id
from vms.models import Drift, Guest, Host, Port
from vms.models import Fabric as FabricRow
from vms.names import card_name, group_name, network_name, serial_socket
from vms.reconcile.audit import audit
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.services.hosts import host_record_heartbeat

pytestmark = pytest.mark.django_db(transaction=True)
BOOT_S = 240
PASSWORD = "correct horse"


@dataclass
class Site:
    """Two hosts whose pool has the fabric, operators' REST, and a tenant's."""

    fabric: Fabric
    desk: Rest
    lines: dict[str, Serial] = field(default_factory=dict)

    def done(self, answer: Any) -> Operation:
        """What was asked for is carried out, with what follows from it."""
        assert answer.status == 202, answer.json
        asked = Operation.objects.get(pk=answer.json["id"])
        assert run(asked.pk) == "succeeded", Operation.objects.values("error_code", "error_detail").get(pk=asked.pk)
        carried_out()
        return asked

    def swept(self) -> list[str]:
        """A look at each host, and what that has done; the kinds of it."""
        for host in Host.objects.select_related("pool"):
            host_record_heartbeat(host)
            with every_tenant(why="test"):
                sweep(host)
        return carried_out()

    def guest(self, house: factories.House, name: str, **more: Any) -> Guest:
        body = {"name": name, "flavor": "small", "image": "tiny-real", "password": PASSWORD, **more}
        self.done(Rest(house.token).post(f"{house.url}/guests", body))
        with every_tenant(why="test"):
            guest = Guest.objects.select_related("host").get(tenant=house.tenant, name=name)
        assert guest.host is not None
        self.lines[name] = Serial(Path(serial_socket(guest.host.run_dir, guest.pk)))  # before it says anything
        return guest

    def sign_in(self, guest: Guest) -> None:
        self.lines[guest.name].log_in("root", PASSWORD, timeout_s=BOOT_S)

    def address(self, guest: Guest) -> str:
        """What it was given by DHCP."""
        line = self.lines[guest.name]

        def told() -> str | None:
            words = line.ask("ip -4 -o addr show dev eth0").split()
            return words[words.index("inet") + 1].split("/")[0] if "inet" in words else None

        return wait_until(told, timeout_s=90, what=f"an address of {guest.name}")

    def hears(self, guest: Guest, ip: str) -> bool:
        """Does ``ip`` answer it? Asked until it does, where that is hoped for."""
        return self.lines[guest.name].ask(f"ping -c 1 -W 2 {ip} >/dev/null; echo $?") == "0"

    def will_hear(self, guest: Guest, ip: str) -> None:
        wait_until(lambda: self.hears(guest, ip) or None, timeout_s=60, what=f"{guest.name} hears {ip}")

    def will_not_hear(self, guest: Guest, ip: str) -> None:
        wait_until(lambda: not self.hears(guest, ip) or None, timeout_s=60, what=f"{guest.name} hears {ip} no more")


@pytest.fixture
def site(transactional_db: None, fabric: Fabric, tiny_image: Path, settings: Any, tmp_path: Path) -> Iterator[Site]:
    settings.DATA_DIR = tmp_path
    hosts = fabric.lab.hosts()[:2]
    for host in hosts:
        (host.pool_dir / "live").mkdir(mode=0o711, exist_ok=True)
        wipe(host)
    factories.installation()
    take_image(tiny_image)
    factories.flavor("small")
    site = Site(fabric, Rest(factories.operator()[1]))
    yield site
    for line in site.lines.values():
        line.close()
    pool.close_all()
    for host in hosts:
        wipe(host)


def enrolled(site: Site) -> None:
    """The fabric, a pool on it, and both hosts, as an operator writes them down."""
    central = site.fabric.remote.rpartition(":")[0]
    told = {"northbound": site.fabric.remote, "southbound": f"{central}:6642", "pki": str(site.fabric.pki)}
    site.done(site.desk.post("/fabrics", {"name": "lab", **told}))
    assert site.desk.post("/host-pools", {"name": "woven", "fabric": "lab"}).status == 201
    for there in site.fabric.lab.hosts()[:2]:
        body = {
            "uri": there.uri, "name": there.name, "pool": "woven", "data_dir": str(there.pool_dir / "live"),
            "run_dir": str(there.run_dir),
        }  # fmt: skip
        site.done(site.desk.post("/hosts", body))
    for host in Host.objects.all():
        host_record_heartbeat(host)


def test_machines_of_one_network_meet_across_hosts_and_nobody_else_does(site: Site) -> None:
    enrolled(site)
    shown = site.desk.get("/fabrics").json["items"][0]
    assert (shown["problem"], len(shown["joined"]), shown["offload"]) == (None, 2, False)
    assert shown["facts"]["northd"].split(".")[0].isdigit()

    ours, theirs = (factories.tenant_with_owner(slug, limits=dict.fromkeys(RESOURCES)) for slug in ("ours", "theirs"))
    rest = Rest(ours.token)
    for house in (ours, theirs):
        asked = Rest(house.token).post(f"{house.url}/networks", {"name": "lan", "outward": "isolated"})
        assert (asked.status, asked.json["engine"]) == (201, None)
    one, two = (site.guest(ours, name, networks=["lan"]) for name in ("one", "two"))
    other = site.guest(theirs, "other", networks=["lan"])
    assert one.host_id != two.host_id
    network = rest.get(f"{ours.url}/networks").json["items"][0]
    assert (network["engine"], network["lacks"]) == ("ovn", ["limits", "ipv6", "outside"])

    with every_tenant(why="test"):
        told = {port.guest_id: port.addresses.get().ip for port in Port.objects.all()}
    for guest in (one, two, other):
        site.sign_in(guest)
    assert [site.address(guest) for guest in (one, two, other)] == [told[guest.pk] for guest in (one, two, other)]

    assert not site.hears(one, told[two.pk])
    ruled(site, ours, [{"direction": "out"}, {"direction": "in", "protocol": "icmp"}], operations=1)
    ruled(site, theirs, [{"direction": "out"}, {"direction": "in", "protocol": "icmp"}], operations=1)
    site.will_hear(one, told[two.pk])
    site.will_hear(two, told[one.pk])
    assert not site.hears(other, told[one.pk])
    assert not site.hears(one, told[other.pk])
    reached = rest.get(f"{ours.url}/reachability?from=one&to=two&protocol=icmp").json
    assert reached["reaches"] is True
    assert audit() == []

    ends_and_comes_back(site, one, told[two.pk])
    what_is_lost_comes_back(site, one, told[two.pk])

    ruled(site, ours, [{"direction": "out"}], operations=1)
    site.will_not_hear(one, told[two.pk])
    assert audit() == []

    site.done(rest.delete(f"{ours.url}/guests/{one.pk}?purge=true"))
    assert len(site.fabric.nbctl("ls-list").splitlines()) == 2, "another machine is on the network, on another host"
    for house, guest in ((ours, two), (theirs, other)):
        site.done(Rest(house.token).delete(f"{house.url}/guests/{guest.pk}?purge=true"))
    assert site.fabric.nbctl("ls-list") == ""
    assert audit() == []


def ruled(site: Site, house: factories.House, rules: list[dict[str, Any]], *, operations: int) -> None:
    """The rules of the tenant's one group; so many operations bring them to all hosts."""
    rest = Rest(house.token)
    (group,) = rest.get(f"{house.url}/security-groups").json["items"]
    before = Operation.objects.count()
    site.done(rest.put(f"{house.url}/security-groups/{group['id']}/rules", {"rules": rules}))
    assert Operation.objects.count() == before + operations


def ends_and_comes_back(site: Site, one: Guest, ip: str) -> None:
    """A host's controller, the northd and the database die; everything is as before, without a new thing being told."""
    held = site.fabric.nbctl("--bare", "--columns=_uuid,acls", "list", "Logical_Switch")
    site.fabric.restart(site.fabric.lab.hosts()[0], "controller")
    for name in ("northd", "nb"):
        site.fabric.kill(name)
    site.will_hear(one, ip)
    site.swept()
    assert "lab" in site.desk.get("/fabrics").json["items"][0]["name"]
    assert FabricRow.objects.get().problem != ""
    for name in ("nb", "northd"):
        site.fabric.start(name)
    wait_until(lambda: (site.swept() is not None and FabricRow.objects.get().problem == "") or None, timeout_s=60,
               what="the portal to speak to the fabric again")  # fmt: skip
    assert site.fabric.nbctl("--bare", "--columns=_uuid,acls", "list", "Logical_Switch") == held
    site.will_hear(one, ip)
    assert audit() == []


def what_is_lost_comes_back(site: Site, one: Guest, ip: str) -> None:
    """An operator's slip takes the switch, a card and a group away: the sweep shows it, and the machines meet again."""
    with every_tenant(why="test"):
        port = Port.objects.get(guest=one)
        guard = port.guards.get()
    owner = installation_owner()
    site.fabric.nbctl("ls-del", str(row_id("switch", network_name(owner, port.network_id))))
    site.fabric.nbctl("pg-del", group_name(owner, guard.group_id).replace("-", "_"))
    site.will_not_hear(one, ip)

    for host in Host.objects.select_related("pool").order_by("name"):
        with every_tenant(why="test"):
            sweep(host)
    kinds = set(Drift.objects.values_list("kind", flat=True))
    assert {"other_network", "missing_card"} <= kinds
    assert card_name(owner, port.pk) in Drift.objects.values_list("subject", flat=True)
    carried_out()
    for _again in range(3):
        site.swept()

    site.will_hear(one, ip)
    assert list(Drift.objects.values_list("kind", "subject")) == []
    assert audit() == []
