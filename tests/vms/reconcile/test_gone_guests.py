"""A machine whose definition somebody took off its host: shown, started by nobody but an operator, and never a new disk."""

from __future__ import annotations

import pytest

from operations.runner import run
from portal.core.errors import Conflict
from tenants.actors import Actor
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.test_leftovers import look
from vms.models import Guest, Volume
from vms.names import pool_name, volume_name
from vms.selectors.guests import guest_row
from vms.selectors.installation import installation_owner
from vms.services.guests import guest_power
from vms.states import Power
from vms.views.shapes import guest_shown


@pytest.fixture
def gone(bench: Bench) -> Guest:
    guest = bench.guest()
    del bench.on_host.domains[str(guest.pk)]
    assert look(bench) == {"missing_domain"}
    return bench.fresh(guest)


def operator_in(bench: Bench) -> Actor:
    person, _token = factories.operator()
    return factories.actor_in(bench.house.tenant, person)


def test_its_customer_is_told_and_cannot_start_it(bench: Bench, gone: Guest) -> None:
    with tenant_scope(bench.house.tenant):
        shown = guest_shown(guest_row(gone), bench.house.actor)
        with pytest.raises(Conflict) as refused:
            guest_power(gone, "start", actor=bench.house.actor)

    assert refused.value.code == "wrong_state"
    assert "Tell an operator" in refused.value.advice
    assert shown.problem is not None
    assert shown.problem.hint == refused.value.advice
    assert shown.actions == ()


def test_an_operator_puts_it_back_with_the_disk_it_had(bench: Bench, gone: Guest) -> None:
    made = bench.on_host.calls["create_overlay"]
    with tenant_scope(bench.house.tenant):
        operation = guest_power(gone, "start", actor=operator_in(bench))

    assert run(operation.pk) == "succeeded"

    assert bench.fresh(gone).seen_power == Power.RUNNING
    assert bench.on_host.calls["create_overlay"] == made
    assert look(bench) == set()
    assert bench.findings() == []


def test_without_its_disk_it_is_not_put_back(bench: Bench, gone: Guest) -> None:
    with every_tenant(why="test"):
        volume = Volume.objects.get(guest=gone)
    del bench.on_host.pools[pool_name(installation_owner())].volumes[volume_name(volume.pk)]
    with tenant_scope(bench.house.tenant):
        operation = guest_power(gone, "start", actor=operator_in(bench))

    assert run(operation.pk) == "failed"

    operation.refresh_from_db()
    assert operation.error_message
    assert volume_name(volume.pk) not in bench.on_host.pools[pool_name(installation_owner())].volumes
    assert bench.fresh(gone).seen_power != Power.RUNNING
