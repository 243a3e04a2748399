"""Two hosts in memory that share a real fabric's central processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import vms.handlers  # noqa: F401  (registers the handlers)
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.operations.kinds import carried_out
from tests.support.ovn import Central
from tests.vms.reconcile.bench import Bench
from vms.models import Drift, Fabric, Guest, Host, Network, Port
from vms.reconcile.sweep import sweep
from vms.services.fabrics import fabric_write
from vms.services.hosts import host_record_heartbeat
from vms.services.networks import network_create
from vms.services.security_groups import group_rules_set
from vms.specs import NetworkWish


@dataclass
class Woven:
    """Two hosts, ``a`` and ``b``, of a pool whose fabric has them both."""

    bench: Bench
    central: Central
    fabric: Fabric
    hosts: list[Host]

    def swept(self) -> set[tuple[str, str]]:
        """A look at each host; what it shows."""
        for host in Host.objects.filter(pk__in=[each.pk for each in self.hosts]).order_by("name"):
            host_record_heartbeat(host)
            with every_tenant(why="test"):
                sweep(host)
        return set(Drift.objects.values_list("kind", "subject"))

    def pair(self) -> tuple[Guest, Guest]:
        """Two machines of one network, on one host each."""
        one, two = self.bench.guest(), self.bench.guest()
        carried_out()
        assert {one.host_id, two.host_id} == {host.pk for host in self.hosts}
        return one, two

    def switches(self) -> set[str]:
        return set(self.central.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split())

    def rows(self, table: str) -> int:
        return len(self.central.nbctl("--bare", "--columns=_uuid", "list", table).split())

    def rules(self, *rules: dict[str, Any]) -> list[str]:
        """The tenant's group has these; what was done for that, on which hosts by libvirt."""
        with tenant_scope(self.bench.house.tenant):
            group = Port.objects.all()[0].guards.select_related("group").get().group
            asked = group_rules_set(group, list(rules), actor=self.bench.house.actor)
        return carried_out() if asked else []


def isolated(woven: Woven) -> None:
    """The tenant's default network, which leads nowhere: this fabric has no outside."""
    with tenant_scope(woven.bench.house.tenant):
        wish = NetworkWish(name="private", outward="isolated")
        network_create(woven.bench.house.tenant, wish, actor=woven.bench.house.actor, is_default=True)
        assert Network.objects.count() == 1


def leads_out(woven: Woven) -> None:
    """The fabric meets a network of the operator's."""
    outside = {"physnet": "outer", "outer_address": "198.51.100.5/24", "outer_gateway": "198.51.100.1"}
    fabric_write(woven.fabric, carriers=["a"], actor=factories.desk(), **outside)
    assert carried_out() == ["fabric.probe"]


def told(woven: Woven) -> dict[str, list[str]]:
    """What the fabric is told, but for the ids that change with it."""
    columns = {
        "Logical_Switch": "name,external_ids", "Logical_Switch_Port": "_uuid,name,addresses,port_security",
        "ACL": "direction,priority,match,action", "Port_Group": "_uuid,name", "DNS": "records",
    }  # fmt: skip
    return {
        table: sorted(
            woven.central.nbctl(
                "--bare", "--no-headings", "--format=csv", f"--columns={each}", "list", table
            ).splitlines()
        )
        for table, each in columns.items()
    }
