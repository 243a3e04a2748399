"""The upgrade that brings security groups: the cards that are there stay as they are, and nothing guards them yet."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.graph import MigrationGraph

from tenants.scoping import every_tenant
from tests import factories
from vms.models import Guard, Port, SecurityGroup


def before_groups(graph: MigrationGraph) -> tuple[str, str]:
    """The last state without groups, wherever in the row of migrations that is."""
    brings = next(node for node in graph.nodes if node[0] == "vms" and node[1].endswith("_security_groups"))
    return next(parent.key for parent in graph.node_map[brings].parents if parent.key[0] == "vms")


@pytest.mark.django_db(transaction=True)
def test_cards_from_before_are_untouched_and_unguarded() -> None:
    graph = MigrationExecutor(connection).loader.graph
    factories.host_up()
    house = factories.tenant_with_owner()
    guest = factories.guest(house)
    with every_tenant(why="test"):
        Guard.objects.all().delete()
        SecurityGroup.objects.all().delete()
        cards = list(Port.objects.filter(guest=guest).values())
    try:
        MigrationExecutor(connection).migrate([before_groups(graph)])
        assert "vms_guard" not in connection.introspection.table_names()
    finally:
        MigrationExecutor(connection).migrate(graph.leaf_nodes())

    with every_tenant(why="test"):
        assert list(Port.objects.filter(guest=guest).values()) == cards
        assert not Guard.objects.exists()
        assert not SecurityGroup.objects.exists()
